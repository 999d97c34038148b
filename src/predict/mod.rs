//! Immutable artefacts, evaluated only: what outcomes and the whole base have
//! taught.

mod analysis;
mod base;
mod quantiles;
mod repeat;
mod special;

pub use analysis::{Analysis, Fitted, OVERLAPS_TOLD_MAX, Overlap, SEGMENTS_COUNTED_MAX, SegmentFound, SegmentsChanged};
pub use base::{BaseModel, Bought, RfmQuantiles};
pub use quantiles::Quantiles;
pub use repeat::{Purchases, RepeatModel};
pub use special::{digamma, ln_add, ln_gamma};

use crate::domain::{ChannelSlot, OfferSlot};

/// The propensity model: a smoothed response rate per (offer, channel), laid
/// out in the slots of one ruleset.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Models {
    /// The version of the tallies it was made from; 0 for none.
    pub version: u64,
    /// Number of channels of the ruleset.
    pub channels: usize,
    /// Offer-major: `rates[offer * channels + channel]`.
    pub rates: Vec<Rate>,
}

/// A response rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    /// P(positive outcome), smoothed.
    pub propensity: f64,
    /// Trials behind it, without the prior.
    pub trials: f64,
}

impl Models {
    /// The rate of an offer on a channel.
    pub fn rate(&self, offer: OfferSlot, channel: ChannelSlot) -> Rate {
        self.rates.get(offer.index() * self.channels + channel.index()).copied().unwrap_or_default()
    }
}
