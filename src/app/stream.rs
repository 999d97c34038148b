//! The use case of a question of a stream: as a single one, of the class
//! `batch`, with request ids of its own.

use std::sync::Arc;

use crate::{
    decide::Snapshot,
    domain::{Decision, Degraded, Intent, Request},
    telemetry::Class,
};

use super::{
    App, AppError,
    decide::Question,
    digest,
    idempotency::{Ticket, stream_ids::Claim},
};

/// A stream waits while so many decisions lie before the log: the queue has room
/// for sixteen times as many, and that is for single calls.
const LOG_QUEUE_LEN_MAX: usize = 4_096;

impl App {
    /// Answers a question of a stream, checked against `snapshot`. The same
    /// request id gets the same answer for ten minutes, unless it is a PREVIEW:
    /// a look leaves nothing that could be there twice.
    ///
    /// # Errors
    /// The request id was used with another body; its answer cannot be replayed.
    pub async fn decide_on_stream(
        self: &Arc<Self>,
        snapshot: Arc<Snapshot>,
        mut request: Request,
    ) -> Result<Arc<Decision>, AppError> {
        let question = |request| Question { snapshot: &snapshot, request, keep_order: &[], class: Class::Batch };
        if request.intent == Intent::Preview {
            return Ok(Arc::new(self.answer(question(request)).await));
        }
        let ticket = Ticket::of_stream(&request.request_id, digest::request(&request));
        let asking = match self.stream_ids.claim(&ticket, self.now()).await {
            Claim::New(asking) => asking,
            Claim::Answered(decision) => return Box::pin(self.replay_answer(decision)).await,
            Claim::OtherBody => {
                let id = &request.request_id;
                let why = format!("request id `{id}` was used on a stream with another body; use a new one");
                return Err(AppError::AlreadyExists(why));
            }
        };
        request.request_id = ticket.stored;
        let decision = self.answer(question(request)).await;
        // what the log does not have could not be replayed: it may be asked again
        if !decision.degraded.has(Degraded::LogUnavailable) {
            asking.settle(decision.id);
        }
        Ok(Arc::new(decision))
    }

    /// Whether the log takes decisions of streams without delay.
    pub fn log_keeps_up(&self) -> bool {
        self.store.waiting_decisions() < LOG_QUEUE_LEN_MAX
    }
}
