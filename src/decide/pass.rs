//! One decision on its way through the stages.

use std::sync::Arc;

use crate::{
    domain::{DroppedInput, Facts, OfferSlot, PlacementStatus, Reason, SilenceReason, Stage, Trace, Verdict},
    rules::Ruleset,
};

use super::{
    Inputs, PairSet, RankedPlacement, Ranking,
    explore::Stream,
    facts::{self, Profiling},
    pauses::Paused,
    plan::Plan,
    question::Question,
    reach,
    scratch::{Scratch, Standing, Tables},
    trace,
};

/// One decision on its way through the stages.
pub(super) struct Pass<'a> {
    pub inputs: &'a Inputs<'a>,
    pub rules: &'a Ruleset,
    pub plan: &'a Plan,
    pub paused: &'a Paused,
    pub facts: Facts<'a>,
    pub tables: &'a mut Tables,
    pub stream: Stream,
    pub ranking: Ranking,
    /// Where the eligible pairs are kept, to be filled again.
    spare: &'a mut Option<Arc<PairSet>>,
    /// The furthest a candidate of the question at hand got.
    pub furthest: SilenceReason,
}

impl<'a> Pass<'a> {
    /// Gathers what every stage reads: facts, languages, the past.
    pub fn begin(inputs: &'a Inputs<'a>, scratch: &'a mut Scratch) -> Self {
        let rules = &inputs.snapshot.ruleset;
        let (plan, paused) = (&*inputs.snapshot.plan, &*inputs.snapshot.paused);
        let Scratch { cells, tables, eligible: spare } = scratch;
        tables.prepare(inputs, plan);
        rules.index.begin(&mut tables.index);
        let profiling = Profiling::of(inputs);
        facts::fill(inputs, profiling, &plan.blank, cells);
        tables.history.gather(inputs, plan);
        let mut eligible = spare.take().unwrap_or_default();
        PairSet::reset(&mut eligible, rules.offers.len(), rules.channels.len());
        let mut ranking = Ranking::with(eligible);
        ranking.level = profiling.level();
        ranking.dropped.extend_from_slice(profiling.dropped());
        if facts::hides_unverified(inputs) {
            ranking.dropped.push(DroppedInput::Verified);
        }
        ranking.verdicts = (inputs.request.trace == Trace::Full).then(Box::default);
        let facts = facts::over(inputs, cells);
        let stream = Stream::of(inputs.decision_id);
        let furthest = SilenceReason::NoOffers;
        let mut pass = Self { inputs, rules, plan, paused, facts, tables, stream, ranking, spare, furthest };
        reach::rank_languages(&mut pass);
        pass
    }

    /// The answer.
    pub fn finish(self) -> Ranking {
        *self.spare = Some(Arc::clone(&self.ranking.eligible));
        self.ranking
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

    /// Lists an offer, dropped before channels count, in the full trace.
    pub fn list_offer(&mut self, question: &Question<'_>, offer: OfferSlot, reason: Reason) {
        if self.ranking.verdicts.is_some() {
            let verdict = trace::offer_verdict(self, question, offer, reason);
            self.push(verdict);
        }
    }

    /// Lists a record of an offer, dropped before channels count.
    pub fn list_record(&mut self, question: &Question<'_>, (offer, record): (OfferSlot, u16), reason: Reason) {
        if self.ranking.verdicts.is_some() {
            let verdict = trace::offer_verdict(self, question, offer, reason);
            self.push(Verdict { record_key: trace::record_key(self.inputs.profile, Some(record)), ..verdict });
        }
    }

    /// Counts what became of the question's candidates.
    fn close(&mut self, question: &Question<'_>) {
        let pool = std::mem::take(&mut self.tables.pool);
        let mut counts = [0_u32; Reason::TABLE_LEN];
        for candidate in &pool {
            if let Standing::Dropped(reason) = candidate.standing {
                counts[reason as usize] += 1;
            }
        }
        for reason in Reason::ALL {
            self.count(*reason, counts[*reason as usize]);
        }
        if self.ranking.verdicts.is_some() {
            for candidate in &pool {
                let verdict = trace::verdict(self, question, candidate);
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

    /// Counts so many candidates dropped for a reason.
    pub fn count(&mut self, reason: Reason, dropped: u32) {
        if dropped > 0 {
            self.ranking.counts[reason as usize] += dropped;
            self.furthest = self.furthest.max(silence(reason));
        }
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
