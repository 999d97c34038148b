//! The events of a stream that are under way: taken, and not stored as promised.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
};

use crate::proto::RecordResult;

/// Most events of one stream under way.
pub const WINDOW_EVENTS_MAX: usize = 2_048;
/// The same in bytes on the wire; a single message may be larger.
pub const WINDOW_BYTES_MAX: usize = 4 << 20;
/// Events recorded together.
pub const BATCH_EVENTS_MAX: usize = 256;

/// A batch being recorded.
pub type Recording = Pin<Box<dyn Future<Output = Vec<RecordResult>> + Send>>;

/// A batch with what became of it.
pub struct Recorded {
    /// The line of each event; 0 where there are no lines.
    pub lines: Vec<u64>,
    /// A result for each.
    pub results: Vec<RecordResult>,
}

struct Batch {
    lines: Vec<u64>,
    bytes: usize,
    recording: Recording,
    /// Set once it is recorded.
    results: Option<Vec<RecordResult>>,
}

/// Batches under way, oldest first.
#[derive(Default)]
pub struct Window {
    batches: VecDeque<Batch>,
    events: usize,
    bytes: usize,
}

impl Window {
    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Whether a further batch may begin.
    pub fn has_room(&self) -> bool {
        self.events + BATCH_EVENTS_MAX <= WINDOW_EVENTS_MAX && self.bytes < WINDOW_BYTES_MAX
    }

    /// Adds a batch. It begins with the next poll.
    pub fn push(&mut self, lines: Vec<u64>, bytes: usize, recording: Recording) {
        self.events += lines.len();
        self.bytes += bytes;
        self.batches.push_back(Batch { lines, bytes, recording, results: None });
    }

    /// The oldest batch, once it is recorded. INVARIANT: batches are polled
    /// oldest first, so that they enter the queue of the writer in order.
    pub fn poll_next(&mut self, ctx: &mut Context<'_>) -> Poll<Recorded> {
        for batch in self.batches.iter_mut().filter(|batch| batch.results.is_none()) {
            if let Poll::Ready(results) = batch.recording.as_mut().poll(ctx) {
                batch.results = Some(results);
            }
        }
        if self.batches.front().is_none_or(|batch| batch.results.is_none()) {
            return Poll::Pending;
        }
        let Some(Batch { lines, bytes, results, .. }) = self.batches.pop_front() else { return Poll::Pending };
        self.events -= lines.len();
        self.bytes -= bytes;
        Poll::Ready(Recorded { lines, results: results.unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc};

    use tokio::sync::{Mutex, Semaphore};

    use super::*;

    fn batch(number: u64, room: &Arc<Semaphore>, begun: &Arc<Mutex<Vec<u64>>>) -> Recording {
        let (room, begun) = (Arc::clone(room), Arc::clone(begun));
        Box::pin(async move {
            if let Ok(permit) = room.acquire().await {
                permit.forget();
            }
            begun.lock().await.push(number);
            Vec::new()
        })
    }

    /// Batches that wait for room get it in order, however it comes.
    #[tokio::test]
    async fn batches_begin_and_end_in_order() {
        let (room, begun) = (Arc::new(Semaphore::new(1)), Arc::default());
        let mut window = Window::default();
        let mut ended = Vec::new();
        for number in 1..=40 {
            window.push(vec![number], 10, batch(number, &room, &begun));
            if number % 3 == 0 {
                room.add_permits(2);
            }
            if let Poll::Ready(done) = poll_fn(|ctx| Poll::Ready(window.poll_next(ctx))).await {
                ended.extend(done.lines);
            }
        }
        room.add_permits(100);
        while !window.is_empty() {
            ended.extend(poll_fn(|ctx| window.poll_next(ctx)).await.lines);
        }
        let all: Vec<u64> = (1..=40).collect();
        assert_eq!(*begun.lock().await, all);
        assert_eq!(ended, all);
        assert!(window.has_room() && window.bytes == 0);
    }

    #[test]
    fn it_is_full_by_events_and_by_bytes() {
        let none = || -> Recording { Box::pin(async { Vec::new() }) };
        let mut window = Window::default();
        let mut batches = 0;
        while window.has_room() {
            window.push(vec![0; BATCH_EVENTS_MAX], 1, none());
            batches += 1;
        }
        assert_eq!(batches, WINDOW_EVENTS_MAX / BATCH_EVENTS_MAX);
        let mut window = Window::default();
        window.push(vec![0], WINDOW_BYTES_MAX, none());
        assert!(!window.has_room());
    }
}
