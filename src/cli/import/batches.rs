//! Rows read and mapped in batches, on a thread of its own.

use std::thread::JoinHandle;

use tokio::sync::mpsc;

use crate::grpc::timestamp::Timestamp;

use super::rows::{Entries, Row};

/// Rows read together.
const BATCH_LEN: usize = 512;
/// Batches that wait between the thread that reads and the rest.
const BATCHES_MAX: usize = 4;
const WEEK_S: i64 = 7 * 86_400;

/// Batches of rows as they are read.
pub struct Batches {
    batches: mpsc::Receiver<anyhow::Result<Vec<Row>>>,
    thread: Option<JoinHandle<()>>,
}

impl Batches {
    /// The next batch; `None` at the end of the file.
    pub async fn next(&mut self) -> Option<anyhow::Result<Vec<Row>>> {
        if let Some(batch) = self.batches.recv().await {
            return Some(batch);
        }
        // a reader that fell over must not look like the end of the file
        let fell_over = self.thread.take().is_some_and(|thread| thread.join().is_err());
        fell_over
            .then(|| Err(anyhow::anyhow!("reading the file failed: it is damaged, or of a kind that is not known")))
    }
}

/// Reads rows on a thread of its own, those after a number.
pub fn read(rows: Box<dyn Iterator<Item = anyhow::Result<Row>> + Send>, after: u64, shift_weeks: i64) -> Batches {
    let (sender, batches) = mpsc::channel(BATCHES_MAX);
    let thread = std::thread::spawn(move || {
        let mut rows = rows.skip_while(|row| row.as_ref().is_ok_and(|row| row.number <= after));
        loop {
            let batch: anyhow::Result<Vec<Row>> = rows.by_ref().take(BATCH_LEN).collect();
            let (ends, last) = (batch.is_err(), batch.as_ref().is_ok_and(Vec::is_empty));
            let batch = batch.map(|mut batch| {
                batch.iter_mut().filter_map(|row| row.entries.as_mut().ok()).for_each(|one| shift(one, shift_weeks));
                batch
            });
            if last || sender.blocking_send(batch).is_err() || ends {
                return;
            }
        }
    });
    Batches { batches, thread: Some(thread) }
}

fn shift(entries: &mut Entries, weeks: i64) {
    if let Some(event) = &mut entries.event {
        shift_time(&mut event.time, weeks);
    }
    for customer in &mut entries.customers {
        shift_time(&mut customer.time, weeks);
        customer.consents.iter_mut().for_each(|consent| shift_time(&mut consent.time, weeks));
    }
}

fn shift_time(time: &mut Option<Timestamp>, weeks: i64) {
    if let Some(time) = time {
        time.seconds += weeks * WEEK_S;
    }
}
