//! Answers by request id: within ten minutes the same id with the same body
//! gets the same bytes, with another body an error.
//!
//! The answer itself is kept for a short time; after that the decision is
//! replayed from the log, which gives the same bytes. What never reached the
//! log is kept itself until it is forgotten.

pub mod stream_ids;

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use dashmap::{DashMap, Entry as Slot};
use metrics::Counter;
use tokio::sync::OnceCell;
use xxhash_rust::xxh3::xxh3_128;

use crate::domain::{Decision, DecisionId, Degraded, IdentityHash, Intent, Request, Timestamp, time::SECOND_US};

use super::digest;

/// How long a request id is remembered, microseconds.
pub const REMEMBERED_US: i64 = 600 * SECOND_US;
/// How long the answer itself is kept, microseconds.
const KEPT_US: i64 = 30 * SECOND_US;
/// The most request ids remembered; beyond it the oldest are forgotten early,
/// which is counted.
const ENTRIES_MAX: usize = 1_000_000;
/// The most answers outside the log that are kept beyond [`KEPT_US`].
const UNLOGGED_MAX: usize = 20_000;
/// The most ids that one new id sweeps away.
const SWEPT_MAX: usize = 4;
/// How the stored id of a re-ranked answer begins. INVARIANT: with what
/// follows it is longer than any request id a caller may give, so that the two
/// are never taken for each other.
const ANSWER_MARK: &str = "response to a presentation\0";

/// How the stored id of a question of a stream begins; it is filled up to be
/// longer than any request id a caller may give.
const STREAM_MARK: &str = "asked on a stream\0";
/// Least bytes of the stored id of a question of a stream.
const STREAM_STORED_BYTES: usize = 65;

/// A request id with the digest of its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    key: u128,
    body: u64,
    /// What stands in the decision record.
    pub stored: Box<str>,
}

impl Ticket {
    /// Of a question; `body` is its digest.
    pub fn of_question(request_id: &str, body: u64) -> Self {
        Self { key: xxh3_128(format!("decide\0{request_id}").as_bytes()), body, stored: request_id.into() }
    }

    /// Of a question of a stream; its ids are apart from those of single calls.
    pub fn of_stream(request_id: &str, body: u64) -> Self {
        let key = xxh3_128(format!("stream\0{request_id}").as_bytes());
        let mut stored = format!("{STREAM_MARK}{:03}{request_id}", request_id.len());
        while stored.len() < STREAM_STORED_BYTES {
            stored.push('\0');
        }
        Self { key, body, stored: stored.into() }
    }

    /// Of a question of a stream read back from the log; `None` when it is of
    /// another kind.
    pub fn of_stored_stream(request: &Request) -> Option<Self> {
        let stored = &*request.request_id;
        let rest = stored.strip_prefix(STREAM_MARK).filter(|_| stored.len() >= STREAM_STORED_BYTES)?;
        let (len, id) = rest.split_at_checked(3)?;
        let id = id.get(..len.parse().ok()?)?;
        Some(Self::of_stream(id, digest::request(request)))
    }

    /// Of a response to a presentation; without a request id its body stands
    /// for one.
    pub fn of_response(request_id: &str, body: u64) -> Self {
        let key = match request_id {
            "" => xxh3_128(format!("respond\0\0{body:016x}").as_bytes()),
            id => xxh3_128(format!("respond\0{id}").as_bytes()),
        };
        Self { key, body, stored: format!("{ANSWER_MARK}{key:032x}{body:016x}").into() }
    }

    /// Of a question read back from the log; `None` when it has no id.
    pub fn of_stored(request: &Request) -> Option<Self> {
        let stored = &*request.request_id;
        let response =
            stored.strip_prefix(ANSWER_MARK).filter(|rest| rest.len() == 48).and_then(|rest| rest.split_at_checked(32));
        let numbers =
            response.and_then(|(key, body)| u128::from_str_radix(key, 16).ok().zip(u64::from_str_radix(body, 16).ok()));
        match numbers {
            Some((key, body)) => Some(Self { key, body, stored: stored.into() }),
            None if stored.is_empty() => None,
            None => Some(Self::of_question(stored, digest::request(request))),
        }
    }
}

/// The request ids of the last ten minutes.
pub struct RequestIds {
    entries: DashMap<u128, Arc<Entry>>,
    ages: Mutex<Ages>,
    bounds: Bounds,
    forgotten: Counter,
    /// Erasures so far: an answer that was under way during one may be made of
    /// what was erased.
    erasures: AtomicU64,
}

/// How many are remembered.
struct Bounds {
    entries: usize,
    unlogged: usize,
}

