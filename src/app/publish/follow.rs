//! Whether the rules directory may change what serves. An edit says something
//! of the directory only: it must not undo a rollback or a publish that the
//! directory knows nothing of.

use std::sync::PoisonError;

use crate::{
    app::App,
    domain::{Activation, RevisionOrigin, RulesetHash},
};

/// What is known of the directory.
#[derive(Debug, Default)]
pub(in crate::app) struct Directory {
    /// The hash of the files that were taken last.
    pub taken: Option<RulesetHash>,
    /// The hash of the files that were read last, taken or not.
    pub read: Option<RulesetHash>,
    /// The files that are refused now.
    pub refused: Option<RefusedFiles>,
    /// What other replicas made active since files were taken.
    pub elsewhere: Vec<RulesetHash>,
}

/// Files that are not looked at again until something changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::app) struct RefusedFiles {
    /// Their hash.
    pub hash: RulesetHash,
    /// The revision they were compared with: against another they may pass.
    pub against: RulesetHash,
}

impl Directory {
    /// Whether what is active is what the directory gave, or has held.
    fn gave(&self, active: &Activation) -> bool {
        let from_directory = matches!(active.origin, RevisionOrigin::Directory | RevisionOrigin::Start);
        from_directory || self.taken == Some(active.hash) || self.read == Some(active.hash)
    }
}

impl App {
    /// Why files of the directory must not replace what is active; `None` when
    /// they may. To be asked before the files count as read.
    pub(super) fn astray(&self, files: RulesetHash) -> Option<String> {
        let active = self.revision().activation;
        if active.hash == files {
            return None;
        }
        let directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
        if directory.gave(&active) {
            return None;
        }
        let (hash, author) = (active.hash, &active.author);
        let how = match active.origin {
            RevisionOrigin::Rollback => "rolled back",
            _ => "published",
        };
        Some(format!(
            "the active revision `{hash}` was not taken from this directory ({how} by `{author}`): an edit of the \
             directory would undo it; run `rapport revisions publish --dir DIR --expect {hash}`, or roll back to \
             the directory's revision"
        ))
    }

    /// The directory is followed again when a call published what it holds.
    /// Blocking.
    pub(super) fn follow_directory(&self, published: RulesetHash) {
        {
            let mut directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
            if directory.read != Some(published) || directory.taken == Some(published) {
                return;
            }
            (directory.taken, directory.refused) = (Some(published), None);
        }
        self.note_refused(Vec::new());
        if let Err(error) = self.store.save_directory(published) {
            tracing::warn!(revision = %published, "remembering that the directory holds it: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn active(hash: u64, origin: RevisionOrigin) -> Activation {
        Activation {
            hash: RulesetHash(hash),
            at: Timestamp::default(),
            author: "ann".into(),
            comment: "".into(),
            origin,
            parent: None,
            force_reason: "".into(),
        }
    }

    #[test]
    fn the_directory_is_followed_while_it_holds_what_is_active() {
        let directory = Directory { taken: Some(RulesetHash(1)), read: Some(RulesetHash(2)), ..Directory::default() };
        assert!(directory.gave(&active(3, RevisionOrigin::Directory)));
        assert!(directory.gave(&active(1, RevisionOrigin::Rollback)));
        assert!(directory.gave(&active(2, RevisionOrigin::Api)));
        assert!(!directory.gave(&active(3, RevisionOrigin::Rollback)));
        assert!(!directory.gave(&active(3, RevisionOrigin::Api)));
    }
}
