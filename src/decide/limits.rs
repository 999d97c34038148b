//! Room under limits, for claims: the same counting as stage 4, for one offer
//! on one channel.

use crate::{
    customer::permissions,
    domain::{DecisionId, Interaction, Profile, RecordRef, Reservation, Timestamp},
    rules::{Channel, Limit, Offer, Ruleset, Scope, Window},
};

use super::{
    history::{counts_on, is_contact, is_of, key},
    wishes::{self, Weekly},
};

/// The first moment a window that ends at `now` counts.
pub fn window_from(ruleset: &Ruleset, window: Window, now: Timestamp) -> Timestamp {
    window.from(now, &ruleset.time_zone)
}

/// Whether an offer on a channel needs a place among the contacts of a customer:
/// a limit counts it, or the customer wishes so many contacts and no more.
pub fn is_limited(profile: &Profile, offer: &Offer, channel: &Channel) -> bool {
    let wishes = || permissions::wishes(profile).contacts_per_week_max.is_some();
    !offer.limits.is_empty() || wishes::speaks_of(offer.purpose, channel.kind) && wishes()
}

/// Whether every limit of an offer, and the customer's own wish, has room for
/// one more contact on a channel by a decision, given the customer's history and
/// open reservations.
pub fn has_room(
    ruleset: &Ruleset,
    profile: &Profile,
    open: &[Reservation],
    (offer, channel, record): (&Offer, &Channel, RecordRef),
    (decision, now): (DecisionId, Timestamp),
) -> bool {
    let wished = || wishes::weekly(ruleset, profile, open, (now, Some(decision)));
    if wishes::speaks_of(offer.purpose, channel.kind) && wished().is_some_and(Weekly::is_reached) {
        return false;
    }
    let limits = offer.limits.iter().map(|slot| &ruleset.limits[slot.index()]);
    let mut counted = limits
        .filter_map(|limit| Some((limit, count(limit, (ruleset, profile, open), (offer, channel, record), now)?)));
    counted.all(|(limit, count)| count < limit.max as usize)
}

/// How many more contacts the exact limits of an offer have room for on a channel,
/// as far as the history and the open reservations tell; `None` when none counts it.
pub fn exact_room(
    ruleset: &Ruleset,
    profile: &Profile,
    open: &[Reservation],
    (offer, channel, record): (&Offer, &Channel, RecordRef),
    now: Timestamp,
) -> Option<usize> {
    let limits = offer.limits.iter().map(|slot| &ruleset.limits[slot.index()]).filter(|limit| limit.exact);
    let room = limits.filter_map(|limit| {
        let count = count(limit, (ruleset, profile, open), (offer, channel, record), now)?;
        Some((limit.max as usize).saturating_sub(count))
    });
    room.min()
}

/// The contacts that a limit counts where it counts an offer on a channel; `None`
/// when it does not.
fn count(
    limit: &Limit,
    (ruleset, profile, open): (&Ruleset, &Profile, &[Reservation]),
    (offer, channel, record): (&Offer, &Channel, RecordRef),
    now: Timestamp,
) -> Option<usize> {
    let wanted = counter(limit, ruleset, (offer, channel, record))?;
    let from = window_from(ruleset, limit.window, now);
    let same_counter = |i: crate::domain::OfferId, c: crate::domain::ChannelId, record: RecordRef| {
        let offer = ruleset.offer_slots.get(&i).map(|slot| ruleset.offer(*slot));
        let channel = ruleset.channel_slots.get(&c).map(|slot| ruleset.channel(*slot));
        offer.zip(channel).is_some_and(|(o, c)| {
            o.limits.contains(&limit.slot) && counter(limit, ruleset, (o, c, record)) == Some(wanted)
        })
    };
    let contact = |i: &&Interaction| {
        let channel = ruleset.channel_slots.get(&i.channel).map(|slot| ruleset.channel(*slot));
        i.at >= from && is_contact(i, channel) && same_counter(i.offer, i.channel, i.record)
    };
    let seen = profile.interactions.iter().filter(contact).count();
    let held = |r: &&Reservation| {
        let known = |i: &Interaction| {
            let channel = ruleset.channel_slots.get(&i.channel).map(|slot| ruleset.channel(*slot));
            is_of(i, r) && is_contact(i, channel)
        };
        r.expires_at > now
            && r.at >= from
            && same_counter(r.offer, r.channel, r.record)
            && !profile.interactions.iter().any(known)
    };
    let held = open.iter().filter(held).count();
    Some(seen + held)
}

/// The counter of a limit that a contact falls on; `None` when it does not count.
fn counter(
    limit: &Limit,
    ruleset: &Ruleset,
    (offer, channel, record): (&Offer, &Channel, RecordRef),
) -> Option<(usize, RecordRef)> {
    if !counts_on(limit, ruleset, Some(channel.slot)) {
        return None;
    }
    let by_record = limit.scope == Scope::Record && offer.each.is_some();
    let record = if by_record { record } else { RecordRef::NONE };
    Some((key(limit.scope, limit.offer.is_some(), Some(offer), Some(channel.slot))?, record))
}
