//! What follows claims, as the rest of the store tells it.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::{
    domain::{
        CustomerKey, DecisionId, Event, EventKind, Interaction, OutcomeSet, OutcomeType, PresentationRef, Profile,
        Timestamp,
    },
    rules::{Channel, Offer, Ruleset},
    store::{Receipt, ReceiptStatus, shared::Shared},
};

use super::{
    Caps, ExactBudget,
    lane::{Releases, Task},
    person::{PersonClaim, Presented, Winning},
    told::UnderWay,
};

/// The outcomes of a batch on its way to the log.
pub(in crate::store) struct Telling {
    pub(super) told: Vec<Option<Told>>,
    /// Until all of them are heard.
    pub(super) _under_way: UnderWay,
}

/// An outcome that is being recorded.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Told {
    presentation: PresentationRef,
    outcome: OutcomeType,
    at: Timestamp,
}

/// How an outcome is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// It was recorded now.
    First,
    /// It was recorded before: it may have been told or not.
    Again,
}

impl How {
    fn of(told: Told, receipt: &Receipt) -> Option<Self> {
        match receipt.status {
            ReceiptStatus::Recorded => Some(Self::First),
            // who acknowledged it may have been stopped before it could tell
            ReceiptStatus::Duplicate if told.at < told.presentation.expires_at => Some(Self::Again),
            _ => None,
        }
    }
}

impl Told {
    /// What of an event matters for claims.
    pub fn of(event: &Event) -> Option<Self> {
        match &event.kind {
            EventKind::Outcome { presentation, outcome, .. } => {
                let (presentation, outcome) = (*presentation, *outcome);
                Some(Self { presentation, outcome, at: event.received_at })
            }
            _ => None,
        }
    }

    /// What is known of its presentation, and this.
    fn with(&self, known: Option<OutcomeSet>) -> OutcomeSet {
        OutcomeSet(known.map_or(0, |known| known.0) | 1 << self.outcome as u16)
    }

    /// Whether it may matter for a cap or budget over all replicas.
    pub(super) fn is_counted(&self, rules: &Ruleset) -> bool {
        named(rules, self.presented()).is_some_and(|(offer, _)| is_exact(rules, offer))
    }

    fn presented(&self) -> Presented {
        (self.presentation.offer, self.presentation.channel, self.presentation.record)
    }
}

impl Caps {
    /// Waits for the receipts of a batch and lets claims follow what it told; `None`
    /// when the store is closed. Whoever waits may go away: what is in the log is
    /// heard all the same.
    pub(in crate::store) async fn hear(
        self: &Arc<Self>,
        shared: Arc<Shared>,
        telling: Telling,
        receipts: oneshot::Receiver<Vec<Receipt>>,
    ) -> Option<Vec<Receipt>> {
        let caps = Arc::clone(self);
        let heard = tokio::spawn(async move {
            let receipts = receipts.await.ok()?;
            let told = telling.told.iter().zip(&receipts);
            let told =
                told.filter_map(|(told, receipt)| Some(((*told)?, receipt.customer, How::of((*told)?, receipt)?)));
            caps.heard(told, |key, of| {
                let hot = shared.hot.get(key).or_else(|| shared.hot.get(shared.redirects.live(key)))?;
                interaction_of(&hot.profile, of).copied()
            });
            Some(receipts)
        });
        heard.await.ok().flatten()
    }

    /// Outcomes were recorded here, now or before: what was seen counts, what was
    /// cancelled unseen counts no more. `known` looks at a customer as it is now.
    pub(super) fn heard(
        &self,
        told: impl Iterator<Item = (Told, Option<CustomerKey>, How)>,
        known: impl Fn(CustomerKey, &PresentationRef) -> Option<Interaction>,
    ) {
        let Some(rules) = self.rules.load_full() else { return };
        for (mut told, customer, how) in told {
            let Some((offer, channel)) = named(&rules, told.presented()) else { continue };
            let exact_budget = offer.budget.is_some_and(|budget| budget.exact);
            let has_caps = customer.is_some() && rules.has_caps(offer, channel);
            if !exact_budget && !has_caps {
                continue;
            }
            let before = customer.and_then(|key| known(key, &told.presentation));
            if how == How::Again {
                told.at = before.map_or(told.at, |before| told.at.min(before.at));
            }
            let all = told.with(before.map(|before| before.outcomes));
            if let Some(customer) = customer.filter(|_| has_caps) {
                self.followed(&rules, (customer, &told), channel.counts(all));
            }
            // a unit is of an offer in a decision: one record of several gives none back
            let gives_back = told.outcome != OutcomeType::Cancelled || offer.each.is_none();
            if let Some(budget) = ExactBudget::of(&rules, offer).filter(|_| gives_back) {
                // one sign of several tells; of those told again each does
                let all = if how == How::Again && signs().has(told.outcome) { told.with(None) } else { all };
                self.unit_followed(&budget, (told.presentation, told.at), (told.outcome, all));
            }
        }
    }

