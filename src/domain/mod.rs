//! The nouns: plain data every other room speaks of. No serialisation, no
//! transport, no clock, no randomness, no I/O.

pub mod audit;
pub mod decision;
pub mod event;
pub mod facts;
pub mod ids;
pub mod offer_set;
pub mod outcome;
pub mod pause;
pub mod profile;
pub mod reason;
mod records;
pub mod request;
pub mod revision;
pub mod schema;
pub mod series;
pub mod tallies;
pub mod time;
pub mod token;
pub mod value;

pub use audit::{AuditAction, AuditEntry};
pub use decision::{
    AgentView, ChannelVerdict, Decision, Degraded, DegradedSet, DroppedInput, Factors, Level, Match, Message,
    PlacementAnswer, PlacementStatus, Presentation, SilenceReason, TraceReport, Verdict,
};
pub use event::{Event, EventKind, ItemLine};
pub use facts::{Cell, Cells, Facts};
pub use ids::*;
pub use offer_set::{BLOCK_BITS, Block, OfferSet};
pub use outcome::{OutcomeSet, OutcomeType};
pub use pause::{Pause, PauseKind, Pauses};
pub use profile::{
    Consent, ConsentPurpose, EventStat, Interaction, ItemTouch, Origin, Permission, Preference, Profile, RecordChange,
    Reservation, StoredAttribute, StoredIdentity, StoredPreference, StoredRecord, StoredSeries,
};
pub use reason::{Reason, Stage};
pub use request::{Assurance, Identity, Intent, PageConsent, PlacementAsk, Purpose, Request, SendWindow, Trace, View};
pub use revision::{Activation, Revision, RevisionOrigin};
pub use schema::{AttributeDef, AttributeSource, AttributeType, IdentityDef, ModelTrait, Schema, Sharing, Trait};
pub use tallies::{Effect, Tallies, Tally};
pub use time::{Date, Timestamp};
pub use token::{Holder, LinkRef, MatchRef, Memory, PresentationRef, VisitorOrigin};
pub use value::{Currency, Value, ValueRef};
