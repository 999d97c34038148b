//! What the stages look up, laid out once per ruleset: no name is compared and
//! no hash map is asked per candidate.

use std::sync::Arc;

use crate::{
    domain::{
        AttributeDef, AttributeType, Cell, ChannelId, ChannelSlot, LimitSlot, OfferId, OfferSlot, OutcomeSet,
        OutcomeType, Schema, time::DAY_US,
    },
    rules::{Limit, Ruleset, Scope, Window},
};

use super::gates::Gates;

/// No calendar window is longer, microseconds: a month and the change of an hour.
const CALENDAR_US_MAX: i64 = 32 * DAY_US;

/// Tables derived from one ruleset.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Cells before anything is known: defaults and empty sets.
    pub blank: Vec<Cell>,
    /// Distinct languages of all treatments.
    pub languages: Vec<Arc<str>>,
    /// Where the counters of each limit begin.
    pub limit_bases: Vec<u32>,
    /// Number of counters of all limits.
    pub limit_cells: usize,
    /// How far back limits and suppressions look, microseconds.
    pub horizon_us: i64,
    /// Outcomes after which anything is suppressed.
    pub suppressing: OutcomeSet,
    /// Limits that count contacts of offers that are no more.
    pub limits_of_unknown: Vec<LimitSlot>,
    /// Simple parts of all conditions.
    pub gates: Gates,
    offers: IdTable,
    channels: Vec<ChannelId>,
    treatments: Vec<TreatmentRange>,
    treatment_languages: Vec<u16>,
    suppressions_by_outcome: [Vec<u32>; OutcomeType::ALL.len()],
    suppressions_of_offer: Vec<Vec<u32>>,
}

/// The treatments of an offer on a channel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TreatmentRange {
    /// Index of the first into the offer's treatments.
    pub first: u16,
    /// How many there are.
    pub len: u16,
    /// Index of the first into the plan's languages of treatments.
    language_at: u32,
}

impl Plan {
    /// Lays the tables out.
    pub fn of(rules: &Ruleset) -> Self {
        let mut plan = Self {
            blank: blank_cells(&rules.schema),
            gates: Gates::of(rules),
            offers: IdTable::of(rules.offers.iter().map(|o| o.id)),
            channels: rules.channels.iter().map(|c| c.id).collect(),
            suppressions_of_offer: vec![Vec::new(); rules.offers.len()],
            ..Self::default()
        };
        plan.lay_treatments(rules);
        plan.lay_limits(rules);
        plan.lay_suppressions(rules);
        plan
    }

    fn lay_treatments(&mut self, rules: &Ruleset) {
        let treatments = || rules.offers.iter().flat_map(|o| &o.treatments);
        self.languages = treatments().map(|t| t.language.clone()).collect();
        self.languages.sort();
        self.languages.dedup();
        self.treatments = vec![TreatmentRange::default(); rules.offers.len() * rules.channels.len()];
        for offer in &rules.offers {
            for (index, treatment) in offer.treatments.iter().enumerate() {
                let at = offer.slot.index() * rules.channels.len() + treatment.channel.index();
                let range = &mut self.treatments[at];
                if range.len == 0 {
                    range.first = index as u16;
                    range.language_at = self.treatment_languages.len() as u32;
                }
                range.len += 1;
                let language = self.languages.binary_search(&treatment.language).unwrap_or(0);
                self.treatment_languages.push(language as u16);
            }
        }
    }

    fn lay_limits(&mut self, rules: &Ruleset) {
        for limit in &rules.limits {
            self.horizon_us = self.horizon_us.max(match limit.window {
                Window::Rolling(us) => us,
                Window::Day | Window::Week | Window::Month => CALENDAR_US_MAX,
            });
            self.limit_bases.push(self.limit_cells as u32);
            self.limit_cells += keys_of(limit, rules);
            let whole = matches!(limit.scope, Scope::Channel | Scope::All);
            if whole && limit.offer.is_none() && limit.group.is_none() {
                self.limits_of_unknown.push(limit.slot);
            }
        }
    }

