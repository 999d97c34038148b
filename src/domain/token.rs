//! What a presentation token and a link token stand for.

use super::{ChannelId, CustomerKey, DecisionId, OfferId, Timestamp};

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
