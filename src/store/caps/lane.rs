//! What follows claims, in order per customer: done behind the answer, and done
//! again until Redis takes it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError, atomic::Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::{
    domain::{CustomerKey, Timestamp},
    store::redis::{
        Failure,
        scripts_caps::{CONFIRM_CAPS, RELEASE_CAPS},
    },
};

use super::{Caps, claim::Said, person::PersonClaim};

/// Most tasks that wait in a lane; what comes on top is dropped and counted. A
/// reservation lapses by itself; what was seen is told again from the log.
pub(super) const LANE_LEN_MAX: usize = 16_384;
/// The deadline of one task.
pub(super) const TASK_TIMEOUT: Duration = Duration::from_millis(250);
/// Until a task that failed is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Tasks that wait.
#[derive(Debug)]
pub(super) struct Lane {
    queue: Mutex<Queue>,
    filled: Notify,
    /// Changes when a task is done.
    done: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Queue {
    tasks: VecDeque<Task>,
    /// Of each customer, how many give places back, and how many were granted
    /// without asking: decisions ask for it, however long the queue is.
    of_customers: HashMap<CustomerKey, Waiting>,
    /// Whose places are being given back.
    releasing: Option<CustomerKey>,
    /// Tasks that were ever added, and those that are done.
    queued: u64,
    done: u64,
    /// Whether the last task failed: then nobody waits for the others.
    is_stuck: bool,
}

/// Tasks of one customer that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Waiting {
    releases: usize,
    unasked: usize,
}

impl Queue {
    /// Notes that a task waits, or waits no more.
    fn note(&mut self, task: &Task, waits: Waits) {
        let customer = task.customer();
        let of_customer = self.of_customers.entry(customer).or_default();
        let count = match task {
            Task::Release(..) => &mut of_customer.releases,
            Task::Anyway(..) => &mut of_customer.unasked,
            _ => &mut 0,
        };
        *count = match waits {
            Waits::Yes => *count + 1,
            Waits::NoMore => count.saturating_sub(1),
        };
        if *of_customer == Waiting::default() {
            self.of_customers.remove(&customer);
        }
    }
}

/// Whether a task waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    Yes,
    NoMore,
}

impl Default for Lane {
    fn default() -> Self {
        Self { queue: Mutex::default(), filled: Notify::new(), done: watch::Sender::new(0) }
    }
}

/// What follows a claim.
#[derive(Clone, Debug)]
pub(super) enum Task {
    /// It counts, since it was seen then.
    Confirm(PersonClaim, Timestamp),
    /// It counts no more.
    Release(PersonClaim, Releases),
    /// It was granted without asking.
    Anyway(PersonClaim, Timestamp),
    /// What a customer claimed is another one's; the first keeps it too or not.
    Move { from: CustomerKey, to: CustomerKey, keeps: bool },
    /// The customer was erased.
    Forget(CustomerKey),
}

/// What a release gives back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Releases {
    /// What was not confirmed.
    Open,
    /// What was confirmed too.
    Any,
}

impl Task {
    fn releases(&self) -> bool {
        matches!(self, Task::Release(..))
    }

