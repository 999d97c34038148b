//! Claims of caps and budgets, for the final winners only.

use std::sync::Arc;

use crate::{
    decide::{self, Denied, Ranking, Snapshot, Winner},
    domain::{DecisionId, OfferId, OfferSlot, OutcomeType, Profile, Reason, RecordRef, Reservation, Timestamp},
    rules::{Channel, Offer},
    store::{
        HotProfile,
        caps::{Caps, ExactBudget, PersonClaim, Took, Winning},
        ledger::{BudgetClaim, ReadAgain},
    },
};

use super::{
    App,
    asking::{Asking, Held},
};

/// How often a claim is made again with the profile of after a merge.
const READ_AGAIN_MAX: usize = 4;

/// What became of the claims of one decision.
pub(super) enum Claimed<'a> {
    /// Every winner has what it needs.
    All,
    /// These offers were refused, for a record or altogether; nothing is held.
    Refused(Vec<Denied>),
    /// Every winner has what this process counts; the store that counts over all
    /// replicas must be asked for the rest.
    Ask(Box<Asking<'a>>),
}

/// What a decision claims with.
#[derive(Clone, Copy)]
pub(super) struct Claiming<'a> {
    pub snapshot: &'a Snapshot,
    pub customer: Option<&'a Profile>,
    pub ranking: &'a Ranking,
    pub decision: DecisionId,
    pub now: Timestamp,
    /// Whether the store that counts over all replicas did not answer this decision
    /// before. INVARIANT: it is not asked again then: what it may hold of the first
    /// claim is being taken back.
    pub is_blind: bool,
}

impl Claiming<'_> {
    fn parts(&self, winner: &Winner) -> (&Offer, &Channel) {
        let ruleset = &self.snapshot.ruleset;
        (ruleset.offer(winner.offer), ruleset.channel(winner.channel))
    }

    /// How long a presentation holds its place unseen, microseconds; `None` when it
    /// counts at once.
    fn hold_us(&self, winner: &Winner) -> Option<i64> {
        let channel = self.snapshot.ruleset.channel(winner.channel);
        let counts_now = channel.counts_on.has(OutcomeType::Decided);
        (!counts_now).then(|| winner.starts_at(self.now).plus_us(channel.reserve_us).since_us(self.now))
    }
}

/// An offer that was refused.
pub(super) fn denied((offer, record): (OfferSlot, RecordRef), reason: Reason) -> Denied {
    Denied { offer, record, reason }
}

impl App {
    /// Reads what is open: the customer's reservations and the spent budgets.
    pub(super) fn read_open(
        &self,
        customer: Option<&Profile>,
        snapshot: &Snapshot,
        now: Timestamp,
        (reservations, exhausted): (&mut Vec<Reservation>, &mut Vec<OfferSlot>),
    ) {
        reservations.clear();
        exhausted.clear();
        if let Some(profile) = customer {
            self.store.ledger().reservations(profile.key, now, reservations);
        }
        for slot in &snapshot.ruleset.budgeted {
            let offer = snapshot.ruleset.offer(*slot);
            let is_spent = match self.store.caps().filter(|_| offer.budget.is_some_and(|budget| budget.exact)) {
                Some(caps) => caps.is_spent(offer.id),
                None => budget_claim(snapshot, offer, now).is_some_and(|c| !self.store.ledger().has_room(&c, now)),
            };
            if is_spent {
                exhausted.push(offer.slot);
            }
        }
    }

