//! Fills the cells conditions read: stored attributes, request context, traits,
//! assumed values and defaults, with behaviour masked where it must not count
//! and what only a verified person may cause to be read where nobody is.

use crate::{
    customer::{permissions, traits},
    domain::{
        Assurance, AttrId, AttrSlot, AttributeSource, Cell, DroppedInput, Facts, Level, Match, Permission, Profile,
        Request, Schema, Timestamp, Value,
    },
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
pub(super) fn fill(inputs: &Inputs<'_>, profiling: Profiling, blank: &[Cell], cells: &mut Vec<Cell>) {
    cells.clear();
    cells.extend_from_slice(blank);
    let schema = &inputs.snapshot.ruleset.schema;
    let may_read = |slot: usize| profiling == Profiling::Permitted || !schema.attributes[slot].behavioural;
    fill_customer(schema, inputs.profile, inputs.now, may_read, cells);
    if hides_unverified(inputs) {
        hide_unverified(schema, cells);
    }
    fill_request(schema, inputs.request, may_read, cells);
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
}

impl FactReader {
    /// Reads every attribute.
    pub fn all(schema: &Schema) -> Self {
        Self { blank: super::plan::blank_cells(schema), wanted: vec![true; schema.attributes.len()] }
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

    /// Fills the cells of `facts` (whose own are not read) as a decision would;
    /// without profiling everything behavioural is masked. What only a verified
    /// person may cause to be read is, when the request of `facts` says so: who
    /// looks at people without a request assumes that they are verified.
    pub fn fill(&self, facts: &Facts<'_>, profiling: bool, cells: &mut Vec<Cell>) {
        cells.clear();
        cells.extend_from_slice(&self.blank);
        let schema = facts.schema;
        let may_read = |slot: usize| self.wanted[slot] && (profiling || !schema.attributes[slot].behavioural);
        fill_customer(schema, facts.profile, facts.now, may_read, cells);
        if facts.request.assurance < Assurance::Verified {
            hide_unverified(schema, cells);
        }
        fill_request(schema, facts.request, may_read, cells);
    }
}

/// The cells of a customer with nothing masked and no context: what the one
/// view shows.
pub fn customer_cells(schema: &Schema, profile: &Profile, now: Timestamp) -> Vec<Cell> {
    let mut cells = super::plan::blank_cells(schema);
    fill_customer(schema, profile, now, |_| true, &mut cells);
    cells
}

fn fill_customer(
    schema: &Schema,
    profile: &Profile,
    now: Timestamp,
    may_read: impl Fn(usize) -> bool,
    cells: &mut [Cell],
) {
    join(
        &schema.stored,
        &profile.attributes,
        |a| a.id,
        |slot, at, stored| {
            if let Some(value) = stored.value.as_ref().filter(|_| may_read(slot)) {
                cells[slot] = cell_of(value, Cell::Stored(at));
            }
        },
    );
    for slot in schema.traits.iter().map(|s| s.index()).filter(|s| may_read(*s)) {
        if let AttributeSource::Trait(wanted) = &schema.attributes[slot].source {
            let cell = traits::read(wanted, profile, now);
            if cell != Cell::Missing {
                cells[slot] = cell;
            }
        }
    }
}

/// The facts over filled cells.
pub(super) fn over<'a>(inputs: &'a Inputs<'_>, cells: &'a [Cell]) -> Facts<'a> {
    Facts {
        cells,
        schema: &inputs.snapshot.ruleset.schema,
        profile: inputs.profile,
        request: inputs.request,
        now: inputs.now,
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