/// Ids in order of their time, each in one queue.
#[derive(Default)]
struct Ages {
    /// Younger than [`KEPT_US`].
    young: VecDeque<Aged>,
    /// Older; replayed from the log.
    logged: VecDeque<Aged>,
    /// Older; kept, for the log does not have them.
    unlogged: VecDeque<Aged>,
}

#[derive(Clone, Copy)]
struct Aged {
    key: u128,
    at: Timestamp,
}

/// One request id.
pub struct Entry {
    /// Digest of the body.
    body: u64,
    /// When it came first.
    at: Timestamp,
    /// The answer, once there is one.
    pub answer: OnceCell<Answer>,
}

impl Entry {
    /// The same, to be replayed from the log; `None` when the log does not have
    /// the answer, or when that is how it is.
    fn logged(&self) -> Option<Self> {
        let Some(Answer::Kept(decision)) = self.answer.get() else { return None };
        let answer = OnceCell::new_with(Some(Answer::Logged(decision.id)));
        Some(Self { body: self.body, at: self.at, answer })
    }
}

/// What was answered.
#[derive(Clone)]
pub enum Answer {
    /// The answer itself; the log has it too.
    Kept(Arc<Decision>),
    /// The answer itself; the log does not have it. With the identities that the
    /// question named.
    Unlogged(Arc<Decision>, Box<[IdentityHash]>),
    /// The decision to replay.
    Logged(DecisionId),
}

impl Answer {
    /// A fresh answer to a question of an intent that named these identities.
    pub fn of(decision: Arc<Decision>, intent: Intent, about: Box<[IdentityHash]>) -> Self {
        match intent {
            Intent::Present if !decision.degraded.has(Degraded::LogUnavailable) => Answer::Kept(decision),
            Intent::Present | Intent::Preview => Answer::Unlogged(decision, about),
        }
    }
}

impl RequestIds {
    /// None yet; `forgotten` counts ids that had to go early.
    pub fn new(forgotten: Counter) -> Self {
        let bounds = Bounds { entries: ENTRIES_MAX, unlogged: UNLOGGED_MAX };
        Self { entries: DashMap::new(), ages: Mutex::default(), bounds, forgotten, erasures: AtomicU64::new(0) }
    }

    /// The entry of an id, made when there is none that is young enough.
    /// `Err` when the id came with another body.
    pub fn entry(&self, ticket: &Ticket, now: Timestamp) -> Result<Arc<Entry>, ()> {
        let fresh = || Arc::new(Entry { body: ticket.body, at: now, answer: OnceCell::new() });
        let (entry, new) = match self.entries.entry(ticket.key) {
            Slot::Occupied(slot) if now.since_us(slot.get().at) <= REMEMBERED_US => (Arc::clone(slot.get()), false),
            Slot::Occupied(mut slot) => {
                slot.insert(fresh());
                (Arc::clone(slot.get()), true)
            }
            Slot::Vacant(slot) => (Arc::clone(&slot.insert(fresh())), true),
        };
        if new {
            let mut ages = self.ages.lock().unwrap_or_else(PoisonError::into_inner);
            ages.young.push_back(Aged { key: ticket.key, at: now });
            self.sweep(&mut ages, now);
        }
        if entry.body == ticket.body { Ok(entry) } else { Err(()) }
    }

    /// Remembers an id from the log, after a restart; the oldest come first.
    pub fn restore(&self, ticket: &Ticket, at: Timestamp, decision: DecisionId) {
        let entry = Entry { body: ticket.body, at, answer: OnceCell::new_with(Some(Answer::Logged(decision))) };
        self.entries.insert(ticket.key, Arc::new(entry));
        let mut ages = self.ages.lock().unwrap_or_else(PoisonError::into_inner);
        ages.logged.push_back(Aged { key: ticket.key, at });
        self.bound(&mut ages);
    }

    /// Forgets an id whose answer failed, so that it can be tried again.
    pub fn forget(&self, ticket: &Ticket, entry: &Arc<Entry>) {
        self.entries.remove_if(&ticket.key, |_, known| Arc::ptr_eq(known, entry) && !known.answer.initialized());
    }

    /// How many erasures there were: read it before an answer is begun.
    pub fn erasures(&self) -> u64 {
        self.erasures.load(SeqCst)
    }

    /// After an erasure of who had these identities: lets go of every answer that
    /// the log has, it is replayed from there from now on; and of those that it
    /// does not have, as far as they may be of the erased. They are made anew
    /// when asked for again.
    pub fn forget_answers(&self, erased: &HashSet<IdentityHash>) {
        // INVARIANT: before the look at what is kept: an answer that is kept after
        // it is let go of by who made it
        self.erasures.fetch_add(1, SeqCst);
        let others = |about: &[IdentityHash]| !about.is_empty() && !about.iter().any(|hash| erased.contains(hash));
        self.entries.retain(|_, entry| match entry.answer.get() {
            Some(Answer::Unlogged(_, about)) => others(about),
            _ => true,
        });
        for mut entry in self.entries.iter_mut() {
            if let Some(logged) = entry.logged() {
                *entry = Arc::new(logged);
            }
        }
    }

