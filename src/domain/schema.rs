//! The attribute schema of one ruleset.

use std::{collections::HashMap, sync::Arc};

use super::{
    AttrId, AttrSlot, EventTypeId, IdentityTypeId, Value,
    series::{Aggregate, SeriesTrait},
};

/// The identity type of visitors.
pub const VISITOR_TYPE: &str = "visitor_id";
/// The identity type of match tokens.
pub const MATCH_TYPE: &str = "match";

/// Everything rules may read, by dense slot.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// Every attribute, at the index of its slot.
    pub attributes: Vec<AttributeDef>,
    /// Slots of stored attributes, sorted by attribute id.
    pub stored: Vec<(AttrId, AttrSlot)>,
    /// Slots of context attributes, sorted by attribute id.
    pub context: Vec<(AttrId, AttrSlot)>,
    /// Slots of traits, in slot order.
    pub traits: Vec<AttrSlot>,
    /// Slots of what is read only for a verified person, in slot order.
    pub verified: Vec<AttrSlot>,
    /// Slots by full name: `p.country`, `ctx.basket_value`; not of what is read of
    /// the record at hand, for whose name the list must be known.
    pub by_name: HashMap<Arc<str>, AttrSlot>,
    /// Identity types.
    pub identities: Vec<IdentityDef>,
    /// Event types.
    pub events: Vec<EventDef>,
    /// Lists of records, by name.
    pub records: Vec<RecordListDef>,
    /// Slots of the keys of records, in slot order.
    pub record_keys: Vec<AttrSlot>,
    /// Slots of what is read of the record at hand, in slot order.
    pub record_fields: Vec<AttrSlot>,
    /// The time zone of the rules, in which days begin; without it UTC.
    pub time_zone: Option<jiff::tz::TimeZone>,
    /// Whether any trait is read from a series or a model: then a reading works
    /// out the slots of its moment.
    pub reads_slots: bool,
}

impl Schema {
    /// A stored attribute by its bare name.
    pub fn stored_by_name(&self, name: &str) -> Option<&AttributeDef> {
        Self::find(&self.stored, name).map(|slot| &self.attributes[slot.index()])
    }

    /// A context attribute by its bare name.
    pub fn context_by_name(&self, name: &str) -> Option<&AttributeDef> {
        Self::find(&self.context, name).map(|slot| &self.attributes[slot.index()])
    }

    fn find(table: &[(AttrId, AttrSlot)], name: &str) -> Option<AttrSlot> {
        let id = AttrId::of(name);
        table.binary_search_by_key(&id, |e| e.0).ok().map(|at| table[at].1)
    }

    /// An event type by its name.
    pub fn event_by_name(&self, name: &str) -> Option<&EventDef> {
        self.events.iter().find(|e| &*e.name == name)
    }

    /// Whether several customers may hold an identity of a type; one that the
    /// schema does not have is unique.
    pub fn sharing(&self, kind: IdentityTypeId) -> Sharing {
        self.identities.iter().find(|i| i.id == kind).map_or(Sharing::Unique, |i| i.sharing)
    }

    /// A list of records by its name.
    pub fn records_by_name(&self, name: &str) -> Option<&RecordListDef> {
        self.records.iter().find(|list| &*list.name == name)
    }

    /// The slot of a field of the record at hand, of a list: `balance` of
    /// `r.balance`; `key` is the record's key.
    pub fn record_slot(&self, list: AttrId, field: &str) -> Option<AttrSlot> {
        self.of_record(list).find(|def| *def.name == *field).map(|def| def.slot)
    }

    /// What is read of the record at hand of a list.
    pub fn of_record(&self, list: AttrId) -> impl Iterator<Item = &AttributeDef> {
        let all = self.record_fields.iter().filter_map(|slot| self.attributes.get(slot.index()));
        all.filter(move |def| match def.source {
            AttributeSource::RecordKey(of) | AttributeSource::RecordField(of, _) => of == list,
            _ => false,
        })
    }

    /// An identity type by its name.
    pub fn identity_by_name(&self, name: &str) -> Option<&IdentityDef> {
        self.identities.iter().find(|i| &*i.name == name)
    }
}

