//! Which offers a person may get: the schedule holds, the offer is not paused
//! in the files, all three conditions are true, and the person is verified where
//! the offer asks for it.

use std::sync::Arc;

use crate::{
    decide::FactReader,
    domain::{Assurance, AttrSlot, Cell, Cells, Facts, OfferSet, OfferSlot, Profile, Request, Schema, Timestamp},
    predict::BaseModel,
    rules::{IndexBuffers, Policy, Ruleset},
};

/// With at most so many offers in question each is evaluated by itself; with
/// more the index is quicker.
const DIRECT_OFFERS_MAX: usize = 64;

/// One person, as rules see them.
#[derive(Clone, Copy, Debug)]
pub struct Person<'a> {
    /// What is known of them.
    pub profile: &'a Profile,
    /// Context, values that are assumed, and whether the person is verified.
    pub request: &'a Request,
    /// The moment.
    pub now: Timestamp,
    /// Whether behaviour may be read.
    pub profiling: bool,
    /// Attributes that are missing, whatever the rest says.
    pub missing: &'a [AttrSlot],
}

impl<'a> Person<'a> {
    /// Fills the cells of their facts.
    pub fn fill(&self, reader: &FactReader, schema: &Schema, cells: &mut Cells) {
        reader.fill(&self.facts(schema), self.profiling, cells);
        for slot in self.missing {
            if let Some(cell) = cells.list.get_mut(slot.index()) {
                *cell = Cell::Missing;
            }
        }
    }

    /// Their facts before any cell is filled.
    pub fn facts<'s>(&self, schema: &'s Schema) -> Facts<'s>
    where
        'a: 's,
    {
        let Person { profile, request, now, .. } = *self;
        Facts { cells: &[], derived: &[], schema, profile, request, now, record: None }
    }
}

/// The offers of one ruleset that are in question.
#[derive(Debug)]
pub struct Eligibility<'r> {
    rules: &'r Ruleset,
    reader: FactReader,
    /// In question and not paused.
    base: OfferSet,
    /// The same as a list, when it is short.
    few: Option<Vec<OfferSlot>>,
    /// Those that are for verified persons only.
    verified: OfferSet,
}

/// Buffers of one worker, reused from person to person.
#[derive(Debug, Default)]
pub struct EligibilityBuffers {
    cells: Cells,
    index: IndexBuffers,
    /// Those whose schedule holds, and when.
    scheduled: Option<(Timestamp, OfferSet)>,
    eligible: OfferSet,
}

impl<'r> Eligibility<'r> {
    /// Of every offer.
    pub fn of(rules: &'r Ruleset) -> Self {
        let base = (0..rules.offers.len()).map(|at| OfferSlot(at as u32));
        Self { reader: FactReader::all(&rules.schema), ..Self::only(rules, base) }
    }

    /// Of some offers; reads only what their conditions read.
    pub fn only(rules: &'r Ruleset, offers: impl IntoIterator<Item = OfferSlot>) -> Self {
        let mut base = OfferSet::empty(rules.offers.len());
        offers.into_iter().filter(|slot| !rules.offer(*slot).paused).for_each(|slot| base.insert(slot));
        let conditions = base.iter().flat_map(|slot| rules.offer(slot).conditions());
        let records = base.iter().filter_map(|slot| rules.offer(slot).each.map(|each| each.keys));
        let reads = conditions.flat_map(|condition| condition.reads()).chain(records);
        let reader = FactReader::only(&rules.schema, reads);
        let mut verified = OfferSet::empty(rules.offers.len());
        base.iter().filter(|slot| rules.offer(*slot).verified).for_each(|slot| verified.insert(slot));
        let few = (base.len() <= DIRECT_OFFERS_MAX).then(|| base.iter().collect());
        Self { rules, reader, base, few, verified }
    }

    /// The same with an analysis of the whole base, which traits of models read.
    pub fn with_base(self, base: Arc<BaseModel>) -> Self {
        Self { reader: self.reader.with_base(base), ..self }
    }

    /// The same without some offers.
    pub fn without(mut self, offers: &OfferSet) -> Self {
        self.base.subtract(offers);
        if let Some(few) = &mut self.few {
            few.retain(|slot| !offers.contains(*slot));
        }
        self
    }

    /// The offers a person may get.
    pub fn of_person<'b>(&self, person: &Person<'_>, buffers: &'b mut EligibilityBuffers) -> &'b OfferSet {
        if self.few.as_ref().is_some_and(Vec::is_empty) {
            buffers.eligible.reset(self.rules.offers.len());
            return &buffers.eligible;
        }
        person.fill(&self.reader, &self.rules.schema, &mut buffers.cells);
        match &self.few {
            Some(few) => self.directly(few, person, buffers),
            None => self.by_index(person, buffers),
        }
        if person.request.assurance < Assurance::Verified {
            buffers.eligible.subtract(&self.verified);
        }
        &buffers.eligible
    }

    /// The facts that [`Eligibility::of_person`] read last.
    pub fn facts_of<'a>(&'a self, person: &Person<'a>, buffers: &'a EligibilityBuffers) -> Facts<'a> {
        self.facts(person, &buffers.cells)
    }

    fn facts<'a>(&'a self, person: &Person<'a>, cells: &'a Cells) -> Facts<'a> {
        Facts { cells: &cells.list, derived: &cells.derived, ..person.facts(&self.rules.schema) }
    }

    fn directly(&self, few: &[OfferSlot], person: &Person<'_>, buffers: &mut EligibilityBuffers) {
        let EligibilityBuffers { cells, eligible, .. } = buffers;
        let facts = self.facts(person, cells);
        eligible.reset(self.rules.offers.len());
        for slot in few {
            let offer = self.rules.offer(*slot);
            let (from, until) = offer.schedule;
            let runs = from.is_none_or(|from| person.now >= from) && until.is_none_or(|until| person.now < until);
            if runs && offer.holds(&facts) {
                eligible.insert(*slot);
            }
        }
    }

    fn by_index(&self, person: &Person<'_>, buffers: &mut EligibilityBuffers) {
        let EligibilityBuffers { cells, index: kept, scheduled, eligible } = buffers;
        let index = &self.rules.index;
        let scheduled = match scheduled {
            Some((at, set)) if *at == person.now => set,
            other => {
                let mut set = self.base.clone();
                index.keep_scheduled(person.now, &mut set);
                &mut other.insert((person.now, set)).1
            }
        };
        eligible.copy_from(scheduled);
        let facts = self.facts(person, cells);
        index.begin(kept);
        for policy in [Policy::Eligibility, Policy::Applicability, Policy::Suitability] {
            index.keep_true(policy, &facts, kept, eligible);
        }
    }
}
