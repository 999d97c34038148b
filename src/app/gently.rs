//! Long work beside serving: on a thread of its own that steps back when the
//! cores are busy, and old snapshots dropped where nobody waits for it.

use std::{sync::Arc, thread, time::Duration};

use tokio::sync::oneshot;

use crate::decide::Snapshot;

/// How far such a thread steps back, in steps of `nice`: at 10 a serving thread
/// that wants the core gets nine tenths of it, and the work still ends when all
/// cores stay busy.
#[cfg(target_os = "linux")]
const STEPS_BACK: i32 = 10;
/// How often it is looked whether a snapshot is still in use.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// After so many looks whoever uses it last drops it.
const LOOKS_MAX: usize = 2_000;

/// Runs long work to its end; `None` when there is no thread or it panicked.
/// A thread of its own, not one of the blocking pool: it stays slow for ever,
/// and the pool also reads profiles that calls wait for.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, done) = oneshot::channel();
    let thread = thread::Builder::new().name("rapport-publish".to_owned()).spawn(move || {
        step_back();
        // nobody waits any more when the service stops
        let _ = sender.send(work());
    });
    match thread {
        Ok(_) => done.await.ok(),
        Err(error) => {
            tracing::error!(%error, "starting the thread that publishes failed");
            None
        }
    }
}

/// On Linux the niceness is the thread's; elsewhere it is the process's, and
/// stays as it is.
fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(STEPS_BACK) {
        tracing::warn!(%error, "publishing runs with the priority of serving");
    }
}

/// Drops a snapshot that is no longer served here, once no call uses it: a
/// large one takes milliseconds to free, which no answer should wait for.
/// Blocking.
pub(super) fn retire(snapshot: Arc<Snapshot>) {
    for _ in 0..LOOKS_MAX {
        if Arc::strong_count(&snapshot) == 1 {
            break;
        }
        thread::sleep(LOOK_EVERY);
    }
    drop(snapshot);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_and_a_panic_is_not_waited_for() {
        assert_eq!(run(|| 7).await, Some(7));
        assert_eq!(run(|| if true { panic!("on purpose") } else { 7 }).await, None);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn only_the_thread_of_the_work_steps_back() {
        let own = || rustix::process::getpriority_process(None).unwrap();
        let before = own();
        let inside = run(own).await.unwrap();
        assert_eq!(inside, (before + STEPS_BACK).min(19));
        assert_eq!(own(), before);
    }
}
