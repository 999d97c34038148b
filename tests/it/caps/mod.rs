//! Exact caps and budgets: one contract over the embedded store and Redis, claims
//! of three replicas, faults, and what a failover leaves.

mod budgets;
mod claims;
mod contract;
mod kills;
mod lost;
mod replica;
