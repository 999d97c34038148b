//! Request ids of streams. Apart from those of single calls, so that a batch of
//! millions never makes the service forget those; and small, for no answer is
//! kept: the log has it, and it is replayed from there.
//!
//! Each shard has two generations of ids. A new one begins when the young one is
//! full or ten minutes old, and the old one goes as a whole: no queue of ages.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use metrics::Counter;
use tokio::sync::Notify;

use crate::domain::{DecisionId, Timestamp};

use super::{REMEMBERED_US, Ticket};

/// Parts that lock for themselves.
const SHARDS: usize = 32;
/// Ids of one generation of a shard: seven eighths of a table of 65,536 places.
/// With 32 shards at least the last 1.8 million ids are remembered, in at most
/// 200 MiB; older ones are forgotten early, which is counted.
const GENERATION_LEN_MAX: usize = 57_344;
/// An id that is being answered.
const UNDER_WAY: DecisionId = DecisionId(0);

/// The request ids of streams of the last ten minutes.
pub struct StreamIds {
    shards: Vec<Mutex<Shard>>,
    generation_len_max: usize,
    forgotten: Counter,
    settled: Notify,
    waiting: AtomicUsize,
}

struct Shard {
    young: HashMap<u128, Known>,
    old: HashMap<u128, Known>,
    /// When the young generation began.
    since: Timestamp,
}

#[derive(Clone, Copy)]
struct Known {
    body: u64,
    at: Timestamp,
    decision: DecisionId,
}

/// What an id says of its question.
pub enum Claim<'a> {
    /// It was not asked yet: answer it.
    New(Asking<'a>),
    /// It was answered by this decision.
    Answered(DecisionId),
    /// The id came with another body.
    OtherBody,
}

/// A question that is being answered; forgotten when it is dropped unsettled, so
/// that it can be asked again.
pub struct Asking<'a> {
    ids: &'a StreamIds,
    key: u128,
    settled: bool,
}

impl Asking<'_> {
    /// The log has the answer.
    pub fn settle(mut self, decision: DecisionId) {
        self.settled = true;
        if let Some(known) = self.ids.shard(self.key).find(self.key) {
            known.decision = decision;
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.ids.shard(self.key).remove(self.key);
        }
        // INVARIANT: who waits counted itself before it looked under the lock
        if self.ids.waiting.load(SeqCst) > 0 {
            self.ids.settled.notify_waiters();
        }
    }
}

impl StreamIds {
    /// None yet; `forgotten` counts ids that had to go early.
    pub fn new(forgotten: Counter) -> Self {
        let shard = || Mutex::new(Shard { young: HashMap::new(), old: HashMap::new(), since: Timestamp(i64::MIN) });
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            generation_len_max: GENERATION_LEN_MAX,
            forgotten,
            settled: Notify::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Claims an id. Waits while the same question is being answered.
    pub async fn claim(&self, ticket: &Ticket, now: Timestamp) -> Claim<'_> {
        if let Some(claim) = self.try_claim(ticket, now) {
            return claim;
        }
        self.waiting.fetch_add(1, SeqCst);
        let _waiting = Waiting(&self.waiting);
        loop {
            let mut settled = std::pin::pin!(self.settled.notified());
            settled.as_mut().enable();
            if let Some(claim) = self.try_claim(ticket, now) {
                return claim;
            }
            settled.await;
        }
    }

