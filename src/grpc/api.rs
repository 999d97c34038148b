//! The calls, from wire message to wire message. Both transports use it.

use std::{pin::pin, sync::Arc};

use tokio::sync::mpsc;
use tonic::Status;

use crate::{
    app::{App, AppError, Explanation, Terms, Violation},
    decide::Snapshot,
    domain::{Currency, Decision, DecisionId, Timestamp, Trace, View},
    proto,
};

use super::{
    admission::{self, Entering, Offered},
    caller::Caller,
    status,
    traffic::Traffic,
};

use super::convert::{
    Reading, customer,
    decision::{self, Shown},
    event, problem,
    reading::NAME_BYTES_MAX,
    request, ruleset, wire,
};

/// Exported decisions that wait for a slow reader.
const EXPORT_QUEUE_LEN_MAX: usize = 64;

/// The calls over one app.
#[derive(Clone)]
pub struct Api {
    app: Arc<App>,
    traffic: Arc<Traffic>,
}

type Answer<T> = Result<T, Status>;

impl Api {
    /// Over this app.
    pub fn new(app: Arc<App>) -> Self {
        Self { app, traffic: Arc::default() }
    }

    /// What is being answered.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// The app behind it.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    pub(super) fn read<T>(
        &self,
        snapshot: &Snapshot,
        read: impl FnOnce(Reading<'_>) -> Result<T, AppError>,
    ) -> Result<T, AppError> {
        let identity = |kind: &str, value: &str| self.app.identity(snapshot, kind, value);
        read(Reading::new(&snapshot.ruleset, &identity))
    }

