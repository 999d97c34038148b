//! What was counted for whom.

use std::collections::BTreeMap;

use crate::{
    customer::{apply, series},
    domain::{CustomerKey, Origin, Profile, profile::ABSORBED_MAX},
};

/// Whether two may be merged: the keys of both are not too many. More than
/// [`ABSORBED_MAX`] are not merged, so that no key is ever forgotten.
pub fn mergeable(one: &Profile, other: &Profile) -> bool {
    let keys = |profile: &Profile| {
        let absorbed: Vec<CustomerKey> = profile.absorbed.iter().map(|origin| origin.key).collect();
        std::iter::once(profile.key).chain(absorbed)
    };
    let all: std::collections::BTreeSet<CustomerKey> = keys(one).chain(keys(other)).collect();
    all.len() <= ABSORBED_MAX + 1
}

/// Unites what both counted, per key; of one key the one with more writes knows
/// more. INVARIANT: the version of all together is the sum of theirs.
pub(super) fn unite(merged: &mut Profile, other: &Profile) {
    let mut all: BTreeMap<CustomerKey, Origin> = BTreeMap::new();
    for origin in all_of(merged).into_iter().chain(all_of(other)) {
        match all.get(&origin.key) {
            Some(known) if known.version >= origin.version => {}
            _ => {
                all.insert(origin.key, origin);
            }
        }
    }
    merged.version = all.values().fold(0, |sum, origin| sum.saturating_add(origin.version));
    if let Some(own) = all.remove(&merged.key) {
        (merged.stats, merged.series) = (own.stats, own.series);
    }
    merged.absorbed = all.into_values().collect();
}

fn all_of(profile: &Profile) -> Vec<Origin> {
    let own = Origin {
        key: profile.key,
        version: profile.own_version(),
        stats: profile.stats.clone(),
        series: profile.series.clone(),
    };
    std::iter::once(own).chain(profile.absorbed.iter().cloned()).collect()
}

/// The profile with all counts as its own: what it would be had there never been
/// more than one customer. For comparing, not for keeping: merging it again would
/// count twice.
pub fn flattened(profile: &Profile) -> Profile {
    let mut flat = Profile { absorbed: Vec::new(), ..profile.clone() };
    for origin in &profile.absorbed {
        origin.stats.iter().for_each(|stat| apply::add_stat(&mut flat.stats, *stat));
        series::unite(&mut flat.series, &origin.series);
    }
    flat
}
