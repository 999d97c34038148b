//! What exact limits count by: the caps of a person.

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::domain::{LimitSlot, RecordRef};

use super::{
    channel::{Channel, ChannelKind},
    offer::Offer,
    policy::{Limit, Scope, WhenUnknown},
    ruleset::Ruleset,
};

/// A cap: one counter of an exact limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// Its stable name: the same on every replica, whatever else the rules say.
    pub id: u64,
    /// The limit it is of.
    pub limit: LimitSlot,
}

/// Caps that one contact falls on.
pub type Caps = SmallVec<[Cap; 4]>;

impl Limit {
    /// Whether it looks at contacts on a channel.
    pub fn looks_at(&self, channel: &Channel) -> bool {
        self.channel.is_none_or(|slot| slot == channel.slot)
            && self.channel_kind.is_none_or(|kind| kind == channel.kind)
    }

    /// What becomes of a claim on a channel that the store cannot answer in time.
    pub fn unknown_on(&self, channel: &Channel) -> WhenUnknown {
        self.when_unknown.unwrap_or(match channel.kind {
            ChannelKind::Outbound => WhenUnknown::Deny,
            ChannelKind::SelfService | ChannelKind::Assisted => WhenUnknown::LocalShare,
        })
    }
}

impl Ruleset {
    /// Whether an exact limit counts an offer on a channel.
    pub fn has_caps(&self, offer: &Offer, channel: &Channel) -> bool {
        offer.limits.iter().map(|slot| &self.limits[slot.index()]).any(|limit| limit.exact && limit.looks_at(channel))
    }

    /// The caps that a contact with an offer on a channel falls on.
    pub fn caps(&self, offer: &Offer, channel: &Channel, record: RecordRef) -> Caps {
        let limits = offer.limits.iter().map(|slot| &self.limits[slot.index()]);
        let exact = limits.filter(|limit| limit.exact && limit.looks_at(channel));
        exact.map(|limit| Cap { id: self.cap_id(limit, (offer, channel, record)), limit: limit.slot }).collect()
    }

    fn cap_id(&self, limit: &Limit, (offer, channel, record): (&Offer, &Channel, RecordRef)) -> u64 {
        let by: u64 = match limit.scope {
            Scope::Offer => offer.id.0,
            Scope::Record if offer.each.is_some() => offer.id.0 ^ record.0.rotate_left(1),
            Scope::Record => offer.id.0,
            Scope::Group => xxh3_64(self.groups[offer.group.index()].as_bytes()),
            Scope::Issue => xxh3_64(self.issues[offer.issue.index()].name.as_bytes()),
            Scope::Channel => u64::from(channel.id.0),
            Scope::All => 0,
        };
        let mut name = limit.name.as_bytes().to_vec();
        name.push(0);
        name.extend(by.to_le_bytes());
        xxh3_64(&name)
    }
}