    /// Claims for every winner, all or nothing: budgets first, then the customer's
    /// limits under the customer's lock, then what is exact over all replicas.
    pub(super) fn claim_winners(&self, claiming: Claiming<'_>) -> Claimed<'_> {
        let mut held = Held::new(self, claiming.decision);
        let asks = match self.claim_budgets(&claiming, &mut held) {
            Ok(asks) => asks,
            Err(refused) => return Claimed::Refused(vec![refused]),
        };
        if let Some(profile) = claiming.customer {
            let refused = self.claim_limits(&claiming, profile, &mut held);
            if !refused.is_empty() {
                return Claimed::Refused(refused);
            }
        }
        let person = self.store.caps().and_then(|_| self.person_claim(&claiming));
        if asks.is_empty() && person.is_none() {
            held.keep();
            return Claimed::All;
        }
        Claimed::Ask(Box::new(Asking::new(&claiming, (held, asks), person)))
    }

    /// Claims the budgets; answers those that only Redis knows enough of.
    fn claim_budgets(&self, claiming: &Claiming<'_>, held: &mut Held<'_>) -> Result<Asks, Denied> {
        let mut asks: Asks = Vec::new();
        for winner in &claiming.ranking.winners {
            let (offer, channel) = claiming.parts(winner);
            let Some(budget) = offer.budget else { continue };
            let refused = denied((offer.slot, RecordRef::NONE), Reason::ClaimRefused);
            if let Some(caps) = self.store.caps().filter(|_| budget.exact) {
                let asked = asks.iter().any(|(slot, ..)| *slot == offer.slot);
                // a unit is of an offer in a decision, for whichever records it speaks of
                if !asked && !held.units.contains(&offer.id) {
                    let hold_us = claiming.hold_us(winner);
                    take_unit(caps, (claiming, offer), hold_us, (held, &mut asks)).map_err(|()| refused)?;
                }
                continue;
            }
            let Some(claim) = budget_claim(claiming.snapshot, offer, claiming.now) else { continue };
            let until = winner.starts_at(claiming.now).plus_us(channel.reserve_us);
            let of = (claiming.decision, winner.record.1);
            if !self.store.ledger().claim_budget(&claim, of, claiming.now, until) {
                return Err(refused);
            }
            held.budgets.push(offer.id);
        }
        Ok(asks)
    }

    fn person_claim(&self, claiming: &Claiming<'_>) -> Option<PersonClaim> {
        let ruleset = &claiming.snapshot.ruleset;
        let capped = |winner: &&Winner| {
            let (offer, channel) = claiming.parts(winner);
            ruleset.has_caps(offer, channel)
        };
        let mut winners = claiming.ranking.winners.iter().filter(capped).peekable();
        winners.peek()?;
        let customer = self.store.live(claiming.customer?.key);
        let winning = |winner: &Winner| {
            let (offer, channel) = (ruleset.offer(winner.offer), ruleset.channel(winner.channel));
            Winning { offer, channel, record: winner.record.1, hold_us: claiming.hold_us(winner) }
        };
        PersonClaim::of(ruleset, (customer, claiming.decision), winners.map(winning))
    }

    fn claim_limits(&self, claiming: &Claiming<'_>, profile: &Profile, held: &mut Held<'_>) -> Vec<Denied> {
        let Claiming { snapshot, ranking, decision, now, .. } = *claiming;
        let ruleset = &snapshot.ruleset;
        let limited =
            |w: &&Winner| decide::limits::is_limited(profile, ruleset.offer(w.offer), ruleset.channel(w.channel));
        if !ranking.winners.iter().any(|w| limited(&w)) {
            return Vec::new();
        }
        let mut again: Option<Arc<HotProfile>> = None;
        for _ in 0..READ_AGAIN_MAX {
            let profile = again.as_ref().map_or(profile, |hot| &hot.profile);
            let claimed = self.store.ledger().claim_by((profile.key, profile.version), now, |open| {
                limited_claims((snapshot, profile), ranking, open, (decision, now))
            });
            match claimed {
                Ok(refused) => {
                    held.reserved = refused.is_empty().then_some(profile.key);
                    return refused.into_iter().map(|of| denied(of, Reason::ClaimRefused)).collect();
                }
                // a merge came in between: the caps of both count
                Err(ReadAgain(customer)) => again = self.store.hot(customer),
            }
            if again.is_none() {
                break;
            }
        }
        let of = |w: &Winner| denied((w.offer, w.record.1), Reason::ClaimRefused);
        ranking.winners.iter().filter(limited).map(of).collect()
    }

    /// Takes back what a decision holds that is not made.
    pub(super) fn give_back(&self, held: &Held<'_>) {
        for offer in &held.budgets {
            self.store.ledger().release(None, held.decision, (*offer, None));
        }
        if let Some(caps) = self.store.caps() {
            held.units.iter().for_each(|offer: &OfferId| caps.give_unit_back(*offer, held.decision));
        }
        if let Some(customer) = held.reserved {
            self.store.ledger().withdraw(customer, held.decision);
        }
    }
}

/// Units that Redis is asked for: of which offer, and how long each is open, if it is.
pub(super) type Asks = Vec<(OfferSlot, ExactBudget, Option<i64>)>;

/// Takes a unit of an exact budget, from the lease or, when nobody can be asked, as
/// its policy has it; one that must be asked for is added to what is asked.
fn take_unit(
    caps: &Caps,
    (claiming, offer): (&Claiming<'_>, &Offer),
    hold_us: Option<i64>,
    (held, asks): (&mut Held<'_>, &mut Asks),
) -> Result<(), ()> {
    let Some(budget) = ExactBudget::of(&claiming.snapshot.ruleset, offer) else { return Ok(()) };
    match caps.take(&budget, claiming.decision, hold_us) {
        Took::Granted => held.units.push(offer.id),
        Took::Spent => return Err(()),
        Took::Ask => asks.push((offer.slot, budget, hold_us)),
    }
    Ok(())
}

/// The reservations that the limited winners get, or the offers that are full.
fn limited_claims(
    (snapshot, profile): (&Snapshot, &Profile),
    ranking: &Ranking,
    open: &[Reservation],
    (decision, now): (DecisionId, Timestamp),
) -> (Vec<Reservation>, Vec<(OfferSlot, RecordRef)>) {
    let ruleset = &snapshot.ruleset;
    let limited =
        |w: &&decide::Winner| decide::limits::is_limited(profile, ruleset.offer(w.offer), ruleset.channel(w.channel));
    let mut all = open.to_vec();
    let mut refused = Vec::new();
    let mut claimed = Vec::new();
    for winner in ranking.winners.iter().filter(limited) {
        let (offer, channel) = (ruleset.offer(winner.offer), ruleset.channel(winner.channel));
        if decide::limits::has_room(ruleset, profile, &all, (offer, channel, winner.record.1), (decision, now)) {
            let reservation = Reservation {
                decision,
                offer: offer.id,
                channel: channel.id,
                record: winner.record.1,
                at: now,
                expires_at: winner.starts_at(now).plus_us(channel.reserve_us),
            };
            all.push(reservation);
            claimed.push(reservation);
        } else {
            refused.push((offer.slot, winner.record.1));
        }
    }
    if refused.is_empty() { (claimed, refused) } else { (Vec::new(), refused) }
}

fn budget_claim(snapshot: &Snapshot, offer: &Offer, now: Timestamp) -> Option<BudgetClaim> {
    let budget = offer.budget?;
    let window_from = decide::limits::window_from(&snapshot.ruleset, budget.window, now);
    Some(BudgetClaim { offer: offer.id, max: budget.max, window_from })
}
