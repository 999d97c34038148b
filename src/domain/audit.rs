//! Who changed what: entries of a list that only grows.

use std::sync::Arc;

use super::{RevisionOrigin, RulesetHash, Timestamp};

/// What was done. The number is the one on the wire and at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum AuditAction {
    /// Something was paused.
    Pause = 1,
    /// A pause was lifted.
    Resume = 2,
    /// A revision was published.
    Publish = 3,
    /// A kept revision was made active again.
    Rollback = 4,
}

impl AuditAction {
    /// Every action, in order of its number.
    pub const ALL: [AuditAction; 4] =
        [AuditAction::Pause, AuditAction::Resume, AuditAction::Publish, AuditAction::Rollback];
}

/// One change. Never changed itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Counts the changes, from 1; given when it is kept.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub author: Arc<str>,
    /// What was done.
    pub action: AuditAction,
    /// To what: `offer winback`, or the hash of a revision.
    pub subject: Arc<str>,
    /// Why, or the comment.
    pub reason: Arc<str>,
    /// How a revision became active.
    pub origin: Option<RevisionOrigin>,
    /// The revision that was active before.
    pub previous: Option<RulesetHash>,
    /// Why failed checks were overridden; empty when none was.
    pub force_reason: Arc<str>,
    /// The checks that were overridden.
    pub overridden: Vec<Arc<str>>,
}
