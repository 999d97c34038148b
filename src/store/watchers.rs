//! Who watches customers: told by the writer what happened to them, right after
//! it was put in memory.
//!
//! While nobody watches, the writer pays for one load of a counter. It waits for
//! no reader: what happened goes to a bounded list per watcher, and one that is
//! full is emptied and marked, so that a slow reader learns that it missed
//! something and still gets the newest.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::Notify;

use crate::domain::{CustomerKey, Event};

use super::Store;

/// Most watchers at the same time.
pub const WATCHERS_MAX: usize = 1_000;
/// Most watchers of one customer at the same time.
pub const WATCHERS_OF_ONE_MAX: usize = 32;
/// Most events that wait for a watcher to read them.
pub const HAPPENINGS_WAITING_MAX: usize = 64;

/// Why somebody cannot watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoWatch {
    /// [`WATCHERS_MAX`] watch already.
    TooMany,
    /// [`WATCHERS_OF_ONE_MAX`] watch this customer already.
    TooManyOfOne,
    /// The service is about to stop.
    Ending,
}

/// What happened since the last look.
#[derive(Debug, Default)]
pub struct Happened {
    /// What, oldest first. Empty when something changed that is no event.
    pub events: Vec<Arc<Event>>,
    /// Whether earlier events were missed.
    pub missed: bool,
}

/// Somebody who watches a customer, until dropped.
pub struct Watcher {
    key: CustomerKey,
    inbox: Arc<Inbox>,
    watchers: Arc<Watchers>,
}

impl Watcher {
    /// Waits until something happens; `None` once watching has ended. May be
    /// given up at any time: nothing is lost.
    pub async fn next(&mut self) -> Option<Happened> {
        loop {
            {
                let mut waiting = self.inbox.lock();
                if std::mem::take(&mut waiting.changed) {
                    let missed = std::mem::take(&mut waiting.missed);
                    return Some(Happened { events: std::mem::take(&mut waiting.events).into(), missed });
                }
                if waiting.ended {
                    return None;
                }
            }
            // a bell that rang since keeps its ring
            self.inbox.bell.notified().await;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.watchers.forget(self.key, &self.inbox);
    }
}

/// What waits for one watcher.
#[derive(Debug, Default)]
struct Inbox {
    /// Whom the watcher asked for.
    asked: CustomerKey,
    waiting: Mutex<Waiting>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Arc<Event>>,
    changed: bool,
    missed: bool,
    ended: bool,
}

impl Inbox {
    /// Locked only for as long as a list is pushed to or taken.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells of so many events these, which are the last of them. Answers whether
    /// the watcher missed something by it.
    fn tell(&self, events: &[Arc<Event>], applied: usize) -> bool {
        let mut waiting = self.lock();
        let full = waiting.events.len() + events.len() > HAPPENINGS_WAITING_MAX;
        let missed = full || events.len() < applied;
        if missed {
            waiting.events.clear();
            waiting.missed = true;
        }
        let newest = events.len().saturating_sub(HAPPENINGS_WAITING_MAX);
        waiting.events.extend(events.iter().skip(newest).cloned());
        waiting.changed = true;
        drop(waiting);
        self.bell.notify_one();
        missed
    }

    fn end(&self) {
        self.lock().ended = true;
        self.bell.notify_one();
    }
}

type Table = HashMap<CustomerKey, Vec<Arc<Inbox>>>;

/// Everybody who watches.
#[derive(Default)]
pub(super) struct Watchers {
    count: AtomicUsize,
    /// Times a watcher missed something.
    behind: AtomicU64,
    table: ArcSwap<Table>,
    /// Held while the table is changed: whether watching has ended.
    ended: Mutex<bool>,
}

impl Watchers {
    pub fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    pub fn behind(&self) -> u64 {
        self.behind.load(Relaxed)
    }

