//! The shell: the one clock, the swapped snapshot, and the use cases.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{
    decide::Snapshot,
    domain::{
        Consent, Decision, DecisionId, Identity, OutcomeType, Profile, Request, Tallies, Timestamp, Trace, Value,
        Verdict, View,
    },
    rules::FailedLiteral,
    store::{Store, StoreError, Strength},
};

/// What a use case can answer instead.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The caller is wrong: every violation as (field, what to do).
    #[error("{} invalid fields", .0.len())]
    Invalid(Vec<Violation>),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The same id was used with another body.
    #[error("{0}")]
    AlreadyExists(String),
    /// Not in this state.
    #[error("{0}")]
    FailedPrecondition(String),
    /// No room; try again later.
    #[error("{0}")]
    Exhausted(String),
    /// The store failed.
    #[error("reading or writing the store: {0}")]
    Store(#[from] StoreError),
}

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path of the field: `placements[1].count`.
    pub field: String,
    /// What is wrong and what to do.
    pub description: String,
}

/// The service's use cases over one store and one snapshot.
pub struct App {
    /// The current snapshot.
    pub snapshot: ArcSwap<Snapshot>,
    /// State at rest.
    pub store: Store,
}

/// One event to record, checked.
#[derive(Clone, Debug)]
pub enum EventInput {
    /// What followed a presentation.
    Outcome(OutcomeInput),
    /// Something a customer did.
    Customer {
        /// Hash of (source, event id).
        id: crate::domain::EventId,
        /// Who.
        identities: Vec<Identity>,
        /// When; `None` for now.
        at: Option<Timestamp>,
        /// What.
        kind: crate::domain::EventKind,
        /// How strong the acknowledgement must be.
        strength: Strength,
        /// Names of the items in it.
        item_names: Vec<Box<str>>,
    },
}

/// What followed a presentation.
#[derive(Clone, Debug)]
pub struct OutcomeInput {
    /// The signed token.
    pub token: String,
    /// What followed.
    pub outcome: OutcomeType,
    /// The decline's code; empty for none.
    pub reason_code: String,
    /// Value of a conversion, minor units.
    pub value: Option<i64>,
    /// The agent's note.
    pub note: Box<str>,
    /// When; `None` for now.
    pub at: Option<Timestamp>,
}

/// What became of one event.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// What became of it.
    pub status: RecordedStatus,
    /// What the acknowledgement promises, when recorded.
    pub strength: Option<Strength>,
    /// State of the customer; empty without one.
    pub consistency_token: String,
    /// Notes on an accepted event.
    pub warnings: Vec<String>,
}

/// What became of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordedStatus {
    /// Recorded.
    Recorded,
    /// Recorded before.
    Duplicate,
    /// Refused: why and what to do.
    Refused(String),
    /// No room; send it again later.
    Exhausted,
    /// Its id was used with other content.
    Conflict,
}

/// An answer to a presentation.
#[derive(Clone, Debug)]
pub struct RespondInput {
    /// The answer.
    pub outcome: OutcomeInput,
    /// Idempotency id; empty for none.
    pub request_id: String,
    /// How much to return.
    pub view: View,
    /// How much of the verdicts to return.
    pub trace: Trace,
}

/// The re-ranked answer.
#[derive(Clone, Debug)]
pub struct Responded {
    /// The question, answered again.
    pub decision: Arc<Decision>,
    /// Whether the answer had been recorded before.
    pub duplicate: bool,
    /// What the acknowledgement promises.
    pub strength: Strength,
    /// State of the customer; empty without one.
    pub consistency_token: String,
}

/// A stored decision, explained.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The decision, replayed with full trace and view.
    pub decision: Decision,
    /// The verdicts asked for.
    pub verdicts: Vec<ExplainedVerdict>,
    /// Whether the replay equals what was answered.
    pub identical: bool,
    /// In plain words.
    pub lines: Vec<String>,
    /// Whether the customer is in the holdout.
    pub holdout: bool,
}