    /// Lets go of an answer that was made while somebody was erased.
    pub fn let_go(&self, ticket: &Ticket, entry: &Arc<Entry>) {
        let same = |known: &Arc<Entry>| Arc::ptr_eq(known, entry);
        if let Some(logged) = entry.logged() {
            if let Some(mut known) = self.entries.get_mut(&ticket.key).filter(|known| same(known)) {
                *known = Arc::new(logged);
            }
        } else if let Some(Answer::Unlogged(..)) = entry.answer.get() {
            self.entries.remove_if(&ticket.key, |_, known| same(known));
        }
    }

    /// A few steps: what is no longer young goes to the log or stays, what is
    /// too old goes. INVARIANT: an id more brings at most one to each queue,
    /// and more than one goes, so that the queues never lag behind for long.
    fn sweep(&self, ages: &mut Ages, now: Timestamp) {
        let older = |queue: &mut VecDeque<Aged>, age_us: i64| queue.pop_front_if(|aged| now.since_us(aged.at) > age_us);
        for _ in 0..SWEPT_MAX {
            if let Some(aged) = older(&mut ages.young, KEPT_US) {
                self.settle(ages, aged);
            }
            for queue in [&mut ages.logged, &mut ages.unlogged] {
                if let Some(aged) = older(queue, REMEMBERED_US) {
                    self.drop_entry(aged);
                }
            }
        }
        self.bound(ages);
    }

    /// Lets go of an answer that the log has.
    fn settle(&self, ages: &mut Ages, aged: Aged) {
        let Some(mut entry) = self.entries.get_mut(&aged.key).filter(|entry| entry.at == aged.at) else { return };
        match entry.answer.get() {
            Some(Answer::Kept(_)) => {
                if let Some(logged) = entry.logged() {
                    *entry = Arc::new(logged);
                }
                ages.logged.push_back(aged);
            }
            Some(Answer::Logged(_)) => ages.logged.push_back(aged),
            Some(Answer::Unlogged(..)) | None => ages.unlogged.push_back(aged),
        }
    }

    fn bound(&self, ages: &mut Ages) {
        while ages.unlogged.len() > self.bounds.unlogged {
            self.forget_early(ages.unlogged.pop_front());
        }
        while ages.young.len() + ages.logged.len() + ages.unlogged.len() > self.bounds.entries {
            let oldest = ages.logged.pop_front().or_else(|| ages.unlogged.pop_front());
            self.forget_early(oldest.or_else(|| ages.young.pop_front()));
        }
    }

    fn forget_early(&self, aged: Option<Aged>) {
        if aged.is_some_and(|aged| self.drop_entry(aged)) {
            self.forgotten.increment(1);
        }
    }

    fn drop_entry(&self, aged: Aged) -> bool {
        self.entries.remove_if(&aged.key, |_, entry| entry.at == aged.at).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_700_000_000_000_000);
    const ANN: IdentityHash = IdentityHash(1);
    const BOB: IdentityHash = IdentityHash(2);

    fn ids(entries: usize, unlogged: usize) -> RequestIds {
        RequestIds { bounds: Bounds { entries, unlogged }, ..RequestIds::new(Counter::noop()) }
    }

    fn answered(ids: &RequestIds, name: &str, now: Timestamp, intent: Intent) -> Arc<Entry> {
        answered_about(ids, name, (now, intent), &[ANN])
    }

    fn answered_about(
        ids: &RequestIds,
        name: &str,
        (now, intent): (Timestamp, Intent),
        about: &[IdentityHash],
    ) -> Arc<Entry> {
        let entry = ids.entry(&Ticket::of_question(name, 1), now).unwrap();
        let decision = Arc::new(crate::grpc::convert::tests::answered());
        assert!(entry.answer.set(Answer::of(decision, intent, about.into())).is_ok());
        entry
    }