/// One attribute.
#[derive(Clone, Debug)]
pub struct AttributeDef {
    /// Its slot.
    pub slot: AttrSlot,
    /// Stable hash of its bare name.
    pub id: AttrId,
    /// Its bare name: `country`.
    pub name: Arc<str>,
    /// Its name in conditions: `p.country` or `ctx.country`.
    pub full_name: Arc<str>,
    /// Its type.
    pub kind: AttributeType,
    /// Where its value comes from.
    pub source: AttributeSource,
    /// The value when there is none.
    pub default: Option<Value>,
    /// Smallest and largest value of a number (int, double; minor units of money).
    pub range: Option<(f64, f64)>,
    /// Whether it is personally identifying.
    pub pii: bool,
    /// Whether it is behaviour: masked without consent to profiling.
    pub behavioural: bool,
    /// Context attributes: whether a browser may give it.
    pub client: bool,
    /// Whether it is read only for a verified person.
    pub verified: bool,
}

/// The type of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeType {
    /// A truth value.
    Bool,
    /// A whole number.
    Int,
    /// A finite number.
    Double,
    /// Text of at most 256 bytes.
    Text,
    /// One of these names.
    Enum(Arc<[Arc<str>]>),
    /// A set of at most 64 texts.
    Set,
    /// A moment.
    Timestamp,
    /// A date.
    Date,
    /// Money in minor units.
    Money,
}

impl AttributeType {
    /// Its name in rule files.
    pub fn name(&self) -> &'static str {
        match self {
            AttributeType::Bool => "bool",
            AttributeType::Int => "int",
            AttributeType::Double => "double",
            AttributeType::Text => "string",
            AttributeType::Enum(_) => "enum",
            AttributeType::Set => "set",
            AttributeType::Timestamp => "timestamp",
            AttributeType::Date => "date",
            AttributeType::Money => "money",
        }
    }
}

/// Where an attribute's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeSource {
    /// Kept in the profile.
    Stored,
    /// Given with the request.
    Context,
    /// Computed from the profile and the time.
    Trait(Trait),
    /// The keys of the records of a list.
    Records(AttrId),
    /// The key of the record at hand, of a list.
    RecordKey(AttrId),
    /// A field of the record at hand: its list, and the field.
    RecordField(AttrId, AttrId),
}

impl AttributeSource {
    /// Whether it is read of the record at hand.
    pub fn is_of_record(&self) -> bool {
        matches!(self, AttributeSource::RecordKey(_) | AttributeSource::RecordField(..))
    }
}

/// How a trait is computed from (profile, now).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trait {
    /// How many events (int, 0 when none).
    Count(EventTypeId),
    /// Sum of the events' amounts (money, 0 when none).
    Sum(EventTypeId),
    /// Mean of the events' amounts (money, missing when none).
    Mean(EventTypeId),
    /// Whole days since the latest event (int, missing when none).
    DaysSince(EventTypeId),
    /// Whole days since the first event (int, missing when none).
    DaysSinceFirst(EventTypeId),
    /// Whether more were opened than closed (bool).
    Open {
        /// The opening event.
        opened: EventTypeId,
        /// The closing event.
        closed: EventTypeId,
    },
    /// Days until the next anniversary of a stored date, 0 today (int, missing
    /// without the date).
    DaysToAnniversary(AttrId),
    /// Whole days since the latest contact on any channel (int, missing when none).
    DaysSinceContact,
    /// How many different items were bought, of those kept (int).
    ItemsBought,
    /// Read from a series of events.
    Series(SeriesTrait),
    /// Read from an analysis of the whole base.
    Model(ModelTrait),
}

impl Trait {
    /// Whether it is a count: never missing, never less than 0.
    pub fn counts(&self) -> bool {
        match self {
            Trait::Count(_) | Trait::ItemsBought => true,
            Trait::Series(of) => matches!(of.aggregate, Aggregate::Count | Aggregate::Distinct),
            _ => false,
        }
    }

