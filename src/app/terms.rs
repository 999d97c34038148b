//! On what terms a question is answered.

use std::time::{Duration, Instant};

/// How much goes into an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Fullness {
    /// Everything.
    #[default]
    Whole,
    /// Nothing is loaded and nothing ranked: the fallback of each placement.
    Short,
}

/// On what terms a question is answered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms {
    /// When the call came; now when nobody noted it.
    pub arrived: Option<Instant>,
    /// Until when its caller waits, as the transport says.
    pub deadline: Option<Instant>,
    /// How much goes into the answer.
    pub fullness: Fullness,
}

impl Terms {
    /// Until when may be waited for other stores: the budget counts from when the
    /// call came, and the caller may wait for less.
    pub fn until(self, budget: Duration) -> Instant {
        let budgeted = self.arrived.unwrap_or_else(Instant::now) + budget;
        self.deadline.map_or(budgeted, |deadline| deadline.min(budgeted))
    }

    /// How long may be waited still.
    pub fn left(self, budget: Duration) -> Duration {
        self.until(budget).saturating_duration_since(Instant::now())
    }
}