    /// Watches a customer. What is read of the customer after this is not older
    /// than what the watcher is told first.
    pub fn watch(self: &Arc<Self>, key: CustomerKey) -> Result<Watcher, NoWatch> {
        let ended = self.lock();
        if *ended {
            return Err(NoWatch::Ending);
        }
        if self.len() >= WATCHERS_MAX {
            return Err(NoWatch::TooMany);
        }
        let mut table = Table::clone(&self.table.load());
        let of_one = table.entry(key).or_default();
        if of_one.len() >= WATCHERS_OF_ONE_MAX {
            return Err(NoWatch::TooManyOfOne);
        }
        let inbox = Arc::new(Inbox { asked: key, ..Inbox::default() });
        of_one.push(Arc::clone(&inbox));
        self.table.store(Arc::new(table));
        self.count.fetch_add(1, SeqCst);
        // INVARIANT: either the writer sees the count, or who reads the customer
        // after this sees what the writer put before it looked
        fence(SeqCst);
        drop(ended);
        Ok(Watcher { key, inbox, watchers: Arc::clone(self) })
    }

    /// Whether somebody watches a customer.
    pub fn watched(&self, key: CustomerKey) -> bool {
        self.count.load(Relaxed) > 0 && self.table.load().contains_key(&key)
    }

    /// Tells who watches these customers that they changed, by how many events,
    /// and what happened. Events that were applied before anybody watched are not
    /// among what happened; who began to watch before they showed missed them.
    pub fn tell(
        &self,
        changed: impl Iterator<Item = (CustomerKey, usize)>,
        happened: &HashMap<CustomerKey, Vec<Arc<Event>>>,
    ) {
        // the other half of the invariant of `watch`
        fence(SeqCst);
        if self.count.load(SeqCst) == 0 {
            return;
        }
        let table = self.table.load();
        for (key, applied) in changed {
            let Some(inboxes) = table.get(&key) else { continue };
            let events = happened.get(&key).map_or(&[][..], Vec::as_slice);
            let behind = inboxes.iter().filter(|inbox| inbox.tell(events, applied)).count();
            self.behind.fetch_add(behind as u64, Relaxed);
        }
    }

    /// Ends every watch of a customer.
    pub fn end_of(&self, key: CustomerKey) {
        if self.count.load(SeqCst) > 0 {
            self.table.load().get(&key).into_iter().flatten().for_each(|inbox| inbox.end());
        }
    }

    /// Who watched a customer watches the one who took it in.
    pub fn unite(&self, absorbed: CustomerKey, survivor: CustomerKey) {
        self.move_inboxes(absorbed, survivor, |_| true);
    }

    /// Who watched a customer that was taken in watches it again.
    pub fn part(&self, survivor: CustomerKey, absorbed: CustomerKey) {
        self.move_inboxes(survivor, absorbed, |inbox| inbox.asked == absorbed);
    }

    fn move_inboxes(&self, from: CustomerKey, to: CustomerKey, moves: impl Fn(&Inbox) -> bool) {
        let held = self.lock();
        let table = self.table.load();
        let Some(inboxes) = table.get(&from) else { return };
        let (moved, stay): (Vec<_>, Vec<_>) = inboxes.iter().cloned().partition(|inbox| moves(inbox));
        let mut table = Table::clone(&table);
        match stay.is_empty() {
            true => drop(table.remove(&from)),
            false => drop(table.insert(from, stay)),
        }
        table.entry(to).or_default().extend(moved);
        table.retain(|_, of_one| !of_one.is_empty());
        self.table.store(Arc::new(table));
        drop(held);
    }

    /// Ends every watch, and takes no further one.
    pub fn end(&self) {
        *self.lock() = true;
        self.table.load().values().flatten().for_each(|inbox| inbox.end());
    }

