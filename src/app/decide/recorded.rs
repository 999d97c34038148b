//! What is counted and kept of a decision.

use std::{sync::Arc, time::Duration};

use smallvec::SmallVec;

use crate::{
    decide::{Denied, Ranking},
    domain::{Decision, OfferSlot, PlacementId, Reason},
    store::{DecisionRecord, DeniedRecord},
};

use super::{
    super::{chosen, digest},
    DeniedList, Round, Worker,
};

impl Round<'_> {
    pub(super) fn observe(&self, decision: &Decision, ranking: &Ranking, elapsed: Duration) {
        let ruleset = &self.question.snapshot.ruleset;
        let dropped = Reason::ALL.iter().map(|r| (*r, ranking.counts[*r as usize])).filter(|(_, count)| *count > 0);
        let dropped: SmallVec<[(Reason, u32); Reason::TABLE_LEN]> = dropped.collect();
        let counted = (self.question.class, decision);
        self.app.metrics.decided(counted, &dropped, elapsed, |placement| {
            let slot = ruleset.placement_slots.get(&PlacementId::of(placement))?;
            Some(&*ruleset.channel(ruleset.placements[slot.index()].channel).name)
        });
    }

    /// Queues the record; false when it could not be.
    pub(super) fn record(
        self,
        decision: &Decision,
        ranking: &Ranking,
        denied: DeniedList,
        worker: &mut Worker,
    ) -> bool {
        let ruleset = &self.question.snapshot.ruleset;
        let exposed = self.exposure(ranking);
        let offer_id = |slot: &OfferSlot| ruleset.offer(*slot).id;
        let denied_record = |d: &Denied| DeniedRecord { offer: offer_id(&d.offer), record: d.record, reason: d.reason };
        let eligible = chosen::eligible(ruleset, ranking, &mut worker.pairs);
        let record = Box::new(DecisionRecord {
            id: self.id,
            now: self.now,
            matched: self.gathered.matched,
            ruleset: ruleset.hash,
            model_version: self.question.snapshot.models.version,
            signing_key: self.app.keys.signing_key(),
            reservations: worker.reservations.clone(),
            exhausted: worker.exhausted.iter().map(offer_id).collect(),
            denied: denied.iter().map(denied_record).collect(),
            keep_order: self.question.keep_order.iter().map(|kept| (offer_id(&kept.0), kept.1)).collect(),
            degraded: self.gathered.degraded,
            consistency_token: self.token.into_boxed_str(),
            public_url: Arc::clone(self.app.keys.public_url()),
            digest: digest::decision(decision),
            winners: chosen::winners(self.question.snapshot, ranking, self.now),
            eligible,
            exposed,
            pauses: Arc::clone(&self.question.snapshot.pauses),
            base_version: self.question.snapshot.base.version,
            request: self.question.request,
            customer: self.gathered.customer,
        });
        self.app.store.submit_decision(record)
    }

    /// Whether the customer now counts for the lift for the first time: there
    /// was marketing worth saying, to the treated and to the held out alike.
    fn exposure(&self, ranking: &Ranking) -> Option<bool> {
        let first = self.customer()?.exposed_at.is_none();
        (first && ranking.exposable).then_some(ranking.holdout_hit)
    }
}
