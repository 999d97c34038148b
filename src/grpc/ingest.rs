//! `RecordStream`: events on one stream, acknowledged as they are stored. The
//! same over HTTP with an event a line.
//!
//! A task takes events while there is room in the window, records them in order
//! in batches, and tells how far it is whenever the transport takes an
//! acknowledgement; until then what it would tell gathers in one. Only refusals
//! make that grow, so that past a bound nothing is taken until they are read.

mod run;
mod source;
mod told;
mod window;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

use crate::{proto, telemetry::metrics};

use super::{Api, status};

use run::Run;

pub use source::{Messages, Source, Taken, Took, Unread};
pub use window::BATCH_EVENTS_MAX;

/// Acknowledgements that wait for the transport, of one stream.
const ACKS_MAX: usize = 1;
/// Room beside them for how the stream ended.
const ENDING: usize = 1;

/// What a stream is told.
enum Said {
    /// How far it is.
    Ack(proto::RecordStreamResponse),
    /// How it ended.
    End(Status),
}

/// Opens a stream of events.
///
/// # Errors
/// Too many streams are open, or the service stops.
pub fn open(api: &Api, source: impl Source) -> Result<Acks, Status> {
    let place = api.traffic().open()?;
    let (sender, said) = mpsc::channel(ACKS_MAX + ENDING);
    // INVARIANT: the channel is new, there is room
    let ending = sender.clone().try_reserve_owned().map_err(|_| status::stopping())?;
    tokio::spawn(Run::new(api.clone(), source, sender, place).run(ending));
    Ok(Acks { said, ended: false })
}

/// The acknowledgements of a stream.
pub struct Acks {
    said: mpsc::Receiver<Said>,
    ended: bool,
}

impl Stream for Acks {
    type Item = Result<proto::RecordStreamResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let status = match ready!(self.said.poll_recv(ctx)) {
            Some(Said::Ack(ack)) => return Poll::Ready(Some(Ok(ack))),
            Some(Said::End(status)) => status,
            // the task has gone without a word: it panicked
            None => {
                metrics().panics.increment(1);
                status::panicked()
            }
        };
        self.ended = true;
        Poll::Ready((status.code() != tonic::Code::Ok).then_some(Err(status)))
    }
}
