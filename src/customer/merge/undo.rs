//! A merge undone.

use super::merge;
use crate::{
    customer::{interactions, knowledge, wishes},
    domain::{Interaction, Permission, Profile},
};

/// Makes two of a merged profile again, given both as they were before.
///
/// The absorbed one is what it was. The survivor is what it was, and keeps what
/// came since, which nobody can tell apart, but for two things: what followed the
/// absorbed one's decisions goes back to it; and what was denied since (a consent,
/// every contact) is denied to both. The survivor's version stays, so that
/// consistency tokens given out since hold.
pub fn unmerge(now: &Profile, survivor_before: &Profile, absorbed_before: &Profile) -> (Profile, Profile) {
    let merged = merge(survivor_before, absorbed_before);
    let undo = Undo { now, merged: &merged, before: survivor_before, absorbed: absorbed_before };
    (undo.survivor(), undo.absorbed())
}

struct Undo<'a> {
    now: &'a Profile,
    /// Right after the merge.
    merged: &'a Profile,
    /// The survivor before.
    before: &'a Profile,
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
        let mine = |key| self.before.absorbed.iter().any(|o| o.key == key);
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

    /// What was before, unless it changed since the merge.
    fn of<T: PartialEq>(&self, read: impl Fn(&Profile) -> T) -> T {
        if read(self.now) == read(self.merged) { read(self.before) } else { read(self.now) }
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

    /// A list of the survivor: what it had before, but where that changed since
    /// the merge, and what came since.
    fn entries<T: Clone + PartialEq, K: Ord>(
        &self,
        list: impl Fn(&Profile) -> &Vec<T>,
        key: impl Fn(&T) -> K,
    ) -> Vec<T> {
        let find = |profile: &Profile, wanted: &K| list(profile).iter().find(|one| key(one) == *wanted).cloned();
        let since = |one: &&T| find(self.merged, &key(one)).as_ref() != Some(one);
        let mut kept: Vec<T> = list(self.now).iter().filter(since).cloned().collect();
        for old in list(self.before) {
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

    fn is_theirs(&self, one: &Interaction) -> bool {
        let has = |profile: &Profile| profile.interactions.iter().any(|other| key(other) == key(one));
        has(self.absorbed) && !has(self.before)
    }

    fn absorbed(&self) -> Profile {
        let mut absorbed = self.absorbed.clone();
        for one in self.now.interactions.iter().filter(|one| self.is_theirs(one)) {
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

fn key(one: &Interaction) -> (crate::domain::DecisionId, crate::domain::OfferId, crate::domain::ChannelId) {
    (one.decision, one.offer, one.channel)
}