    /// Whether it is never missing: 0 or false where nothing happened.
    pub fn is_always_known(&self) -> bool {
        match self {
            Trait::Sum(_) | Trait::Open { .. } => true,
            Trait::Series(of) => matches!(
                of.aggregate,
                Aggregate::Count
                    | Aggregate::Sum
                    | Aggregate::Distinct
                    | Aggregate::FollowedBy { .. }
                    | Aggregate::Abandoned { .. }
            ),
            how => how.counts(),
        }
    }
}

/// A trait that the analysis of the whole base lends to one customer. All but
/// the scores count purchases: events of the type of the analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelTrait {
    /// 1 to 5: how recent the last purchase is among all who bought (int,
    /// missing for who never bought).
    RecencyScore,
    /// 1 to 5: how many purchases (int, missing for who never bought).
    FrequencyScore,
    /// 1 to 5: how much was spent (int, missing for who never bought).
    MonetaryScore,
    /// Probability that the customer has not left for ever (double, missing for
    /// who never bought).
    AliveProbability,
    /// Expected purchases in the coming days (double, missing for who never
    /// bought).
    ExpectedPurchases {
        /// How many days, 1 to 730.
        days: u16,
    },
}

/// An identity type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityDef {
    /// Its stable id.
    pub id: IdentityTypeId,
    /// Its name: `email`.
    pub name: Arc<str>,
    /// How values are normalised and checked.
    pub format: IdentityFormat,
    /// Whether several customers may hold one.
    pub sharing: Sharing,
    /// What has one.
    pub bearer: IdentityBearer,
    /// Whether a person has at most one: two different ones are two people, who
    /// are never merged by an event.
    pub single: bool,
    /// Most people that one value may join over time; beyond it the identity
    /// makes nobody the same any more.
    pub people_max: u16,
}

/// What has an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IdentityBearer {
    /// A person: who shows it is that person.
    #[default]
    Person,
    /// A browser or a device: who uses it may change.
    Device,
}

/// How many people one value of an identity type may join, unless declared
/// otherwise.
pub const PEOPLE_MAX: u16 = 5;

/// Whether an identity names one customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Sharing {
    /// It is one customer's: whoever has it is that customer.
    #[default]
    Unique,
    /// Several may hold it, as a family holds a phone: it makes nobody the same.
    Shared,
}

/// How values of an identity type are normalised and checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityFormat {
    /// Any text of 1 to 256 bytes without control characters, trimmed.
    Opaque,
    /// An e-mail address, lower-cased.
    Email,
    /// A phone number in E.164: `+` and 7 to 15 digits; spaces, dots, dashes
    /// and parentheses are removed.
    Phone,
    /// A signed visitor id; kept as the visitor in 32 hex digits.
    Visitor,
    /// A match token; names a customer for reading only.
    Match,
}

/// An event type.
#[derive(Clone, Debug, PartialEq)]
pub struct EventDef {
    /// Its stable id.
    pub id: EventTypeId,
    /// Its name: `purchase`.
    pub name: Arc<str>,
    /// Whether its items were bought.
    pub bought: bool,
    /// Whether it counts as a conversion for the lift.
    pub conversion: bool,
    /// Whether it is acknowledged only once synced to disk.
    pub durable: bool,
    /// Whether a browser may send it, of its own visitor.
    pub client: bool,
    /// The fields it declares.
    pub fields: Vec<FieldDef>,
    /// Whether what is given beside them is kept unchecked; else it is refused.
    pub open: bool,
}

/// A typed field of an event or of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldDef {
    /// Stable hash of its name.
    pub id: AttrId,
    /// Its name.
    pub name: Arc<str>,
    /// Its type.
    pub kind: AttributeType,
    /// Whether it must be given.
    pub required: bool,
    /// Whether it is personally identifying.
    pub pii: bool,
    /// Smallest and largest value of a number (int, double; minor units of money).
    pub range: Option<(f64, f64)>,
}

/// A list of records that a customer may have.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordListDef {
    /// Stable hash of its name.
    pub id: AttrId,
    /// Its name: `accounts`.
    pub name: Arc<str>,
    /// Its fields.
    pub fields: Vec<FieldDef>,
    /// Most records of it that a customer has.
    pub max: u16,
}
