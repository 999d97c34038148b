//! What outcomes add up to: counts per (offer, channel) and the lift.

use std::collections::BTreeMap;

use super::{ChannelId, OfferId, OutcomeType};

/// What applying one event changed beyond the profile. Each is given once for
/// the fact it stands for, however often the event is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// An outcome of a presentation that was not known before.
    Outcome {
        /// The offer.
        offer: OfferId,
        /// The channel.
        channel: ChannelId,
        /// What followed.
        outcome: OutcomeType,
        /// Whether it is the first sign that the person was reached.
        new_trial: bool,
        /// Whether it is the first positive outcome of the presentation.
        new_positive: bool,
        /// Value of a conversion, minor units.
        value: i64,
    },
    /// A customer counts for the lift from now on.
    Exposed {
        /// Whether in the holdout.
        holdout: bool,
    },
    /// An exposed customer bought.
    Converted {
        /// Whether in the holdout.
        holdout: bool,
        /// Whether it is the first purchase since the exposure.
        first: bool,
        /// Its amount, minor units.
        amount: i64,
    },
}

/// Counts of one offer on one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tally {
    /// Decisions in which the offer passed engagement policy (kept on the
    /// channel that won, or on every channel asked).
    pub eligible: u64,
    /// Presentations decided.
    pub decided: u64,
    /// Presentations that reached the person: the trials of the propensity.
    pub trials: u64,
    /// Presentations with a positive outcome.
    pub positives: u64,
    /// Impressions or handoffs.
    pub impressions: u64,
    /// Declines.
    pub declines: u64,
    /// Value of conversions, minor units.
    pub revenue: i64,
}

/// Everything counted, as of one position of the event log.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Tallies {
    /// Counts the publications: the model version of decisions made with it.
    pub version: u64,
    /// Per (offer, channel).
    pub offers: BTreeMap<(OfferId, ChannelId), Tally>,
    /// Customers exposed: treated, held out.
    pub exposed: [u64; 2],
    /// Of these, customers who bought afterwards.
    pub converted: [u64; 2],
    /// Revenue of these after exposure, minor units.
    pub revenue: [i64; 2],
}

impl Tallies {
    /// Folds one effect in. Returns the (offer, channel) whose counts changed.
    pub fn fold(&mut self, effect: &Effect) -> Option<(OfferId, ChannelId)> {
        match *effect {
            Effect::Outcome { offer, channel, outcome, new_trial, new_positive, value } => {
                let tally = self.offers.entry((offer, channel)).or_default();
                tally.trials += u64::from(new_trial);
                tally.positives += u64::from(new_positive);
                tally.revenue = tally.revenue.saturating_add(value);
                match outcome {
                    OutcomeType::Impression | OutcomeType::Handoff => tally.impressions += 1,
                    OutcomeType::Decline => tally.declines += 1,
                    _ => {}
                }
                Some((offer, channel))
            }
            Effect::Exposed { holdout } => {
                self.exposed[usize::from(holdout)] += 1;
                None
            }
            Effect::Converted { holdout, first, amount } => {
                let arm = usize::from(holdout);
                self.converted[arm] += u64::from(first);
                self.revenue[arm] = self.revenue[arm].saturating_add(amount);
                None
            }
        }
    }
}
