//! The pipeline: pure and total.

use std::sync::Arc;

use crate::{
    domain::{Decision, DecisionId, DegradedSet, Match, OfferSlot, Profile, Request, Reservation, Timestamp},
    predict::Models,
    rules::Ruleset,
};

/// Everything decisions are made with, swapped as one value.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The rules.
    pub ruleset: Arc<Ruleset>,
    /// What was learned.
    pub models: Arc<Models>,
}

/// Everything one decision is a function of.
pub struct Inputs<'a> {
    /// Rules and models.
    pub snapshot: &'a Snapshot,
    /// The customer, or the shared anonymous profile.
    pub profile: &'a Profile,
    /// What the identities matched.
    pub matched: Match,
    /// The question.
    pub request: &'a Request,
    /// The moment.
    pub now: Timestamp,
    /// UUIDv7; also seeds exploration.
    pub decision_id: DecisionId,
    /// Open reservations of this customer: presentations decided, not yet seen.
    pub reservations: &'a [Reservation],
    /// Offers whose budget is spent.
    pub exhausted: &'a [OfferSlot],
    /// Offers whose claim was refused, or whose content failed.
    pub denied: &'a [Denied],
    /// Offers shown before that keep their order (re-ranking after an answer).
    pub keep_order: &'a [OfferSlot],
    /// What was wrong while gathering the inputs.
    pub degraded: DegradedSet,
    /// Customer state token for the answer; empty without a customer.
    pub consistency_token: &'a str,
    /// Signs tokens and links.
    pub signer: &'a dyn Signer,
}

/// An offer that lost after ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Which.
    pub offer: OfferSlot,
    /// `ClaimRefused` or `RenderFailed`.
    pub reason: crate::domain::Reason,
}

/// Turns references into signed text. Deterministic: equal references give
/// equal text under one key.
pub trait Signer {
    /// The token of a presentation.
    fn presentation_token(&self, presentation: &crate::domain::PresentationRef) -> String;
    /// The URL of a traceable link.
    fn link_url(&self, link: &crate::domain::LinkRef) -> String;
}
