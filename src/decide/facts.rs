//! Fills the cells conditions read: stored attributes, request context, traits,
//! assumed values and defaults, with behaviour masked where it must not count
//! and what only a verified person may cause to be read where nobody is.

use std::sync::Arc;

use crate::{
    customer::{permissions, series, traits},
    domain::{
        Assurance, AttrId, AttrSlot, AttributeDef, AttributeSource, AttributeType, Cell, Cells, DroppedInput, Facts,
        Level, Match, Permission, Profile, Request, Schema, Timestamp, Trait, Value, series::NowSlots,
    },
    predict::BaseModel,
    rules::slots::now_slots,
};

use super::{Inputs, visitor};

/// Whether behaviour may influence the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profiling {
    /// It may.
    Permitted,
    /// It must not: everything behavioural is masked.
    Masked,
}

impl Profiling {
    /// What the customer and the page permit. A visitor without a profile, or
    /// with one that only visits made, has no stored answer to narrow, so the
    /// page's own counts; where there is an answer that could not be read, it
    /// counts as no.
    pub fn of(inputs: &Inputs<'_>) -> Self {
        let page = inputs.request.page_consent;
        let permitted = match inputs.matched {
            _ if inputs.answer_unread() => false,
            Match::Known if visitor::never_asked(inputs.profile) => page.profiling == Permission::Granted,
            Match::Known => permissions::profiling(inputs.profile, page),
            Match::Anonymous | Match::New | Match::Ambiguous => page.profiling == Permission::Granted,
        };
        if permitted { Profiling::Permitted } else { Profiling::Masked }
    }

    /// How full the answer is.
    pub fn level(self) -> Level {
        match self {
            Profiling::Permitted => Level::Full,
            Profiling::Masked => Level::NoRecommendations,
        }
    }

    /// What is not used for want of permission.
    pub fn dropped(self) -> &'static [DroppedInput] {
        match self {
            Profiling::Permitted => &[],
            Profiling::Masked => &[DroppedInput::Behaviour],
        }
    }
}

/// Fills a cell per slot, from blank ones. Assumed values (PREVIEW) stand above
/// everything, masks included.
pub(super) fn fill(inputs: &Inputs<'_>, profiling: Profiling, blank: &[Cell], cells: &mut Cells) {
    cells.reset(blank);
    let schema = &inputs.snapshot.ruleset.schema;
    let may_read = |slot: usize| profiling == Profiling::Permitted || !schema.attributes[slot].behavioural;
    let known = Known { profile: inputs.profile, now: inputs.now, base: &inputs.snapshot.base };
    known.fill(schema, may_read, cells);
    if hides_unverified(inputs) {
        hide_unverified(schema, &mut cells.list);
    }
    fill_request(schema, inputs.request, may_read, &mut cells.list);
}

/// Whether anything of the schema is not read because the person of a request
/// is not verified.
pub(super) fn hides_unverified(inputs: &Inputs<'_>) -> bool {
    !inputs.snapshot.ruleset.schema.verified.is_empty() && !visitor::is_verified(inputs)
}

/// Hides what is read only for a verified person: also a default would say
/// something of somebody nobody has verified.
fn hide_unverified(schema: &Schema, cells: &mut [Cell]) {
    schema.verified.iter().for_each(|slot| cells[slot.index()] = Cell::Unverified);
}

/// The context, then what is assumed.
fn fill_request(schema: &Schema, request: &Request, may_read: impl Fn(usize) -> bool, cells: &mut [Cell]) {
    join(
        &schema.context,
        &request.context,
        |e| e.0,
        |slot, at, entry| {
            if may_read(slot) {
                cells[slot] = cell_of(&entry.1, Cell::Context(at));
            }
        },
    );
    assume(schema, &request.overrides, cells);
}

/// Reads the facts of one person after the other, for who looks at a whole
/// population without deciding.
#[derive(Clone, Debug)]
pub struct FactReader {
    blank: Vec<Cell>,
    wanted: Vec<bool>,
    base: Arc<BaseModel>,
}

impl FactReader {
    /// Reads every attribute.
    pub fn all(schema: &Schema) -> Self {
        Self {
            blank: super::plan::blank_cells(schema),
            wanted: vec![true; schema.attributes.len()],
            base: Arc::default(),
        }
    }

    /// Reads only these; the others are as if nothing was known.
    pub fn only(schema: &Schema, slots: impl IntoIterator<Item = AttrSlot>) -> Self {
        let mut reader = Self { wanted: vec![false; schema.attributes.len()], ..Self::all(schema) };
        for slot in slots {
            if let Some(wanted) = reader.wanted.get_mut(slot.index()) {
                *wanted = true;
            }
        }
        reader
    }

    /// The same with an analysis of the whole base.
    pub fn with_base(self, base: Arc<BaseModel>) -> Self {
        Self { base, ..self }
    }

    /// Fills the cells of `facts` (whose own are not read) as a decision would;
    /// without profiling everything behavioural is masked. What only a verified
    /// person may cause to be read is, when the request of `facts` says so: who
    /// looks at people without a request assumes that they are verified.
    pub fn fill(&self, facts: &Facts<'_>, profiling: bool, cells: &mut Cells) {
        cells.reset(&self.blank);
        let schema = facts.schema;
        let may_read = |slot: usize| self.wanted[slot] && (profiling || !schema.attributes[slot].behavioural);
        Known { profile: facts.profile, now: facts.now, base: &self.base }.fill(schema, may_read, cells);
        if facts.request.assurance < Assurance::Verified {
            hide_unverified(schema, &mut cells.list);
        }
        fill_request(schema, facts.request, may_read, &mut cells.list);
    }
}

