//! The syncing thread: everything written before one sync is acknowledged by it.
//!
//! After a failed sync the system may have dropped what it could not write and
//! call the next sync a success. So nothing is ever acknowledged from that file
//! again: who waits is told to send again, the writer begins a segment, and
//! what the failed segment has counts as durable only once the embedded store
//! has its effects. Nothing is written a second time. If the power fails before
//! that, start-up may find the segment damaged and says so.

use std::fs::File;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, atomic::Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Receipt, ReceiptStatus, StoreError, shared::Shared};

/// An answer that waits for its strength.
pub(super) struct Ack {
    pub reply: oneshot::Sender<Vec<Receipt>>,
    pub receipts: Vec<Receipt>,
}

impl Ack {
    pub fn send(self) {
        // who asked may have gone; what was stored stays stored
        let _ = self.reply.send(self.receipts);
    }

    /// Nothing of it is promised: it may be sent again.
    pub fn exhausted(mut self) {
        for receipt in &mut self.receipts {
            if matches!(receipt.status, ReceiptStatus::Recorded | ReceiptStatus::Duplicate) {
                receipt.status = ReceiptStatus::Exhausted;
            }
        }
        self.send();
    }
}

/// What is to be synced, and who waits for it.
pub(super) struct SyncJob {
    pub file: Arc<File>,
    /// The last sequence that is on disk after it.
    pub sequence: u64,
    pub acks: Vec<Ack>,
}

/// Starts the thread; it ends when the sender is dropped.
pub(super) fn start(shared: Arc<Shared>) -> Result<(Sender<SyncJob>, JoinHandle<()>), StoreError> {
    let (sender, receiver) = channel();
    let run = move || serve(&shared, &receiver);
    let thread = std::thread::Builder::new().name("rapport-sync".to_owned()).spawn(run);
    let thread = thread.map_err(|source| StoreError::Io { doing: "starting the syncing thread".to_owned(), source })?;
    Ok((sender, thread))
}

/// How often a disk whose sync failed is tried again.
const PROBE_EVERY: Duration = Duration::from_secs(1);

fn serve(shared: &Shared, receiver: &Receiver<SyncJob>) {
    // the file whose sync failed last
    let mut failed: Option<Arc<File>> = None;
    loop {
        let first = if shared.sync_failing.load(Relaxed) {
            match receiver.recv_timeout(PROBE_EVERY) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    shared.sync_failing.store(probe(&shared.config.dir).is_err(), Relaxed);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        } else {
            let Ok(first) = receiver.recv() else { return };
            first
        };
        let SyncJob { mut file, mut sequence, mut acks } = first;
        for job in receiver.try_iter() {
            // INVARIANT: segments before the newest are synced when they are
            // closed, or are undurable
            file = job.file;
            sequence = sequence.max(job.sequence);
            acks.extend(job.acks);
        }
        if sync(shared, &mut failed, &file) {
            shared.followers.synced(sequence);
            acks.into_iter().for_each(Ack::send);
        } else {
            let lost = acks.iter().map(|ack| ack.receipts.len() as u64).sum();
            shared.counters.exhausted.fetch_add(lost, Relaxed);
            acks.into_iter().for_each(Ack::exhausted);
        }
    }
}

/// Whether everything written before is on disk.
fn sync(shared: &Shared, failed: &mut Option<Arc<File>>, file: &Arc<File>) -> bool {
    if failed.as_ref().is_some_and(|failed| Arc::ptr_eq(failed, file)) {
        return false;
    }
    // read before: a later roll may only make it larger
    let undurable = shared.undurable.load(Relaxed);
    let begun = Instant::now();
    let keys_synced = shared.journals.sync().is_ok();
    let log_synced = file.sync_data().is_ok();
    shared.counters.fsync(begun.elapsed());
    if !log_synced {
        *failed = Some(Arc::clone(file));
        shared.segment_failed.store(true, Relaxed);
    }
    shared.sync_failing.store(!keys_synced || !log_synced, Relaxed);
    let stored = undurable <= shared.materialised.load(Relaxed);
    if !stored {
        shared.overlay.hurry();
    }
    keys_synced && log_synced && stored
}

/// Whether the disk takes a sync now.
fn probe(dir: &Path) -> std::io::Result<()> {
    use std::io::Write;
    let path = dir.join("sync.probe");
    let mut file = File::create(&path)?;
    let synced = file.write_all(b"probe").and_then(|()| file.sync_all());
    std::fs::remove_file(&path)?;
    synced
}
