//! What the customer wishes, and the records of lists. The latest word counts;
//! ties are settled by the values alone.

use std::cmp::Ordering;

use super::knowledge::{compare, forget_one};
use crate::domain::{AttrId, Preference, Profile, StoredPreference, StoredRecord, Value, profile::RECORDS_MAX};

/// Sets a preference unless a later word is known; at equal times the larger
/// stands. INVARIANT: sorted by kind, each kind once.
pub(super) fn set_preference(profile: &mut Profile, new: StoredPreference) {
    let kind = kind(&new.preference);
    match profile.preferences.binary_search_by_key(&kind, |p| self::kind(&p.preference)) {
        Ok(slot) => {
            let known = &mut profile.preferences[slot];
            if (new.at, &new.preference) > (known.at, &known.preference) {
                *known = new;
            }
        }
        Err(slot) => profile.preferences.insert(slot, new),
    }
}

/// The number of a kind: its place in the list.
pub(super) fn kind(preference: &Preference) -> u8 {
    match preference {
        Preference::Channel(_) => 1,
        Preference::Language(_) => 2,
        Preference::QuietHours(_) => 3,
        Preference::ContactsPerWeek(_) => 4,
    }
}

/// Sets or removes a record unless a later word is known; at equal times a
/// record stands above its removal, and of two the larger. Of more than
/// [`RECORDS_MAX`] removed ones are forgotten first, then the oldest.
/// INVARIANT: sorted by (list, key), each once.
pub(super) fn set_record(profile: &mut Profile, new: StoredRecord) {
    let key = (new.change.list, &*new.change.key);
    match profile.records.binary_search_by(|r| (r.change.list, &*r.change.key).cmp(&key)) {
        Ok(slot) => {
            let known = &mut profile.records[slot];
            let newer = new.at.cmp(&known.at).then_with(|| compare_fields(&new.change.fields, &known.change.fields));
            if newer == Ordering::Greater {
                *known = new;
            }
        }
        Err(slot) => {
            profile.records.insert(slot, new);
            if profile.records.len() > RECORDS_MAX {
                forget_one(&mut profile.records, |r| (r.change.fields.is_some(), r.at));
            }
        }
    }
}

fn compare_fields(one: &Option<Vec<(AttrId, Value)>>, other: &Option<Vec<(AttrId, Value)>>) -> Ordering {
    let (Some(one), Some(other)) = (one, other) else { return one.is_some().cmp(&other.is_some()) };
    let pairs = one.iter().zip(other).map(|(a, b)| a.0.cmp(&b.0).then_with(|| compare(Some(&a.1), Some(&b.1))));
    pairs.fold(Ordering::Equal, Ordering::then).then(one.len().cmp(&other.len()))
}
