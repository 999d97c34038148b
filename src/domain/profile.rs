//! What is known of one customer.

use super::{
    ArmKey, AttrId, ChannelId, CustomerKey, DecisionId, EventTypeId, IdentityTypeId, ItemId, OfferId, OutcomeSet,
    ReasonCode, Timestamp, Value, request::Purpose, schema::VISITOR_TYPE,
};

/// Most interactions kept. The oldest by contact time go first, those without
/// an answer before answered ones: see [`ANSWERED_MAX`].
pub const INTERACTIONS_MAX: usize = 100;
/// Most answered interactions kept once [`INTERACTIONS_MAX`] is reached, so
/// that limits still see what was only shown.
pub const ANSWERED_MAX: usize = 80;
/// Most item touches kept; the oldest go first.
pub const ITEMS_MAX: usize = 100;
/// Most identities of a customer.
pub const IDENTITIES_MAX: usize = 32;
/// Most stored attributes of a customer.
pub const ATTRIBUTES_MAX: usize = 256;
/// Most event types counted for a customer.
pub const EVENT_STATS_MAX: usize = 256;
/// Most consents of a customer.
pub const CONSENTS_MAX: usize = 128;

/// One customer over every channel. Vectors are sorted as their fields say, so
/// that equal knowledge is equal data.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Profile {
    /// Internal key.
    pub key: CustomerKey,
    /// What sticky arms hash.
    pub arm_key: ArmKey,
    /// Counts the writes; part of the consistency token.
    pub version: u64,
    /// Time of the earliest event.
    pub first_seen: Timestamp,
    /// Every identity, sorted by (type, value).
    pub identities: Vec<StoredIdentity>,
    /// Attributes, sorted by id.
    pub attributes: Vec<StoredAttribute>,
    /// Totals per event type, sorted by type.
    pub stats: Vec<EventStat>,
    /// Contacts and what followed, sorted by (contact time, decision, offer).
    pub interactions: Vec<Interaction>,
    /// Item touches, sorted by (time, item).
    pub items: Vec<ItemTouch>,
    /// Consents, sorted by (channel, purpose).
    pub consents: Vec<Consent>,
    /// Set while every contact is forbidden.
    pub do_not_contact: Option<Timestamp>,
    /// When the customer first counted for the lift, if ever.
    pub exposed_at: Option<Timestamp>,
    /// Whether the arm at that time was the holdout.
    pub exposed_holdout: bool,
    /// Whether a purchase or conversion followed the exposure.
    pub converted: bool,
}

impl Profile {
    /// Whether nothing but visits to pages made the profile: no customer is
    /// behind it.
    pub fn is_only_visited(&self) -> bool {
        let visitor = IdentityTypeId::of(VISITOR_TYPE);
        !self.identities.is_empty() && self.identities.iter().all(|identity| identity.kind == visitor)
    }

    /// A stored attribute's value.
    pub fn attribute(&self, id: AttrId) -> Option<&Value> {
        let at = self.attributes.binary_search_by_key(&id, |a| a.id).ok()?;
        self.attributes[at].value.as_ref()
    }

    /// Totals of an event type.
    pub fn stat(&self, event: EventTypeId) -> Option<&EventStat> {
        let at = self.stats.binary_search_by_key(&event, |s| s.event).ok()?;
        Some(&self.stats[at])
    }

    /// What the person said for (channel, purpose): of the consent for the
    /// channel and the one for all channels the later word, at equal times the
    /// stricter. So a denial of all contact ends an earlier grant for one
    /// channel, and a later grant for all channels lifts a denial for one.
    pub fn permission(&self, channel: Option<ChannelId>, purpose: ConsentPurpose) -> Permission {
        let of = |wanted: Option<ChannelId>| {
            let found = self.consents.binary_search_by_key(&(wanted, purpose), |c| (c.channel, c.purpose)).ok()?;
            let consent = &self.consents[found];
            Some((consent.at, consent.permission.strictness(), consent.permission))
        };
        let said = of(None).max(channel.and_then(|c| of(Some(c))));
        said.map_or(Permission::Unknown, |said| said.2)
    }
}

/// An identity of a customer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredIdentity {
    /// Its type.
    pub kind: IdentityTypeId,
    /// Its normalised value.
    pub value: Box<str>,
}

/// An attribute and when it became so.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredAttribute {
    /// Which.
    pub id: AttrId,
    /// Its value; `None` when it was removed (kept so that an older value
    /// cannot come back).
    pub value: Option<Value>,
    /// Since when.
    pub at: Timestamp,
}

/// Totals of one event type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventStat {
    /// Which.
    pub event: EventTypeId,
    /// How many.
    pub count: u64,
    /// Sum of their amounts, minor units.
    pub amount: i64,
    /// Time of the earliest.
    pub first_at: Timestamp,
    /// Time of the latest.
    pub last_at: Timestamp,
}

/// One presentation that counts, and what followed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interaction {
    /// The decision it came from.
    pub decision: DecisionId,
    /// The offer.
    pub offer: OfferId,
    /// The channel.
    pub channel: ChannelId,
    /// Time of the first outcome that was recorded.
    pub at: Timestamp,
    /// Time of the latest click, accept, decline, conversion, dismiss or unsubscribe.
    pub answered_at: Timestamp,
    /// What followed.
    pub outcomes: OutcomeSet,
    /// The decline's reason; 0 for none.
    pub reason: ReasonCode,
}

/// An item viewed or bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ItemTouch {
    /// When.
    pub at: Timestamp,
    /// Which.
    pub item: ItemId,
    /// Whether it was bought.
    pub bought: bool,
}

/// What a consent is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ConsentPurpose {
    /// Being contacted for marketing.
    Marketing = 1,
    /// Being contacted for service.
    Service = 2,
    /// Behaviour influencing the choice.
    Profiling = 3,
}

impl From<Purpose> for ConsentPurpose {
    fn from(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Marketing => ConsentPurpose::Marketing,
            Purpose::Service => ConsentPurpose::Service,
        }
    }
}

/// What the person said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
#[repr(u8)]
pub enum Permission {
    /// Nothing.
    #[default]
    Unknown = 0,
    /// Yes.
    Granted = 1,
    /// No.
    Denied = 2,
}

impl Permission {
    /// What stands when two words are of the same moment: the larger.
    pub fn strictness(self) -> u8 {
        match self {
            Permission::Granted => 0,
            Permission::Unknown => 1,
            Permission::Denied => 2,
        }
    }
}

/// A consent; the latest one counts, at equal times the strictest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// For which channel; `None` for all.
    pub channel: Option<ChannelId>,
    /// What for.
    pub purpose: ConsentPurpose,
    /// What the person said.
    pub permission: Permission,
    /// When.
    pub at: Timestamp,
    /// Where it was given.
    pub source: Box<str>,
    /// Version of the text agreed to.
    pub proof: Box<str>,
}

/// A decided presentation that holds its place in limits until it is seen or
/// its time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// The decision.
    pub decision: DecisionId,
    /// The offer.
    pub offer: OfferId,
    /// The channel.
    pub channel: ChannelId,
    /// When it was decided.
    pub at: Timestamp,
    /// When it lapses.
    pub expires_at: Timestamp,
}
