//! A question, checked: every name resolved to its stable id, every context
//! value of its declared type.

use super::{
    AttrId, ChannelId, IdentityHash, IdentityTypeId, ItemId, OfferId, PlacementId, Sharing, Timestamp, Value, VisitorId,
};

/// A question about one person.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Request {
    /// Who; may be empty.
    pub identities: Vec<Identity>,
    /// How sure the caller is.
    pub assurance: Assurance,
    /// The caller's session.
    pub session_id: Box<str>,
    /// The places that ask; empty for an open question.
    pub placements: Vec<PlacementAsk>,
    /// Channels that may be used; empty for all.
    pub allowed_channels: Vec<ChannelId>,
    /// Only this purpose.
    pub purpose: Option<Purpose>,
    /// Context attributes, sorted by id.
    pub context: Vec<(AttrId, Value)>,
    /// The page's own consent.
    pub page_consent: PageConsent,
    /// Offers not to return, sorted.
    pub exclude_offers: Vec<OfferId>,
    /// Items not to return, sorted.
    pub exclude_items: Vec<ItemId>,
    /// Milliseconds the caller waits.
    pub time_budget_ms: u32,
    /// The idempotency id; empty for none.
    pub request_id: Box<str>,
    /// Whether it will be presented.
    pub intent: Intent,
    /// How much to return.
    pub view: View,
    /// How much of the verdicts to return.
    pub trace: Trace,
    /// State the answer must reflect.
    pub consistency_token: Box<str>,
    /// Languages the person reads, best first, lower case.
    pub languages: Vec<Box<str>>,
    /// PREVIEW: decide as of then.
    pub as_of: Option<Timestamp>,
    /// PREVIEW: attribute values to assume, sorted by id.
    pub overrides: Vec<(AttrId, Value)>,
    /// The visitor, as a signed visitor id said; among the identities too.
    pub visitor: Option<VisitorId>,
    /// Open questions: when the caller can send.
    pub send_window: SendWindow,
}

/// When a caller can send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SendWindow {
    /// From then on; `None` for now.
    pub from: Option<Timestamp>,
    /// Until then; `None` for no end.
    pub until: Option<Timestamp>,
}

impl SendWindow {
    /// Whether it says anything.
    pub fn is_set(&self) -> bool {
        self.from.is_some() || self.until.is_some()
    }
}

/// An identity, validated and normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its type.
    pub kind: IdentityTypeId,
    /// Its normalised value; empty in a question read back from the log.
    pub value: Box<str>,
    /// Its keyed hash.
    pub hash: IdentityHash,
    /// Whether several customers may hold it, by the rules that it was checked
    /// against; unique in a question read back from the log.
    pub sharing: Sharing,
}

/// One place that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementAsk {
    /// The placement's id.
    pub id: PlacementId,
    /// Its name as asked.
    pub name: Box<str>,
    /// The most presentations; 0 for the placement's slots.
    pub count: u16,
}

/// How sure the caller is of the identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Assurance {
    /// Nobody claimed anything.
    #[default]
    Anonymous = 1,
    /// Claimed, not checked.
    Claimed = 2,
    /// Verified.
    Verified = 3,
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Purpose {
    /// To sell or keep.
    Marketing = 1,
    /// To serve.
    Service = 2,
}

/// The page's own consent; can only narrow the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PageConsent {
    /// Whether behaviour may influence the choice.
    pub profiling: super::Permission,
    /// Whether marketing may be sent.
    pub marketing: super::Permission,
}

/// Whether the answer will be presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Intent {
    /// It will.
    #[default]
    Present = 1,
    /// It is a look only.
    Preview = 2,
}

/// How much of each presentation to return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum View {
    /// Content, token, link.
    #[default]
    Render = 1,
    /// And help for an agent.
    Agent = 2,
    /// And scores.
    Full = 3,
}

/// How much of the verdicts to return.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Trace {
    /// None.
    #[default]
    None = 1,
    /// Counts per reason.
    Summary = 2,
    /// Every candidate.
    Full = 3,
}
