//! What signed tokens stand for: presentations, links, and customers that a
//! look-up found.

use super::{
    ChannelId, CustomerKey, DecisionId, IdentityHash, IdentityTypeId, OfferId, RecordRef, Timestamp, VisitorId,
};

/// Names one presentation of one decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PresentationRef {
    /// The decision.
    pub decision: DecisionId,
    /// Whom it was for; `None` for a visitor without a profile.
    pub customer: Option<CustomerKey>,
    /// The offer.
    pub offer: OfferId,
    /// The channel.
    pub channel: ChannelId,
    /// The record it speaks of.
    pub record: RecordRef,
    /// Outcomes are taken until then.
    pub expires_at: Timestamp,
}

/// Names one link of one presentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkRef {
    /// The presentation.
    pub presentation: PresentationRef,
    /// Stable 32-bit hash of the language.
    pub language: u32,
    /// Stable 32-bit hash of the link's name.
    pub link: u32,
}

/// The visitor whom the tokens of a decision are bound to: a browser hands
/// them in only together with this visitor's signed id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who.
    pub visitor: VisitorId,
    /// Where the id comes from.
    pub origin: VisitorOrigin,
    /// Whether what follows may be remembered of the visitor.
    pub memory: Memory,
}

/// Where the id of a visitor comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VisitorOrigin {
    /// It was made with the decision, from the decision's id.
    Made,
    /// It came with the question.
    Given,
}

/// Whether what follows a presentation may be remembered of its visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// It counts, but of nobody.
    Forgotten,
    /// It makes the visitor's profile, if there is none.
    Kept,
}

/// What a match token names a customer by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchRef {
    /// An identity that only this customer has.
    Identity {
        /// Its type.
        kind: IdentityTypeId,
        /// Its keyed hash.
        hash: IdentityHash,
    },
    /// The customer, who has no identity of the kind.
    Customer(CustomerKey),
}
