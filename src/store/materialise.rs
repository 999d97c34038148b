//! The storing thread: moves what the log led to into the embedded store.

use std::sync::{Arc, atomic::Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{
    StoreError,
    overlay::{Layer, Taken},
    shared::Shared,
};

/// How long changes gather before they are stored.
const GATHER: Duration = Duration::from_millis(500);
/// Records that are stored sooner.
const GATHER_LEN: u64 = 50_000;
/// How long to wait before a failed transaction is tried again: at first, and
/// at most, after doubling.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Times a failing transaction is tried while closing. What is not stored then
/// is in the log, and is stored on the next start.
const CLOSING_TRIES: u32 = 3;

/// Starts the thread; it ends once the overlay is closed and stored.
pub(super) fn start(shared: Arc<Shared>) -> Result<JoinHandle<()>, StoreError> {
    let run = move || serve(&shared);
    let thread = std::thread::Builder::new().name("rapport-store".to_owned()).spawn(run);
    thread.map_err(|source| StoreError::Io { doing: "starting the storing thread".to_owned(), source })
}

fn serve(shared: &Shared) {
    let mut failures = 0;
    let mut sweep = Sweep::default();
    loop {
        let done = match shared.overlay.take(GATHER, GATHER_LEN) {
            Taken::Layer(layer) => mend(shared).and_then(|()| store_and_wipe(shared, &layer)),
            Taken::Mend => mend(shared),
            Taken::Idle => Ok(()),
            Taken::Closed => return,
        };
        shared.store_failing.store(done.is_err() || shared.embedded.is_broken(), Relaxed);
        match done {
            Ok(()) => {
                failures = 0;
                sweep.step_when_due(shared);
            }
            Err(_) if shared.overlay.is_closing() && failures >= CLOSING_TRIES => return,
            Err(_) => {
                shared.overlay.mend();
                shared.overlay.pause(RETRY_MAX.min(RETRY_MIN * 2_u32.pow(failures.min(10))));
                failures += 1;
            }
        }
    }
}

/// How often a step of the sweep of the timelines is made, at most.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Forgets entries of timelines that are too old or too many, step by step; a
/// step looks at a bounded number of rows.
#[derive(Default)]
struct Sweep {
    /// The customer to go on with.
    from: u128,
    stepped_at: Option<Instant>,
}

impl Sweep {
    fn step_when_due(&mut self, shared: &Shared) {
        if shared.overlay.is_closing() || self.stepped_at.is_some_and(|at| at.elapsed() < SWEEP_EVERY) {
            return;
        }
        self.stepped_at = Some(Instant::now());
        let before = shared.latest().plus_us(shared.config.timeline_kept_us.saturating_neg());
        match shared.embedded.sweep_timelines(self.from, before) {
            Ok((removed, next)) => {
                shared.counters.timeline_swept.fetch_add(removed, Relaxed);
                self.from = next.unwrap_or(0);
            }
            // the next access tells and mends it
            Err(_) => self.from = 0,
        }
    }
}

/// Opens the embedded store again if an access failed: it refuses everything
/// until then.
fn mend(shared: &Shared) -> Result<(), StoreError> {
    if shared.embedded.is_broken() { shared.embedded.reopen() } else { Ok(()) }
}

/// Stores one layer; wipes the keys that were in the journal for it.
fn store_and_wipe(shared: &Shared, layer: &Layer) -> Result<(), StoreError> {
    shared.journals.turn();
    store(shared, layer)?;
    // a failure leaves keys in two places, which the next round mends
    let _ = shared.journals.wipe(layer.keys_made);
    Ok(())
}

/// Stores one layer and lets go of what only stood in for it. The keys in the
/// journal stay.
pub(super) fn store(shared: &Shared, layer: &Layer) -> Result<(), StoreError> {
    shared.embedded.store(layer, shared.latest())?;
    let erased = layer.erased.iter().flat_map(|erasure| &erasure.customers).copied().collect();
    shared.journals.erase(&erased)?;
    shared.materialised.fetch_max(layer.sequence, Relaxed);
    shared.journals.stored(layer.keys_made);
    shared.overlay.stored();
    layer.erased.iter().for_each(|erasure| shared.erasing.done(erasure.id));
    shared.ledger.budgets().sweep(shared.latest());
    Ok(())
}
