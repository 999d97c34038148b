//! Rapport picks the next best message and channel for a customer.
//!
//! # The life of a decision
//!
//! A question comes in over [`grpc`] or [`http`], is converted once into a
//! checked [`domain::Request`], and goes to [`app`]: it resolves the identity,
//! takes the hot profile and the current [`decide::Snapshot`], and calls
//! [`decide`] to rank and compose. The answer is converted back; the decision
//! is recorded behind it in the event log of [`store`].
//!
//! # The rooms, in reading order

#![warn(missing_docs)]
#![forbid(unsafe_code)]

pub mod domain;

pub mod customer;
pub mod predict;
pub mod rules;

pub mod campaign;
pub mod decide;
pub mod learn;
pub mod store;

pub mod app;

pub mod config;

pub mod telemetry;
