//! The use case of a question of a stream: as a single one, of the class
//! `batch`, with request ids of its own.

use std::sync::Arc;

use crate::{
    decide::Snapshot,
    domain::{Decision, DecisionId, Degraded, Intent, Request},
    telemetry::Class,
};

use super::{
    App, AppError,
    decide::Question,
    digest,
    gather::Gathered,
    idempotency::{Ticket, stream_ids::Claim},
    terms::Terms,
};

/// A stream waits while so many decisions lie before the log: the queue has room
/// for sixteen times as many, and that is for single calls.
const LOG_QUEUE_LEN_MAX: usize = 4_096;

/// A stream of events waits while so many records of the log are not in the
/// embedded store: what is in memory until then stays bounded.
const UNMATERIALISED_MAX: u64 = 150_000;

impl App {
    /// Answers a question of a stream, checked against `snapshot`. The same
    /// request id gets the same answer for ten minutes, unless it is a PREVIEW:
    /// a look leaves nothing that could be there twice.
    ///
    /// An answer of a stream is taken for final: one that the log would not have,
    /// or that was made without the profile, is not given.
    ///
    /// # Errors
    /// The request id was used with another body; its answer cannot be replayed;
    /// not now, for the log takes nothing or the profile cannot be read.
    pub async fn decide_on_stream(
        self: &Arc<Self>,
        snapshot: Arc<Snapshot>,
        mut request: Request,
    ) -> Result<Arc<Decision>, AppError> {
        let terms = Terms::default();
        if request.intent == Intent::Preview {
            let gathered = self.gather_seeing(&request).await?;
            let question = Question { snapshot: &snapshot, request, keep_order: &[], class: Class::Batch, terms };
            return Ok(Arc::new(self.answer_gathered(question, gathered).await));
        }
        let ticket = Ticket::of_stream(&request.request_id, digest::request(&request));
        let asking = loop {
            match self.stream_ids.claim(&ticket, self.now()).await {
                Claim::New(asking) => break asking,
                Claim::Answered(decision) => match Box::pin(self.replay_answer(decision)).await {
                    // the log lost it, or never had it: it is decided afresh
                    Err(AppError::NotFound(_)) => self.stream_ids.forget(&ticket, decision),
                    replayed => return replayed,
                },
                Claim::OtherBody => {
                    let id = &request.request_id;
                    let why = format!("request id `{id}` was used on a stream with another body; use a new one");
                    return Err(AppError::AlreadyExists(why));
                }
            }
        };
        // before anything is reserved
        if self.store.log_is_full() {
            return Err(not_recorded());
        }
        request.request_id = ticket.stored;
        let doubtful = self.store.log_is_doubtful();
        let gathered = self.gather_seeing(&request).await?;
        let customer = gathered.customer.as_ref().map(|customer| customer.profile.key);
        let question = Question { snapshot: &snapshot, request, keep_order: &[], class: Class::Batch, terms };
        let decision = self.answer_gathered(question, gathered).await;
        let lost = decision.degraded.has(Degraded::LogUnavailable);
        if lost || doubtful && !self.is_recorded(decision.id).await {
            // what it reserved must not keep the next answer from being given
            for presentation in decision.placements.iter().flat_map(|placement| &placement.presentations) {
                self.store.ledger().release(customer, decision.id, (presentation.offer_id, None));
            }
            return Err(not_recorded());
        }
        asking.settle(decision.id);
        Ok(Arc::new(decision))
    }

    /// Gathers, and answers only when it could be read who is asked about.
    async fn gather_seeing(&self, request: &Request) -> Result<Gathered, AppError> {
        let gathered = self.gather(request, Terms::default()).await;
        if gathered.degraded.has(Degraded::ProfileUnavailable) {
            let why = "the profile could not be read within `time_budget_ms`: ask again";
            return Err(AppError::Unavailable(why.to_owned()));
        }
        Ok(gathered)
    }

    /// Whether the log has a decision that was just queued.
    async fn is_recorded(&self, id: DecisionId) -> bool {
        matches!(self.store.decision(id).await, Ok(Some(_)))
    }

    /// Whether the log takes decisions of streams without delay.
    pub fn log_keeps_up(&self) -> bool {
        self.store.waiting_decisions() < LOG_QUEUE_LEN_MAX && !self.store.log_is_full()
    }
}

impl App {
    /// Whether the embedded store keeps up with what is recorded: streams of
    /// events wait until it does, so that what is not stored yet stays bounded.
    pub fn store_keeps_up(&self) -> bool {
        self.store.unmaterialised() < UNMATERIALISED_MAX || !self.store.healthy()
    }
}

fn not_recorded() -> AppError {
    let why = "the event log takes no decisions: free disk space or raise `log_bytes_max`, then ask again";
    AppError::Unavailable(why.to_owned())
}
