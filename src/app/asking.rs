//! Claims that only the store can answer which counts over all replicas: asked
//! between two rankings of a decision, off its worker.

use std::time::Instant;

use crate::{
    decide::{self, Denied, Ranking, Snapshot},
    domain::{CustomerKey, DecisionId, OfferId, OfferSlot, Profile, Reason, RecordRef, Timestamp},
    rules::WhenUnknown,
    store::caps::{Caps, ExactBudget, PersonClaim, Verdict},
};

use super::{
    App,
    claims::{Asks, Claiming, denied},
};

/// What a decision holds while it is being made. Given back when it is dropped
/// before [`Held::keep`]: the caller went away, or a claim was refused.
pub(super) struct Held<'a> {
    app: &'a App,
    pub decision: DecisionId,
    /// Offers with a unit of a budget that this process counts.
    pub budgets: Vec<OfferId>,
    /// Offers with a unit of an exact budget.
    pub units: Vec<OfferId>,
    /// Who holds reservations.
    pub reserved: Option<CustomerKey>,
    /// What Redis may hold for the customer.
    asked: Option<PersonClaim>,
    kept: bool,
}

impl<'a> Held<'a> {
    pub fn new(app: &'a App, decision: DecisionId) -> Self {
        let (budgets, units) = (Vec::new(), Vec::new());
        Self { app, decision, budgets, units, reserved: None, asked: None, kept: false }
    }

    /// The decision is made: it holds on to what it holds.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        self.app.give_back(self);
        if let Some((caps, asked)) = self.app.store.caps().zip(self.asked.take()) {
            caps.take_back(asked);
        }
    }
}

/// What is to be asked for one ranking.
pub(super) struct Asking<'a> {
    held: Held<'a>,
    budgets: Asks,
    person: Option<PersonClaim>,
    /// Whose places they are, in their order.
    of: Vec<(OfferSlot, RecordRef)>,
    is_blind: bool,
    now: Timestamp,
}

/// What became of it.
pub(super) struct Asked {
    /// Who was refused; nobody when every winner has what it needs.
    pub refused: Vec<Denied>,
    /// Whether nobody answered.
    pub is_blind: bool,
}

impl<'a> Asking<'a> {
    pub fn new(claiming: &Claiming<'_>, (held, budgets): (Held<'a>, Asks), person: Option<PersonClaim>) -> Self {
        let ruleset = &claiming.snapshot.ruleset;
        let capped = claiming.ranking.winners.iter();
        let capped = capped.filter(|w| ruleset.has_caps(ruleset.offer(w.offer), ruleset.channel(w.channel)));
        let of = capped.map(|winner| (winner.offer, winner.record.1)).collect();
        Self { held, budgets, person, of, is_blind: claiming.is_blind, now: claiming.now }
    }

    /// Asks until the deadline, budgets first. Whoever is refused takes everything
    /// else down: nothing is held then.
    pub async fn ask(
        mut self,
        (snapshot, profile, ranking): (&Snapshot, Option<&Profile>, &Ranking),
        deadline: Instant,
    ) -> Asked {
        let Some(caps) = self.held.app.store.caps() else { return self.end(Vec::new()) };
        for (offer, budget, hold_us) in std::mem::take(&mut self.budgets) {
            if let Err(reason) = self.ask_budget(caps, (&budget, hold_us), deadline).await {
                return self.end(vec![denied((offer, RecordRef::NONE), reason)]);
            }
            self.held.units.push(budget.offer);
        }
        let Some(person) = self.person.take() else { return self.end(Vec::new()) };
        if !self.is_blind {
            self.held.asked = Some(person.clone());
            match caps.claim(&person, self.now, deadline).await {
                Verdict::Granted => return self.end(Vec::new()),
                Verdict::Refused(places) => {
                    self.held.asked = None;
                    let of = |at: usize| self.of.get(at).map(|of| denied(*of, Reason::ClaimRefused));
                    let refused = places.into_iter().filter_map(of).collect();
                    return self.end(refused);
                }
                Verdict::Unknown => {
                    self.is_blind = true;
                    self.held.asked = None;
                    // it may be held all the same; what is granted below comes after
                    caps.take_back(person.clone());
                }
            }
        }
        let refused = self.unanswered(caps, &person, (snapshot, profile, ranking));
        if refused.is_empty() {
            caps.granted_anyway(person, self.now);
        }
        self.end(refused)
    }

    async fn ask_budget(
        &mut self,
        caps: &Caps,
        (budget, hold_us): (&ExactBudget, Option<i64>),
        deadline: Instant,
    ) -> Result<(), Reason> {
        let decision = self.held.decision;
        if !self.is_blind {
            match caps.take_asking(budget, (decision, hold_us), self.now, deadline).await {
                Verdict::Granted => return Ok(()),
                Verdict::Refused(_) => return Err(Reason::ClaimRefused),
                Verdict::Unknown => self.is_blind = true,
            }
        }
        let granted = caps.take_unasked(budget, decision, hold_us);
        granted.then_some(()).ok_or(Reason::ClaimUnknown)
    }

    /// The places that are refused because nobody said whether there is room.
    fn unanswered(
        &self,
        caps: &Caps,
        person: &PersonClaim,
        about: (&Snapshot, Option<&Profile>, &Ranking),
    ) -> Vec<Denied> {
        let grants = |at: usize| {
            let policy = person.when_unknown(at);
            caps.count_unknown(policy);
            match policy {
                WhenUnknown::Deny => false,
                WhenUnknown::Allow => true,
                WhenUnknown::LocalShare => self.is_within_share(caps, at, about),
            }
        };
        let refused = self.of.iter().enumerate().filter(|(at, _)| !grants(*at));
        refused.map(|(_, of)| denied(*of, Reason::ClaimUnknown)).collect()
    }

    /// Whether what is granted without asking stays within this replica's part of
    /// the room that is left as far as it knows. The place itself is reserved here
    /// already.
    fn is_within_share(
        &self,
        caps: &Caps,
        at: usize,
        (snapshot, profile, ranking): (&Snapshot, Option<&Profile>, &Ranking),
    ) -> bool {
        let (ruleset, Some(profile)) = (&snapshot.ruleset, profile) else { return false };
        let Some(of) = self.of.get(at) else { return false };
        let winner = ranking.winners.iter().find(|winner| (winner.offer, winner.record.1) == *of);
        let Some(winner) = winner else { return false };
        let mut open = Vec::new();
        self.held.app.store.ledger().reservations(profile.key, self.now, &mut open);
        let contact = (ruleset.offer(winner.offer), ruleset.channel(winner.channel), winner.record.1);
        let Some(room) = decide::limits::exact_room(ruleset, profile, &open, contact, self.now) else { return true };
        let granted = caps.unsettled(profile.key);
        granted < (room + 1 + granted).div_ceil(caps.replicas() as usize)
    }

    fn end(self, refused: Vec<Denied>) -> Asked {
        let is_blind = self.is_blind;
        if refused.is_empty() {
            self.held.keep();
        }
        Asked { refused, is_blind }
    }
}
