//! What stages 1 to 6 come to.

use smallvec::SmallVec;

use crate::domain::{
    ChannelSlot, ConsentPurpose, Factors, Level, OfferSlot, PlacementSlot, PlacementStatus, Reason, SilenceReason,
    Timestamp, Verdict,
};

/// Winners, placements and channels held without allocating.
pub const INLINE_LEN: usize = 8;
/// 64-pair words of [`PairSet`] held without allocating: 6,144 pairs.
pub const PAIR_WORDS_LEN: usize = 96;

/// The ranked answer, before content.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// How full the answer is.
    pub level: Level,
    /// What was not used for want of permission.
    pub dropped: SmallVec<[ConsentPurpose; 2]>,
    /// One per placement in request order; one for an open question.
    pub placements: SmallVec<[RankedPlacement; INLINE_LEN]>,
    /// Winners, placement by placement, best first.
    pub winners: SmallVec<[Winner; INLINE_LEN]>,
    /// Open questions: the verdict on every other channel of the winner.
    pub other_channels: SmallVec<[OtherChannel; INLINE_LEN]>,
    /// Candidates dropped, by number of the reason.
    pub counts: [u32; Reason::TABLE_LEN],
    /// (offer, channel) pairs that were asked for and passed engagement policy.
    pub eligible: PairSet,
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
    /// Index into the offer's treatments.
    pub treatment: u16,
    /// How it was arbitrated, with the probability of the choice.
    pub factors: Factors,
    /// Open questions: the end of quiet hours.
    pub not_before: Option<Timestamp>,
}

impl Winner {
    /// The first moment it may be presented: now, or the end of quiet hours.
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
    /// Nothing ranked.
    pub fn empty() -> Self {
        Self {
            level: Level::Full,
            dropped: SmallVec::new(),
            placements: SmallVec::new(),
            winners: SmallVec::new(),
            other_channels: SmallVec::new(),
            counts: [0; Reason::TABLE_LEN],
            eligible: PairSet::default(),
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

/// A set of (offer, channel) pairs of one ruleset.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PairSet {
    channels: usize,
    words: SmallVec<[u64; PAIR_WORDS_LEN]>,
}

impl PairSet {
    /// The empty set for a number of offers and channels.
    pub fn new(offers: usize, channels: usize) -> Self {
        let words = (offers * channels).div_ceil(64);
        Self { channels, words: SmallVec::from_elem(0, words) }
    }

    /// Adds a pair.
    pub fn insert(&mut self, offer: OfferSlot, channel: ChannelSlot) {
        let at = offer.index() * self.channels + channel.index();
        if let Some(word) = self.words.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (OfferSlot, ChannelSlot)> + '_ {
        self.words.iter().enumerate().flat_map(move |(index, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                if rest == 0 {
                    return None;
                }
                let at = index * 64 + rest.trailing_zeros() as usize;
                rest &= rest - 1;
                Some((OfferSlot((at / self.channels) as u32), ChannelSlot((at % self.channels) as u16)))
            })
        })
    }
}
