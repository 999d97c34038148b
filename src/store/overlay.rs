//! What is in the log and in memory, and not in the embedded store yet.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::{CustomerKey, EventId, IdentityHash, ItemId, OfferId, Tallies, Timestamp};

use super::{HotProfile, holders::Holders};

/// Changes up to one sequence of the log.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    /// The last record whose effects are in it.
    pub sequence: u64,
    /// Records whose effects are in it.
    pub records: u64,
    pub profiles: HashMap<CustomerKey, Arc<HotProfile>>,
    /// Everybody who holds an identity, for those that somebody got.
    pub aliases: HashMap<IdentityHash, Holders>,
    /// Content and receipt time per event.
    pub events: HashMap<EventId, (u64, Timestamp)>,
    pub names: HashMap<ItemId, Arc<str>>,
    /// The changed counts only; the totals are whole.
    pub tallies: Tallies,
    /// Presentations seen per offer and bucket of its budget.
    pub budgets: HashMap<(OfferId, i64), u64>,
    /// Keys ever put in the journal when the layer was last added to.
    pub keys_made: u64,
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
    /// Nothing is left and nothing will come.
    Closed,
}

impl Overlay {
    pub fn profile(&self, key: CustomerKey) -> Option<Arc<HotProfile>> {
        self.find(|layer| layer.profiles.get(&key).cloned())
    }

    pub fn holders(&self, hash: IdentityHash) -> Option<Holders> {
        self.find(|layer| layer.aliases.get(&hash).cloned())
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
        layer.profiles.extend(newer.profiles);
        layer.aliases.extend(newer.aliases);
        layer.events.extend(newer.events);
        layer.names.extend(newer.names);
        layer.budgets.extend(newer.budgets);
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
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
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