    pub(super) fn read_of<T>(
        &self,
        caller: Caller,
        snapshot: &Snapshot,
        read: impl FnOnce(Reading<'_>) -> Result<T, AppError>,
    ) -> Result<T, AppError> {
        self.read(snapshot, |reading| read(reading.of(caller)))
    }

    /// Answers a question.
    ///
    /// # Errors
    /// As [`App::decide`]; every violation.
    pub async fn decide(&self, caller: Caller, wire: proto::DecideRequest) -> Answer<proto::DecideResponse> {
        self.decide_and(caller, wire, Terms::default(), decision::write).await
    }

    /// The same, once it is its turn.
    ///
    /// # Errors
    /// As [`Api::decide`]; there is too much to do, or the caller has stopped
    /// waiting.
    pub async fn decide_in_turn(
        &self,
        entering: Option<Entering>,
        caller: Caller,
        wire: proto::DecideRequest,
    ) -> Answer<proto::DecideResponse> {
        let Some(entering) = entering else { return self.decide(caller, wire).await };
        let urgency = admission::of_question(&self.app.current().ruleset, caller, &wire);
        let turn = entering.turn(urgency, Offered::OrShort).await.map_err(|away| status::turned_away(&away))?;
        let terms = turn.terms();
        turn.run(pin!(self.decide_and(caller, wire, terms, decision::write))).await
    }

    /// Answers a question on terms, the answer appended to a buffer.
    ///
    /// # Errors
    /// As [`Api::decide`].
    pub async fn decide_into(
        &self,
        caller: Caller,
        wire: proto::DecideRequest,
        (terms, mut into): (Terms, Vec<u8>),
    ) -> Answer<Vec<u8>> {
        self.decide_and(caller, wire, terms, |answer, shown| {
            wire::write(answer, shown, &mut into);
            into
        })
        .await
    }

    async fn decide_and<T>(
        &self,
        caller: Caller,
        wire: proto::DecideRequest,
        terms: Terms,
        write: impl FnOnce(&Decision, Shown<'_>) -> T,
    ) -> Answer<T> {
        let snapshot = self.app.current();
        let currency = snapshot.ruleset.currency;
        let request = self.read_of(caller, &snapshot, |reading| request::read(reading, wire))?;
        let shown = Shown { view: request.view, trace: request.trace, currency: &currency };
        let decision = self.app.decide_on(snapshot, request, terms).await?;
        Ok(write(&decision, shown))
    }

    /// Answers a question of a stream.
    pub async fn settle(&self, caller: Caller, wire: proto::DecideRequest) -> Settled {
        let request_id = wire.request_id.clone();
        let snapshot = self.app.current();
        let currency = snapshot.ruleset.currency;
        let result = match self.read_of(caller, &snapshot, |reading| request::read(reading, wire)) {
            Ok(request) => {
                let (view, trace) = (request.view, request.trace);
                let decided = self.app.decide_on_stream(snapshot, request).await;
                decided.map(|decision| Answered { decision, view, trace, currency })
            }
            Err(error) => Err(error),
        };
        Settled { request_id, result: result.map_err(problem::write) }
    }

    /// Records an answer and answers the same question again.
    ///
    /// # Errors
    /// As [`App::respond`]; every violation.
    pub async fn respond(&self, wire: proto::RespondRequest) -> Answer<proto::RespondResponse> {
        let snapshot = self.app.current();
        let input = self.read(&snapshot, |reading| event::read_respond(reading, wire))?;
        let shown = Shown { view: input.view, trace: input.trace, currency: &snapshot.ruleset.currency };
        let responded = self.app.respond(input).await?;
        Ok(proto::RespondResponse {
            decision: Some(decision::write(&responded.decision, shown)),
            duplicate: responded.duplicate,
            ack: event::ack(responded.strength) as i32,
            consistency_token: responded.consistency_token,
        })
    }

    /// Explains a stored decision.
    ///
    /// # Errors
    /// As [`App::explain`]; an id that is not a UUID.
    pub async fn explain(&self, wire: proto::ExplainRequest) -> Answer<proto::ExplainResponse> {
        let mut violations = Vec::new();
        let mut wrong = |field: &str, description: &str| {
            violations.push(Violation { field: field.to_owned(), description: description.to_owned() });
        };
        let id = DecisionId::parse(&wire.decision_id);
        if id.is_none() {
            wrong("decision_id", "is not a UUID: give the `decision_id` of an answer");
        }
        if wire.offer.len() > NAME_BYTES_MAX {
            wrong("offer", "is too long for an offer's id");
        }
        let Some(id) = id.filter(|_| violations.is_empty()) else {
            return Err(AppError::Invalid(violations).into());
        };
        let offer = Some(wire.offer.as_str()).filter(|offer| !offer.is_empty());
        let explanation = self.app.explain(id, offer).await?;
        let currency = self.app.current().ruleset.currency;
        Ok(proto::ExplainResponse {
            decision_id: id.to_string(),
            decision: Some(decision::write(&explanation.decision, full(&currency))),
            candidates: explanation.verdicts.iter().map(decision::explained).collect(),
            identical: explanation.identical,
            lines: explanation.lines,
        })
    }

    /// Exports stored decisions, oldest first.
    ///
    /// # Errors
    /// A moment that is none. Errors of the log come through the channel.
    pub fn export(
        &self,
        wire: proto::ExportDecisionsRequest,
    ) -> Answer<mpsc::Receiver<Answer<proto::ExportDecisionsResponse>>> {
        let snapshot = self.app.current();
        let (from, until) = self.read(&snapshot, |mut reading| {
            let range = (reading.moment("from", wire.from), reading.moment("until", wire.until));
            reading.done(range)
        })?;
        let (sender, receiver) = mpsc::channel(EXPORT_QUEUE_LEN_MAX);
        let export = Export { app: Arc::clone(&self.app), currency: snapshot.ruleset.currency, limit: wire.limit };
        tokio::task::spawn_blocking(move || export.run(from, until, &sender));
        Ok(receiver)
    }

    /// Sets attributes, consents, wishes and records.
    ///
    /// # Errors
    /// As [`App::upsert`]; every violation.
    pub async fn upsert_customer(&self, wire: proto::UpsertCustomerRequest) -> Answer<proto::UpsertCustomerResponse> {
        let snapshot = self.app.current();
        let input = self.read(&snapshot, |reading| customer::read_upsert(reading, wire))?;
        let stored = !input.validate_only;
        let mut warnings = self.app.noted_times(input.at.into_iter().chain(input.consents.iter().map(|one| one.at)));
        let upserted = self.app.upsert(input).await?;
        warnings.extend(upserted.warnings);
        Ok(proto::UpsertCustomerResponse {
            consistency_token: upserted.consistency_token,
            ack: if stored { event::ack(upserted.strength) as i32 } else { 0 },
            created: upserted.created,
            warnings,
        })
    }

    /// Forbids or permits every contact.
    ///
    /// # Errors
    /// As [`App::do_not_contact`]; every violation.
    pub async fn do_not_contact(&self, wire: proto::SetDoNotContactRequest) -> Answer<proto::SetDoNotContactResponse> {
        let snapshot = self.app.current();
        let (identities, reason) = self.read(&snapshot, |mut reading| {
            let identities = reading.identities_to_write("", wire.identities);
            let reason = reading.text("reason", wire.reason, customer::REASON_BYTES_MAX);
            reading.done((identities, reason))
        })?;
        let upserted = self.app.do_not_contact(identities, wire.do_not_contact, reason).await?;
        Ok(proto::SetDoNotContactResponse {
            consistency_token: upserted.consistency_token,
            ack: event::ack(upserted.strength) as i32,
        })
    }

    /// The active revision.
    pub fn revision(&self) -> proto::GetActiveRevisionResponse {
        ruleset::revision(self.app.revision())
    }

    /// A page of the active revision's offers.
    ///
    /// # Errors
    /// A page size under 0.
    pub fn offers(&self, wire: &proto::ListOffersRequest) -> Answer<proto::ListOffersResponse> {
        Ok(ruleset::offers(&self.app.current().ruleset, wire)?)
    }

    /// What each offer did on each channel, and the lift.
    pub fn report(&self) -> proto::GetReportResponse {
        ruleset::report(&self.app.current().ruleset, &self.app.tallies(), self.app.store.oldest_record())
    }
}

/// What became of a question of a stream.
pub struct Settled {
    /// Its request id.
    pub request_id: String,
    /// The answer, or why there is none.
    pub result: Result<Answered, proto::Problem>,
}

/// An answer with how much of it is shown.
pub struct Answered {
    decision: Arc<Decision>,
    view: View,
    trace: Trace,
    currency: Currency,
}

impl Answered {
    /// Appends the answer to a question of a stream to a buffer.
    pub fn write(&self, request_id: &str, into: &mut Vec<u8>) {
        let shown = Shown { view: self.view, trace: self.trace, currency: &self.currency };
        wire::write_streamed(request_id, &self.decision, shown, into);
    }
}

fn full(currency: &Currency) -> Shown<'_> {
    Shown { view: View::Full, trace: Trace::Full, currency }
}

struct Export {
    app: Arc<App>,
    currency: Currency,
    limit: u32,
}

impl Export {
    fn run(
        self,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
        sender: &mpsc::Sender<Answer<proto::ExportDecisionsResponse>>,
    ) {
        let mut sent = 0_u32;
        let result = self.app.export(from, until, &mut |explanation| {
            sent = sent.saturating_add(1);
            let open = sender.blocking_send(Ok(exported(&explanation, &self.currency))).is_ok();
            open && (self.limit == 0 || sent < self.limit)
        });
        if let Err(error) = result {
            // A reader that has gone does not need the error.
            sender.blocking_send(Err(error.into())).ok();
        }
    }
}

fn exported(explanation: &Explanation, currency: &Currency) -> proto::ExportDecisionsResponse {
    let decision = &explanation.decision;
    let written = decision::write(decision, Shown { trace: Trace::Summary, ..full(currency) });
    proto::ExportDecisionsResponse {
        decision_id: written.decision_id.clone(),
        decided_at: written.decided_at,
        decision: Some(written),
        candidates: explanation.verdicts.iter().map(decision::explained).collect(),
        identical: explanation.identical,
        arm: customer::arm(explanation.holdout).to_owned(),
    }
}
