//! What goes into the use cases and what comes out.

use std::sync::Arc;

use crate::{
    domain::{
        AttrId, ChannelId, Consent, Decision, EventId, EventKind, Identity, OfferId, OutcomeType, Permission, Profile,
        RecordRef, Timestamp, Trace, Value, Verdict, View,
        profile::{Preference, RecordChange},
    },
    rules::FailedLiteral,
    store::Strength,
};

pub use super::signing::Bearer;

/// One event to record, checked.
#[derive(Clone, Debug)]
pub enum EventInput {
    /// What followed a presentation.
    Outcome(OutcomeInput),
    /// Something a customer did.
    Customer {
        /// Hash of (source, event id).
        id: EventId,
        /// Who.
        identities: Vec<Identity>,
        /// When; `None` for now.
        at: Option<Timestamp>,
        /// What.
        kind: EventKind,
        /// The declared fields of its data, sorted by id.
        fields: Vec<(AttrId, Value)>,
        /// How strong the acknowledgement must be.
        strength: Strength,
        /// Names of the items in it.
        item_names: Vec<Box<str>>,
        /// Notes on what it says.
        notes: Vec<String>,
        /// The page that says it of its visitor; `None` when a service does.
        page: Option<Page>,
    },
}

/// What a page that tells of its visitor may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Whether behaviour may be remembered, as the page says.
    pub profiling: Permission,
    /// Whether the event may make a profile.
    pub makes_profile: bool,
}

impl EventInput {
    /// The same, from somebody who may have to show a visitor id for it.
    pub fn handed_in_by(self, bearer: Bearer) -> Self {
        match self {
            EventInput::Outcome(outcome) => EventInput::Outcome(OutcomeInput { bearer, ..outcome }),
            customer => customer,
        }
    }
}

/// What followed a presentation.
#[derive(Clone, Debug)]
pub struct OutcomeInput {
    /// The signed token; empty where `meant` names the presentation.
    pub token: String,
    /// The presentation that is meant, where a channel cannot carry its token.
    pub meant: Option<Box<Meant>>,
    /// Who hands it in.
    pub bearer: Bearer,
    /// What followed.
    pub outcome: OutcomeType,
    /// The decline's code; empty for none.
    pub reason_code: String,
    /// Value of a conversion, minor units.
    pub value: Option<i64>,
    /// The agent's note.
    pub note: Box<str>,
    /// The agent who took the answer; empty for none.
    pub agent: Box<str>,
    /// The call in which it was given; empty for none.
    pub call: Box<str>,
    /// The link that was followed, by its name in the treatment; empty for none.
    pub link: Box<str>,
    /// When; `None` for now.
    pub at: Option<Timestamp>,
}

/// The latest presentation of an offer to a customer.
#[derive(Clone, Debug)]
pub struct Meant {
    /// Hash of (source, event id): without a token it makes recording idempotent.
    pub id: EventId,
    /// Who answered.
    pub customer: Vec<Identity>,
    /// The offer.
    pub offer: OfferId,
    /// Only on this channel.
    pub channel: Option<ChannelId>,
    /// Only of this record.
    pub record: Option<RecordRef>,
}

/// What became of one event.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// What became of it.
    pub status: RecordedStatus,
    /// What the acknowledgement promises, when recorded.
    pub strength: Option<Strength>,
    /// State of the customer; empty without one.
    pub consistency_token: String,
    /// Notes on an accepted event.
    pub warnings: Vec<String>,
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordedStatus {
    /// Recorded.
    Recorded,
    /// Recorded before.
    Duplicate,
    /// Refused: why and what to do.
    Refused(String),
    /// The person did not permit that behaviour is remembered.
    NotPermitted,
    /// No room; send it again later.
    Exhausted,
    /// Its id was used with other content.
    Conflict,
}

impl From<String> for RecordedStatus {
    fn from(why: String) -> Self {
        RecordedStatus::Refused(why)
    }
}

/// An answer to a presentation.
#[derive(Clone, Debug)]
pub struct RespondInput {
    /// The answer.
    pub outcome: OutcomeInput,
    /// Idempotency id; empty for none.
    pub request_id: String,
    /// How much to return.
    pub view: View,
    /// How much of the verdicts to return.
    pub trace: Trace,
}

/// The re-ranked answer.
#[derive(Clone, Debug)]
pub struct Responded {
    /// The question, answered again.
    pub decision: Arc<Decision>,
    /// Whether the answer had been recorded before.
    pub duplicate: bool,
    /// What the acknowledgement promises.
    pub strength: Strength,
    /// State of the customer; empty without one.
    pub consistency_token: String,
}

/// A stored decision, explained.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The decision, replayed with full trace and view.
    pub decision: Decision,
    /// The verdicts asked for.
    pub verdicts: Vec<ExplainedVerdict>,
    /// Whether the replay equals what was answered.
    pub identical: bool,
    /// In plain words.
    pub lines: Vec<String>,
    /// Whether the customer is in the holdout.
    pub holdout: bool,
}

/// A verdict with the literals that failed.
#[derive(Clone, Debug)]
pub struct ExplainedVerdict {
    /// The verdict.
    pub verdict: Verdict,
    /// (condition, literal).
    pub failed: Vec<(&'static str, FailedLiteral)>,
}

/// The one view of a customer.
#[derive(Clone, Debug)]
pub struct CustomerView {
    /// The profile.
    pub profile: Profile,
    /// Stored attributes by name.
    pub attributes: Vec<(Arc<str>, Value)>,
    /// Traits by name, computed now.
    pub traits: Vec<(Arc<str>, Value)>,
    /// Segments the customer is in.
    pub segments: Vec<Arc<str>>,
    /// Whether in the holdout.
    pub holdout: bool,
    /// State token.
    pub consistency_token: String,
}

/// Attributes, consents, wishes and records to set.
#[derive(Clone, Debug)]
pub struct UpsertInput {
    /// Who.
    pub identities: Vec<Identity>,
    /// Attributes by id; `None` removes.
    pub attributes: Vec<(AttrId, Option<Value>)>,
    /// Consents; a zero time means now.
    pub consents: Vec<Consent>,
    /// Wishes to set or to take back.
    pub preferences: Vec<Preference>,
    /// Records to set or to remove.
    pub records: Vec<RecordChange>,
    /// Idempotency id; empty for none.
    pub request_id: String,
    /// When it became true; `None` for now.
    pub at: Option<Timestamp>,
    /// Check only.
    pub validate_only: bool,
}

/// What a write to a customer did.
#[derive(Clone, Debug)]
pub struct Upserted {
    /// State token.
    pub consistency_token: String,
    /// What the acknowledgement promises.
    pub strength: Strength,
    /// Whether the customer was created.
    pub created: bool,
    /// Notes on it.
    pub warnings: Vec<String>,
}

/// Where a link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// To this URL of the ruleset.
    To(Arc<str>),
    /// The token is not one of ours.
    Unknown,
    /// The token is too old, or its offer is no more.
    Gone,
}
