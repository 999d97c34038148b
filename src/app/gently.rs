//! Long work beside serving: on a thread of its own that steps back when the
//! cores are busy, and old snapshots dropped where nobody waits for it.

use std::{sync::Arc, thread, time::Duration};

use tokio::sync::{Semaphore, oneshot};

use crate::decide::Snapshot;

use super::{App, AppError};

/// How far such a thread steps back, in steps of `nice`: at 10 a serving thread
/// that wants the core gets nine tenths of it, and the work still ends when all
/// cores stay busy.
#[cfg(target_os = "linux")]
const STEPS_BACK: i32 = 10;
/// How often it is looked whether a snapshot is still in use.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// After so many looks whoever uses it last drops it.
const LOOKS_MAX: usize = 2_000;
/// Most calls that change the rules at the same time: one works, the others
/// wait for it, each on a thread of its own.
pub const CHANGES_MAX: usize = 4;
/// Most calls that only look at rules at the same time.
pub const TRIALS_MAX: usize = 4;

/// What a call is about. Who only looks keeps nobody out who must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LongWork {
    /// Publish, roll back, resume.
    Change,
    /// Validate, reach, differences.
    Trial,
}

/// Room for long calls.
pub(super) struct Room {
    changes: Arc<Semaphore>,
    trials: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Self { changes: Arc::new(Semaphore::new(CHANGES_MAX)), trials: Arc::new(Semaphore::new(TRIALS_MAX)) }
    }
}

impl App {
    /// Runs the long work of a call to its end, also when nobody waits for it
    /// any more: the thread keeps its place until then.
    ///
    /// # Errors
    /// As the work; too many calls work or wait; there was no thread or it
    /// panicked.
    pub async fn run_long<T: Send + 'static>(
        self: &Arc<Self>,
        kind: LongWork,
        work: impl FnOnce(&App) -> Result<T, AppError> + Send + 'static,
    ) -> Result<T, AppError> {
        let (room, max) = match kind {
            LongWork::Change => (&self.room.changes, CHANGES_MAX),
            LongWork::Trial => (&self.room.trials, TRIALS_MAX),
        };
        let Ok(place) = Arc::clone(room).try_acquire_owned() else {
            self.metrics.long_work_refused.increment(1);
            let what = if kind == LongWork::Change { "change" } else { "look at" };
            return Err(AppError::Exhausted(format!(
                "`{max}` calls that {what} the rules are at work already: try again when one has ended"
            )));
        };
        let app = Arc::clone(self);
        let done = run(move || {
            let done = work(&app);
            drop(place);
            done
        });
        done.await.unwrap_or_else(|| Err(AppError::Unavailable("the work was interrupted: ask again".to_owned())))
    }
}

/// Runs long work to its end; `None` when there is no thread or it panicked.
/// A thread of its own, not one of the blocking pool: it stays slow for ever,
/// and the pool also reads profiles that calls wait for.
pub(super) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
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

/// Drops a snapshot that is no longer served, once no call uses it: a large one
/// takes milliseconds to free, which no answer should wait for. On a thread of
/// its own, so that the next change does not wait either.
pub(super) fn retire(snapshot: Arc<Snapshot>) {
    let retiring = thread::Builder::new().name("rapport-retire".to_owned()).spawn(move || {
        step_back();
        for _ in 0..LOOKS_MAX {
            if Arc::strong_count(&snapshot) == 1 {
                break;
            }
            thread::sleep(LOOK_EVERY);
        }
        drop(snapshot);
    });
    if let Err(error) = retiring {
        tracing::warn!(%error, "the old rules are freed by whoever uses them last");
    }
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
