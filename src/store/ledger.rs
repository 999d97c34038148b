//! Reservations and budgets of this process: what was decided and not yet seen.

use crate::domain::{CustomerKey, DecisionId, OfferId, Reservation, Timestamp};

/// Reservations per customer and budget claims per offer, in sharded maps.
pub struct Ledger {}

/// A budget to claim from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetClaim {
    /// The offer.
    pub offer: OfferId,
    /// The most in the window.
    pub max: u64,
    /// When the window began.
    pub window_from: Timestamp,
}

impl Ledger {
    /// The live reservations of a customer, appended to a buffer.
    pub fn reservations(&self, _customer: CustomerKey, _now: Timestamp, _into: &mut Vec<Reservation>) {}

    /// Runs a check under the customer's lock and adds the reservations it
    /// answers. The check sees the live reservations; it must be quick and
    /// must not touch another map.
    pub fn claim<R>(
        &self,
        _customer: CustomerKey,
        _now: Timestamp,
        check: impl FnOnce(&[Reservation]) -> (Vec<Reservation>, R),
    ) -> R {
        check(&[]).1
    }

    /// Whether a budget has room now.
    pub fn has_room(&self, _claim: &BudgetClaim, _now: Timestamp) -> bool {
        true
    }

    /// Claims one unit for a decision until it lapses; false when it is spent.
    /// Claiming again with the same decision claims nothing more.
    pub fn claim_budget(
        &self,
        _claim: &BudgetClaim,
        _decision: DecisionId,
        _now: Timestamp,
        _lapses: Timestamp,
    ) -> bool {
        true
    }

    /// Takes the reservation and the budget unit of a presentation back.
    pub fn release(&self, _customer: Option<CustomerKey>, _decision: DecisionId, _offer: OfferId) {}

    /// Makes the budget unit of a presentation permanent (it was seen).
    pub fn confirm(&self, _decision: DecisionId, _offer: OfferId) {}
}