/// A verdict with the literals that failed.
#[derive(Clone, Debug)]
pub struct ExplainedVerdict {
    /// The verdict.
    pub verdict: Verdict,
    /// (condition, literal).
    pub failed: Vec<(&'static str, FailedLiteral)>,
}

/// The one view of a customer.
#[derive(Clone, Debug)]
pub struct CustomerView {
    /// The profile.
    pub profile: Profile,
    /// Stored attributes by name.
    pub attributes: Vec<(Arc<str>, Value)>,
    /// Traits by name, computed now.
    pub traits: Vec<(Arc<str>, Value)>,
    /// Segments the customer is in.
    pub segments: Vec<Arc<str>>,
    /// Whether in the holdout.
    pub holdout: bool,
    /// State token.
    pub consistency_token: String,
}

/// Attributes and consents to set.
#[derive(Clone, Debug)]
pub struct UpsertInput {
    /// Who.
    pub identities: Vec<Identity>,
    /// Attributes by id; `None` removes.
    pub attributes: Vec<(crate::domain::AttrId, Option<Value>)>,
    /// Consents; a zero time means now.
    pub consents: Vec<Consent>,
    /// Idempotency id; empty for none.
    pub request_id: String,
    /// When it became true; `None` for now.
    pub at: Option<Timestamp>,
    /// Check only.
    pub validate_only: bool,
}

/// What a write to a customer did.
#[derive(Clone, Debug)]
pub struct Upserted {
    /// State token.
    pub consistency_token: String,
    /// What the acknowledgement promises.
    pub strength: Strength,
    /// Whether the customer was created.
    pub created: bool,
}

/// Where a link leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// To this URL of the ruleset.
    To(Arc<str>),
    /// The token is not one of ours.
    Unknown,
    /// The token is too old, or its offer is no more.
    Gone,
}

/// The active revision.
#[derive(Clone, Debug)]
pub struct RevisionInfo {
    /// When it became active.
    pub activated_at: Timestamp,
    /// Errors of a newer edit that was refused.
    pub refused: Vec<String>,
}

impl App {
    /// The current snapshot. Take it once per call and pass it on.
    pub fn current(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The service clock.
    pub fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    /// Answers a question that was checked against `snapshot`.
    ///
    /// # Errors
    /// The request id was used with another body.
    pub async fn decide(&self, _snapshot: Arc<Snapshot>, _request: Request) -> Result<Arc<Decision>, AppError> {
        Err(AppError::NotFound(String::new()))
    }

    /// Records an answer and answers the same question again.
    ///
    /// # Errors
    /// A forged or expired token, an undeclared reason code, a full log.
    pub async fn respond(&self, _input: RespondInput) -> Result<Responded, AppError> {
        Err(AppError::NotFound(String::new()))
    }

    /// Replays a stored decision and explains the verdicts.
    ///
    /// # Errors
    /// There is no such decision, or its ruleset is gone.
    pub async fn explain(&self, _id: DecisionId, _offer: Option<&str>) -> Result<Explanation, AppError> {
        Err(AppError::NotFound(String::new()))
    }

    /// Visits stored decisions, explained, oldest first, until the visitor
    /// answers false. Blocking: call it off the serving threads.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn export(
        &self,
        _from: Option<Timestamp>,
        _until: Option<Timestamp>,
        _visit: &mut dyn FnMut(Explanation) -> bool,
    ) -> Result<(), AppError> {
        Ok(())
    }

    /// Records events in order, with a result each.
    pub async fn record(&self, _events: Vec<EventInput>) -> Vec<Recorded> {
        Vec::new()
    }

    /// The one view of a customer.
    ///
    /// # Errors
    /// Nobody, or more than one customer, has these identities.
    pub async fn customer(&self, _identities: &[Identity], _token: &str) -> Result<CustomerView, AppError> {
        Err(AppError::NotFound(String::new()))
    }

    /// Sets attributes and consents.
    ///
    /// # Errors
    /// The identities are of more than one customer; the log is full.
    pub async fn upsert(&self, _input: UpsertInput) -> Result<Upserted, AppError> {
        Err(AppError::NotFound(String::new()))
    }

    /// Forbids or permits every contact.
    ///
    /// # Errors
    /// As [`App::upsert`].
    pub async fn do_not_contact(
        &self,
        _identities: Vec<Identity>,
        _on: bool,
        _reason: Box<str>,
    ) -> Result<Upserted, AppError> {
        Err(AppError::NotFound(String::new()))
    }

    /// Where a link token leads; counts the click once when `count` is set.
    pub fn follow(&self, _token: &str, _count: bool) -> Followed {
        Followed::Unknown
    }

    /// The active revision.
    pub fn revision(&self) -> RevisionInfo {
        RevisionInfo { activated_at: Timestamp(0), refused: Vec::new() }
    }

    /// What was counted.
    pub fn tallies(&self) -> Arc<Tallies> {
        Arc::default()
    }

    /// The keyed hash, format check and normalisation of an identity of the
    /// current schema.
    ///
    /// # Errors
    /// What is wrong with the type or the value, and what to do.
    pub fn identity(&self, _snapshot: &Snapshot, _kind: &str, _value: &str) -> Result<Identity, String> {
        Err(String::new())
    }

    /// Whether rules are loaded and the store is open.
    pub fn ready(&self) -> bool {
        true
    }
}
