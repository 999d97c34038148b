//! What is known of one customer.

use super::{
    ArmKey, AttrId, ChannelId, CustomerKey, DecisionId, EventId, EventTypeId, IdentityTypeId, ItemId, OfferId,
    OutcomeSet, ReasonCode, RecordRef, Timestamp, Value,
    request::Purpose,
    schema::VISITOR_TYPE,
    series::{FeedValue, Keep, SeriesId},
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
/// Most records of a customer, over all lists, removed ones included.
pub const RECORDS_MAX: usize = 128;
/// Most customers merged into one; more are not merged.
pub const ABSORBED_MAX: usize = 32;

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
    /// Contacts and what followed, sorted by (contact time, decision, offer, channel, record).
    pub interactions: Vec<Interaction>,
    /// Item touches, sorted by (time, item).
    pub items: Vec<ItemTouch>,
    /// Consents, sorted by (channel, purpose).
    pub consents: Vec<Consent>,
    /// Set while every contact is forbidden: when that was last said.
    pub do_not_contact: Option<Timestamp>,
    /// When that was last lifted, if ever; kept so that an older prohibition that
    /// comes late does not come back. Never later than `do_not_contact`.
    pub contact_allowed_at: Option<Timestamp>,
    /// When the customer first counted for the lift, if ever.
    pub exposed_at: Option<Timestamp>,
    /// Whether the arm at that time was the holdout.
    pub exposed_holdout: bool,
    /// Time of the latest purchase or conversion, if any; see [`Profile::converted`].
    pub converted_at: Option<Timestamp>,
    /// What the customer wishes, sorted by kind.
    pub preferences: Vec<StoredPreference>,
    /// Records of lists: accounts, subscriptions, cases; sorted by (list, key).
    pub records: Vec<StoredRecord>,
    /// What series hold, sorted by series.
    pub series: Vec<StoredSeries>,
    /// What those that were merged into this one counted until then, sorted by
    /// key. Whoever reads a count adds them up, so that merging twice changes
    /// nothing. `version` includes their writes.
    pub absorbed: Vec<Origin>,
}

/// What one customer counted before it was merged into another.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Origin {
    /// Its key.
    pub key: CustomerKey,
    /// Its writes until then.
    pub version: u64,
    /// Totals per event type, sorted by type.
    pub stats: Vec<EventStat>,
    /// What its series held, sorted by series.
    pub series: Vec<StoredSeries>,
}

/// A wish and since when.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredPreference {
    /// The wish.
    pub preference: Preference,
    /// Since when.
    pub at: Timestamp,
}

/// How a customer wishes to be talked to; `None` takes the wish back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Preference {
    /// The channel liked best.
    Channel(Option<ChannelId>),
    /// The language.
    Language(Option<Box<str>>),
    /// Local hours without contact: minutes of the day from and until.
    QuietHours(Option<(u16, u16)>),
    /// Most marketing contacts in 7 days.
    ContactsPerWeek(Option<u16>),
}

/// A record set or removed.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordChange {
    /// The list: the stable hash of its name.
    pub list: AttrId,
    /// What names it within its list.
    pub key: Box<str>,
    /// Its fields, sorted by id; `None` removes it.
    pub fields: Option<Vec<(AttrId, Value)>>,
}

/// A record of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRecord {
    /// What was last set or removed; a removed one is kept so that an older
    /// word cannot bring it back.
    pub change: RecordChange,
    /// Since when.
    pub at: Timestamp,
}

/// What a series holds. The room `customer` says how it grows.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSeries {
    /// Which.
    pub id: SeriesId,
    /// What is kept.
    pub keep: Keep,
    /// What it holds.
    pub state: SeriesState,
}

/// What a series holds.
#[derive(Clone, Debug, PartialEq)]
pub enum SeriesState {
    /// For slots and totals: sorted by slot; a total has one, at slot 0.
    Sums(Vec<SlotSum>),
    /// For the latest and the earliest: when, which event, and its value.
    One(Timestamp, EventId, FeedValue),
    /// For names: sorted by (name, slot).
    Names(Vec<NameSum>),
    /// For moments: sorted by (moment, event).
    Moments(Vec<(Timestamp, EventId)>),
}

/// What fell into a slot of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotSum {
    /// The slot.
    pub slot: i32,
    /// How many.
    pub count: u32,
    /// Their sum.
    pub sum: i64,
    /// The least.
    pub min: i64,
    /// The largest.
    pub max: i64,
}

/// How often a name fell into a slot of time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameSum {
    /// The name.
    pub name: Box<str>,
    /// The slot.
    pub slot: i32,
    /// How often.
    pub count: u32,
    /// When last.
    pub last: Timestamp,
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

    /// Totals of an event type: the customer's own and those of merged ones.
    pub fn stat(&self, event: EventTypeId) -> Option<EventStat> {
        let absorbed = self.absorbed.iter().map(|origin| &origin.stats);
        std::iter::once(&self.stats).chain(absorbed).filter_map(|stats| find_stat(stats, event)).reduce(EventStat::plus)
    }

    /// Writes of the customer alone, without those of merged ones.
    pub fn own_version(&self) -> u64 {
        let absorbed = self.absorbed.iter().fold(0_u64, |sum, origin| sum.saturating_add(origin.version));
        self.version.saturating_sub(absorbed)
    }

    /// Whether a purchase or conversion followed the exposure.
    pub fn converted(&self) -> bool {
        self.exposed_at.is_some_and(|exposed| self.converted_at.is_some_and(|converted| converted >= exposed))
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

fn find_stat(stats: &[EventStat], event: EventTypeId) -> Option<EventStat> {
    let at = stats.binary_search_by_key(&event, |s| s.event).ok()?;
    Some(stats[at])
}

impl EventStat {
    /// Both together, of one event type.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            event: self.event,
            count: self.count.saturating_add(other.count),
            amount: self.amount.saturating_add(other.amount),
            first_at: self.first_at.min(other.first_at),
            last_at: self.last_at.max(other.last_at),
        }
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
    /// The record it speaks of.
    pub record: RecordRef,
    /// Time of the first outcome that was recorded.
    pub at: Timestamp,
    /// Time of the latest click, accept, decline, conversion, dismiss or unsubscribe.
    pub answered_at: Timestamp,
    /// What followed.
    pub outcomes: OutcomeSet,
    /// The latest decline's reason; 0 for none.
    pub reason: ReasonCode,
    /// When it was given; 0 for none.
    pub reason_at: Timestamp,
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
    /// The record it speaks of.
    pub record: RecordRef,
    /// When it was decided.
    pub at: Timestamp,
    /// When it lapses.
    pub expires_at: Timestamp,
}
