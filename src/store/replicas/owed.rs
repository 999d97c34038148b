//! What is still to be read from Redis: everybody, those made before anything of
//! them was read, those that changed meanwhile.

use std::sync::atomic::{Ordering::Acquire, Ordering::Release};

use crate::domain::CustomerKey;

use super::{
    presence::Presence,
    state::{State, lock},
};

impl State {
    /// Everybody must be read again.
    pub fn join_again(&self) {
        self.joining_again.store(true, Release);
        self.joins.notify_one();
    }

    /// Whether also those are to be read whom this replica has.
    pub fn is_joining_again(&self) -> bool {
        self.joining_again.load(Acquire)
    }

    /// Everybody was read.
    pub fn joined(&self) {
        self.joining_again.store(false, Release);
        self.set_presence(Presence::Whole);
        lock(&self.touched).clear();
        lock(&self.owed).clear();
    }

    /// Everybody whom this replica has was read again; others are read as they are
    /// asked for.
    pub fn joined_again(&self) {
        self.joining_again.store(false, Release);
    }

    /// Customers are read as they are asked for: that is all that joining is here.
    pub fn reads_as_asked(&self) {
        self.as_asked.store(true, Release);
    }

    /// A record of another replica changes a customer.
    pub fn touch(&self, customer: CustomerKey, sequence: u64) {
        if self.presence() == Presence::Joining {
            lock(&self.touched).insert(customer, sequence);
        }
    }

    /// Whether a customer was changed by others behind this sequence.
    pub fn was_touched(&self, customer: CustomerKey, behind: u64) -> bool {
        lock(&self.touched).get(&customer).is_some_and(|last| *last > behind)
    }

    /// A customer is made here.
    pub fn makes(&self, customer: CustomerKey) {
        if self.presence() == Presence::Joining {
            lock(&self.owed).insert(customer);
        }
    }

    /// Whether there may be more of a customer in Redis than this replica has.
    pub fn owes(&self, customer: CustomerKey) -> bool {
        self.is_joining_again() || lock(&self.owed).contains(&customer)
    }
}
