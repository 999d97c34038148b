//! The use case of a decision: gather, rank, claim, compose, record behind the
//! answer.

use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use crate::{
    decide::{self, Composed, Denied, Inputs, Ranking, Scratch, Snapshot},
    domain::{
        Decision, DecisionId, Degraded, Intent, OfferSlot, PlacementId, Profile, Reason, RecordRef, Request,
        Reservation, Timestamp,
    },
    store::{DecisionRecord, DeniedRecord, PairTable},
    telemetry::Class,
};

use super::{
    App, AppError, chosen,
    claims::Claimed,
    digest,
    gather::Gathered,
    idempotency::{Answer, Entry, Ticket},
    signing::{Purpose, RingSigner},
    token,
};

/// How often refused claims are answered by ranking again; then the slot's
/// fallback.
const CLAIMS_MAX: usize = 3;

thread_local! {
    static WORKER: RefCell<Worker> = RefCell::default();
}

/// Buffers of one worker thread.
#[derive(Default)]
struct Worker {
    scratch: Scratch,
    reservations: Vec<Reservation>,
    exhausted: Vec<OfferSlot>,
    /// Numbers the pairs of the ruleset that was used last.
    pairs: Arc<PairTable>,
}

/// A question with what it goes by.
pub(super) struct Question<'a> {
    /// Rules and models.
    pub snapshot: &'a Snapshot,
    /// The question.
    pub request: Request,
    /// Offers shown before that keep their order, and the record that each spoke of.
    pub keep_order: &'a [(OfferSlot, RecordRef)],
    /// What it counts as.
    pub class: Class,
}

impl App {
    /// Answers a question that was checked against `snapshot`. With a request
    /// id, the same question gets the same answer for ten minutes.
    ///
    /// # Errors
    /// The request id was used with another body; its answer cannot be replayed.
    pub async fn decide(
        self: &Arc<Self>,
        snapshot: Arc<Snapshot>,
        request: Request,
    ) -> Result<Arc<Decision>, AppError> {
        let question = |request| Question { snapshot: &snapshot, request, keep_order: &[], class: Class::Interactive };
        if request.request_id.is_empty() {
            return Ok(Arc::new(self.answer(question(request)).await));
        }
        let request_id = request.request_id.clone();
        let ticket = Ticket::of_question(&request_id, digest::request(&request));
        let entry = self.take_ticket(&ticket, &request_id)?;
        let intent = request.intent;
        let about = request.identities.iter().map(|one| one.hash).collect();
        let fresh = async { Ok(Answer::of(Arc::new(self.answer(question(request)).await), intent, about)) };
        // boxed, so that the usual way does not carry the size of this one
        Box::pin(self.once(&ticket, &entry, fresh)).await
    }

    /// The entry of a request id.
    ///
    /// # Errors
    /// The request id was used with another body.
    pub(super) fn take_ticket(&self, ticket: &Ticket, request_id: &str) -> Result<Arc<Entry>, AppError> {
        self.request_ids.entry(ticket, self.clock.now()).map_err(|()| {
            AppError::AlreadyExists(format!("request id `{request_id}` was used with another body; use a new one"))
        })
    }

    /// Gives the kept answer of a request id, or makes it with `fresh`.
    pub(super) async fn once(
        self: &Arc<Self>,
        ticket: &Ticket,
        entry: &Arc<Entry>,
        fresh: impl Future<Output = Result<Answer, AppError>>,
    ) -> Result<Arc<Decision>, AppError> {
        let erasures = self.request_ids.erasures();
        let answer = entry.answer.get_or_try_init(|| fresh).await;
        if self.request_ids.erasures() != erasures {
            self.request_ids.let_go(ticket, entry);
        }
        match answer {
            Ok(Answer::Kept(decision) | Answer::Unlogged(decision, _)) => Ok(Arc::clone(decision)),
            Ok(Answer::Logged(id)) => self.replay_answer(*id).await,
            Err(error) => {
                self.request_ids.forget(ticket, entry);
                Err(error)
            }
        }
    }

    /// Answers a question afresh.
    pub(super) async fn answer(&self, question: Question<'_>) -> Decision {
        let gathered = self.gather(&question.request).await;
        self.answer_gathered(question, gathered)
    }

    /// Answers a question with what was gathered for it.
    pub(super) fn answer_gathered(&self, question: Question<'_>, gathered: Gathered) -> Decision {
        WORKER.with(|worker| match worker.try_borrow_mut() {
            Ok(mut worker) => self.decide_now(question, gathered, &mut worker),
            Err(_) => self.decide_now(question, gathered, &mut Worker::default()),
        })
    }

