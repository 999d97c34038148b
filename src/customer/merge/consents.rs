//! What two said about being contacted, as one.

use std::collections::BTreeSet;

use crate::{
    customer::knowledge,
    domain::{ChannelId, Consent, ConsentPurpose, Profile},
};

/// The scope of a word; no channel is every channel.
type Scope = (Option<ChannelId>, ConsentPurpose);

/// Unites what both said. A word for all channels is one for each channel of
/// which only the other said something: the two are held against each other
/// channel by channel, so that a denial of one side stands whatever its scope.
///
/// INVARIANT: per scope a function of what each side said for it, so that the
/// order of merging changes nothing.
pub(super) fn unite(merged: &mut Profile, (one, other): (&Profile, &Profile)) {
    let scope = |word: &Consent| (word.channel, word.purpose);
    let scopes: BTreeSet<Scope> = one.consents.iter().chain(&other.consents).map(scope).collect();
    merged.consents.clear();
    for (channel, purpose) in scopes {
        let word = match (said(one, (channel, purpose)), said(other, (channel, purpose))) {
            (Some(one), Some(other)) => strictest(one, other),
            (Some(alone), None) | (None, Some(alone)) => alone.clone(),
            (None, None) => continue,
        };
        knowledge::set_consent(merged, &Consent { channel, ..word });
    }
}

/// What somebody said for a scope: of the word for it and the one for all
/// channels the later, at equal times the stricter.
///
/// A merged profile has a word for every channel of which anybody said something,
/// at least as late as that for all channels. There the word for the channel is
/// all that was said for it at equal times: that for all channels may be stricter
/// only because others, who said nothing of the channel, disagreed.
fn said(profile: &Profile, (channel, purpose): Scope) -> Option<&Consent> {
    let find = |wanted: Option<ChannelId>| {
        let found = profile.consents.binary_search_by_key(&(wanted, purpose), |word| (word.channel, word.purpose));
        profile.consents.get(found.ok()?)
    };
    let all = find(None);
    let Some(own) = channel.and_then(|channel| find(Some(channel))) else { return all };
    let Some(all) = all else { return Some(own) };
    let stands = match own.at.cmp(&all.at) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => {
            !profile.absorbed.is_empty() || own.permission.strictness() >= all.permission.strictness()
        }
        std::cmp::Ordering::Greater => true,
    };
    Some(if stands { own } else { all })
}

/// INVARIANT: a function of the set of words: the latest moment of all, the
/// strictest permission of all, and the largest source and proof of those that
/// have both, or none.
fn strictest(one: &Consent, other: &Consent) -> Consent {
    let stricter = if one.permission.strictness() >= other.permission.strictness() { one } else { other };
    let (permission, at) = (stricter.permission, one.at.max(other.at));
    let whole = [one, other].into_iter().filter(|word| (word.permission, word.at) == (permission, at));
    match whole.max_by_key(|word| (&word.source, &word.proof)) {
        Some(word) => word.clone(),
        None => Consent { permission, at, source: "".into(), proof: "".into(), ..one.clone() },
    }
}
