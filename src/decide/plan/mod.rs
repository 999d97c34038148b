//! What the stages look up, laid out once per ruleset: no name is compared and
//! no hash map is asked per candidate.

mod ids;
mod limits;
mod offers;
mod treatments;

use crate::{
    domain::{
        AttributeDef, AttributeType, Cell, ChannelId, ChannelSlot, OfferId, OfferSlot, OutcomeSet, OutcomeType, Schema,
        time::DAY_US,
    },
    rules::{ChannelKind, Ruleset, Window},
};

use ids::IdTable;
pub(super) use limits::OfferLimit;
use limits::OfferLimits;
pub(super) use offers::Card;
use offers::Offers;
use treatments::Treatments;

/// No calendar window is longer, microseconds: a month and the change of an hour.
const CALENDAR_US_MAX: i64 = 32 * DAY_US;

/// Tables derived from one ruleset.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Cells before anything is known: defaults and empty sets.
    pub blank: Vec<Cell>,
    /// The offers as questions and stages look at them.
    pub offers: Offers,
    /// Which treatments there are.
    pub treatments: Treatments,
    /// The limits of each offer.
    pub limits: OfferLimits,
    /// The kind of each channel.
    pub kinds: Vec<ChannelKind>,
    /// How far back limits and suppressions look, microseconds.
    pub horizon_us: i64,
    /// Outcomes after which anything is suppressed.
    pub suppressing: OutcomeSet,
    offer_slots: IdTable,
    channels: Vec<ChannelId>,
    suppressions_by_outcome: [Vec<u32>; OutcomeType::ALL.len()],
    suppressions_of_offer: Vec<Vec<u32>>,
}

impl Plan {
    /// Lays the tables out.
    pub fn of(rules: &Ruleset) -> Self {
        let mut plan = Self {
            blank: blank_cells(&rules.schema),
            offers: Offers::of(rules),
            treatments: Treatments::of(rules),
            limits: OfferLimits::of(rules),
            kinds: rules.channels.iter().map(|c| c.kind).collect(),
            offer_slots: IdTable::of(rules.offers.iter().map(|o| o.id)),
            channels: rules.channels.iter().map(|c| c.id).collect(),
            suppressions_of_offer: vec![Vec::new(); rules.offers.len()],
            ..Self::default()
        };
        plan.lay_horizon(rules);
        plan.lay_suppressions(rules);
        plan
    }

    fn lay_horizon(&mut self, rules: &Ruleset) {
        let windows = self.limits.windows.iter().map(|window| match window {
            Window::Rolling(us) => *us,
            Window::Day | Window::Week | Window::Month => CALENDAR_US_MAX,
        });
        let suppressions = rules.suppressions.iter().map(|rule| rule.for_us);
        self.horizon_us = windows.chain(suppressions).max().unwrap_or(0);
    }

    fn lay_suppressions(&mut self, rules: &Ruleset) {
        for (index, rule) in rules.suppressions.iter().enumerate() {
            self.suppressing = self.suppressing.with(rule.outcome);
            match rule.offer {
                Some(offer) => self.suppressions_of_offer[offer.index()].push(index as u32),
                None => self.suppressions_by_outcome[rule.outcome as usize].push(index as u32),
            }
        }
    }

    /// The slot of an offer at rest.
    pub fn offer(&self, id: OfferId) -> Option<OfferSlot> {
        self.offer_slots.get(id)
    }

    /// The slot of a channel at rest.
    pub fn channel(&self, id: ChannelId) -> Option<ChannelSlot> {
        self.channels.iter().position(|c| *c == id).map(|at| ChannelSlot(at as u16))
    }

    /// Number of channels.
    pub fn channels_len(&self) -> usize {
        self.channels.len()
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
