//! Published versions of the rules.

use std::sync::Arc;

use super::{RulesetHash, Timestamp};

/// How a revision became active. The number is the one on the wire and at rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RevisionOrigin {
    /// An edit of the rules directory.
    #[default]
    Directory = 1,
    /// Published by a call.
    Api = 2,
    /// A kept revision made active again.
    Rollback = 3,
    /// Found in the rules directory when the service first started.
    Start = 4,
}

impl RevisionOrigin {
    /// Every origin, in order of its number.
    pub const ALL: [RevisionOrigin; 4] =
        [RevisionOrigin::Directory, RevisionOrigin::Api, RevisionOrigin::Rollback, RevisionOrigin::Start];

    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            RevisionOrigin::Directory => "directory",
            RevisionOrigin::Api => "api",
            RevisionOrigin::Rollback => "rollback",
            RevisionOrigin::Start => "start",
        }
    }
}

/// A revision that is kept: its content never changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Content hash of its files.
    pub hash: RulesetHash,
    /// Who published it first.
    pub author: Arc<str>,
    /// What they said about it.
    pub comment: Arc<str>,
    /// When it was published first.
    pub created_at: Timestamp,
    /// The revision that was active before it was.
    pub parent: Option<RulesetHash>,
    /// How it was published first.
    pub origin: RevisionOrigin,
    /// Why failed checks were overridden; empty when none was.
    pub force_reason: Arc<str>,
    /// When it last became active.
    pub activated_at: Timestamp,
    /// When it was last replaced; `None` while it is active.
    pub replaced_at: Option<Timestamp>,
    /// Number of offers.
    pub offers: u32,
    /// Number of files.
    pub files: u32,
    /// Bytes of its files.
    pub bytes: u64,
}

/// How the active revision became active.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activation {
    /// Which.
    pub hash: RulesetHash,
    /// When.
    pub at: Timestamp,
    /// Who made it active.
    pub author: Arc<str>,
    /// What they said about it.
    pub comment: Arc<str>,
    /// How.
    pub origin: RevisionOrigin,
    /// The revision that was active before.
    pub parent: Option<RulesetHash>,
    /// Why failed checks were overridden; empty when none was.
    pub force_reason: Arc<str>,
}
