//! What is given back of reservations and budgets.

use std::sync::PoisonError;

use crate::domain::{ChannelId, CustomerKey, DecisionId, OfferId, RecordRef, Reservation};

use super::Ledger;

impl Ledger {
    /// Takes the reservation and the budget unit of a presentation back, without a
    /// record of the offer for all of them; a unit that was seen, or that another
    /// record of the decision still needs, stays.
    pub fn release(
        &self,
        customer: Option<CustomerKey>,
        decision: DecisionId,
        (offer, record): (OfferId, Option<RecordRef>),
    ) {
        self.release_reservation(customer, decision, (offer, record));
        if let Some(caps) = self.caps.get().filter(|_| record.is_none_or(|record| !record.is_some())) {
            caps.give_unit_back(offer, decision);
        }
        let _ = self.budgets.release(decision, (offer, record.unwrap_or_default()));
    }

    /// Takes back every reservation that `takes` names by offer and channel,
    /// with its budget unit; a unit that was seen stays. Answers how many.
    ///
    /// The release is of this process and not in the log: after a restart the
    /// reservations of decisions of the log are held again until they lapse. What
    /// is still paused then is released again at the start; of what was resumed
    /// in between a customer may hold a reservation longer than need be, which
    /// may only show them less than the limits allow.
    pub fn release_where(&self, takes: impl Fn(OfferId, ChannelId) -> bool) -> usize {
        let mut taken = Vec::new();
        for shard in &self.customers {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.reservations.retain(|customer, held| {
                held.retain(|reservation| {
                    let takes = takes(reservation.offer, reservation.channel);
                    if takes {
                        taken.push((*customer, *reservation));
                    }
                    !takes
                });
                !held.is_empty()
            });
        }
        for (customer, held) in &taken {
            self.tell_released(*customer, held);
            if let Some(caps) = self.caps.get() {
                caps.give_unit_back(held.offer, held.decision);
            }
            let _ = self.budgets.release(held.decision, (held.offer, held.record));
        }
        taken.len()
    }

    /// Takes the reservation of a presentation back; without a record those of the offer for all records.
    pub(crate) fn release_reservation(
        &self,
        customer: Option<CustomerKey>,
        decision: DecisionId,
        (offer, record): (OfferId, Option<RecordRef>),
    ) {
        let Some(customer) = customer else { return };
        let (customer, mut shard) = self.live(customer);
        if let Some(held) = shard.reservations.get_mut(&customer) {
            let of_record = |r: &Reservation| record.is_none_or(|record| r.record == record);
            let is_it = |r: &Reservation| r.decision == decision && r.offer == offer && of_record(r);
            let released: Vec<Reservation> = held.extract_if(.., |r| is_it(r)).collect();
            if held.is_empty() {
                shard.reservations.remove(&customer);
            }
            drop(shard);
            released.iter().for_each(|r| self.tell_released(customer, r));
        }
    }

    /// Takes back what a decision reserved that is not made, telling nobody: its
    /// claim was refused, or is taken back by who made it.
    pub fn withdraw(&self, customer: CustomerKey, decision: DecisionId) {
        let (customer, mut shard) = self.live(customer);
        if let Some(held) = shard.reservations.get_mut(&customer) {
            held.retain(|r| r.decision != decision);
            if held.is_empty() {
                shard.reservations.remove(&customer);
            }
        }
    }

    /// Takes every reservation of a customer back, with its budget unit; a unit
    /// that was seen stays. Answers how many.
    pub(crate) fn forget(&self, customer: CustomerKey) -> usize {
        let held = self.shard(customer).reservations.remove(&customer).unwrap_or_default();
        if let Some(caps) = self.caps.get() {
            caps.forget(customer);
        }
        for reservation in &held {
            let _ = self.budgets.release(reservation.decision, (reservation.offer, reservation.record));
        }
        held.len()
    }

    fn tell_released(&self, customer: CustomerKey, reservation: &Reservation) {
        if let Some(caps) = self.caps.get() {
            let presented = (reservation.offer, reservation.channel, reservation.record);
            caps.release(customer, reservation.decision, presented);
        }
    }
}
