//! Two profiles found to be of one person, made one, and made two again.
//!
//! Merging is commutative, associative and idempotent: in whatever order, and
//! however often, the same profiles give the same one, within the bounds of
//! [`crate::domain::profile`]. And it is as if the events of both had happened to
//! one customer, but for four things:
//! - the key and the arm key are the survivor's;
//! - what was counted stays with the key it was counted for (`absorbed`), and is
//!   added up by whoever reads; [`flattened`] adds it up for comparing;
//! - where the two said different things of being contacted on a channel, be it
//!   by a word for that channel or by one for all, the stricter stands from the
//!   moment of the later one on: what is said after that counts, what was said
//!   before does not. When no word with that permission is of that moment, the
//!   consent has neither source nor proof: it is the merge's own;
//! - where one forbids every contact, the merged one does, from the latest moment
//!   on that either forbade or permitted it.

mod consents;
mod origins;
mod undo;

pub use origins::{flattened, mergeable};
pub use undo::unmerge;

use super::{apply, interactions, knowledge, wishes};
use crate::domain::{CustomerKey, Profile, Timestamp};

/// The key that survives when two are merged: that of the one seen first, of
/// equals the smaller. One that saw nothing never survives one that did.
pub fn survivor(one: &Profile, other: &Profile) -> CustomerKey {
    let rank = |profile: &Profile| (profile.version == 0, profile.first_seen, profile.key);
    rank(one).min(rank(other)).2
}

/// Both as one, under the first's key and arm key. Ask [`mergeable`] before.
pub fn merge(survivor: &Profile, other: &Profile) -> Profile {
    let mut merged = survivor.clone();
    origins::unite(&mut merged, other);
    merged.first_seen = earliest(survivor, other);
    knowledge::add_identities(&mut merged, &other.identities);
    for attribute in &other.attributes {
        knowledge::set_attribute(&mut merged, attribute.id, attribute.value.as_ref(), attribute.at);
    }
    for interaction in &other.interactions {
        interactions::add(&mut merged, interaction);
    }
    for touch in &other.items {
        knowledge::touch_item(&mut merged, *touch);
    }
    consents::unite(&mut merged, (survivor, other));
    for preference in &other.preferences {
        wishes::set_preference(&mut merged, preference.clone());
    }
    for record in &other.records {
        wishes::set_record(&mut merged, record.clone());
    }
    unite_marks(&mut merged, other);
    merged
}

fn earliest(one: &Profile, other: &Profile) -> Timestamp {
    match (one.version, other.version) {
        (0, _) => other.first_seen,
        (_, 0) => one.first_seen,
        _ => one.first_seen.min(other.first_seen),
    }
}

fn unite_marks(merged: &mut Profile, other: &Profile) {
    merged.contact_allowed_at = merged.contact_allowed_at.max(other.contact_allowed_at);
    if let Some(forbidden) = merged.do_not_contact.max(other.do_not_contact) {
        merged.do_not_contact = Some(forbidden).max(merged.contact_allowed_at);
    }
    let (mine, others) = ((merged.exposed_at, merged.exposed_holdout), (other.exposed_at, other.exposed_holdout));
    (merged.exposed_at, merged.exposed_holdout) = apply::earliest_exposure(mine, others);
    merged.converted_at = merged.converted_at.max(other.converted_at);
}
