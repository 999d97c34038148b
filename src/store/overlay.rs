//! What is in the log and in memory, and not in the embedded store yet.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::{CustomerKey, EventId, IdentityHash, ItemId, OfferId, Tallies, Timestamp};

use super::{
    Due, Erasure, HotProfile, Merge,
    holders::Holders,
    seal::DataKey,
    timeline::Noted,
    unions::{Found, Unions},
};

/// How long without a change before the storing thread looks after what is old.
const IDLE: Duration = Duration::from_secs(60);

/// Changes up to one sequence of the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    /// The last record whose effects are in it.
    pub sequence: u64,
    /// Records whose effects are in it.
    pub records: u64,
    pub profiles: HashMap<CustomerKey, Arc<HotProfile>>,
    /// Data keys of customers made in it.
    pub keys: HashMap<CustomerKey, DataKey>,
    /// What happened.
    pub timeline: HashMap<CustomerKey, Vec<Noted>>,
    /// Erasures, which come before everything else of the layer.
    pub erased: Vec<Arc<Erasure>>,
    /// Identities that nobody holds any more, unless `aliases` has them.
    pub forgotten: HashSet<IdentityHash>,
    /// Everybody who holds an identity, for those that somebody got.
    pub aliases: HashMap<IdentityHash, Holders>,
    /// Content and receipt time per event.
    pub events: HashMap<EventId, (u64, Timestamp)>,
    pub names: HashMap<ItemId, Arc<str>>,
    /// The changed counts only; the totals are whole.
    pub tallies: Tallies,
    /// Presentations that wait for an answer.
    pub due: Vec<Due>,
    /// Presentations seen per offer and bucket of its budget.
    pub budgets: HashMap<(OfferId, i64), u64>,
    /// What merges changed.
    pub unions: Unions,
    /// Keys ever put in the journal when the layer was last added to.
    pub keys_made: u64,
}

impl Layer {
    /// A customer's data key, when the layer has it.
    pub fn data_key(&self, key: CustomerKey) -> Option<&DataKey> {
        let profile = self.profiles.get(&key).map(|hot| &hot.data_key);
        let moved = || self.unions.redirects.get(&key)?.as_ref().map(|redirect| &redirect.data_key);
        profile.or_else(|| self.keys.get(&key)).or_else(moved)
    }

    /// Whether it erases a customer.
    fn erases(&self, key: CustomerKey) -> bool {
        self.erased.iter().any(|erasure| erasure.customers.contains(&key))
    }

    /// Whether it erases one of the two of a merge.
    fn erases_merge(&self, merge: &Merge) -> bool {
        self.erases(merge.survivor.key) || self.erases(merge.absorbed.key)
    }

    /// Lets go of what a newer layer erases. INVARIANT: the key of an erased
    /// customer never comes back.
    fn forget(&mut self, newer: &Layer) {
        for key in newer.erased.iter().flat_map(|erasure| &erasure.customers) {
            self.profiles.remove(key);
            self.keys.remove(key);
            self.timeline.remove(key);
            self.unions.redirects.remove(key);
        }
        if !newer.erased.is_empty() {
            self.unions.merges.retain(|_, merge| !newer.erases_merge(merge));
            self.unions.parted.retain(|(a, b), _| !newer.erases(*a) && !newer.erases(*b));
        }
        for hash in &newer.forgotten {
            self.aliases.remove(hash);
        }
    }
}

/// The two layers: one that grows, one that is being stored.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    growing: Layer,
    in_flight: Option<Arc<Layer>>,
    urgent: bool,
    closing: bool,
    /// Whether the embedded store must be opened again.
    mend: bool,
}

/// What the storing thread was woken for.
#[derive(Debug)]
pub(super) enum Taken {
    /// A layer to store.
    Layer(Arc<Layer>),
    /// The embedded store must be opened again; there is nothing to store.
    Mend,
    /// Nothing came for a while.
    Idle,
    /// Nothing is left and nothing will come.
    Closed,
}

impl Overlay {
    /// A customer, or where it went; `Some(None)` when it was erased.
    pub fn customer(&self, key: CustomerKey) -> Option<Option<Found>> {
        self.find(|layer| {
            let profile = layer.profiles.get(&key).map(|hot| Found::Profile(Arc::clone(hot)));
            let moved = || layer.unions.redirects.get(&key)?.clone().map(Found::Moved);
            profile.or_else(moved).map(Some).or_else(|| layer.erases(key).then_some(None))
        })
    }

    /// The merges behind customers.
    pub fn merges(&self, keys: &[CustomerKey]) -> Vec<Arc<Merge>> {
        let state = self.lock();
        let older = state.in_flight.iter().flat_map(|layer| &layer.unions.merges);
        let kept = older.filter(|(_, merge)| !state.growing.erases_merge(merge));
        let all = kept.chain(&state.growing.unions.merges);
        all.filter(|((survivor, _), _)| keys.contains(survivor)).map(|(_, merge)| Arc::clone(merge)).collect()
    }

    /// Whether two customers were parted.
    pub fn parted(&self, a: CustomerKey, b: CustomerKey) -> Option<bool> {
        self.find(|layer| layer.unions.parted(a, b))
    }

    /// Who was parted from a customer, and not stored yet.
    pub fn parted_from(&self, key: CustomerKey) -> Vec<CustomerKey> {
        let state = self.lock();
        let layers = state.in_flight.iter().map(|layer| &**layer).chain([&state.growing]);
        let pairs = layers.flat_map(|layer| &layer.unions.parted).filter(|(_, apart)| **apart).map(|(pair, _)| *pair);
        let other = |(a, b): (CustomerKey, CustomerKey)| match key {
            _ if key == a => Some(b),
            _ if key == b => Some(a),
            _ => None,
        };
        pairs.filter_map(other).collect()
    }

