//! The pipeline: pure and total. Seven stages, a file each, in this order; each
//! leaves a [`crate::domain::Reason`] for what it drops.

// 1 to 6: rank
mod arbitrate;
mod contact;
mod engagement;
mod reach;
mod retrieve;
mod score;
// 7: compose
mod compose;

// what they share: the question on its way, its facts and its past
mod calendar;
mod each;
pub mod explore;
mod facts;
mod history;
pub mod holdout;
pub mod limits;
mod pass;
mod pauses;
mod plan;
mod question;
mod scratch;
mod sieve;
mod silence;
mod trace;
mod visitor;
mod wishes;
// what comes out
pub mod ranking;
pub mod scenario;

#[cfg(test)]
mod tests;

pub use compose::OUTCOMES_TAKEN_US;
pub use facts::{FactReader, customer_cells};
pub use holdout::in_holdout;
pub use ranking::{OtherChannel, PairSet, RankedPlacement, Ranking, Winner};
pub use scratch::Scratch;
pub use silence::is_silence;

use std::sync::Arc;

use crate::{
    domain::{
        Cells, Decision, DecisionId, Degraded, DegradedSet, Holder, Level, LinkRef, Match, OfferSet, OfferSlot, Pauses,
        PresentationRef, Profile, RecordRef, Request, Reservation, Timestamp, VisitorId,
    },
    predict::{BaseModel, Models},
    rules::{FailedLiteral, Ruleset},
};

use pass::Pass;
use pauses::Paused;
use plan::Plan;
use question::{Asked, Questions};

/// Everything decisions are made with, swapped as one value.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The rules.
    pub ruleset: Arc<Ruleset>,
    /// What was learned.
    pub models: Arc<Models>,
    /// What is paused.
    pub pauses: Arc<Pauses>,
    /// The analysis of the whole base.
    pub base: Arc<BaseModel>,
    /// What the stages look up, laid out for these rules.
    plan: Arc<Plan>,
    /// The pauses in the slots of these rules.
    paused: Arc<Paused>,
}

impl Snapshot {
    /// Lays out what the stages look up. Costs time with the number of offers:
    /// build it off the serving threads.
    pub fn new(ruleset: Arc<Ruleset>, models: Arc<Models>, pauses: Arc<Pauses>) -> Self {
        let plan = Arc::new(Plan::of(&ruleset));
        let paused = Arc::new(Paused::of(&ruleset, &plan, &pauses));
        Self { ruleset, models, pauses, base: Arc::default(), plan, paused }
    }

    /// The same rules and pauses with newer models; shares what was laid out.
    pub fn with_models(&self, models: Arc<Models>) -> Self {
        Self { models, ..self.clone() }
    }

    /// The same rules, models and pauses with a newer analysis of the base;
    /// shares what was laid out.
    pub fn with_base(&self, base: Arc<BaseModel>) -> Self {
        Self { base, ..self.clone() }
    }

    /// The offers that are paused, by themselves, by their issue or group, or in
    /// their rule file; those of a paused channel are not among them.
    pub fn paused_offers(&self) -> &OfferSet {
        &self.paused.offers
    }

    /// The same rules and models with other pauses; shares what was laid out
    /// for the rules.
    pub fn with_pauses(&self, pauses: Arc<Pauses>) -> Self {
        let paused = Arc::new(Paused::of(&self.ruleset, &self.plan, &pauses));
        Self { pauses, paused, ..self.clone() }
    }
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
    /// Offers shown before that keep their order (re-ranking after an answer), and
    /// the record that each spoke of.
    pub keep_order: &'a [(OfferSlot, RecordRef)],
    /// What was wrong while gathering the inputs.
    pub degraded: DegradedSet,
    /// Customer state token for the answer; empty without a customer.
    pub consistency_token: &'a str,
    /// Signs tokens and links.
    pub signer: &'a dyn Signer,
}

