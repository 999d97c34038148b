//! Something that happened to one customer, ready to be applied.

use super::{
    AttrId, ChannelId, Consent, EventId, EventTypeId, ItemId, OutcomeType, PresentationRef, Purpose, ReasonCode,
    StoredIdentity, Timestamp, Value,
    profile::{Preference, RecordChange},
    series::Feed,
};

/// One event of one customer. All names are stable hashes, all values checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Hash of (source, event id); what makes recording idempotent.
    pub id: EventId,
    /// When it happened.
    pub at: Timestamp,
    /// When it came in.
    pub received_at: Timestamp,
    /// Identities to add to the customer.
    pub identities: Vec<StoredIdentity>,
    /// What it adds to the series of the customer, as the rules said when it
    /// came in.
    pub feeds: Vec<Feed>,
    /// What happened.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum EventKind {
    /// What followed a presentation.
    Outcome {
        /// Which presentation.
        presentation: PresentationRef,
        /// What followed.
        outcome: OutcomeType,
        /// The decline's reason; 0 for none.
        reason: ReasonCode,
        /// Value of a conversion, minor units.
        value: Option<i64>,
        /// The agent's note.
        note: Box<str>,
        /// The agent who took the answer; empty for none.
        agent: Box<str>,
        /// The call in which it was given; empty for none.
        call: Box<str>,
        /// What the presentation was for.
        purpose: Purpose,
        /// The link that was followed, by its name in the treatment; empty for none.
        link: Box<str>,
    },
    /// Something the customer did.
    Customer {
        /// The event's type.
        event: EventTypeId,
        /// Where.
        channel: Option<ChannelId>,
        /// The total amount, minor units.
        amount: Option<i64>,
        /// Items touched.
        items: Vec<ItemLine>,
        /// Whether the items were bought.
        bought: bool,
        /// Whether it counts as a conversion for the lift.
        conversion: bool,
        /// Further fields, as JSON.
        data: Box<str>,
    },
    /// Attributes and consents were set.
    Upsert {
        /// Attributes; `None` removes.
        attributes: Vec<(AttrId, Option<Value>)>,
        /// Consents.
        consents: Vec<Consent>,
        /// What the customer wishes; what is not given stays.
        preferences: Vec<Preference>,
        /// Records set or removed.
        records: Vec<RecordChange>,
    },
    /// Every contact is forbidden or permitted again.
    DoNotContact {
        /// Whether it is forbidden.
        on: bool,
        /// Why.
        reason: Box<str>,
    },
    /// The customer was first shown, or as holdout denied, something.
    Exposed {
        /// Whether the arm is the holdout.
        holdout: bool,
    },
}

/// An item in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemLine {
    /// Which.
    pub item: ItemId,
    /// Pieces; negative for a return.
    pub quantity: i32,
    /// Price of a piece, minor units.
    pub unit_price: i64,
}
