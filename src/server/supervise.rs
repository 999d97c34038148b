//! Background tasks: each has a name, is started again when it panics or ends
//! before its time, is counted, and tells how it is.

use std::{
    future::Future,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use metrics::{Counter, Label};
use tokio::{runtime::Handle, sync::watch};

use crate::telemetry::{metrics, names};

/// A task that ended before its time starts again after this long; then after
/// twice as long, up to [`RESTART_AFTER_MAX`].
const RESTART_AFTER: Duration = Duration::from_millis(100);
/// The longest wait before a task starts again.
const RESTART_AFTER_MAX: Duration = Duration::from_secs(5);
/// A task that ran for so long is in good health: its next end is a first one.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// How a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum TaskState {
    /// It runs.
    Running = 0,
    /// It ended before its time and waits to be started again.
    Restarting = 1,
    /// It ended when it was to.
    Ended = 2,
}

impl TaskState {
    const ALL: [TaskState; 3] = [TaskState::Running, TaskState::Restarting, TaskState::Ended];

    /// Its name in the detail of the readiness probe.
    pub fn name(self) -> &'static str {
        match self {
            TaskState::Running => "running",
            TaskState::Restarting => "restarting",
            TaskState::Ended => "ended",
        }
    }
}

/// A task as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskReport {
    /// What it does.
    pub name: &'static str,
    /// How it is.
    pub state: TaskState,
    /// Times it was started again.
    pub restarts: u64,
}

struct Task {
    name: &'static str,
    state: AtomicU8,
    restarts: AtomicU64,
    counter: Counter,
}

impl Task {
    fn set(&self, state: TaskState) {
        self.state.store(state as u8, Relaxed);
    }

    fn report(&self) -> TaskReport {
        let state = TaskState::ALL.get(usize::from(self.state.load(Relaxed))).copied();
        let state = state.unwrap_or(TaskState::Running);
        TaskReport { name: self.name, state, restarts: self.restarts.load(Relaxed) }
    }
}

/// The background tasks of a service. Cheap to clone.
#[derive(Clone)]
pub struct Supervisor {
    tasks: Arc<Mutex<Vec<Arc<Task>>>>,
    stop: watch::Receiver<bool>,
    runtime: Handle,
}

impl Supervisor {
    /// Without tasks; those that end after `stop` turned true ended in time.
    pub fn new(runtime: &Handle, stop: watch::Receiver<bool>) -> Self {
        Self { tasks: Arc::default(), stop, runtime: runtime.clone() }
    }

    /// Every task, in the order in which they were started.
    pub fn reports(&self) -> Vec<TaskReport> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|task| task.report()).collect()
    }

    /// Runs a task for as long as the service runs.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(
        &self,
        name: &'static str,
        start: impl Fn() -> F + Send + 'static,
    ) {
        self.spawn_on(&self.runtime, name, start);
    }

    /// The same on the runtime of who calls.
    pub fn spawn_here<F: Future<Output = ()> + Send + 'static>(
        &self,
        name: &'static str,
        start: impl Fn() -> F + Send + 'static,
    ) {
        self.spawn_on(&Handle::current(), name, start);
    }

    fn spawn_on<F: Future<Output = ()> + Send + 'static>(
        &self,
        runtime: &Handle,
        name: &'static str,
        start: impl Fn() -> F + Send + 'static,
    ) {
        let counter = metrics().counter(names::TASK_RESTARTS, vec![Label::new("task", name)]);
        let task = Task { name, state: AtomicU8::new(0), restarts: AtomicU64::new(0), counter };
        let task = Arc::new(task);
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&task));
        runtime.spawn(supervise(task, start, self.stop.clone()));
    }
}