    /// A visitor for a question that names nobody. INVARIANT: such a one is not
    /// among the identities, unlike one that came with the question; the body of
    /// the question stays what the caller sent.
    fn welcome<'a>(&self, mut question: Question<'a>, id: DecisionId) -> Question<'a> {
        let request = &mut question.request;
        if request.identities.is_empty() && request.intent == Intent::Present {
            request.visitor = Some(self.keys.visitor_of(id));
        }
        question
    }

    fn decide_now(&self, question: Question<'_>, gathered: Gathered, worker: &mut Worker) -> Decision {
        let started = Instant::now();
        let now = match (question.request.intent, question.request.as_of) {
            (Intent::Preview, Some(as_of)) => as_of,
            _ => self.clock.now(),
        };
        let id = self.clock.decision_id(now);
        let question = self.welcome(question, id);
        let round = Round {
            app: self,
            now,
            id,
            token: token::of_version(gathered.customer.as_ref().map(|c| c.profile.version)),
            question,
            gathered,
        };
        // INVARIANT: what is large (a ranking) is made where it stays: it is not
        // handed from function to function
        let mut denied = DeniedList::new();
        let mut refusals = 0;
        round.read_open(worker);
        let mut ranking = round.rank(worker, &denied);
        let mut composed = round.compose(worker, &denied, &ranking);
        while refusals <= round.refusals_max()
            && let lost = round.lost(&ranking, &mut composed)
            && !lost.is_empty()
        {
            refusals += 1;
            if refusals > round.refusals_max() {
                denied = round.everything();
            } else {
                denied.extend(lost);
                round.read_open(worker);
            }
            ranking = round.rank(worker, &denied);
            composed = round.compose(worker, &denied, &ranking);
        }
        let mut decision = composed.decision;
        if round.question.request.intent == Intent::Preview {
            return decision;
        }
        round.observe(&decision, &ranking, started.elapsed());
        if !round.record(&decision, &ranking, denied, worker) {
            decision.degraded.insert(Degraded::LogUnavailable);
        }
        decision
    }
}

/// One question on its way through the pipeline.
struct Round<'a> {
    app: &'a App,
    now: Timestamp,
    id: DecisionId,
    token: String,
    question: Question<'a>,
    gathered: Gathered,
}

type DeniedList = SmallVec<[Denied; 4]>;

impl Round<'_> {
    fn read_open(&self, worker: &mut Worker) {
        let buffers = (&mut worker.reservations, &mut worker.exhausted);
        self.app.read_open(self.customer(), self.question.snapshot, self.now, buffers);
    }

    fn rank(&self, worker: &mut Worker, denied: &[Denied]) -> Ranking {
        let open = (&worker.reservations[..], &worker.exhausted[..]);
        decide::rank(&self.inputs(open, denied, &self.signer()), &mut worker.scratch)
    }

    fn compose(&self, worker: &mut Worker, denied: &[Denied], ranking: &Ranking) -> Composed {
        let open = (&worker.reservations[..], &worker.exhausted[..]);
        decide::compose(&self.inputs(open, denied, &self.signer()), ranking, &mut worker.scratch)
    }

    fn signer(&self) -> RingSigner<'_> {
        self.app.keys.newest(match self.question.request.intent {
            Intent::Present => Purpose::Present,
            Intent::Preview => Purpose::Preview,
        })
    }

    fn inputs<'b>(
        &'b self,
        (reservations, exhausted): (&'b [Reservation], &'b [OfferSlot]),
        denied: &'b [Denied],
        signer: &'b RingSigner<'_>,
    ) -> Inputs<'b> {
        Inputs {
            snapshot: self.question.snapshot,
            profile: self.gathered.customer.as_ref().map_or(&self.app.anonymous, |c| &c.profile),
            matched: self.gathered.matched,
            request: &self.question.request,
            now: self.now,
            decision_id: self.id,
            reservations,
            exhausted,
            denied,
            keep_order: self.question.keep_order,
            degraded: self.gathered.degraded,
            consistency_token: &self.token,
            signer,
        }
    }

    /// How often another ranking may follow a refused claim or failed content;
    /// after that, one in which everything is denied.
    fn refusals_max(&self) -> usize {
        CLAIMS_MAX + self.question.request.placements.len()
    }

    /// Winners that fell out: their content failed, or a claim was refused.
    fn lost(&self, ranking: &Ranking, composed: &mut Composed) -> Vec<Denied> {
        match composed.failed.is_empty() {
            true => self.claim(ranking),
            false => std::mem::take(&mut composed.failed),
        }
    }

    /// Claims caps and budgets for the winners; answers who was refused.
    fn claim(&self, ranking: &Ranking) -> Vec<Denied> {
        if self.question.request.intent == Intent::Preview || ranking.winners.is_empty() {
            return Vec::new();
        }
        match self.app.claim_winners(self.question.snapshot, self.customer(), ranking, (self.id, self.now)) {
            Claimed::All => Vec::new(),
            Claimed::Refused(offers) => {
                let denied = |(offer, record)| Denied { offer, record, reason: Reason::ClaimRefused };
                offers.into_iter().map(denied).collect()
            }
        }
    }

    fn everything(&self) -> DeniedList {
        let offers = self.question.snapshot.ruleset.offers.iter();
        let denied = |slot| Denied { offer: slot, record: RecordRef::NONE, reason: Reason::ClaimRefused };
        offers.map(|o| denied(o.slot)).collect()
    }

    fn customer(&self) -> Option<&Profile> {
        self.gathered.customer.as_ref().map(|c| &c.profile)
    }

    fn observe(&self, decision: &Decision, ranking: &Ranking, elapsed: Duration) {
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
    fn record(self, decision: &Decision, ranking: &Ranking, denied: DeniedList, worker: &mut Worker) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Every layer of the transport moves the future of a call; 2 KiB is what
    /// a hot decision may weigh.
    #[test]
    fn the_future_of_a_decision_is_small() {
        fn size_of_future<'a, F: Future>(_: impl Fn(&'a Arc<App>, Arc<Snapshot>, Request) -> F) -> usize {
            size_of::<F>()
        }
        let bytes = size_of_future(App::decide);
        assert!(bytes <= 2_048, "{bytes}");
    }
}
