//! Golden scenarios: a profile, a question, and what must come out. They stand
//! beside the rules and run through the same pipeline as decisions.

use std::sync::Arc;

use crate::domain::{Event, Profile, Reason, Request, SilenceReason, Timestamp};

use super::Position;

/// One golden scenario.
#[derive(Debug)]
pub struct Scenario {
    /// Its name.
    pub name: Arc<str>,
    /// Where it stands.
    pub position: Position,
    /// The moment.
    pub now: Timestamp,
    /// The customer; default for a visitor without a profile.
    pub profile: Profile,
    /// What the customer's past events fed, each as a change of nothing else: who
    /// runs the scenario folds them into the profile.
    pub fed: Vec<Event>,
    /// Whether the customer is known.
    pub known: bool,
    /// Whether the customer is in the holdout: who runs the scenario picks an
    /// arm key accordingly. Always false without a profile.
    pub holdout: bool,
    /// The question.
    pub request: Request,
    /// Offers whose budget counts as spent.
    pub exhausted: Vec<Arc<str>>,
    /// Offers whose claim counts as refused.
    pub refused: Vec<Arc<str>>,
    /// What must come out.
    pub expect: Vec<Expectation>,
}

/// What must come out.
#[derive(Clone, Debug, PartialEq)]
pub enum Expectation {
    /// The winners of the placement (empty name: open question) in order, as
    /// `offer` or `offer/channel`.
    Winners {
        /// The placement.
        placement: Arc<str>,
        /// The winners.
        offers: Vec<Arc<str>>,
    },
    /// A candidate is dropped for this reason (channel `None`: on every channel).
    Dropped {
        /// The offer.
        offer: Arc<str>,
        /// The channel.
        channel: Option<Arc<str>>,
        /// The reason.
        reason: Reason,
    },
    /// The placement is silent for this reason.
    Silent {
        /// The placement.
        placement: Arc<str>,
        /// The reason.
        reason: SilenceReason,
    },
    /// A text stands in the winner's rendered content.
    Contains {
        /// The offer.
        offer: Arc<str>,
        /// The text.
        text: Arc<str>,
    },
}
