//! How many calls of a class may be under way at the same time, waiting for
//! their turn or for the store: a part of each is kept for those before it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use crate::telemetry::CallClass;

/// Eighths of all calls that those of a class may be.
const EIGHTHS: [usize; CallClass::ALL.len()] = [8, 7, 4];

/// The calls under way, by class; all threads share it.
pub struct Shares {
    max: [usize; CallClass::ALL.len()],
    under_way: [AtomicUsize; CallClass::ALL.len()],
}

impl Shares {
    /// Of so many calls in all.
    pub fn new(in_flight_max: usize) -> Self {
        Self {
            max: EIGHTHS.map(|eighths| (in_flight_max.saturating_mul(eighths) / 8).max(1)),
            under_way: Default::default(),
        }
    }

    /// Counts a call until the share is dropped; `None` when too many of its
    /// class are under way.
    pub fn enter(self: &Arc<Self>, class: CallClass) -> Option<Share> {
        let before = self.under_way[class as usize].fetch_add(1, Relaxed);
        let share = Share { shares: Arc::clone(self), class };
        (before < self.max[class as usize]).then_some(share)
    }
}

/// A call under way.
pub struct Share {
    shares: Arc<Shares>,
    class: CallClass,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.under_way[self.class as usize].fetch_sub(1, Relaxed);
    }
}