    pub fn customer(&self) -> CustomerKey {
        match self {
            Task::Confirm(claim, _) | Task::Release(claim, _) | Task::Anyway(claim, _) => claim.customer,
            Task::Move { from, .. } => *from,
            Task::Forget(customer) => *customer,
        }
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a task; false when there was no room.
    pub fn push(&self, task: Task) -> bool {
        let mut queue = self.lock();
        let fits = queue.tasks.len() < LANE_LEN_MAX;
        if fits {
            queue.note(&task, Waits::Yes);
            queue.queued += 1;
            queue.tasks.push_back(task);
            self.filled.notify_one();
        }
        fits
    }

    /// Grants made without asking that Redis does not know yet.
    pub fn unsettled(&self, customer: CustomerKey) -> usize {
        self.lock().of_customers.get(&customer).map_or(0, |waiting| waiting.unasked)
    }

    /// How many tasks were ever added.
    pub fn queued(&self) -> u64 {
        self.lock().queued
    }

    /// Whether so many are done, in their order.
    pub fn was_done(&self, queued: u64) -> bool {
        self.lock().done >= queued
    }

    pub fn len(&self) -> usize {
        self.lock().tasks.len()
    }

    /// The next task. INVARIANT: only [`Caps::drain`] takes any.
    fn next(&self) -> Option<Task> {
        let mut queue = self.lock();
        let task = queue.tasks.pop_front();
        queue.releasing = task.as_ref().filter(|task| task.releases()).map(Task::customer);
        if let Some(task) = &task {
            queue.note(task, Waits::NoMore);
        }
        task
    }

    /// A task is done, or must be done again first.
    fn end(&self, again: Option<Task>) {
        let mut queue = self.lock();
        queue.releasing = None;
        queue.is_stuck = again.is_some();
        queue.done += u64::from(again.is_none());
        if let Some(task) = again {
            queue.note(&task, Waits::Yes);
            queue.tasks.push_front(task);
        }
        drop(queue);
        self.done.send_modify(|times| *times = times.wrapping_add(1));
    }

    /// Waits until nothing is left to be given back for a customer: a claim must not
    /// come before what makes room for it. Not while Redis is away.
    pub async fn released(&self, customer: CustomerKey, deadline: Instant) {
        let owes = || {
            let queue = self.lock();
            let waits = || queue.of_customers.get(&customer).is_some_and(|waiting| waiting.releases > 0);
            !queue.is_stuck && (queue.releasing == Some(customer) || waits())
        };
        if !owes() {
            return;
        }
        let mut done = self.done.subscribe();
        let wait = async { while owes() && done.changed().await.is_ok() {} };
        // who waited in vain asks all the same
        let _ = tokio::time::timeout_at(deadline.into(), wait).await;
    }
}

impl Caps {
    pub(super) fn queue(&self, task: Task) {
        let was_seen = matches!(task, Task::Confirm(..));
        if !self.lane(task.customer()).push(task) {
            self.metrics.dropped();
            // what was seen is in the log, and told from there when there is room
            self.owes.fetch_or(was_seen, Relaxed);
        }
    }

    /// Does the tasks of a lane one after the other.
    pub(super) async fn drain(&self, lane: &Lane) {
        loop {
            let Some(task) = lane.next() else {
                lane.filled.notified().await;
                continue;
            };
            match self.settle(&task, Instant::now() + TASK_TIMEOUT).await {
                Ok(()) => lane.end(None),
                Err(Failure::Mistake { code, text }) => {
                    tracing::error!(code, text, "what followed a claim could not be written to redis");
                    self.metrics.dropped();
                    lane.end(None);
                }
                Err(Failure::Outage(_)) => {
                    lane.end(Some(task));
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
        }
    }

    async fn settle(&self, task: &Task, deadline: Instant) -> Result<(), Failure> {
        match task {
            Task::Confirm(claim, now) => self.confirm_claim(claim, *now, deadline).await,
            Task::Release(claim, what) => self.release_claim(claim, *what, deadline).await,
            Task::Anyway(claim, now) => {
                let over = self.claim_anyway(claim, *now, deadline).await?;
                self.metrics.over_granted(over);
                Ok(())
            }
            Task::Move { from, to, keeps } => self.move_claims((*from, *to), *keeps, deadline).await,
            Task::Forget(customer) => self.forget_claims(*customer, deadline).await,
        }
    }

    async fn confirm_claim(&self, claim: &PersonClaim, seen: Timestamp, deadline: Instant) -> Result<(), Failure> {
        let mut now = seen;
        let keys = claim.keys(&self.remote.keys);
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        for place in &claim.places {
            // a window that does not hold the moment there is told that moment
            for _ in 0..2 {
                let mut arguments = vec![place.member.to_vec(), seen.millis().to_string().into_bytes()];
                claim.windows(now, &mut arguments);
                let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
                let answer = self.remote.client.script(&CONFIRM_CAPS, &keys, &arguments, deadline).await?;
                match Said::read(answer)? {
                    Said::Now(there) => now = there,
                    Said::Done(numbers) => {
                        self.metrics.late(numbers.first().map_or(0, |late| late.unsigned_abs()));
                        break;
                    }
                    Said::Refused(_) | Said::Overtaken => break,
                }
            }
        }
        Ok(())
    }

    async fn release_claim(&self, claim: &PersonClaim, what: Releases, deadline: Instant) -> Result<(), Failure> {
        let keys = claim.keys(&self.remote.keys);
        // the index keeps the name of the cap until it lapses
        let keys: Vec<&[u8]> = keys.iter().skip(1).map(Vec::as_slice).collect();
        let what: &[u8] = if what == Releases::Any { b"any" } else { b"open" };
        let members = claim.places.iter().map(|place| place.member.as_slice());
        let arguments: Vec<&[u8]> = std::iter::once(what).chain(members).collect();
        self.remote.client.script(&RELEASE_CAPS, &keys, &arguments, deadline).await?;
        Ok(())
    }
}
