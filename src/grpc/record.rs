//! Recording events, one call at a time and for streams: one way in.

use tonic::Status;

use crate::{
    app::{AppError, Bearer, EventInput, Violation},
    proto,
};

use super::{
    Api,
    caller::{Agent, Caller},
    convert::{browser, event},
};

impl Api {
    /// Records events, with a result each.
    ///
    /// # Errors
    /// None or too many events; everything else is a result.
    pub async fn record(&self, caller: Caller, wire: proto::RecordRequest) -> Result<proto::RecordResponse, Status> {
        let count = wire.events.len();
        if count == 0 || count > event::EVENTS_MAX {
            let description = format!("has {count} entries: give 1 to {}", event::EVENTS_MAX);
            return Err(AppError::Invalid(vec![Violation { field: "events".to_owned(), description }]).into());
        }
        let bearer = match caller {
            Caller::Service => Bearer::Service,
            Caller::Browser(Agent::Crowd) => Bearer::Crowd(self.app().visitor(&wire.visitor_id)),
            Caller::Browser(_) => Bearer::Browser(self.app().visitor(&wire.visitor_id)),
        };
        let events = wire.events.into_iter().map(Ok).collect();
        let (results, one_customer) = self.record_each(caller, bearer, events).await;
        Ok(record_response(results, one_customer))
    }

    /// Records events in order, with a result each; those that could not be read
    /// stay refused. Also answers whether they are plainly of one customer.
    pub(super) async fn record_each(
        &self,
        caller: Caller,
        bearer: Bearer,
        events: Vec<Result<proto::Event, String>>,
    ) -> (Vec<proto::RecordResult>, bool) {
        let snapshot = self.app().current();
        let mut inputs: Vec<EventInput> = Vec::with_capacity(events.len());
        let mut refused: Vec<Option<proto::RecordResult>> = Vec::with_capacity(events.len());
        for event in events {
            let read = event.map_err(event::refused).and_then(|event| {
                self.read_of(caller, &snapshot, |reading| event::read(reading, event)).map_err(event::write_refused)
            });
            refused.push(read.map(|input| inputs.push(input.handed_in_by(bearer))).err());
        }
        let one_customer = of_one_customer(&inputs);
        let mut recorded = match caller {
            // what a program saw, nobody saw
            Caller::Browser(Agent::Bot) => Vec::new(),
            Caller::Browser(Agent::Person | Agent::Crowd) | Caller::Service => self.app().record(inputs).await,
        }
        .into_iter();
        let results = refused.into_iter().map(|refused| match refused {
            Some(refused) => refused,
            None if caller == Caller::Browser(Agent::Bot) => browser::refused(),
            None => recorded
                .next()
                .map_or_else(event::write_lost, |recorded| browser::told(caller, event::write_recorded(recorded))),
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
