//! The use case of a decision: gather, rank, claim, compose, record behind the
//! answer.

mod recorded;
mod waiting;

use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use crate::{
    decide::{self, Composed, Denied, Inputs, Ranking, Scratch, Snapshot},
    domain::{
        Decision, DecisionId, Degraded, Intent, OfferSlot, Profile, Reason, RecordRef, Request, Reservation, Timestamp,
    },
    store::PairTable,
    telemetry::Class,
};

use super::{
    App, AppError,
    asking::Asking,
    claims::{Claimed, Claiming},
    digest,
    gather::{Gathered, time_budget_ms},
    idempotency::{Answer, Entry, Ticket},
    signing::{Purpose, RingSigner},
    terms::Terms,
};

use waiting::{Step, Turn, Waiting};

/// How often refused claims are answered by ranking again; then the slot's
/// fallback.
const CLAIMS_MAX: usize = 3;
/// Share of the time a caller waits that claims over all replicas may take, percent:
/// the rest is for ranking again.
const CLAIMS_SHARE_PERCENT: u64 = 75;

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
    /// On what terms it is answered.
    pub terms: Terms,
}

impl App {
    /// Answers a question that was checked against `snapshot`. With a request
    /// id, the same question gets the same answer for ten minutes.
    ///
    /// # Errors
    /// The request id was used with another body; its answer cannot be replayed.
    pub fn decide(
        self: &Arc<Self>,
        snapshot: Arc<Snapshot>,
        request: Request,
    ) -> impl Future<Output = Result<Arc<Decision>, AppError>> {
        self.decide_on(snapshot, request, Terms::default())
    }

    /// The same, on terms.
    ///
    /// # Errors
    /// As [`App::decide`].
    pub async fn decide_on(
        self: &Arc<Self>,
        snapshot: Arc<Snapshot>,
        request: Request,
        terms: Terms,
    ) -> Result<Arc<Decision>, AppError> {
        let class = Class::Interactive;
        let question = |request| Question { snapshot: &snapshot, request, keep_order: &[], class, terms };
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
        let gathered = self.gather(&question.request, question.terms).await;
        match with_worker(|worker| self.decide_now(question, gathered, worker)) {
            Step::Decided(decision) => decision,
            // boxed, so that the usual way does not carry the size of this one
            Step::Asks(waiting) => Box::pin(asked(waiting)).await,
        }
    }

    /// Answers a question with what was gathered for it. Waits only where an exact
    /// cap or budget is at stake that this process does not count.
    pub(super) async fn answer_gathered(&self, question: Question<'_>, gathered: Gathered) -> Decision {
        match with_worker(|worker| self.decide_now(question, gathered, worker)) {
            Step::Decided(decision) => decision,
            Step::Asks(waiting) => Box::pin(asked(waiting)).await,
        }
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

    fn decide_now<'a>(&'a self, question: Question<'a>, gathered: Gathered, worker: &mut Worker) -> Step<'a> {
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
            started,
            token: self.token_of(gathered.customer.as_ref().map(|c| c.profile.version), None),
            question,
            gathered,
        };
        // INVARIANT: what is large (a ranking) is made where it stays: it is not
        // handed from function to function
        let mut turn = Turn::default();
        round.read_open(worker);
        let mut ranking = round.rank(worker, &turn.denied);
        let mut composed = round.compose(worker, &turn.denied, &ranking);
        match round.settle(worker, &mut turn, (&mut ranking, &mut composed)) {
            Some(asking) => {
                let (reservations, exhausted) =
                    (std::mem::take(&mut worker.reservations), std::mem::take(&mut worker.exhausted));
                let asks = Some(asking);
                Step::Asks(Box::new(Waiting { round, turn, ranking, composed, reservations, exhausted, asks }))
            }
            None => Step::Decided(round.finish(worker, turn, (&ranking, composed))),
        }
    }
}

/// Runs with the buffers of this worker thread.
fn with_worker<R>(run: impl FnOnce(&mut Worker) -> R) -> R {
    WORKER.with(|worker| match worker.try_borrow_mut() {
        Ok(mut worker) => run(&mut worker),
        Err(_) => run(&mut Worker::default()),
    })
}

