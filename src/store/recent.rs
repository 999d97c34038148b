//! What the writer remembers to answer look-ups quickly: where recent decisions
//! stand, and recent versions of the tallies.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use crate::domain::{DecisionId, Tallies};

use super::{appender::Place, codec::TalliesDelta, pairs::PairHasher};

/// Most decisions whose place is remembered.
pub const DECISIONS_MAX: usize = 200_000;
/// Most versions of the tallies kept: three minutes and more of new ones every
/// 50 ms.
pub const VERSIONS_MAX: usize = 4_096;
/// Most counts in all versions kept; each is about 100 bytes.
pub const VERSION_COUNTS_MAX: usize = 1_000_000;
/// A version is kept whole after changes of this many times its counts.
const CHANGES_PER_WHOLE: usize = 4;

/// Where recent decisions stand.
#[derive(Debug, Default)]
pub(super) struct RecentDecisions {
    places: HashMap<DecisionId, Place, BuildHasherDefault<PairHasher>>,
    order: VecDeque<DecisionId>,
}

impl RecentDecisions {
    pub fn add(&mut self, id: DecisionId, place: Place) {
        if self.places.insert(id, place).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > DECISIONS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.places.remove(&oldest);
        }
    }

    pub fn get(&self, id: DecisionId) -> Option<Place> {
        self.places.get(&id).copied()
    }
}

/// Recent versions of the tallies, oldest first: some whole, the others as
/// what changed. INVARIANT: the first is whole.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions {
    kept: VecDeque<Version>,
    /// Counts in all of them.
    counts: usize,
    /// Counts in the changes since the last whole one.
    changes: usize,
}

#[derive(Clone, Debug)]
enum Version {
    Whole(Arc<Tallies>),
    Changed(Arc<TalliesDelta>),
}

impl Version {
    fn number(&self) -> u64 {
        match self {
            Version::Whole(tallies) => tallies.version,
            Version::Changed(delta) => delta.version,
        }
    }

    fn counts(&self) -> usize {
        match self {
            Version::Whole(tallies) => tallies.offers.len(),
            Version::Changed(delta) => delta.offers.len(),
        }
    }
}

impl Versions {
    /// Adds a version as a whole.
    pub fn add(&mut self, tallies: Arc<Tallies>) {
        self.changes = 0;
        self.push(Version::Whole(tallies));
    }

    /// Adds the version after the last as what changed; `whole` is all of it.
    pub fn add_delta(&mut self, delta: TalliesDelta, whole: &Arc<Tallies>) {
        self.changes += delta.offers.len().max(1);
        if self.kept.is_empty() || self.changes > CHANGES_PER_WHOLE * whole.offers.len().max(VERSIONS_MAX / 64) {
            return self.add(Arc::clone(whole));
        }
        self.push(Version::Changed(Arc::new(delta)));
    }

    /// Adds what changed since the last version, read from the log.
    pub fn apply(&mut self, delta: TalliesDelta) {
        if self.kept.is_empty() {
            let mut tallies = Tallies::default();
            delta.apply(&mut tallies);
            return self.add(Arc::new(tallies));
        }
        self.push(Version::Changed(Arc::new(delta)));
    }

    fn push(&mut self, version: Version) {
        self.counts += version.counts();
        self.kept.push_back(version);
        while (self.kept.len() > VERSIONS_MAX || self.counts > VERSION_COUNTS_MAX) && self.drop_oldest() {}
    }

    /// Drops the first whole version with its changes; false when it is the
    /// only one.
    fn drop_oldest(&mut self) -> bool {
        let whole = |version: &Version| matches!(version, Version::Whole(_));
        let Some(next) = (1..self.kept.len()).find(|at| whole(&self.kept[*at])) else { return false };
        let dropped: usize = self.kept.drain(..next).map(|version| version.counts()).sum();
        self.counts -= dropped;
        true
    }

    /// Whether there is exactly this version.
    pub fn has(&self, version: u64) -> bool {
        self.position(version).is_some()
    }

    fn position(&self, version: u64) -> Option<usize> {
        self.kept.iter().rposition(|kept| kept.number() == version)
    }

    /// Exactly this version.
    pub fn get(&self, version: u64) -> Option<Arc<Tallies>> {
        self.position(version).and_then(|at| self.build(at))
    }

    /// The version nearest to this one.
    pub fn nearest(&self, version: u64) -> Option<Arc<Tallies>> {
        let at = (0..self.kept.len()).rev().min_by_key(|at| self.kept[*at].number().abs_diff(version))?;
        self.build(at)
    }

    fn build(&self, at: usize) -> Option<Arc<Tallies>> {
        let (begin, whole) = (0..=at).rev().find_map(|begin| match &self.kept[begin] {
            Version::Whole(whole) => Some((begin, whole)),
            Version::Changed(_) => None,
        })?;
        if begin == at {
            return Some(Arc::clone(whole));
        }
        let mut built = (**whole).clone();
        for version in self.kept.range(begin + 1..=at) {
            if let Version::Changed(delta) = version {
                delta.apply(&mut built);
            }
        }
        Some(Arc::new(built))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::{ChannelId, OfferId};

    /// A thousand offers over five channels.
    fn pair(n: u64) -> (OfferId, ChannelId) {
        (OfferId(n % 1_000), ChannelId((n / 1_000 % 5) as u32))
    }

    #[test]
    fn a_version_of_a_minute_ago_is_exact_with_thousands_of_counts() {
        let mut tallies = Tallies { version: 1, ..Tallies::default() };
        for n in 0..5_000 {
            tallies.offers.entry(pair(n)).or_default().eligible = 1;
        }
        let mut versions = Versions::default();
        versions.add(Arc::new(tallies.clone()));
        // a minute, 20 versions a second; all counts change once a second
        for step in 0..1_200_u64 {
            let mut changed = BTreeSet::from([pair(step * 7)]);
            tallies.offers.entry(pair(step * 7)).or_default().trials += 1;
            if step % 20 == 0 {
                tallies.offers.values_mut().for_each(|tally| tally.eligible += 3);
                changed = tallies.offers.keys().copied().collect();
            }
            tallies.version += 1;
            versions.add_delta(TalliesDelta::of(&tallies, &changed), &Arc::new(tallies.clone()));
        }
        assert_eq!(*versions.get(1_201).unwrap(), tallies);
        let old = versions.get(21).unwrap();
        assert_eq!((old.version, old.offers[&pair(0)].eligible), (21, 4));
        assert_eq!(old.offers.values().map(|tally| tally.trials).sum::<u64>(), 20);
        assert!(versions.counts <= VERSION_COUNTS_MAX && versions.get(5_000).is_none());
    }

    #[test]
    fn the_oldest_go_first_and_the_rest_stays_exact() {
        let mut versions = Versions::default();
        let mut tallies = Tallies::default();
        for version in 1..=20_000_u64 {
            tallies.version = version;
            tallies.offers.entry(pair(version % 50)).or_default().trials = version;
            let changed = BTreeSet::from([pair(version % 50)]);
            versions.add_delta(TalliesDelta::of(&tallies, &changed), &Arc::new(tallies.clone()));
        }
        assert!(versions.kept.len() <= VERSIONS_MAX && versions.get(1).is_none());
        let found = versions.get(19_000).unwrap();
        assert_eq!((found.version, found.offers[&pair(0)].trials), (19_000, 19_000));
        assert_eq!(found.offers.values().map(|tally| tally.trials).max(), Some(19_000));
        let counts: usize = versions.kept.iter().map(Version::counts).sum();
        assert_eq!(counts, versions.counts);
    }
}