impl Inputs<'_> {
    /// Whether the person may have said what could not be read: the profile did
    /// not come in time, or the identities are of more than one customer. Then
    /// nothing that needs the person's consent is done.
    fn answer_unread(&self) -> bool {
        self.matched == Match::Ambiguous || self.degraded.has(Degraded::ProfileUnavailable)
    }
}

/// An offer that lost after ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Which.
    pub offer: OfferSlot,
    /// For which record; [`RecordRef::NONE`] for all.
    pub record: RecordRef,
    /// `ClaimRefused`, `ClaimUnknown` or `RenderFailed`.
    pub reason: crate::domain::Reason,
}

/// Turns references into signed text. Deterministic: equal references give
/// equal text under one key.
pub trait Signer {
    /// The token of a presentation, bound to a visitor.
    fn presentation_token(&self, presentation: &PresentationRef, holder: Option<Holder>) -> String;
    /// The URL of a traceable link.
    fn link_url(&self, link: &LinkRef, holder: Option<Holder>) -> String;
    /// The signed id of a visitor at a moment.
    fn visitor_id(&self, visitor: VisitorId, now: Timestamp) -> String;
}

/// A decision with its content.
#[derive(Clone, Debug, PartialEq)]
pub struct Composed {
    /// The decision.
    pub decision: Decision,
    /// Offers whose content could not be rendered: add them to
    /// [`Inputs::denied`] and rank again.
    pub failed: Vec<Denied>,
}

/// Stages 1 to 6: who wins, for every placement in request order.
pub fn rank(inputs: &Inputs<'_>, scratch: &mut Scratch) -> Ranking {
    let mut pass = Pass::begin(inputs, scratch);
    if inputs.degraded.has(Degraded::Overload) {
        return short(pass);
    }
    retrieve::sieve(&mut pass);
    engagement::sieve(&mut pass);
    for question in Questions::of(inputs) {
        match question {
            Asked::Unknown => pass.answer_unknown(),
            Asked::Known(question) => {
                retrieve::retrieve(&mut pass, &question);
                engagement::engagement(&mut pass, &question);
                reach::reach(&mut pass, &question);
                contact::contact(&mut pass, &question);
                score::score(&mut pass);
                arbitrate::arbitrate(&mut pass, &question);
                pass.answer(&question);
            }
        }
    }
    pass.finish()
}

/// Nobody wins, and no offer is looked at: each placement gets its fallback.
fn short(mut pass: Pass<'_>) -> Ranking {
    for question in Questions::of(pass.inputs) {
        match question {
            Asked::Unknown => pass.answer_unknown(),
            Asked::Known(question) => {
                pass.tables.pool.clear();
                pass.answer(&question);
            }
        }
    }
    pass.ranking.level = Level::Fallback;
    pass.finish()
}

/// Stage 7: the content of the winners.
pub fn compose(inputs: &Inputs<'_>, ranking: &Ranking, scratch: &mut Scratch) -> Composed {
    compose::compose(inputs, ranking, scratch)
}

/// The literals that keep an offer's conditions from being true, with the name
/// of the condition; for the record with a key, where one is given, else as
/// [`crate::rules::Offer::facts_told`] says.
pub fn failed_literals(
    inputs: &Inputs<'_>,
    (offer, record_key): (OfferSlot, &str),
) -> Vec<(&'static str, FailedLiteral)> {
    let rules = &inputs.snapshot.ruleset;
    let mut cells = Cells::default();
    facts::fill(inputs, facts::Profiling::of(inputs), &plan::blank_cells(&rules.schema), &mut cells);
    let Some(offer) = rules.offers.get(offer.index()) else { return Vec::new() };
    let facts = facts::over(inputs, &cells);
    let is_it = |at: &u16| inputs.profile.record_at(Some(*at)).is_some_and(|record| *record.key == *record_key);
    let named = offer.each.and_then(|each| each.places(&facts).find(is_it));
    let facts = if named.is_some() { facts.with_record(named) } else { offer.facts_told(&facts) };
    engagement::literals(offer, &facts)
}
