//! The offers left after each step of stages 1 and 2: worked out once per
//! decision for everything that asks, then counted for each that does.

use crate::domain::{OfferSet, OfferSlot, Reason};

/// What is left step by step. Steps that drop nothing are not kept.
#[derive(Default)]
pub(super) struct Sieve {
    /// All that may answer any question of the request.
    meant: OfferSet,
    /// The first `len` are of this decision; the others are buffers.
    steps: Vec<Step>,
    len: usize,
}

/// One narrowing.
struct Step {
    /// Why it drops what it drops.
    reason: Reason,
    /// What it leaves.
    left: OfferSet,
}

impl Sieve {
    /// Begins with no offer of so many.
    pub fn begin(&mut self, offers: usize) {
        self.meant.reset(offers);
        self.len = 0;
    }

    /// Adds the offers meant for a question.
    pub fn add(&mut self, meant: &OfferSet) {
        self.meant.unite(meant);
    }

    /// What is left so far.
    pub fn left(&self) -> &OfferSet {
        match self.len {
            0 => &self.meant,
            len => &self.steps[len - 1].left,
        }
    }

    /// Narrows what is left; `keep` must only remove offers.
    pub fn narrow(&mut self, reason: Reason, keep: impl FnOnce(&mut OfferSet)) {
        if self.steps.len() == self.len {
            self.steps.push(Step { reason, left: OfferSet::default() });
        }
        let (before, rest) = self.steps.split_at_mut(self.len);
        let before = before.last().map_or(&self.meant, |step| &step.left);
        let Some(step) = rest.first_mut() else { return };
        step.reason = reason;
        step.left.copy_from(before);
        keep(&mut step.left);
        if step.left != *before {
            self.len += 1;
        }
    }

    /// Number of the steps that dropped anything.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Why a step dropped offers, and what it left.
    pub fn step(&self, at: usize) -> (Reason, &OfferSet) {
        (self.steps[at].reason, &self.steps[at].left)
    }

    /// Why an offer that was meant is no longer left; `None` when it is.
    pub fn dropped_for(&self, offer: OfferSlot) -> Option<Reason> {
        self.steps.iter().take(self.len).find(|step| !step.left.contains(offer)).map(|step| step.reason)
    }
}

/// How many offers both sets hold.
pub(super) fn shared_len(one: &OfferSet, other: &OfferSet) -> u32 {
    let words = one.blocks().as_flattened().iter().zip(other.blocks().as_flattened());
    words.map(|(one, other)| (one & other).count_ones()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(members: &[u32]) -> OfferSet {
        let mut set = OfferSet::empty(600);
        members.iter().for_each(|slot| set.insert(OfferSlot(*slot)));
        set
    }

    #[test]
    fn keeps_the_steps_that_drop() {
        let mut sieve = Sieve::default();
        for _ in 0..2 {
            sieve.begin(600);
            sieve.add(&of(&[1, 2, 3]));
            sieve.add(&of(&[3, 599]));
            sieve.narrow(Reason::OutsideSchedule, |set| set.subtract(&of(&[2])));
            sieve.narrow(Reason::Paused, |set| set.subtract(&of(&[2, 400])));
            sieve.narrow(Reason::NotEligible, |set| set.intersect(&of(&[1, 2, 599])));
            let steps: Vec<_> = (0..sieve.len()).map(|at| (sieve.step(at).0, sieve.step(at).1.len())).collect();
            assert_eq!(steps, [(Reason::OutsideSchedule, 3), (Reason::NotEligible, 2)]);
            assert_eq!(*sieve.left(), of(&[1, 599]));
            let why = [1, 2, 3].map(|slot| sieve.dropped_for(OfferSlot(slot)));
            assert_eq!(why, [None, Some(Reason::OutsideSchedule), Some(Reason::NotEligible)]);
            assert_eq!(shared_len(sieve.left(), &of(&[3, 599])), 1);
        }
    }
}
