//! Recording events, one call at a time and for streams: one way in.

use tonic::Status;

use crate::{
    app::{AppError, Bearer, EventInput, Violation},
    proto,
};

use super::{
    Api,
    caller::{Agent, Caller},
    convert::{Reading, browser, event, page::Visit, request},
};

/// Who sends events: a service unless said otherwise.
#[derive(Debug, Default)]
pub(super) struct Sender {
    caller: Caller,
    bearer: Bearer,
    visit: Visit,
}

impl Api {
    /// Records events, with a result each.
    ///
    /// # Errors
    /// None or too many events, a consent that is none; everything else is a
    /// result.
    pub async fn record(&self, caller: Caller, wire: proto::RecordRequest) -> Result<proto::RecordResponse, Status> {
        let count = wire.events.len();
        if count == 0 || count > event::EVENTS_MAX {
            let description = format!("has {count} entries: give 1 to {}", event::EVENTS_MAX);
            return Err(AppError::Invalid(vec![Violation { field: "events".to_owned(), description }]).into());
        }
        let sender = self.sender(caller, (&wire.visitor_id, wire.page_consent))?;
        let events = wire.events.into_iter().map(Ok).collect();
        let (results, one_customer) = self.record_each(&sender, events).await;
        Ok(record_response(results, one_customer))
    }

    /// Who sends events, with the visitor id and the consent that a page sends.
    fn sender(
        &self,
        caller: Caller,
        (visitor_id, consent): (&str, Option<proto::PageConsent>),
    ) -> Result<Sender, AppError> {
        let Caller::Browser(agent) = caller else { return Ok(Sender::default()) };
        let page = self.read(&self.app().current(), |mut reading| {
            let page = request::page_consent(&mut reading, consent);
            reading.done(page)
        })?;
        let visitor = self.app().visitor(visitor_id);
        let bearer = if agent == Agent::Crowd { Bearer::Crowd(visitor) } else { Bearer::Browser(visitor) };
        let visitor = visitor.map(|visitor| self.app().visitor_identity(visitor));
        Ok(Sender { caller, bearer, visit: Visit { visitor, profiling: page.profiling } })
    }

    /// Records events in order, with a result each; those that could not be read
    /// stay refused. Also answers whether they are plainly of one customer.
    pub(super) async fn record_each(
        &self,
        sender: &Sender,
        events: Vec<Result<proto::Event, String>>,
    ) -> (Vec<proto::RecordResult>, bool) {
        let (caller, snapshot) = (sender.caller, self.app().current());
        let mut inputs: Vec<EventInput> = Vec::with_capacity(events.len());
        let mut refused: Vec<Option<proto::RecordResult>> = Vec::with_capacity(events.len());
        for event in events {
            let read = event.map_err(event::refused).and_then(|event| {
                let read = |reading: Reading<'_>| event::read(reading.at(&sender.visit), event);
                self.read_of(caller, &snapshot, read).map_err(event::write_refused)
            });
            refused.push(read.map(|input| inputs.push(input.handed_in_by(sender.bearer))).err());
        }
        let one_customer = of_one_customer(&inputs);
        let mut refusals = inputs.iter().map(browser::refusal).collect::<Vec<_>>().into_iter();
        let mut recorded = match caller {
            // what a program saw, nobody saw
            Caller::Browser(Agent::Bot) => Vec::new(),
            Caller::Browser(Agent::Person | Agent::Crowd) | Caller::Service => self.app().record(inputs).await,
        }
        .into_iter();
        let results = refused.into_iter().map(|refused| {
            let Some(refused) = refused else {
                let refusal = refusals.next().unwrap_or(browser::TOKEN_REFUSED);
                return match recorded.next() {
                    Some(recorded) => browser::told(caller, refusal, recorded),
                    None if caller == Caller::Browser(Agent::Bot) => event::refused(refusal.to_owned()),
                    None => event::write_lost(),
                };
            };
            refused
        });
        (results.collect(), one_customer)
    }

    /// Checks an event against the rules and records nothing.
    ///
    /// # Errors
    /// Why it would be refused.
    pub fn check_event(&self, wire: proto::Event) -> Result<(), String> {
        let snapshot = self.app().current();
        let read = self.read(&snapshot, |reading| event::read(reading, wire));
        read.map(|_| ()).map_err(|error| event::write_refused(error).error)
    }
}

/// Whether the events are plainly of one customer: a single one, or all with
/// the same identities.
fn of_one_customer(inputs: &[EventInput]) -> bool {
    let who = |input: &EventInput| match input {
        EventInput::Customer { identities, .. } => Some(identities.iter().map(|i| i.hash).collect::<Vec<_>>()),
        EventInput::Outcome(_) => None,
    };
    match inputs {
        [] => false,
        [_] => true,
        [first, rest @ ..] => {
            let first = who(first);
            first.is_some() && rest.iter().all(|input| who(input) == first)
        }
    }
}

fn record_response(results: Vec<proto::RecordResult>, one_customer: bool) -> proto::RecordResponse {
    let accepted = || results.iter().filter(|result| result.ack != 0);
    let ack = accepted().map(|result| result.ack).min().unwrap_or_default();
    let last = accepted().next_back().filter(|_| one_customer).map(|result| result.consistency_token.clone());
    proto::RecordResponse { ack, consistency_token: last.unwrap_or_default(), results }
}