    fn forget(&self, key: CustomerKey, inbox: &Arc<Inbox>) {
        let ended = self.lock();
        let mut table = Table::clone(&self.table.load());
        // at another one where a merge came in between
        let others = table.iter().filter(|(at, _)| **at != key);
        let moved = others.filter(|(_, of_one)| of_one.iter().any(|known| Arc::ptr_eq(known, inbox)));
        let at = moved.map(|(at, _)| *at).next().unwrap_or(key);
        if let Some(of_one) = table.get_mut(&at) {
            of_one.retain(|known| !Arc::ptr_eq(known, inbox));
            if of_one.is_empty() {
                table.remove(&at);
            }
        }
        self.table.store(Arc::new(table));
        self.count.fetch_sub(1, SeqCst);
        drop(ended);
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Watches a customer from now on.
    ///
    /// # Errors
    /// Too many watch, or the service is about to stop.
    pub fn watch(&self, key: CustomerKey) -> Result<Watcher, NoWatch> {
        self.shared.watchers.watch(key)
    }

    /// Ends every watch, and who follows the log, and takes no further one.
    pub fn end_watches(&self) {
        self.shared.watchers.end();
        self.shared.followers.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EventId, EventKind, Timestamp};

    const ANN: CustomerKey = CustomerKey(1);

    fn event(n: usize) -> Arc<Event> {
        let kind = EventKind::DoNotContact { on: true, reason: "".into() };
        let at = Timestamp(n as i64);
        Arc::new(Event { id: EventId(n as u128), at, received_at: at, identities: Vec::new(), feeds: Vec::new(), kind })
    }

    fn tell(watchers: &Watchers, events: std::ops::Range<usize>) {
        let applied = events.len();
        let happened = HashMap::from([(ANN, events.map(event).collect())]);
        watchers.tell([(ANN, applied), (CustomerKey(2), 0)].into_iter(), &happened);
    }

    #[tokio::test]
    async fn who_begins_between_apply_and_tell_learns_that_it_missed_something() {
        let watchers = Arc::<Watchers>::default();
        // one event was applied before anybody watched, one after
        assert!(!watchers.watched(ANN));
        let mut watcher = watchers.watch(ANN).ok().unwrap();
        watchers.tell([(ANN, 2)].into_iter(), &HashMap::from([(ANN, vec![event(1)])]));
        let told = watcher.next().await.unwrap();
        assert!(told.missed && told.events.len() == 1 && watchers.behind() == 1);
        // and when all of them were
        watchers.tell([(ANN, 1)].into_iter(), &HashMap::new());
        let told = watcher.next().await.unwrap();
        assert!(told.missed && told.events.is_empty() && watchers.behind() == 2);
        tell(&watchers, 2..3);
        assert!(!watcher.next().await.unwrap().missed);
    }

    #[tokio::test]
    async fn a_watcher_is_told_in_order_and_a_slow_one_that_it_missed_something() {
        let watchers = Arc::<Watchers>::default();
        assert!(!watchers.watched(ANN));
        let mut watcher = watchers.watch(ANN).ok().unwrap();
        assert!(watchers.watched(ANN) && !watchers.watched(CustomerKey(2)));
        tell(&watchers, 0..1);
        tell(&watchers, 1..3);
        let told = watcher.next().await.unwrap();
        let ids: Vec<u128> = told.events.iter().map(|e| e.id.0).collect();
        assert_eq!((ids, told.missed), (vec![0, 1, 2], false));

        tell(&watchers, 3..3 + HAPPENINGS_WAITING_MAX);
        tell(&watchers, 100..101);
        let told = watcher.next().await.unwrap();
        assert_eq!((told.events.len(), told.events[0].id.0, told.missed), (1, 100, true));
        assert_eq!(watchers.behind(), 1);
        tell(&watchers, 200..201 + HAPPENINGS_WAITING_MAX);
        let told = watcher.next().await.unwrap();
        assert_eq!((told.events.len(), told.events[0].id.0, told.missed), (HAPPENINGS_WAITING_MAX, 201, true));
        tell(&watchers, 300..300);
        let told = watcher.next().await.unwrap();
        assert!(told.events.is_empty() && !told.missed);
    }

    #[tokio::test]
    async fn watchers_are_bounded_and_end() {
        let watchers = Arc::<Watchers>::default();
        let mut all: Vec<Watcher> = (0..WATCHERS_OF_ONE_MAX).map(|_| watchers.watch(ANN).ok().unwrap()).collect();
        assert_eq!(watchers.watch(ANN).err(), Some(NoWatch::TooManyOfOne));
        let others = WATCHERS_MAX - WATCHERS_OF_ONE_MAX;
        all.extend((0..others).map(|n| watchers.watch(CustomerKey(10 + n as u128)).ok().unwrap()));
        assert_eq!(watchers.watch(CustomerKey(2)).err(), Some(NoWatch::TooMany));
        all.pop();
        assert!(watchers.watch(CustomerKey(2)).is_ok());
        tell(&watchers, 0..1);
        watchers.end();
        // what happened before the end is still told
        assert!(all[0].next().await.is_some());
        assert!(all[0].next().await.is_none() && all[900].next().await.is_none());
        assert_eq!(watchers.watch(CustomerKey(2)).err(), Some(NoWatch::Ending));
        drop(all);
        assert!(watchers.len() == 0 && watchers.table.load().is_empty());
    }
}