/// The cells of a customer with nothing masked and no context: what the one
/// view shows.
pub fn customer_cells(schema: &Schema, profile: &Profile, now: Timestamp, base: &BaseModel) -> Cells {
    let mut cells = Cells::of(super::plan::blank_cells(schema));
    Known { profile, now, base }.fill(schema, |_| true, &mut cells);
    cells
}

/// What is known of a customer.
struct Known<'a> {
    profile: &'a Profile,
    now: Timestamp,
    base: &'a BaseModel,
}

impl Known<'_> {
    fn fill(&self, schema: &Schema, may_read: impl Fn(usize) -> bool, cells: &mut Cells) {
        join(
            &schema.stored,
            &self.profile.attributes,
            |a| a.id,
            |slot, at, stored| {
                if let Some(value) = stored.value.as_ref().filter(|_| may_read(slot)) {
                    cells.list[slot] = cell_of(value, Cell::Stored(at));
                }
            },
        );
        let slots = if schema.reads_slots { Some(self.slots(schema)) } else { None };
        for slot in schema.traits.iter().filter(|slot| may_read(slot.index())) {
            let def = &schema.attributes[slot.index()];
            let AttributeSource::Trait(wanted) = &def.source else { continue };
            match (wanted, slots) {
                (Trait::Series(wanted), Some(slots)) => {
                    if let Some(value) = series::read(wanted, self.profile, self.now, &slots).into_value() {
                        cells.put(*slot, typed(value, def));
                    }
                }
                (Trait::Model(wanted), Some(slots)) => {
                    cells.list[slot.index()] = self.base.read(*wanted, self.profile, slots.day);
                }
                (wanted, _) => {
                    let cell = traits::read(wanted, self.profile, self.now);
                    if cell != Cell::Missing {
                        cells.list[slot.index()] = cell;
                    }
                }
            }
        }
        self.fill_records(schema, may_read, cells);
    }

    fn slots(&self, schema: &Schema) -> NowSlots {
        match &schema.time_zone {
            Some(zone) => now_slots(self.now, zone),
            None => now_slots(self.now, &jiff::tz::TimeZone::UTC),
        }
    }

    /// The keys of the records of each list that has any, and where their fields
    /// are read.
    fn fill_records(&self, schema: &Schema, may_read: impl Fn(usize) -> bool, cells: &mut Cells) {
        if self.profile.records.is_empty() {
            return;
        }
        for slot in schema.record_fields.iter().filter(|slot| may_read(slot.index())) {
            cells.list[slot.index()] = Cell::Record;
        }
        for slot in schema.record_keys.iter().filter(|slot| may_read(slot.index())) {
            let AttributeSource::Records(list) = schema.attributes[slot.index()].source else { continue };
            let keys: Box<[Box<str>]> = self.profile.records_of(list).map(|(key, _)| key.into()).collect();
            if !keys.is_empty() {
                cells.put(*slot, Value::Set(keys));
            }
        }
    }
}

/// A value of a series in the type of its trait: a set also of one text, a
/// double also of whole numbers.
fn typed(value: Value, def: &AttributeDef) -> Value {
    match (value, &def.kind) {
        (Value::Text(text), AttributeType::Set) => Value::Set([text].into()),
        (Value::Int(value), AttributeType::Double) => Value::Double(value as f64),
        (value, _) => value,
    }
}

/// The facts over filled cells.
pub(super) fn over<'a>(inputs: &'a Inputs<'_>, cells: &'a Cells) -> Facts<'a> {
    Facts {
        cells: &cells.list,
        derived: &cells.derived,
        schema: &inputs.snapshot.ruleset.schema,
        profile: inputs.profile,
        request: inputs.request,
        now: inputs.now,
        record: None,
    }
}

/// Visits the entries that have a slot; both sides are sorted by attribute id.
fn join<T>(
    slots: &[(AttrId, AttrSlot)],
    entries: &[T],
    id: impl Fn(&T) -> AttrId,
    mut visit: impl FnMut(usize, u16, &T),
) {
    let mut rest = slots;
    for (at, entry) in entries.iter().enumerate() {
        let wanted = id(entry);
        while rest.first().is_some_and(|s| s.0 < wanted) {
            rest = &rest[1..];
        }
        if let Some((found, slot)) = rest.first()
            && *found == wanted
        {
            visit(slot.index(), at as u16, entry);
        }
    }
}

fn assume(schema: &Schema, overrides: &[(AttrId, Value)], cells: &mut [Cell]) {
    for (at, (id, value)) in overrides.iter().enumerate() {
        let stored = schema.stored.binary_search_by_key(id, |s| s.0).ok().map(|found| schema.stored[found].1);
        let is_wanted = |slot: &&crate::domain::AttrSlot| schema.attributes[slot.index()].id == *id;
        if let Some(slot) = stored.or_else(|| schema.traits.iter().find(is_wanted).copied()) {
            cells[slot.index()] = cell_of(value, Cell::Override(at as u16));
        }
    }
}

/// Small values stand in the cell itself; others where they are.
fn cell_of(value: &Value, indirect: Cell) -> Cell {
    match value {
        Value::Bool(v) => Cell::Bool(*v),
        Value::Int(v) => Cell::Int(*v),
        Value::Double(v) => Cell::Double(*v),
        Value::Timestamp(v) => Cell::Timestamp(*v),
        Value::Date(v) => Cell::Date(*v),
        Value::Money(v) => Cell::Money(*v),
        Value::Text(_) | Value::Set(_) => indirect,
    }
}
