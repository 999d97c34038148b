//! The attribute schema of one ruleset.

use std::{collections::HashMap, sync::Arc};

use super::{AttrId, AttrSlot, EventTypeId, IdentityTypeId, Value};

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
    /// Slots by full name: `p.country`, `ctx.basket_value`.
    pub by_name: HashMap<Arc<str>, AttrSlot>,
    /// Identity types.
    pub identities: Vec<IdentityDef>,
    /// Event types.
    pub events: Vec<EventDef>,
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
}

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
#[derive(Clone, Debug, PartialEq, Eq)]
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
}
