//! A merge undone.

use super::merge;
use crate::{
    customer::{interactions, knowledge, wishes},
    domain::{ChannelId, DecisionId, Interaction, OfferId, Permission, Profile, RecordRef},
};

/// Makes two of a merged profile again, given both as they were before, and those
/// who were taken in `since` and still belong to the survivor, each as it was then.
///
/// The absorbed one is what it was. The survivor is what it would be without it,
/// and keeps what came since, which nobody can tell apart, but for three things:
/// what followed the absorbed one's decisions goes back to it; contacts of since
/// count for both, so that a limit or a decline of since holds for whoever of the
/// two it reached; and what was denied since (a consent, every contact) is denied
/// to both. Both versions are that of the merged one, so that consistency tokens
/// given out since hold.
pub fn unmerge(now: &Profile, (before, absorbed): (&Profile, &Profile), since: &[&Profile]) -> (Profile, Profile) {
    let with_since = |first: Profile| since.iter().fold(first, |all, one| merge(&all, one));
    let (merged, rest) = (with_since(merge(before, absorbed)), with_since(before.clone()));
    let undo = Undo { now, merged: &merged, rest: &rest, absorbed };
    (undo.survivor(), undo.absorbed())
}

struct Undo<'a> {
    now: &'a Profile,
    /// All who are one, had nothing come since.
    merged: &'a Profile,
    /// The same without the absorbed one.
    rest: &'a Profile,
    /// The absorbed one before.
    absorbed: &'a Profile,
}

impl Undo<'_> {
    fn survivor(&self) -> Profile {
        let mut survivor = Profile {
            key: self.now.key,
            arm_key: self.now.arm_key,
            version: self.now.version,
            stats: self.now.stats.clone(),
            series: self.now.series.clone(),
            ..Profile::default()
        };
        self.restore_marks(&mut survivor);
        self.restore_knowledge(&mut survivor);
        self.restore_history(&mut survivor);
        let theirs = |key| key == self.absorbed.key || self.absorbed.absorbed.iter().any(|o| o.key == key);
        let mine = |key| self.rest.absorbed.iter().any(|o| o.key == key);
        let stay = self.now.absorbed.iter().filter(|origin| mine(origin.key) || !theirs(origin.key));
        survivor.absorbed = stay.cloned().collect();
        survivor
    }

    fn restore_marks(&self, survivor: &mut Profile) {
        let exposure = |profile: &Profile| (profile.exposed_at, profile.exposed_holdout);
        survivor.first_seen = self.of(|profile| profile.first_seen);
        survivor.contact_allowed_at = self.of(|profile| profile.contact_allowed_at);
        let forbidden = self.of(|profile| profile.do_not_contact);
        survivor.do_not_contact = forbidden.filter(|at| Some(*at) >= survivor.contact_allowed_at);
        (survivor.exposed_at, survivor.exposed_holdout) = self.of(exposure);
        survivor.converted_at = self.of(|profile| profile.converted_at);
    }

    /// What would be without the absorbed one, unless it changed since the merge.
    fn of<T: PartialEq>(&self, read: impl Fn(&Profile) -> T) -> T {
        if read(self.now) == read(self.merged) { read(self.rest) } else { read(self.now) }
    }

    fn restore_knowledge(&self, survivor: &mut Profile) {
        let identities = self.entries(|p| &p.identities, |one| (one.kind, one.value.clone()));
        knowledge::add_identities(survivor, &identities);
        for one in self.entries(|p| &p.attributes, |one| one.id) {
            knowledge::set_attribute(survivor, one.id, one.value.as_ref(), one.at);
        }
        for one in self.entries(|p| &p.consents, |one| (one.channel, one.purpose)) {
            knowledge::set_consent(survivor, &one);
        }
        for one in self.entries(|p| &p.preferences, |one| wishes::kind(&one.preference)) {
            wishes::set_preference(survivor, one);
        }
        for one in self.entries(|p| &p.records, |one| (one.change.list, one.change.key.clone())) {
            wishes::set_record(survivor, one);
        }
    }

    fn restore_history(&self, survivor: &mut Profile) {
        for one in self.entries(|p| &p.items, |one| *one) {
            knowledge::touch_item(survivor, one);
        }
        for one in self.entries(|p| &p.interactions, key).iter().filter(|one| !self.is_theirs(one)) {
            interactions::add(survivor, one);
        }
    }

    /// A list of the survivor: what it would have without the absorbed one, but
    /// where that changed since the merge, and what came since.
    fn entries<T: Clone + PartialEq, K: Ord>(
        &self,
        list: impl Fn(&Profile) -> &Vec<T>,
        key: impl Fn(&T) -> K,
    ) -> Vec<T> {
        let find = |profile: &Profile, wanted: &K| list(profile).iter().find(|one| key(one) == *wanted).cloned();
        let since = |one: &&T| find(self.merged, &key(one)).as_ref() != Some(one);
        let mut kept: Vec<T> = list(self.now).iter().filter(since).cloned().collect();
        for old in list(self.rest) {
            let wanted = key(old);
            let changed = kept.iter().any(|one| key(one) == wanted);
            // what bounds dropped at the merge comes back; what they dropped since does not
            let dropped = find(self.merged, &wanted).is_some() && find(self.now, &wanted).is_none();
            if !changed && !dropped {
                kept.push(old.clone());
            }
        }
        kept
    }

    /// Whether an interaction follows a decision of the absorbed one.
    fn is_theirs(&self, one: &Interaction) -> bool {
        has(self.absorbed, one) && !has(self.rest, one)
    }

    /// Whether an interaction follows a decision of since, when the two were one.
    fn is_of_both(&self, one: &Interaction) -> bool {
        !has(self.merged, one) && !has(self.rest, one)
    }

    fn absorbed(&self) -> Profile {
        let mut absorbed = self.absorbed.clone();
        absorbed.version = absorbed.version.max(self.now.version);
        for one in self.now.interactions.iter().filter(|one| self.is_theirs(one) || self.is_of_both(one)) {
            interactions::add(&mut absorbed, one);
        }
        for consent in &self.now.consents {
            if consent.permission == Permission::Denied && !self.merged.consents.contains(consent) {
                knowledge::set_consent(&mut absorbed, consent);
            }
        }
        if self.now.do_not_contact != self.merged.do_not_contact {
            let forbidden = absorbed.do_not_contact.max(self.now.do_not_contact);
            absorbed.do_not_contact = forbidden.filter(|at| Some(*at) >= absorbed.contact_allowed_at);
        }
        absorbed
    }
}

fn has(profile: &Profile, one: &Interaction) -> bool {
    profile.interactions.iter().any(|other| key(other) == key(one))
}

fn key(one: &Interaction) -> (DecisionId, OfferId, ChannelId, RecordRef) {
    (one.decision, one.offer, one.channel, one.record)
}