async fn supervise<F: Future<Output = ()> + Send + 'static>(
    task: Arc<Task>,
    start: impl Fn() -> F,
    mut stop: watch::Receiver<bool>,
) {
    let mut pause = RESTART_AFTER;
    loop {
        let begun = tokio::time::Instant::now();
        task.set(TaskState::Running);
        let ended = tokio::spawn(rehearsed(&task, start())).await;
        if ended.as_ref().is_err_and(tokio::task::JoinError::is_cancelled) || *stop.borrow() {
            task.set(TaskState::Ended);
            return;
        }
        let panicked = ended.is_err();
        task.set(TaskState::Restarting);
        task.restarts.fetch_add(1, Relaxed);
        task.counter.increment(1);
        if panicked {
            metrics().panics.increment(1);
        }
        tracing::error!(task = task.name, panicked, "a background task ended before its time; it is started again");
        if begun.elapsed() >= HEALTHY_AFTER {
            pause = RESTART_AFTER;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = stop.wait_for(|stop| *stop) => {
                task.set(TaskState::Ended);
                return;
            }
        }
        pause = RESTART_AFTER_MAX.min(2 * pause);
    }
}

/// For rehearsals, in builds with debug assertions only: the tasks that the
/// environment variable names, separated by commas, panic once.
#[cfg(debug_assertions)]
const REHEARSED: &str = "RAPPORT_REHEARSE_PANIC";

#[cfg(debug_assertions)]
fn rehearsed<F: Future<Output = ()> + Send>(task: &Task, future: F) -> impl Future<Output = ()> + Send + use<F> {
    let named = std::env::var(REHEARSED).unwrap_or_default();
    let panics = task.restarts.load(Relaxed) == 0 && named.split(',').any(|name| name == task.name);
    async move {
        if panics {
            std::panic::resume_unwind(Box::new("a rehearsal"));
        }
        future.await;
    }
}

#[cfg(not(debug_assertions))]
fn rehearsed<F: Future<Output = ()> + Send>(_: &Task, future: F) -> F {
    future
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until(supervisor: &Supervisor, wanted: impl Fn(TaskReport) -> bool) -> TaskReport {
        let mut reports = supervisor.reports();
        while !wanted(reports[0]) {
            tokio::time::sleep(Duration::from_millis(10)).await;
            reports = supervisor.reports();
        }
        reports[0]
    }

    #[tokio::test]
    async fn a_task_that_panics_or_ends_is_started_again_and_counted() {
        let (stop, stopped) = watch::channel(false);
        let supervisor = Supervisor::new(&Handle::current(), stopped);
        let runs = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&runs);
        supervisor.spawn("rehearsal", move || {
            let run = counted.fetch_add(1, Relaxed);
            async move {
                match run {
                    0 => panic!("on purpose"),
                    1 => {}
                    _ => std::future::pending().await,
                }
            }
        });
        let running = until(&supervisor, |report| report.restarts == 2 && report.state == TaskState::Running).await;
        assert_eq!((running.name, runs.load(Relaxed)), ("rehearsal", 3));
        let text = metrics().render();
        assert!(text.contains("rapport_task_restarts_total{task=\"rehearsal\"} 2"), "{text}");
        stop.send_replace(true);
    }

    #[tokio::test]
    async fn what_ends_after_the_stop_ended_in_time() {
        let (stop, stopped) = watch::channel(false);
        let supervisor = Supervisor::new(&Handle::current(), stopped.clone());
        supervisor.spawn("drain", move || {
            let mut stopped = stopped.clone();
            async move {
                stopped.wait_for(|stop| *stop).await.ok();
            }
        });
        stop.send_replace(true);
        let ended = until(&supervisor, |report| report.state == TaskState::Ended).await;
        assert_eq!(ended.restarts, 0);
    }

    #[tokio::test]
    async fn a_task_that_never_comes_up_is_not_tried_too_often() {
        let (_stop, stopped) = watch::channel(false);
        let supervisor = Supervisor::new(&Handle::current(), stopped);
        supervisor.spawn("hopeless", || async {});
        let begun = std::time::Instant::now();
        until(&supervisor, |report| report.restarts == 4).await;
        assert!(begun.elapsed() >= 7 * RESTART_AFTER, "it waits 1, 2 and 4 times as long");
    }
}
