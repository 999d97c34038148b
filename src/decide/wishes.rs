//! How often the customer wishes to be contacted: marketing through outbound
//! channels within 7 days, whatever the offers. What one decision says through
//! one channel is one contact.

use smallvec::SmallVec;

use crate::{
    customer::permissions,
    domain::{ChannelId, DecisionId, OfferId, Profile, Purpose, Reservation, Timestamp, time::DAY_US},
    rules::{ChannelKind, Ruleset},
};

use super::history::is_contact;

/// The time the wish speaks of, microseconds.
const WEEK_US: i64 = 7 * DAY_US;
/// Contacts found without allocating.
const INLINE_LEN: usize = 16;

/// The customer's wish and the contacts that count for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weekly {
    /// Contacts of the last 7 days, decided ones that are not seen yet included.
    pub count: u32,
    /// The most that is wished.
    pub max: u32,
}

impl Weekly {
    /// Whether there must be no further contact.
    pub fn is_reached(self) -> bool {
        self.count >= self.max
    }
}

/// The wish and what counts for it now; `None` without such a wish. What the
/// rules no longer have counts as marketing.
pub(super) fn weekly(
    ruleset: &Ruleset,
    profile: &Profile,
    open: &[Reservation],
    (now, except): (Timestamp, Option<DecisionId>),
) -> Option<Weekly> {
    let max = permissions::wishes(profile).contacts_per_week_max?;
    let from = now.plus_us(-WEEK_US);
    let counts = |offer: OfferId, channel: ChannelId, at: Timestamp| {
        at > from && is_marketing(ruleset, offer) && is_outbound(ruleset, channel)
    };
    let rule = |channel: ChannelId| ruleset.channel_slots.get(&channel).map(|slot| ruleset.channel(*slot));
    let seen = profile.interactions.iter();
    let seen = seen.filter(|i| counts(i.offer, i.channel, i.at) && is_contact(i, rule(i.channel)));
    let seen = seen.map(|i| (i.decision, i.channel));
    let held = open.iter().filter(|r| r.expires_at > now && counts(r.offer, r.channel, r.at));
    let held = held.map(|r| (r.decision, r.channel));
    let mut contacts: SmallVec<[(DecisionId, ChannelId); INLINE_LEN]> = SmallVec::new();
    for contact in seen.chain(held).filter(|contact| Some(contact.0) != except) {
        if !contacts.contains(&contact) {
            contacts.push(contact);
        }
    }
    Some(Weekly { count: contacts.len() as u32, max: max.into() })
}

/// Whether the wish speaks of an offer on a channel of some kind.
pub(super) fn speaks_of(purpose: Purpose, kind: ChannelKind) -> bool {
    purpose == Purpose::Marketing && kind == ChannelKind::Outbound
}

fn is_marketing(ruleset: &Ruleset, offer: OfferId) -> bool {
    let slot = ruleset.offer_slots.get(&offer);
    slot.is_none_or(|slot| ruleset.offer(*slot).purpose == Purpose::Marketing)
}

fn is_outbound(ruleset: &Ruleset, channel: ChannelId) -> bool {
    let slot = ruleset.channel_slots.get(&channel);
    slot.is_none_or(|slot| ruleset.channel(*slot).kind == ChannelKind::Outbound)
}
