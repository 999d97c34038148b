//! What stages 1 to 6 come to.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::domain::{
    ChannelSlot, DroppedInput, Factors, Level, OfferSet, OfferSlot, PlacementSlot, PlacementStatus, Reason, RecordRef,
    SilenceReason, Timestamp, Verdict, offer_set::BLOCK_BITS,
};

/// Winners, placements and channels held without allocating.
pub const INLINE_LEN: usize = 8;

/// The ranked answer, before content.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// How full the answer is.
    pub level: Level,
    /// What was not used for want of permission or assurance.
    pub dropped: SmallVec<[DroppedInput; 2]>,
    /// One per placement in request order; one for an open question.
    pub placements: SmallVec<[RankedPlacement; INLINE_LEN]>,
    /// Winners, placement by placement, best first.
    pub winners: SmallVec<[Winner; INLINE_LEN]>,
    /// Open questions: the verdict on every other channel of the winner.
    pub other_channels: SmallVec<[OtherChannel; INLINE_LEN]>,
    /// Candidates dropped, by number of the reason.
    pub counts: [u32; Reason::TABLE_LEN],
    /// (offer, channel) pairs that were asked for and passed engagement policy.
    pub eligible: Arc<PairSet>,
    /// Whether there was marketing worth saying, whichever the arm: from here on
    /// the customer counts for the lift.
    pub exposable: bool,
    /// Whether something was kept back by the holdout that could have been said.
    pub holdout_hit: bool,
    /// The verdict on every candidate, when the full trace was asked for.
    pub verdicts: Option<Box<Vec<Verdict>>>,
}

/// The ranked answer of one placement or of an open question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankedPlacement {
    /// The placement; `None` for an open question or an unknown placement.
    pub placement: Option<PlacementSlot>,
    /// What kind of answer.
    pub status: PlacementStatus,
    /// Why nothing is said.
    pub silence: Option<SilenceReason>,
    /// Its first winner.
    pub first: u16,
    /// Number of its winners.
    pub len: u16,
}

/// An offer that won a slot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Winner {
    /// The offer.
    pub offer: OfferSlot,
    /// The channel.
    pub channel: ChannelSlot,
    /// The record it speaks of: where it stands in the profile, and its name.
    pub record: (Option<u16>, RecordRef),
    /// Index into the offer's treatments.
    pub treatment: u16,
    /// How it was arbitrated, with the probability of the choice.
    pub factors: Factors,
    /// Open questions: the beginning of the send window or the end of quiet
    /// hours, when that is later than now.
    pub not_before: Option<Timestamp>,
}

impl Winner {
    /// The first moment it may be presented.
    pub fn starts_at(&self, now: Timestamp) -> Timestamp {
        self.not_before.map_or(now, |from| from.max(now))
    }
}

/// The verdict on a channel that did not win.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OtherChannel {
    /// The channel.
    pub channel: ChannelSlot,
    /// Why not.
    pub reason: Reason,
    /// Its net priority; 0 when it was not scored.
    pub net_priority: f64,
}

impl Ranking {
    /// Nothing ranked; eligible pairs go into a set that is there already.
    pub(super) fn with(eligible: Arc<PairSet>) -> Self {
        Self {
            level: Level::Full,
            dropped: SmallVec::new(),
            placements: SmallVec::new(),
            winners: SmallVec::new(),
            other_channels: SmallVec::new(),
            counts: [0; Reason::TABLE_LEN],
            eligible,
            exposable: false,
            holdout_hit: false,
            verdicts: None,
        }
    }

    /// The winners of a placement by its index in the request.
    pub fn winners_of(&self, at: usize) -> &[Winner] {
        let Some(placement) = self.placements.get(at) else { return &[] };
        let first = usize::from(placement.first);
        self.winners.get(first..first + usize::from(placement.len)).unwrap_or(&[])
    }
}

/// A set of (offer, channel) pairs of one ruleset: a set of offers per channel.
#[derive(Clone, Debug, Default)]
pub struct PairSet {
    channels: Vec<OfferSet>,
    /// Channels that hold any pair, each once.
    used: Vec<ChannelSlot>,
}

impl PairSet {
    /// Makes it empty, for so many offers and channels. Another set takes its
    /// place while somebody else still holds it.
    pub(super) fn reset(shared: &mut Arc<Self>, offers: usize, channels: usize) {
        if Arc::get_mut(shared).is_none() {
            *shared = Arc::default();
        }
        let Some(set) = Arc::get_mut(shared) else { return };
        let fits = set.channels.len() == channels
            && set.channels.first().is_none_or(|c| c.blocks().len() == offers.div_ceil(BLOCK_BITS));
        if fits {
            for channel in set.used.drain(..) {
                set.channels[channel.index()].reset(offers);
            }
        } else {
            set.used.clear();
            set.channels.resize(channels, OfferSet::default());
            set.channels.iter_mut().for_each(|set| set.reset(offers));
        }
    }

    /// Adds the offers that both sets hold on a channel.
    pub(super) fn add(shared: &mut Arc<Self>, channel: ChannelSlot, offers: &OfferSet, within: &OfferSet) {
        let Some(set) = Arc::get_mut(shared) else { return };
        if let Some(mine) = set.channels.get_mut(channel.index()) {
            let added = offers.blocks().as_flattened().iter().zip(within.blocks().as_flattened());
            for (mine, (offers, within)) in mine.blocks_mut().as_flattened_mut().iter_mut().zip(added) {
                *mine |= offers & within;
            }
            if !set.used.contains(&channel) {
                set.used.push(channel);
            }
        }
    }

    /// The offers paired with each channel that has any.
    pub fn channels(&self) -> impl Iterator<Item = (ChannelSlot, &OfferSet)> {
        self.used.iter().filter_map(|channel| self.channels.get(channel.index()).map(|offers| (*channel, offers)))
    }

    /// The pairs, channel by channel.
    pub fn iter(&self) -> impl Iterator<Item = (OfferSlot, ChannelSlot)> + '_ {
        self.channels().flat_map(|(channel, offers)| offers.iter().map(move |offer| (offer, channel)))
    }
}

impl PartialEq for PairSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
