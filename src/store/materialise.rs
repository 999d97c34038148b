//! The storing thread: moves what the log led to into the embedded store.

use std::sync::{Arc, atomic::Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

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
    loop {
        let done = match shared.overlay.take(GATHER, GATHER_LEN) {
            Taken::Layer(layer) => mend(shared).and_then(|()| store_and_wipe(shared, &layer)),
            Taken::Mend => mend(shared),
            Taken::Closed => return,
        };
        shared.store_failing.store(done.is_err() || shared.embedded.is_broken(), Relaxed);
        match done {
            Ok(()) => failures = 0,
            Err(_) if shared.overlay.is_closing() && failures >= CLOSING_TRIES => return,
            Err(_) => {
                shared.overlay.mend();
                shared.overlay.pause(RETRY_MAX.min(RETRY_MIN * 2_u32.pow(failures.min(10))));
                failures += 1;
            }
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
    shared.materialised.fetch_max(layer.sequence, Relaxed);
    shared.journals.stored(layer.keys_made);
    shared.overlay.stored();
    shared.ledger.budgets().sweep(shared.latest());
    Ok(())
}
