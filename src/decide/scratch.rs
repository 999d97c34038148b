//! Buffers of one worker.

use std::sync::Arc;

use crate::{
    domain::{Cells, ChannelSlot, OfferSet, OfferSlot, Reason},
    rules::IndexBuffers,
};

use super::{
    Inputs, PairSet,
    calendar::Zones,
    each::Records,
    history::History,
    plan::Plan,
    reach::{ChannelState, Suited},
    sieve::Sieve,
    trace::Detail,
};

/// Buffers of one worker, reused from decision to decision: ranking allocates
/// only when a ruleset is new or larger than any before, when more offers come
/// through than ever before, or while an earlier ranking is still held.
#[derive(Default)]
pub struct Scratch {
    pub(super) cells: Cells,
    pub(super) tables: Tables,
    /// The eligible pairs of the last ranking, to be filled again once nobody
    /// else holds them.
    pub(super) eligible: Option<Arc<PairSet>>,
}

/// What changes during one decision.
#[derive(Default)]
pub(super) struct Tables {
    /// The offers left after each step of stages 1 and 2.
    pub sieve: Sieve,
    /// What the index works with.
    pub index: IndexBuffers,
    /// Per channel, once asked for.
    pub channels: Vec<Option<ChannelState>>,
    /// Per language of the plan: how well it suits the person, 0 best.
    pub language_ranks: Vec<u16>,
    /// Per list of languages of the plan, once asked for: the best of them.
    pub suited: Vec<Option<Suited>>,
    /// Contacts and outcomes, counted.
    pub history: History,
    /// Offers whose budget is spent.
    pub exhausted: OfferSet,
    /// Offers that won a slot of the page.
    pub taken: OfferSet,
    /// Records for which an offer did.
    pub taken_records: Vec<(OfferSlot, u16)>,
    /// The records of offers that are proposed for each.
    pub records: Records,
    /// Offers of the question at hand that are still in.
    pub offers: OfferSet,
    /// How many offers of the question at hand are still in.
    pub offers_left: u32,
    /// Candidates of the question at hand.
    pub pool: Vec<Candidate>,
    /// Time zones met.
    pub zones: Zones,
}

impl Tables {
    /// Makes the tables those of a ruleset and forgets the decision before.
    pub fn prepare(&mut self, inputs: &Inputs<'_>, plan: &Plan) {
        self.channels.clear();
        self.channels.resize(plan.channels_len(), None);
        self.suited.clear();
        self.suited.resize(plan.treatments.lists_len, None);
        self.taken.reset(plan.offers.len);
        self.taken_records.clear();
        self.exhausted.reset(plan.offers.len);
        inputs.exhausted.iter().for_each(|offer| self.exhausted.insert(*offer));
    }
}

/// An (offer, channel) pair of the question at hand. There may be many: what
/// only winners and traces need is worked out again for them.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    /// The offer.
    pub offer: OfferSlot,
    /// The channel.
    pub channel: ChannelSlot,
    /// The record it speaks of: where it stands in the profile.
    pub record: Option<u16>,
    /// Index into the offer's treatments.
    pub treatment: u16,
    /// Where it stands.
    pub standing: Standing,
    /// What precisely dropped it.
    pub detail: Detail,
    /// What it is worth, from stage 5 on.
    pub net_priority: f64,
}

/// Where a candidate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Still in.
    Open,
    /// In, but a better channel of the same offer is too.
    Benched,
    /// It won.
    Won,
    /// Dropped.
    Dropped(Reason),
}

impl Candidate {
    /// A pair before anything is known of it.
    pub fn new(offer: OfferSlot, channel: ChannelSlot) -> Self {
        let (record, standing, detail) = (None, Standing::Open, Detail::None);
        Self { offer, channel, record, treatment: 0, standing, detail, net_priority: 0.0 }
    }

    /// Drops it.
    pub fn drop_for(&mut self, reason: Reason, detail: Detail) {
        self.standing = Standing::Dropped(reason);
        self.detail = detail;
    }

    /// Whether it is still in.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.standing == Standing::Open
    }
}
