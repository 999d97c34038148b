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

pub mod cli;
pub mod config;
pub mod grpc;
pub mod http;
pub mod server;

pub mod telemetry;

/// The wire types, generated from `proto/`.
#[allow(missing_docs, clippy::all, clippy::pedantic)]
pub mod proto {
    include!(concat!(env!("OUT_DIR"), "/rapport.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/rapport.v1.serde.rs"));

    /// The encoded descriptor set, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rapport_descriptor.bin"));
}
