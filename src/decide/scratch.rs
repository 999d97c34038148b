//! Buffers of one worker, and what one decision carries from stage to stage.

use crate::{
    domain::{
        Cell, ChannelSlot, Factors, Facts, OfferSlot, PlacementStatus, Reason, SilenceReason, Stage, Timestamp, Trace,
        Verdict,
    },
    rules::{Placement, Ruleset},
};

use super::{
    Inputs, PairSet, RankedPlacement, Ranking,
    calendar::Zones,
    explore::Stream,
    facts::{self, Profiling},
    history::History,
    plan::Plan,
    reach::{self, ChannelState},
    trace::{self, Detail},
};

/// Buffers of one worker, reused from decision to decision: ranking allocates
/// only when a ruleset is new or larger than any before.
#[derive(Default)]
pub struct Scratch {
    pub(super) cells: Vec<Cell>,
    pub(super) tables: Tables,
}

/// What changes during one decision.
#[derive(Default)]
pub(super) struct Tables {
    /// Per offer.
    pub memos: Vec<OfferMemo>,
    /// Per channel, once asked for.
    pub channels: Vec<Option<ChannelState>>,
    /// Per language of the plan: how well it suits the person, 0 best.
    pub language_ranks: Vec<u16>,
    /// What the gates read.
    pub gated: Vec<Option<i64>>,
    /// Contacts and outcomes, counted.
    pub history: History,
    /// Offers of the question at hand that are still in.
    pub offers: Vec<OfferSlot>,
    /// Candidates of the question at hand.
    pub pool: Vec<Candidate>,
    /// Time zones met.
    pub zones: Zones,
}

/// What is known of an offer for the whole decision.
#[derive(Clone, Copy, Default)]
pub(super) struct OfferMemo {
    /// Engagement policy, once evaluated: the reason it failed or none.
    pub engagement: Option<Option<Reason>>,
    /// Its budget is spent.
    pub exhausted: bool,
    /// It was denied after ranking.
    pub denied: Option<Reason>,
    /// It won a slot of the page.
    pub taken: bool,
}

/// An (offer, channel) pair of the question at hand.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    /// The offer.
    pub offer: OfferSlot,
    /// The channel.
    pub channel: ChannelSlot,
    /// Index into the offer's treatments.
    pub treatment: u16,
    /// Where it stands.
    pub standing: Standing,
    /// What precisely dropped it.
    pub detail: Detail,
    /// The end of quiet hours it has to wait for.
    pub not_before: Option<Timestamp>,
    /// How it is arbitrated, from stage 5 on.
    pub factors: Factors,
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

/// A place that asks, or the open question.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    /// The placement; `None` for the open question.
    pub placement: Option<&'a Placement>,
    /// The most winners.
    pub slots: usize,
}

/// What a place that asks comes to.
pub(super) enum Asked<'a> {
    /// A declared placement, or the open question.
    Known(Question<'a>),
    /// A placement that is not declared.
    Unknown,
}

/// The questions of a request, in its order.
pub(super) struct Questions<'a> {
    inputs: &'a Inputs<'a>,
    next: usize,
}

impl<'a> Questions<'a> {
    /// Those of a request; a single open one when it names no placement.
    pub fn of(inputs: &'a Inputs<'a>) -> Self {
        Self { inputs, next: 0 }
    }
}

impl<'a> Iterator for Questions<'a> {
    type Item = Asked<'a>;

    fn next(&mut self) -> Option<Asked<'a>> {
        let at = self.next;
        self.next += 1;
        let asks = &self.inputs.request.placements;
        if asks.is_empty() && at == 0 {
            return Some(Asked::Known(Question { placement: None, slots: 1 }));
        }
        let ask = asks.get(at)?;
        let rules = &self.inputs.snapshot.ruleset;
        let placement = rules.placement_slots.get(&ask.id).and_then(|slot| rules.placements.get(slot.index()));
        Some(placement.map_or(Asked::Unknown, |placement| {
            let wanted = if ask.count == 0 { placement.slots } else { ask.count.min(placement.slots) };
            Asked::Known(Question { placement: Some(placement), slots: usize::from(wanted) })
        }))
    }
}

/// One decision on its way through the stages.
pub(super) struct Pass<'a> {
    pub inputs: &'a Inputs<'a>,
    pub rules: &'a Ruleset,
    pub plan: &'a Plan,
    pub facts: Facts<'a>,
    pub tables: &'a mut Tables,
    pub stream: Stream,
    pub ranking: Ranking,
    /// The furthest a candidate of the question at hand got.
    pub furthest: SilenceReason,
}

impl Scratch {
    /// Makes the tables those of a ruleset and forgets the decision before.
    pub(super) fn prepare(&mut self, ruleset: &Ruleset) {
        let tables = &mut self.tables;
        tables.memos.clear();
        tables.memos.resize(ruleset.offers.len(), OfferMemo::default());
        tables.channels.clear();
        tables.channels.resize(ruleset.channels.len(), None);
    }
}

impl Tables {
    /// Notes spent budgets and denied offers.
    fn remember(&mut self, inputs: &Inputs<'_>) {
        for offer in inputs.exhausted {
            if let Some(memo) = self.memos.get_mut(offer.index()) {
                memo.exhausted = true;
            }
        }
        for denied in inputs.denied {
            if let Some(memo) = self.memos.get_mut(denied.offer.index()) {
                memo.denied = Some(denied.reason);
            }
        }
    }
}

