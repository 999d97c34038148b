//! The values one decision reads, by attribute slot.

use super::{AttrId, AttrSlot, AttributeSource, Date, Profile, Request, Schema, Timestamp, Value, ValueRef};

/// Where the value of one slot stands, without borrowing it.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Cell {
    /// There is none.
    #[default]
    Missing,
    /// It is not read, whether there is one or not: the person is not verified.
    Unverified,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A finite number.
    Double(f64),
    /// A moment.
    Timestamp(Timestamp),
    /// A date.
    Date(Date),
    /// Money in minor units.
    Money(i64),
    /// Index into the profile's attributes.
    Stored(u16),
    /// Index into the request's context.
    Context(u16),
    /// Index into the request's overrides.
    Override(u16),
    /// The schema's default of the slot.
    Default,
    /// The empty set.
    EmptySet,
    /// Index into what was computed for this reading.
    Derived(u16),
    /// What the schema says of the record at hand: see [`Facts::record`].
    Record,
}

/// The cells of one reading, with the texts and sets that were computed for them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cells {
    /// A cell per slot of the schema.
    pub list: Vec<Cell>,
    /// What [`Cell::Derived`] points into.
    pub derived: Vec<Value>,
}

impl Cells {
    /// Cells as they stand, with nothing computed.
    pub fn of(list: Vec<Cell>) -> Self {
        Self { list, derived: Vec::new() }
    }

    /// Makes them blank again; allocates nothing once it was as large before.
    pub fn reset(&mut self, blank: &[Cell]) {
        self.list.clear();
        self.list.extend_from_slice(blank);
        self.derived.clear();
    }

    /// Puts a value at a slot: small ones into the cell itself.
    pub fn put(&mut self, slot: AttrSlot, value: Value) {
        let cell = match value {
            Value::Bool(v) => Cell::Bool(v),
            Value::Int(v) => Cell::Int(v),
            Value::Double(v) => Cell::Double(v),
            Value::Timestamp(v) => Cell::Timestamp(v),
            Value::Date(v) => Cell::Date(v),
            Value::Money(v) => Cell::Money(v),
            // INVARIANT: at most one value is computed per slot, and slots fit.
            value @ (Value::Text(_) | Value::Set(_)) => {
                self.derived.push(value);
                Cell::Derived((self.derived.len() - 1) as u16)
            }
        };
        if let Some(place) = self.list.get_mut(slot.index()) {
            *place = cell;
        }
    }
}

/// The values one decision reads.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// A cell per slot of the schema.
    pub cells: &'a [Cell],
    /// Texts and sets computed for this reading.
    pub derived: &'a [Value],
    /// The schema the slots belong to.
    pub schema: &'a Schema,
    /// The customer.
    pub profile: &'a Profile,
    /// The question.
    pub request: &'a Request,
    /// The moment of the decision.
    pub now: Timestamp,
    /// The record at hand: an index into the profile's records; `None` where none
    /// is spoken of.
    pub record: Option<u16>,
}

impl<'a> Facts<'a> {
    /// The whole number at a slot; `None` when there is none.
    #[inline]
    pub fn int(&self, slot: AttrSlot) -> Option<i64> {
        match self.cells.get(slot.index()) {
            Some(Cell::Int(value)) => Some(*value),
            Some(Cell::Missing) | None => None,
            _ => match self.get(slot) {
                ValueRef::Int(value) => Some(value),
                _ => None,
            },
        }
    }

    /// The money at a slot, minor units; `None` when there is none.
    #[inline]
    pub fn money(&self, slot: AttrSlot) -> Option<i64> {
        match self.cells.get(slot.index()) {
            Some(Cell::Money(value)) => Some(*value),
            Some(Cell::Missing) | None => None,
            _ => match self.get(slot) {
                ValueRef::Money(value) => Some(value),
                _ => None,
            },
        }
    }

    /// The text at a slot; `None` when there is none.
    #[inline]
    pub fn text(&self, slot: AttrSlot) -> Option<&'a str> {
        if let Some(Cell::Stored(at)) = self.cells.get(slot.index())
            && let Some(stored) = self.profile.attributes.get(usize::from(*at))
        {
            return match &stored.value {
                Some(Value::Text(text)) => Some(text),
                _ => None,
            };
        }
        match self.get(slot) {
            ValueRef::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The value at a slot.
    #[inline]
    pub fn get(&self, slot: AttrSlot) -> ValueRef<'a> {
        match self.cells.get(slot.index()).copied().unwrap_or_default() {
            Cell::Missing | Cell::Unverified => ValueRef::Missing,
            Cell::Bool(v) => ValueRef::Bool(v),
            Cell::Int(v) => ValueRef::Int(v),
            Cell::Double(v) => ValueRef::Double(v),
            Cell::Timestamp(v) => ValueRef::Timestamp(v),
            Cell::Date(v) => ValueRef::Date(v),
            Cell::Money(v) => ValueRef::Money(v),
            Cell::Stored(at) => match self.profile.attributes.get(usize::from(at)) {
                Some(stored) => stored.value.as_ref().map_or(ValueRef::Missing, |v| v.as_ref()),
                None => ValueRef::Missing,
            },
            Cell::Context(at) => self.request.context.get(usize::from(at)).map_or(ValueRef::Missing, |e| e.1.as_ref()),
            Cell::Override(at) => {
                self.request.overrides.get(usize::from(at)).map_or(ValueRef::Missing, |e| e.1.as_ref())
            }
            Cell::Default => match self.schema.attributes.get(slot.index()) {
                Some(def) => def.default.as_ref().map_or(ValueRef::Missing, |v| v.as_ref()),
                None => ValueRef::Missing,
            },
            Cell::EmptySet => ValueRef::Set(&[]),
            Cell::Derived(at) => self.derived.get(usize::from(at)).map_or(ValueRef::Missing, |v| v.as_ref()),
            Cell::Record => self.of_record(slot).unwrap_or(ValueRef::Missing),
        }
    }

    /// The same facts with another record at hand.
    #[must_use]
    pub fn with_record(self, record: Option<u16>) -> Self {
        Self { record, ..self }
    }

    /// What a slot reads of the record at hand.
    fn of_record(&self, slot: AttrSlot) -> Option<ValueRef<'a>> {
        let record = self.profile.record_at(self.record)?;
        let fields = record.fields.as_ref()?;
        let field = match self.schema.attributes.get(slot.index())?.source {
            AttributeSource::RecordKey(list) => return (list == record.list).then_some(ValueRef::Text(&record.key)),
            AttributeSource::RecordField(list, field) if list == record.list => field,
            _ => return None,
        };
        let at = fields.binary_search_by_key(&field, |known: &(AttrId, Value)| known.0).ok()?;
        Some(fields[at].1.as_ref())
    }
}