    /// `None` while the same question is being answered.
    fn try_claim(&self, ticket: &Ticket, now: Timestamp) -> Option<Claim<'_>> {
        let mut shard = self.shard(ticket.key);
        match shard.find(ticket.key) {
            Some(known) if now.since_us(known.at) <= REMEMBERED_US => {
                return match known.decision {
                    _ if known.body != ticket.body => Some(Claim::OtherBody),
                    UNDER_WAY => None,
                    decision => Some(Claim::Answered(decision)),
                };
            }
            Some(_) => shard.remove(ticket.key),
            None => {}
        }
        self.add(&mut shard, ticket.key, Known { body: ticket.body, at: now, decision: UNDER_WAY });
        Some(Claim::New(Asking { ids: self, key: ticket.key, settled: false }))
    }

    /// Remembers an id from the log, after a restart; the oldest come first.
    pub fn restore(&self, ticket: &Ticket, at: Timestamp, decision: DecisionId) {
        let mut shard = self.shard(ticket.key);
        self.add(&mut shard, ticket.key, Known { body: ticket.body, at, decision });
    }

    /// Forgets an id whose decision is gone, so that it can be asked again;
    /// unless it was asked again already.
    pub fn forget(&self, ticket: &Ticket, decision: DecisionId) {
        let mut shard = self.shard(ticket.key);
        if shard.find(ticket.key).is_some_and(|known| known.decision == decision) {
            shard.remove(ticket.key);
        }
    }

    fn add(&self, shard: &mut Shard, key: u128, known: Known) {
        let age_us = known.at.0.saturating_sub(shard.since.0);
        if shard.young.len() >= self.generation_len_max || age_us > REMEMBERED_US {
            let gone = std::mem::replace(&mut shard.old, std::mem::take(&mut shard.young));
            // those that go may be younger than ten minutes only then
            if age_us <= REMEMBERED_US && !gone.is_empty() {
                self.forgotten.increment(gone.len() as u64);
            }
            shard.since = known.at;
        }
        shard.young.insert(key, known);
    }

    fn shard(&self, key: u128) -> MutexGuard<'_, Shard> {
        // INVARIANT: there are `SHARDS` of them
        self.shards[key as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    fn find(&mut self, key: u128) -> Option<&mut Known> {
        match self.young.get_mut(&key) {
            Some(known) => Some(known),
            None => self.old.get_mut(&key),
        }
    }

    fn remove(&mut self, key: u128) {
        self.young.remove(&key);
        self.old.remove(&key);
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::time::SECOND_US;

    const START: Timestamp = Timestamp(1_700_000_000_000_000);

    fn ticket(id: &str, body: u64) -> Ticket {
        Ticket::of_stream(id, body)
    }

    fn known(ids: &StreamIds, id: &str, now: Timestamp) -> Option<u128> {
        match ids.try_claim(&ticket(id, 1), now) {
            Some(Claim::Answered(decision)) => Some(decision.0),
            _ => None,
        }
    }

    fn answer(ids: &StreamIds, id: &str, decision: u128, now: Timestamp) {
        match ids.try_claim(&ticket(id, 1), now) {
            Some(Claim::New(asking)) => asking.settle(DecisionId(decision)),
            _ => panic!("{id} is not new"),
        }
    }

    #[test]
    fn an_answer_is_known_for_ten_minutes_and_another_body_is_refused() {
        let ids = StreamIds::new(Counter::noop());
        answer(&ids, "a", 7, START);
        assert_eq!(known(&ids, "a", START.plus_us(REMEMBERED_US)), Some(7));
        assert!(matches!(ids.try_claim(&ticket("a", 2), START), Some(Claim::OtherBody)));
        answer(&ids, "a", 8, START.plus_us(REMEMBERED_US + 1));
        assert_eq!(known(&ids, "a", START.plus_us(REMEMBERED_US + 2)), Some(8));
    }

    #[test]
    fn what_was_not_settled_can_be_asked_again() {
        let ids = StreamIds::new(Counter::noop());
        let asking = ids.try_claim(&ticket("a", 1), START);
        assert!(ids.try_claim(&ticket("a", 1), START).is_none());
        drop(asking);
        answer(&ids, "a", 7, START);
    }

    #[tokio::test]
    async fn a_copy_waits_for_the_answer_of_the_first() {
        let ids = Arc::new(StreamIds::new(Counter::noop()));
        let Some(Claim::New(first)) = ids.try_claim(&ticket("a", 1), START) else { panic!("not new") };
        let copy = tokio::spawn({
            let ids = Arc::clone(&ids);
            async move { matches!(ids.claim(&ticket("a", 1), START).await, Claim::Answered(DecisionId(7))) }
        });
        while ids.waiting.load(SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        first.settle(DecisionId(7));
        assert!(copy.await.unwrap());
    }

    #[test]
    fn the_newest_are_kept_within_the_bound() {
        let ids = StreamIds { generation_len_max: 10, ..StreamIds::new(Counter::noop()) };
        let many = 2_000_u128;
        for n in 1..=many {
            answer(&ids, &n.to_string(), n, START.plus_us(n as i64 * SECOND_US / 100));
        }
        let now = START.plus_us(20 * SECOND_US);
        for n in many - 100..=many {
            assert_eq!(known(&ids, &n.to_string(), now), Some(n));
        }
        let kept = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap();
            (shard.young.len(), shard.old.len())
        };
        assert!(ids.shards.iter().map(kept).all(|(young, old)| young <= 10 && old <= 10));
        assert_eq!(known(&ids, "1", now), None);
    }

    #[test]
    fn old_generations_go_with_time() {
        let ids = StreamIds::new(Counter::noop());
        for n in 0..500_u128 {
            answer(&ids, &n.to_string(), n + 1, START);
        }
        for round in 1..4 {
            let now = START.plus_us(round * (REMEMBERED_US + 1));
            for n in 0..500 {
                answer(&ids, &format!("{round}-{n}"), 1, now);
            }
        }
        let kept = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap();
            shard.young.len() + shard.old.len()
        };
        let kept: usize = ids.shards.iter().map(kept).sum();
        assert!(kept <= 1_000, "{kept}");
    }
}
