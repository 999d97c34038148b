//! Claims of caps and budgets, for the final winners only.

use std::sync::Arc;

use crate::{
    decide::{self, Ranking, Snapshot},
    domain::{DecisionId, OfferSlot, Profile, RecordRef, Reservation, Timestamp},
    rules::Offer,
    store::{
        HotProfile,
        ledger::{BudgetClaim, ReadAgain},
    },
};

use super::App;

/// How often a claim is made again with the profile of after a merge.
const READ_AGAIN_MAX: usize = 4;

/// What became of the claims of one decision.
pub(super) enum Claimed {
    /// Every winner has what it needs.
    All,
    /// These offers were refused, for a record or altogether; nothing is held.
    Refused(Vec<(OfferSlot, RecordRef)>),
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
            if let Some(claim) = budget_claim(snapshot, offer, now)
                && !self.store.ledger().has_room(&claim, now)
            {
                exhausted.push(offer.slot);
            }
        }
    }

    /// Claims for every winner, all or nothing: budgets first, then the
    /// customer's limits under the customer's lock.
    pub(super) fn claim_winners(
        &self,
        snapshot: &Snapshot,
        customer: Option<&Profile>,
        ranking: &Ranking,
        (decision, now): (DecisionId, Timestamp),
    ) -> Claimed {
        let ruleset = &snapshot.ruleset;
        let mut held = Vec::new();
        for winner in &ranking.winners {
            let (offer, channel) = (ruleset.offer(winner.offer), ruleset.channel(winner.channel));
            let Some(claim) = budget_claim(snapshot, offer, now) else { continue };
            let held_until = winner.starts_at(now).plus_us(channel.reserve_us);
            if self.store.ledger().claim_budget(&claim, (decision, winner.record.1), now, held_until) {
                held.push(offer);
            } else {
                self.give_back(&held, decision);
                return Claimed::Refused(vec![(offer.slot, RecordRef::NONE)]);
            }
        }
        let refused = match customer {
            Some(profile) => self.claim_limits(snapshot, profile, ranking, (decision, now)),
            None => Vec::new(),
        };
        if refused.is_empty() {
            return Claimed::All;
        }
        self.give_back(&held, decision);
        Claimed::Refused(refused)
    }

    fn give_back(&self, held: &[&Offer], decision: DecisionId) {
        for offer in held {
            self.store.ledger().release(None, decision, (offer.id, None));
        }
    }

    fn claim_limits(
        &self,
        snapshot: &Snapshot,
        profile: &Profile,
        ranking: &Ranking,
        (decision, now): (DecisionId, Timestamp),
    ) -> Vec<(OfferSlot, RecordRef)> {
        let ruleset = &snapshot.ruleset;
        let limited = |w: &&decide::Winner| {
            decide::limits::is_limited(profile, ruleset.offer(w.offer), ruleset.channel(w.channel))
        };
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
                Ok(refused) => return refused,
                // a merge came in between: the caps of both count
                Err(ReadAgain(customer)) => again = self.store.hot(customer),
            }
            if again.is_none() {
                break;
            }
        }
        ranking.winners.iter().filter(limited).map(|w| (w.offer, w.record.1)).collect()
    }
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