/// Asks as often as it takes to decide.
async fn asked(mut waiting: Box<Waiting<'_>>) -> Decision {
    loop {
        let answered = waiting.ask().await;
        match with_worker(|worker| answered.go_on(worker)) {
            Step::Decided(decision) => return decision,
            Step::Asks(again) => waiting = again,
        }
    }
}

/// One question on its way through the pipeline.
struct Round<'a> {
    app: &'a App,
    started: Instant,
    now: Timestamp,
    id: DecisionId,
    token: String,
    question: Question<'a>,
    gathered: Gathered,
}

type DeniedList = SmallVec<[Denied; 4]>;

impl<'a> Round<'a> {
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

    /// Claims for the winners and ranks again without who was refused, until every
    /// winner has what it needs; stops where the store must be asked.
    fn settle(
        &self,
        worker: &mut Worker,
        turn: &mut Turn,
        (ranking, composed): (&mut Ranking, &mut Composed),
    ) -> Option<Box<Asking<'a>>> {
        while turn.refusals <= self.refusals_max() {
            let lost = match composed.failed.is_empty() {
                true => match self.claim(ranking, turn.is_blind) {
                    Claimed::All => return None,
                    Claimed::Refused(lost) => lost,
                    Claimed::Ask(asking) => return Some(asking),
                },
                false => std::mem::take(&mut composed.failed),
            };
            self.again(worker, turn, (lost, &mut *ranking, &mut *composed));
        }
        None
    }

    /// Ranks again without those that fell out: their content failed, or a claim was
    /// refused.
    fn again(
        &self,
        worker: &mut Worker,
        turn: &mut Turn,
        (lost, ranking, composed): (Vec<Denied>, &mut Ranking, &mut Composed),
    ) {
        turn.refusals += 1;
        if turn.refusals > self.refusals_max() {
            turn.denied = self.everything();
        } else {
            turn.denied.extend(lost);
            self.read_open(worker);
        }
        *ranking = self.rank(worker, &turn.denied);
        *composed = self.compose(worker, &turn.denied, ranking);
    }

    /// Claims caps and budgets for the winners.
    fn claim(&self, ranking: &Ranking, is_blind: bool) -> Claimed<'a> {
        if self.question.request.intent == Intent::Preview || ranking.winners.is_empty() {
            return Claimed::All;
        }
        let (snapshot, customer) = (self.question.snapshot, self.customer());
        let (app, decision, now) = (self.app, self.id, self.now);
        app.claim_winners(Claiming { snapshot, customer, ranking, decision, now, is_blind })
    }

    /// Until when claims may take: most of what the caller waits, and never longer
    /// than that from when the call came.
    fn claims_until(&self) -> Instant {
        let budget_ms = time_budget_ms(&self.question.request);
        let share = self.started + Duration::from_millis(budget_ms * CLAIMS_SHARE_PERCENT / 100);
        share.min(self.question.terms.until(Duration::from_millis(budget_ms)))
    }

    /// Tells of the decision, records it and hands it out.
    fn finish(self, worker: &mut Worker, turn: Turn, (ranking, composed): (&Ranking, Composed)) -> Decision {
        let mut decision = composed.decision;
        if self.question.request.intent == Intent::Preview {
            return decision;
        }
        self.observe(&decision, ranking, self.started.elapsed());
        if !self.record(&decision, ranking, turn.denied, worker) {
            decision.degraded.insert(Degraded::LogUnavailable);
        }
        decision
    }

    fn everything(&self) -> DeniedList {
        let offers = self.question.snapshot.ruleset.offers.iter();
        let denied = |slot| Denied { offer: slot, record: RecordRef::NONE, reason: Reason::ClaimRefused };
        offers.map(|o| denied(o.slot)).collect()
    }

    fn customer(&self) -> Option<&Profile> {
        self.gathered.customer.as_ref().map(|c| &c.profile)
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