    fn lay_suppressions(&mut self, rules: &Ruleset) {
        for (index, rule) in rules.suppressions.iter().enumerate() {
            self.horizon_us = self.horizon_us.max(rule.for_us);
            self.suppressing = self.suppressing.with(rule.outcome);
            match rule.offer {
                Some(offer) => self.suppressions_of_offer[offer.index()].push(index as u32),
                None => self.suppressions_by_outcome[rule.outcome as usize].push(index as u32),
            }
        }
    }

    /// The slot of an offer at rest.
    pub fn offer(&self, id: OfferId) -> Option<OfferSlot> {
        self.offers.get(id)
    }

    /// The slot of a channel at rest.
    pub fn channel(&self, id: ChannelId) -> Option<ChannelSlot> {
        self.channels.iter().position(|c| *c == id).map(|at| ChannelSlot(at as u16))
    }

    /// Number of channels.
    pub fn channels_len(&self) -> usize {
        self.channels.len()
    }

    /// The treatments of an offer on a channel.
    pub fn treatments(&self, offer: OfferSlot, channel: ChannelSlot) -> TreatmentRange {
        self.treatments[offer.index() * self.channels.len() + channel.index()]
    }

    /// Index of the language of each treatment in a range.
    pub fn languages_of(&self, range: TreatmentRange) -> &[u16] {
        let from = range.language_at as usize;
        &self.treatment_languages[from..from + usize::from(range.len)]
    }

    /// Suppressions of every offer after an outcome.
    pub fn suppressions_after(&self, outcome: OutcomeType) -> &[u32] {
        &self.suppressions_by_outcome[outcome as usize]
    }

    /// Suppressions declared in an offer.
    pub fn suppressions_of(&self, offer: OfferSlot) -> &[u32] {
        &self.suppressions_of_offer[offer.index()]
    }
}

/// A cell per slot before anything is known.
pub(super) fn blank_cells(schema: &Schema) -> Vec<Cell> {
    let blank = |def: &AttributeDef| match (&def.default, &def.kind) {
        (Some(_), _) => Cell::Default,
        (None, AttributeType::Set) => Cell::EmptySet,
        (None, _) => Cell::Missing,
    };
    schema.attributes.iter().map(blank).collect()
}

fn keys_of(limit: &Limit, rules: &Ruleset) -> usize {
    match limit.scope {
        Scope::Offer if limit.offer.is_some() => 1,
        Scope::Offer => rules.offers.len(),
        Scope::Group => rules.groups.len(),
        Scope::Issue => rules.issues.len(),
        Scope::Channel => rules.channels.len(),
        Scope::All => 1,
    }
}

/// Slots by id in an open-addressed table. The ids are hashes already, so that
/// their low bits serve as they are.
#[derive(Debug, Default)]
struct IdTable {
    mask: usize,
    entries: Vec<Option<(OfferId, OfferSlot)>>,
}

impl IdTable {
    fn of(ids: impl ExactSizeIterator<Item = OfferId>) -> Self {
        // INVARIANT: at most half full, so that a search always ends.
        let len = (ids.len() * 2 + 1).next_power_of_two();
        let mut table = Self { mask: len - 1, entries: vec![None; len] };
        for (slot, id) in ids.enumerate() {
            let mut at = id.0 as usize & table.mask;
            while table.entries[at].is_some() {
                at = (at + 1) & table.mask;
            }
            table.entries[at] = Some((id, OfferSlot(slot as u32)));
        }
        table
    }

    fn get(&self, id: OfferId) -> Option<OfferSlot> {
        let mut at = id.0 as usize & self.mask;
        while let Some((found, slot)) = self.entries.get(at).copied().flatten() {
            if found == id {
                return Some(slot);
            }
            at = (at + 1) & self.mask;
        }
        None
    }
}