    fn followed(&self, rules: &Ruleset, (customer, told): (CustomerKey, &Told), is_contact: bool) {
        let Some(claim) = one_place(rules, (customer, told.presentation.decision), told.presented()) else { return };
        if is_contact {
            self.lock_journal().push(told.at, super::journal::What::Confirmed(&claim), &self.metrics);
            self.queue(Task::Confirm(claim, told.at));
        } else if told.outcome == OutcomeType::Cancelled {
            self.take_back(claim);
        }
    }

    /// A presentation was not made or gave way: what it reserved is free. A place
    /// that was confirmed stays.
    pub fn release(&self, customer: CustomerKey, decision: DecisionId, presented: Presented) {
        let Some(rules) = self.rules.load_full() else { return };
        if let Some(claim) = one_place(&rules, (customer, decision), presented) {
            self.lock_journal().push(Timestamp(i64::MAX), super::journal::What::Released(&claim), &self.metrics);
            self.queue(Task::Release(claim, Releases::Open));
        }
    }

    /// What a decision claimed that nobody got: it counts no more.
    pub fn take_back(&self, claim: PersonClaim) {
        self.lock_journal().push(Timestamp(i64::MAX), super::journal::What::Released(&claim), &self.metrics);
        self.queue(Task::Release(claim, Releases::Any));
    }

    /// Places that were granted without asking: they are claimed behind the answer,
    /// and counted where they exceed a cap.
    pub fn granted_anyway(&self, claim: PersonClaim, now: Timestamp) {
        self.lock_journal().push(now, super::journal::What::Claimed(&claim), &self.metrics);
        self.queue(Task::Anyway(claim, now));
    }

    /// Grants of a customer made without asking that are not in Redis yet.
    pub fn unsettled(&self, customer: CustomerKey) -> usize {
        self.lane(customer).unsettled(customer)
    }
}

/// Whether an offer falls on a cap or budget over all replicas.
pub(super) fn is_exact(rules: &Ruleset, offer: &Offer) -> bool {
    offer.budget.is_some_and(|budget| budget.exact) || offer.limits.iter().any(|slot| rules.limits[slot.index()].exact)
}

/// Outcomes that show that a presentation reached somebody, or was handed over.
pub(super) fn signs() -> OutcomeSet {
    OutcomeSet(OutcomeSet::REACHED.0 | 1 << OutcomeType::Handoff as u16)
}

/// What followed a presentation, as a profile has it.
pub(super) fn interaction_of<'a>(profile: &'a Profile, of: &PresentationRef) -> Option<&'a Interaction> {
    let same =
        |i: &&Interaction| (i.decision, i.offer, i.channel, i.record) == (of.decision, of.offer, of.channel, of.record);
    profile.interactions.iter().find(same)
}

fn named(rules: &Ruleset, (offer, channel, _): Presented) -> Option<(&Offer, &Channel)> {
    let (offer, channel) = (rules.offer_slots.get(&offer)?, rules.channel_slots.get(&channel)?);
    Some((rules.offer(*offer), rules.channel(*channel)))
}

/// The place of one presentation by the rules of now.
fn one_place(rules: &Ruleset, of: (CustomerKey, DecisionId), presented: Presented) -> Option<PersonClaim> {
    let (offer, channel) = named(rules, presented)?;
    let winning = Winning { offer, channel, record: presented.2, hold_us: None };
    PersonClaim::of(rules, of, std::iter::once(winning))
}
