//! Real people to try rules on.

use std::{collections::HashSet, sync::Arc};

use crate::{
    domain::CustomerKey,
    store::{HotProfile, Store},
};

/// The most people of a sample.
pub const SAMPLE_MAX: usize = 1_000;
/// Seed of the hash that chooses them.
const CHOICE_SEED: u64 = 0x7261_7070;

/// Some of the customers.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Those chosen, in an order that has nothing to do with them.
    pub people: Vec<Arc<HotProfile>>,
    /// How many customers there are.
    pub population: usize,
}

impl Sample {
    /// Chooses from everybody in memory; while that are few, as after a start,
    /// also from those at rest. Blocking.
    pub fn of(store: &Store) -> Self {
        let keys = store.hot_keys();
        let hot: HashSet<CustomerKey> =
            if keys.len() < SAMPLE_MAX { keys.iter().copied().collect() } else { HashSet::new() };
        let in_memory = keys.len();
        let mut people: Vec<_> = choose(keys, SAMPLE_MAX).into_iter().filter_map(|key| store.look(key)).collect();
        let wanted = if in_memory < SAMPLE_MAX { SAMPLE_MAX } else { 0 };
        // a store that cannot be read leaves the sample to those in memory
        let at_rest = store.some_at_rest(wanted).unwrap_or_default();
        let others = at_rest.profiles.into_iter().filter(|person| !hot.contains(&person.profile.key));
        people.extend(others.take(wanted.saturating_sub(in_memory)));
        Self { people, population: in_memory.max(usize::try_from(at_rest.customers).unwrap_or(usize::MAX)) }
    }
}

/// The keys with the smallest hashes: the same people as long as they are
/// there, whoever else comes and goes.
pub fn choose(keys: Vec<CustomerKey>, most: usize) -> Vec<CustomerKey> {
    let hash = |key: CustomerKey| xxhash_rust::xxh3::xxh3_64_with_seed(&key.0.to_le_bytes(), CHOICE_SEED);
    let mut chosen: Vec<(u64, CustomerKey)> = keys.into_iter().map(|key| (hash(key), key)).collect();
    if chosen.len() > most {
        chosen.select_nth_unstable(most);
        chosen.truncate(most);
    }
    chosen.sort_unstable();
    chosen.into_iter().map(|(_, key)| key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(range: std::ops::Range<u128>) -> Vec<CustomerKey> {
        range.map(|n| CustomerKey(n << 64 | n)).collect()
    }

    #[test]
    fn the_same_people_are_chosen_in_any_order() {
        let chosen = choose(keys(0..5_000), 100);
        let mut turned = keys(0..5_000);
        turned.reverse();
        assert_eq!(choose(turned, 100), chosen);
        assert_eq!(chosen.len(), 100);
        assert!(chosen != keys(0..100), "not the first ones");
        let more = choose(keys(0..5_500), 100);
        let stayed = chosen.iter().filter(|key| more.contains(key)).count();
        assert!(stayed >= 75, "{stayed} of 100 stayed as a tenth joined");
        assert_eq!(choose(keys(0..5_000), 50), chosen[..50]);
    }

    #[test]
    fn few_are_all_chosen() {
        assert_eq!(choose(keys(0..7), 100).len(), 7);
        assert!(choose(Vec::new(), 100).is_empty());
    }
}