impl<'a> Pass<'a> {
    /// Gathers what every stage reads: facts, languages, the past.
    pub fn begin(inputs: &'a Inputs<'a>, scratch: &'a mut Scratch) -> Self {
        let rules = &inputs.snapshot.ruleset;
        scratch.prepare(rules);
        let Scratch { cells, tables } = scratch;
        let plan = &*inputs.snapshot.plan;
        let profiling = Profiling::of(inputs);
        facts::fill(inputs, profiling, &plan.blank, cells);
        tables.history.gather(inputs, plan);
        tables.remember(inputs);
        let mut ranking = Ranking::empty();
        ranking.level = profiling.level();
        ranking.dropped.extend_from_slice(profiling.dropped());
        ranking.eligible = PairSet::new(rules.offers.len(), rules.channels.len());
        ranking.verdicts = (inputs.request.trace == Trace::Full).then(Box::default);
        let facts = facts::over(inputs, cells);
        plan.gates.read(&facts, &mut tables.gated);
        let stream = Stream::of(inputs.decision_id);
        let furthest = SilenceReason::NoOffers;
        let mut pass = Self { inputs, rules, plan, facts, tables, stream, ranking, furthest };
        reach::rank_languages(&mut pass);
        pass
    }

    /// Answers a placement that is not declared.
    pub fn answer_unknown(&mut self) {
        self.ranking.placements.push(RankedPlacement {
            placement: None,
            status: PlacementStatus::UnknownPlacement,
            silence: None,
            first: self.ranking.winners.len() as u16,
            len: 0,
        });
    }

    /// Answers the question at hand and makes ready for the next.
    pub fn answer(&mut self, question: &Question<'_>) {
        self.close(question);
        let before = self.ranking.placements.iter().map(|p| p.len).sum();
        let len = self.ranking.winners.len() as u16 - before;
        let fallback = question.placement.is_some_and(|p| p.fallback.is_some());
        self.ranking.placements.push(RankedPlacement {
            placement: question.placement.map(|p| p.slot),
            status: match len {
                0 if fallback => PlacementStatus::Fallback,
                0 => PlacementStatus::Empty,
                _ => PlacementStatus::Ok,
            },
            silence: (len == 0).then_some(self.furthest),
            first: before,
            len,
        });
        self.furthest = SilenceReason::NoOffers;
    }

    /// Drops an offer before channels count.
    pub fn drop_offer(&mut self, question: &Question<'_>, offer: OfferSlot, reason: Reason) {
        self.count(reason);
        self.list_offer(question, offer, reason);
    }

    /// Lists an offer in the full trace, uncounted.
    pub fn list_offer(&mut self, question: &Question<'_>, offer: OfferSlot, reason: Reason) {
        if self.ranking.verdicts.is_some() {
            let verdict = trace::offer_verdict(self.rules, question, offer, reason);
            self.push(verdict);
        }
    }

    /// Counts what became of the question's candidates.
    fn close(&mut self, question: &Question<'_>) {
        let pool = std::mem::take(&mut self.tables.pool);
        for candidate in &pool {
            if let Standing::Dropped(reason) = candidate.standing {
                self.count(reason);
            }
            if self.ranking.verdicts.is_some() {
                let verdict = trace::verdict(self.rules, question, candidate);
                self.push(verdict);
            }
        }
        self.tables.pool = pool;
    }

    fn push(&mut self, verdict: Verdict) {
        if let Some(verdicts) = &mut self.ranking.verdicts {
            verdicts.push(verdict);
        }
    }

    fn count(&mut self, reason: Reason) {
        self.ranking.counts[reason as usize] += 1;
        self.furthest = self.furthest.max(silence(reason));
    }
}

/// How far a candidate got that was dropped for this reason. Content that could
/// not be made for this person counts as an offer that does not fit them.
fn silence(reason: Reason) -> SilenceReason {
    match (reason, reason.stage()) {
        (Reason::Holdout, _) => SilenceReason::Holdout,
        (Reason::RenderFailed, _) => SilenceReason::NothingEligible,
        (Reason::Duplicate, _) => SilenceReason::OnPageAlready,
        (_, Stage::Retrieve) => SilenceReason::NoOffers,
        (_, Stage::Engagement) => SilenceReason::NothingEligible,
        (_, Stage::Reach) => SilenceReason::NotReachable,
        (_, Stage::Contact) => SilenceReason::ContactPolicy,
        (_, Stage::Score | Stage::Arbitrate | Stage::Compose) => SilenceReason::NotWorthIt,
    }
}

impl Candidate {
    /// A pair before anything is known of it.
    pub fn new(offer: OfferSlot, channel: ChannelSlot) -> Self {
        Self {
            offer,
            channel,
            treatment: 0,
            standing: Standing::Open,
            detail: Detail::None,
            not_before: None,
            factors: Factors::default(),
        }
    }

    /// Drops it.
    pub fn drop_for(&mut self, reason: Reason, detail: Detail) {
        self.standing = Standing::Dropped(reason);
        self.detail = detail;
    }

    /// Whether it is still in.
    pub fn is_open(&self) -> bool {
        self.standing == Standing::Open
    }
}
