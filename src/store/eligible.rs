//! Pairs that passed engagement policy: numbered on the way to the writer,
//! counted by number, and named only when the counts are published.

use std::sync::Arc;

use crate::domain::{ChannelId, OfferId, RulesetHash};

use super::pairs::PairCounts;

/// Numbers the (offer, channel) pairs of one ruleset.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PairTable {
    ruleset: RulesetHash,
    offers: Vec<OfferId>,
    channels: Vec<ChannelId>,
}

impl PairTable {
    /// Of the offers and channels of a ruleset, each in order of its slots.
    pub fn new(ruleset: RulesetHash, offers: Vec<OfferId>, channels: Vec<ChannelId>) -> Self {
        Self { ruleset, offers, channels }
    }

    /// Whose pairs it numbers.
    pub fn ruleset(&self) -> RulesetHash {
        self.ruleset
    }

    /// The number of a pair.
    pub fn number(&self, offer: usize, channel: usize) -> u32 {
        (offer * self.channels.len() + channel) as u32
    }

    fn len(&self) -> usize {
        self.offers.len() * self.channels.len()
    }

    fn pair(&self, number: usize) -> Option<(OfferId, ChannelId)> {
        let channels = self.channels.len().max(1);
        Some((*self.offers.get(number / channels)?, *self.channels.get(number % channels)?))
    }
}

/// The pairs of one decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Eligible {
    /// What the numbers mean.
    pub table: Arc<PairTable>,
    /// The pairs.
    pub numbers: Vec<u32>,
}

/// How often each pair was seen since the last publication.
#[derive(Debug, Default)]
pub(super) struct EligibleCounts {
    table: Arc<PairTable>,
    /// By the numbers of the table.
    counts: Vec<u64>,
    /// Of rulesets before.
    others: PairCounts,
    seen: bool,
}

impl EligibleCounts {
    pub fn add(&mut self, eligible: &Eligible) {
        if eligible.numbers.is_empty() {
            return;
        }
        if self.table.ruleset != eligible.table.ruleset || self.counts.is_empty() {
            self.name_counts();
            self.table = Arc::clone(&eligible.table);
            self.counts = vec![0; self.table.len()];
        }
        for number in &eligible.numbers {
            if let Some(count) = self.counts.get_mut(*number as usize) {
                *count += 1;
            }
        }
        self.seen = true;
    }

    pub fn is_empty(&self) -> bool {
        !self.seen
    }

    /// Takes the counts out.
    pub fn take(&mut self) -> PairCounts {
        self.name_counts();
        self.seen = false;
        std::mem::take(&mut self.others)
    }

    /// Moves what was counted by number to where it is counted by name.
    fn name_counts(&mut self) {
        for (number, count) in self.counts.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            if let Some(pair) = self.table.pair(number) {
                *self.others.entry(pair).or_default() += std::mem::take(count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(ruleset: u64, offers: std::ops::Range<u64>) -> Arc<PairTable> {
        let channels = vec![ChannelId(1), ChannelId(2)];
        Arc::new(PairTable::new(RulesetHash(ruleset), offers.map(OfferId).collect(), channels))
    }

    #[test]
    fn pairs_are_counted_over_rulesets() {
        let (old, new) = (table(1, 0..3), table(2, 2..5));
        let mut counts = EligibleCounts::default();
        assert!(counts.take().is_empty());
        for (table, pairs) in [(&old, vec![(0, 0), (2, 1)]), (&new, vec![(0, 1)]), (&old, vec![(2, 1)]), (&new, vec![])]
        {
            let numbers = pairs.iter().map(|(offer, channel)| table.number(*offer, *channel)).collect();
            counts.add(&Eligible { table: Arc::clone(table), numbers });
        }
        assert!(!counts.is_empty());
        let named = counts.take();
        assert!(counts.is_empty() && counts.take().is_empty());
        assert_eq!(named[&(OfferId(0), ChannelId(1))], 1);
        // the same pair under another number
        assert_eq!(named[&(OfferId(2), ChannelId(2))], 3);
        assert_eq!(named.len(), 2);
    }
}
