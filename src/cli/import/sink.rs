//! Where imported rows go: a running service, this process, or nowhere.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::Status;

use crate::{
    grpc::{
        Api,
        ingest::{self, Source, Taken, Took, Unread},
    },
    proto::{
        Event, RecordRequest, RecordStreamRequest, RecordStreamResponse, UpsertCustomerRequest,
        customer_service_client::CustomerServiceClient, event_service_client::EventServiceClient,
    },
};

use super::super::client::{self, Connection};

/// Messages on the way to the service.
const MESSAGES_MAX: usize = 2;
/// Most bytes of events in one message.
pub const MESSAGE_BYTES: usize = 256 << 10;
/// Most events of one message.
pub const MESSAGE_EVENTS: usize = 256;

/// Where imported rows go.
#[derive(Clone)]
pub enum Sink {
    /// A running service.
    Remote(Connection),
    /// This process.
    Local(Arc<Api>),
    /// Nowhere: they are only checked.
    Check(Arc<Api>),
}

/// An open stream of events.
pub struct Events {
    /// Takes events.
    pub send: mpsc::Sender<Vec<Event>>,
    /// Tells what became of them.
    pub acks: Acks,
}

/// What became of events.
pub type Acks = Pin<Box<dyn Stream<Item = Result<RecordStreamResponse, Status>> + Send>>;

impl Sink {
    /// Opens a stream of events.
    ///
    /// # Errors
    /// The service does not take one.
    pub async fn open(&self) -> Result<Events, Status> {
        let (send, events) = mpsc::channel::<Vec<Event>>(MESSAGES_MAX);
        let acks: Acks = match self {
            Sink::Remote(connection) => {
                let messages = ReceiverStream::new(events).map(|events| RecordStreamRequest { events });
                let opened = EventServiceClient::new(connection.clone()).record_stream(messages).await?;
                Box::pin(opened.into_inner())
            }
            Sink::Local(api) => Box::pin(ingest::open(api, Queue(events))?),
            Sink::Check(api) => Box::pin(checked(Arc::clone(api), events)),
        };
        Ok(Events { send, acks })
    }

    /// Why an event is refused, as far as this process can tell before it is
    /// sent.
    pub fn refuses(&self, event: &Event) -> Option<String> {
        match self {
            Sink::Remote(_) => None,
            Sink::Local(api) | Sink::Check(api) => api.check_event(event.clone()).err(),
        }
    }

    /// Why an event that is none is refused: it has no id, so that it is never
    /// recorded.
    ///
    /// # Errors
    /// The service has gone.
    pub async fn refusal(&self, event: Event) -> anyhow::Result<String> {
        let event = Event { event_id: String::new(), ..event };
        let refused = match self {
            Sink::Local(api) | Sink::Check(api) => return Ok(api.check_event(event).err().unwrap_or_default()),
            Sink::Remote(connection) => {
                let request = RecordRequest { events: vec![event], ..RecordRequest::default() };
                let answer = EventServiceClient::new(connection.clone()).record(request).await;
                answer.map_err(|status| client::refused("checking the mapping", &status))?.into_inner().results
            }
        };
        Ok(refused.into_iter().next().map(|result| result.error).unwrap_or_default())
    }

    /// Writes attributes and consents of a customer; answers what was noted.
    ///
    /// # Errors
    /// The service has gone (outer), or refuses it (inner).
    pub async fn upsert(&self, request: UpsertCustomerRequest) -> anyhow::Result<Result<Vec<String>, String>> {
        let answer = match self {
            Sink::Remote(connection) => {
                let answer = CustomerServiceClient::new(connection.clone()).upsert_customer(request).await;
                answer.map(tonic::Response::into_inner)
            }
            Sink::Local(api) => api.upsert_customer(request).await,
            Sink::Check(api) => api.upsert_customer(UpsertCustomerRequest { validate_only: true, ..request }).await,
        };
        let status = match answer {
            Ok(upserted) => return Ok(Ok(upserted.warnings)),
            Err(status) => status,
        };
        if matches!(status.code(), tonic::Code::Unavailable | tonic::Code::ResourceExhausted) {
            return Err(client::refused("writing a customer", &status));
        }
        Ok(Err(match client::violations(&status) {
            wrong if wrong.is_empty() => status.message().to_owned(),
            wrong => wrong.join("; "),
        }))
    }
}

/// Events of this process.
struct Queue(mpsc::Receiver<Vec<Event>>);

impl Source for Queue {
    const UNREAD: Unread = Unread::Wait;

    fn poll_next(&mut self, ctx: &mut Context<'_>) -> Poll<Result<Option<Took>, Status>> {
        let Some(events) = ready!(self.0.poll_recv(ctx)) else { return Poll::Ready(Ok(None)) };
        let bytes = events.iter().map(Event::encoded_len).sum();
        let events = events.into_iter().map(|event| Taken { line: 0, event: Ok(event) }).collect();
        Poll::Ready(Ok(Some(Took { events, bytes })))
    }
}

/// Checks events and records none.
fn checked(
    api: Arc<Api>,
    events: mpsc::Receiver<Vec<Event>>,
) -> impl Stream<Item = Result<RecordStreamResponse, Status>> {
    let mut told = RecordStreamResponse::default();
    ReceiverStream::new(events).map(move |events| {
        told.refused.clear();
        for event in events {
            match api.check_event(event) {
                Ok(()) => told.recorded += 1,
                Err(error) => told.refused.push(crate::proto::RefusedEvent {
                    index: told.answered,
                    error,
                    ..crate::proto::RefusedEvent::default()
                }),
            }
            told.answered += 1;
        }
        Ok(told.clone())
    })
}
