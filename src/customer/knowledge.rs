//! What is known of a person: identities, attributes, consents, items. The
//! latest word counts; ties are settled by the values alone.

use std::cmp::Ordering;

use crate::domain::{
    AttrId, ChannelId, Consent, ConsentPurpose, ItemLine, ItemTouch, Permission, Profile, Purpose, StoredAttribute,
    StoredIdentity, Timestamp, Value,
    profile::{ATTRIBUTES_MAX, CONSENTS_MAX, IDENTITIES_MAX, ITEMS_MAX},
};

/// Adds identities. INVARIANT: sorted by (type, value), each once.
pub(super) fn add_identities(profile: &mut Profile, identities: &[StoredIdentity]) {
    for identity in identities {
        if let Err(at) = profile.identities.binary_search(identity)
            && profile.identities.len() < IDENTITIES_MAX
        {
            profile.identities.insert(at, identity.clone());
        }
    }
}

/// Sets or removes an attribute unless a later word is known.
pub(super) fn set_attribute(profile: &mut Profile, id: AttrId, value: Option<&Value>, at: Timestamp) {
    let fresh = || StoredAttribute { id, value: value.cloned(), at };
    // ties go by the value, not by the event's id: keeping that would take 16 bytes of every attribute
    match profile.attributes.binary_search_by_key(&id, |a| a.id) {
        Ok(slot) => {
            let known = &mut profile.attributes[slot];
            let newer = at.cmp(&known.at).then_with(|| compare(value, known.value.as_ref()));
            if newer == Ordering::Greater {
                *known = fresh();
            }
        }
        Err(slot) => {
            profile.attributes.insert(slot, fresh());
            if profile.attributes.len() > ATTRIBUTES_MAX {
                forget_one(&mut profile.attributes, |a| (a.value.is_some(), a.at));
            }
        }
    }
}

/// Order of two values at the same moment; removal stands below any value.
pub(super) fn compare(one: Option<&Value>, other: Option<&Value>) -> Ordering {
    let (Some(one), Some(other)) = (one, other) else { return one.is_some().cmp(&other.is_some()) };
    rank(one).cmp(&rank(other)).then_with(|| match (one, other) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Int(a), Value::Int(b)) | (Value::Money(a), Value::Money(b)) => a.cmp(b),
        (Value::Double(a), Value::Double(b)) => a.total_cmp(b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Set(a), Value::Set(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        _ => Ordering::Equal,
    })
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Bool(_) => 0,
        Value::Int(_) => 1,
        Value::Double(_) => 2,
        Value::Text(_) => 3,
        Value::Set(_) => 4,
        Value::Timestamp(_) => 5,
        Value::Date(_) => 6,
        Value::Money(_) => 7,
    }
}

/// Sets a consent unless a later word is known; at equal times the strictest
/// stands, then the larger source and proof, so that order never matters.
pub(super) fn set_consent(profile: &mut Profile, consent: &Consent) {
    let key = (consent.channel, consent.purpose);
    match profile.consents.binary_search_by_key(&key, |c| (c.channel, c.purpose)) {
        Ok(slot) => {
            let known = &mut profile.consents[slot];
            if weight(consent) > weight(known) {
                *known = consent.clone();
            }
        }
        Err(slot) => {
            profile.consents.insert(slot, consent.clone());
            if profile.consents.len() > CONSENTS_MAX {
                // a denial is the last thing to forget
                forget_one(&mut profile.consents, |c| (c.permission == Permission::Denied, c.at));
            }
        }
    }
}

fn weight(consent: &Consent) -> (Timestamp, u8, &str, &str) {
    (consent.at, consent.permission.strictness(), &consent.source, &consent.proof)
}

/// The person wants no more marketing on a channel; one who unsubscribes from a
/// service message wants no more of those either.
pub(super) fn unsubscribe(profile: &mut Profile, (channel, from): (ChannelId, Purpose), at: Timestamp) {
    set_consent(profile, &denied((channel, ConsentPurpose::Marketing), at, "unsubscribe"));
    if from == Purpose::Service {
        set_consent(profile, &denied((channel, ConsentPurpose::Service), at, "unsubscribe"));
    }
}

/// Whoever reports a message as unwanted wants no more marketing on its channel.
pub(super) fn complained(profile: &mut Profile, channel: ChannelId, at: Timestamp) {
    set_consent(profile, &denied((channel, ConsentPurpose::Marketing), at, "complaint"));
}

fn denied((channel, purpose): (ChannelId, ConsentPurpose), at: Timestamp, source: &str) -> Consent {
    let permission = Permission::Denied;
    Consent { channel: Some(channel), purpose, permission, at, source: source.into(), proof: "".into() }
}

/// Remembers items viewed or bought; lines given back are not touches.
/// INVARIANT: sorted by (time, item, bought), each once, the newest kept.
pub(super) fn touch_items(profile: &mut Profile, at: Timestamp, lines: &[ItemLine], bought: bool) {
    for line in lines.iter().filter(|line| line.quantity >= 0) {
        let touch = ItemTouch { at, item: line.item, bought };
        touch_item(profile, touch);
    }
}

/// INVARIANT: as [`touch_items`].
pub(super) fn touch_item(profile: &mut Profile, touch: ItemTouch) {
    if let Err(slot) = profile.items.binary_search(&touch) {
        profile.items.insert(slot, touch);
        let excess = profile.items.len().saturating_sub(ITEMS_MAX);
        profile.items.drain(..excess);
    }
}

/// Removes the entry with the least key.
pub(super) fn forget_one<T, K: Ord>(entries: &mut Vec<T>, key: impl Fn(&T) -> K) {
    if let Some((at, _)) = entries.iter().enumerate().min_by_key(|(_, entry)| key(entry)) {
        entries.remove(at);
    }
}