    /// How many people an identity joined.
    pub fn linked(&self, hash: IdentityHash) -> Option<u32> {
        self.find(|layer| layer.unions.linked.get(&hash).copied())
    }

    /// A customer's data key; `Some(None)` when it was erased.
    pub fn data_key(&self, key: CustomerKey) -> Option<Option<DataKey>> {
        self.find(|layer| {
            let moved = || layer.unions.redirects.get(&key)?.as_ref().map(|redirect| &redirect.data_key);
            match layer.keys.get(&key).or_else(moved) {
                Some(key) => Some(Some(key.clone())),
                None => layer.erases(key).then_some(None),
            }
        })
    }

    /// Who holds an identity; `Some(None)` when nobody does any more.
    pub fn holders(&self, hash: IdentityHash) -> Option<Option<Holders>> {
        self.find(|layer| match layer.aliases.get(&hash) {
            Some(holders) => Some(Some(holders.clone())),
            None => layer.forgotten.contains(&hash).then_some(None),
        })
    }

    /// What happened to a customer and is not stored yet.
    pub fn timeline(&self, key: CustomerKey) -> Vec<Noted> {
        let state = self.lock();
        let mut noted = state.growing.timeline.get(&key).cloned().unwrap_or_default();
        if !state.growing.erases(key)
            && let Some(waiting) = state.in_flight.as_ref().and_then(|layer| layer.timeline.get(&key))
        {
            noted.extend(waiting.iter().cloned());
        }
        noted
    }

    /// The content of an event.
    pub fn event(&self, id: EventId) -> Option<u64> {
        self.find(|layer| layer.events.get(&id).map(|e| e.0))
    }

    fn find<T>(&self, of: impl Fn(&Layer) -> Option<T>) -> Option<T> {
        let state = self.lock();
        of(&state.growing).or_else(|| state.in_flight.as_ref().and_then(|layer| of(layer)))
    }

    /// Adds newer changes.
    pub fn add(&self, newer: Layer) {
        let mut state = self.lock();
        let wake = state.growing.records == 0;
        let layer = &mut state.growing;
        layer.sequence = newer.sequence;
        layer.records += newer.records.max(1);
        layer.forget(&newer);
        layer.erased.extend(newer.erased);
        layer.forgotten.extend(newer.forgotten);
        for (key, redirect) in &newer.unions.redirects {
            if redirect.is_some() {
                layer.profiles.remove(key);
            }
        }
        layer.unions.extend(newer.unions);
        layer.profiles.extend(newer.profiles);
        layer.keys.extend(newer.keys);
        for (key, noted) in newer.timeline {
            layer.timeline.entry(key).or_default().extend(noted);
        }
        layer.aliases.extend(newer.aliases);
        layer.events.extend(newer.events);
        layer.names.extend(newer.names);
        layer.budgets.extend(newer.budgets);
        layer.due.extend(newer.due);
        layer.tallies.offers.extend(newer.tallies.offers);
        let offers = std::mem::take(&mut layer.tallies.offers);
        layer.tallies = Tallies { offers, ..newer.tallies };
        layer.keys_made = newer.keys_made;
        drop(state);
        if wake {
            self.changed.notify_all();
        }
    }

    /// Asks for storing soon.
    pub fn hurry(&self) {
        self.lock().urgent = true;
        self.changed.notify_all();
    }

    /// Asks for opening the embedded store again.
    pub fn mend(&self) {
        self.lock().mend = true;
        self.changed.notify_all();
    }

    /// Waits, but not while closing.
    pub fn pause(&self, wait: Duration) {
        let state = self.lock();
        let waited = self.changed.wait_timeout_while(state, wait, |s| !s.closing);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// No more layers will come.
    pub fn close(&self) {
        self.lock().closing = true;
        self.changed.notify_all();
    }

    pub fn is_closing(&self) -> bool {
        self.lock().closing
    }

    /// Records not stored yet.
    pub fn records(&self) -> u64 {
        let state = self.lock();
        state.growing.records + state.in_flight.as_ref().map_or(0, |layer| layer.records)
    }

    /// Waits for changes, lets them gather for `gather`, and takes them. A layer
    /// that could not be stored is given again.
    pub fn take(&self, gather: Duration, gather_len: u64) -> Taken {
        let mut state = self.lock();
        if let Some(layer) = &state.in_flight {
            return Taken::Layer(Arc::clone(layer));
        }
        while state.growing.records == 0 && !state.closing {
            if std::mem::take(&mut state.mend) {
                return Taken::Mend;
            }
            let (woken, waited) = self.changed.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if waited.timed_out() && state.growing.records == 0 && !state.closing {
                return Taken::Idle;
            }
        }
        let waits = |s: &mut State| !s.urgent && !s.closing && s.growing.records < gather_len;
        let waited = self.changed.wait_timeout_while(state, gather, waits);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.urgent = false;
        if state.growing.records == 0 {
            return Taken::Closed;
        }
        let layer = Arc::new(std::mem::take(&mut state.growing));
        state.in_flight = Some(Arc::clone(&layer));
        Taken::Layer(layer)
    }

    /// The layer taken last is stored.
    pub fn stored(&self) {
        let layer = self.lock().in_flight.take();
        // freed here, after the lock
        drop(layer);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