    fn kind(ids: &RequestIds, name: &str, now: Timestamp) -> &'static str {
        match ids.entry(&Ticket::of_question(name, 1), now).unwrap().answer.get() {
            None => "none",
            Some(Answer::Kept(_)) => "kept",
            Some(Answer::Unlogged(..)) => "unlogged",
            Some(Answer::Logged(_)) => "logged",
        }
    }

    #[test]
    fn only_what_the_log_has_is_let_go() {
        let ids = ids(100, 100);
        answered(&ids, "present", START, Intent::Present);
        answered(&ids, "preview", START, Intent::Preview);
        let later = START.plus_us(KEPT_US + 1);
        answered(&ids, "next", later, Intent::Present);
        assert_eq!(kind(&ids, "present", later), "logged");
        assert_eq!(kind(&ids, "preview", later), "unlogged");
        assert_eq!(kind(&ids, "next", later), "kept");
        let much_later = START.plus_us(REMEMBERED_US + 1);
        answered(&ids, "last", much_later, Intent::Present);
        assert_eq!(ids.entries.len(), 2);
    }

    #[test]
    fn after_an_erasure_no_answer_of_the_erased_is_kept() {
        let ids = ids(100, 100);
        answered(&ids, "present", START, Intent::Present);
        answered(&ids, "preview", START, Intent::Preview);
        answered_about(&ids, "both", (START, Intent::Preview), &[BOB, ANN]);
        answered_about(&ids, "nobody", (START, Intent::Preview), &[]);
        answered_about(&ids, "other", (START, Intent::Preview), &[BOB]);
        ids.forget_answers(&HashSet::from([ANN]));
        assert_eq!(kind(&ids, "present", START), "logged");
        for name in ["preview", "both", "nobody"] {
            assert_eq!(kind(&ids, name, START), "none", "{name}");
        }
        assert_eq!(kind(&ids, "other", START), "unlogged");
        // the queues of ages still fit
        answered(&ids, "next", START.plus_us(KEPT_US + 1), Intent::Present);
        assert_eq!(kind(&ids, "present", START.plus_us(KEPT_US + 1)), "logged");
    }

    #[test]
    fn an_answer_that_was_under_way_during_an_erasure_is_let_go() {
        let ids = ids(100, 100);
        for (name, intent, after) in [("preview", Intent::Preview, "none"), ("present", Intent::Present, "logged")] {
            let before = ids.erasures();
            let ticket = Ticket::of_question(name, 1);
            ids.entry(&ticket, START).unwrap();
            ids.forget_answers(&HashSet::from([ANN]));
            assert_ne!(ids.erasures(), before);
            let entry = answered(&ids, name, START, intent);
            ids.let_go(&ticket, &entry);
            assert_eq!(kind(&ids, name, START), after);
        }
    }

    #[test]
    fn never_more_than_the_bound() {
        let ids = ids(10, 3);
        for n in 0..50 {
            let intent = if n % 2 == 0 { Intent::Present } else { Intent::Preview };
            answered(&ids, &format!("{n}"), START.plus_us(n * SECOND_US), intent);
            assert!(ids.entries.len() <= 10);
        }
        assert_eq!(kind(&ids, "49", START.plus_us(49 * SECOND_US)), "unlogged");
        assert_eq!(kind(&ids, "0", START.plus_us(49 * SECOND_US)), "none");
        for n in 0..10 {
            answered(&ids, &format!("late {n}"), START.plus_us(100 * SECOND_US), Intent::Preview);
        }
        assert!(ids.ages.lock().unwrap().unlogged.len() <= 3);
    }

    #[test]
    fn another_body_is_refused_and_a_failed_one_can_be_tried_again() {
        let ids = ids(10, 10);
        let (one, other) = (Ticket::of_question("a", 1), Ticket::of_question("a", 2));
        let entry = ids.entry(&one, START).unwrap();
        assert!(ids.entry(&other, START).is_err());
        ids.forget(&one, &entry);
        assert!(ids.entry(&other, START).is_ok());
    }

    #[test]
    fn a_stored_id_gives_its_ticket_again() {
        let response = Ticket::of_response("a", 7);
        assert!(response.stored.len() > 64);
        let request = |id: &str| Request { request_id: id.into(), ..Request::default() };
        assert_eq!(Ticket::of_stored(&request(&response.stored)), Some(response.clone()));
        assert_eq!(Ticket::of_stored(&request("")), None);
        for id in ["a", "007", "", &"x".repeat(64)] {
            let asked = Ticket::of_stream(id, digest::request(&request("")));
            assert!(asked.stored.len() > 64);
            assert_eq!(Ticket::of_stored_stream(&request(&asked.stored)), Some(asked));
            assert_eq!(Ticket::of_stored_stream(&request(id)), None);
        }
        let question = Ticket::of_stored(&request("a")).unwrap();
        assert_eq!(question, Ticket::of_question("a", digest::request(&request("a"))));
        assert_ne!(question.key, response.key);
        let longest = format!("{ANSWER_MARK}{}", "0".repeat(64 - ANSWER_MARK.len()));
        let asked = Ticket::of_stored(&request(&longest)).unwrap();
        assert_eq!(asked.stored.as_ref(), longest);
        assert_eq!(asked, Ticket::of_question(&longest, digest::request(&request(&longest))));
    }
}
