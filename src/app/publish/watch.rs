//! The rules directory, looked at ten times a second. It behaves the same on
//! every filesystem and for the symbolic links that Kubernetes swaps.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError},
    time::Duration,
};

use crate::{
    app::{App, AppError, gently},
    domain::{RevisionOrigin, RulesetHash},
    learn, rules,
};

use super::{Refusal, report::Change};

/// How often the rules directory is looked at.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// An edit counts as settled once so many looks after it found the same: 300 ms
/// without a write. Who writes more slowly must rename into place.
const SETTLED_LOOKS: u32 = 3;
/// Directories deeper than this are not looked at.
const DEPTH_MAX: usize = 16;
/// Who an edit of the directory is by.
const AUTHOR: &str = "directory";

/// What is known of the directory.
#[derive(Debug, Default)]
pub(in crate::app) struct Directory {
    /// The hash of the files that were taken last.
    pub taken: Option<RulesetHash>,
    /// The hash of the files that are refused now.
    pub refused: Option<RulesetHash>,
}

impl App {
    /// Publishes every settled edit of a rules directory, for ever. The first
    /// look is compared by content, so that an edit during start-up is not
    /// missed.
    pub async fn watch_rules(self: Arc<Self>, dir: PathBuf) {
        let mut looks = Looks::default();
        loop {
            let looked_at = dir.clone();
            let Ok(now) = tokio::task::spawn_blocking(move || fingerprint(&looked_at)).await else { continue };
            if looks.settled(now) {
                let (app, dir) = (Arc::clone(&self), dir.clone());
                let taken = gently::run(move || app.take_directory(&dir, now)).await;
                if !matches!(taken, Some(Taken::Moving)) {
                    looks.taken = Some(now);
                }
            }
            tokio::time::sleep(WATCH_EVERY).await;
        }
    }

    /// Reads the directory, and publishes what is in it if it did not change
    /// while it was read.
    fn take_directory(&self, dir: &Path, seen: u64) -> Taken {
        let read = rules::read_dir(dir);
        if fingerprint(dir) != seen {
            return Taken::Moving;
        }
        match read {
            Ok(files) => self.take_files(&files),
            Err(errors) => self.refuse_directory(Refusal::from(errors).0),
        }
        Taken::Whole
    }

    /// Publishes the files of the directory, unless they are those taken last:
    /// what a call published since then stays active.
    pub(super) fn take_files(&self, files: &[rules::SourceFile]) {
        let hash = rules::hash_of(files);
        let (taken, refused) = {
            let mut directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
            let before = (directory.taken, directory.refused.take());
            directory.refused = before.1.filter(|refused| *refused == hash);
            before
        };
        if taken == Some(hash) {
            return self.nothing_refused();
        }
        if refused == Some(hash) {
            return;
        }
        let change = Change {
            author: AUTHOR.into(),
            comment: "".into(),
            origin: RevisionOrigin::Directory,
            force: None,
            expected: None,
        };
        let published = self.publish(files, &change);
        {
            let mut directory = self.directory.lock().unwrap_or_else(PoisonError::into_inner);
            match &published {
                Ok(_) => directory.taken = Some(hash),
                Err(AppError::Refused(_)) => directory.refused = Some(hash),
                Err(_) => {}
            }
        }
        match published {
            Ok(published) => {
                if published.changed {
                    tracing::info!(revision = %hash, "rules published");
                }
            }
            Err(AppError::Refused(report)) => self.refuse_directory(report.refusals()),
            Err(error) => self.refuse_directory(vec![format!("keeping revision `{hash}`: {error}")]),
        }
    }

    pub(super) fn refuse_directory(&self, lines: Vec<String>) {
        let active = self.current().ruleset.hash;
        tracing::error!(mistakes = lines.len(), %active, "the rules directory is refused; the old revision serves on");
        for line in &lines {
            tracing::error!("{line}");
        }
        self.note_refusal(lines);
    }

    /// Puts newly learned response rates into the snapshot, until the store closes.
    pub async fn follow_tallies(self: Arc<Self>) {
        let mut tallies = self.store.tallies();
        while tallies.changed().await.is_ok() {
            let latest = tallies.borrow_and_update().clone();
            if latest.version == self.snapshot.load().models.version {
                continue;
            }
            self.snapshot.rcu(|current| {
                let models = Arc::new(learn::response_rates(&latest, &current.ruleset));
                Arc::new(current.with_models(models))
            });
        }
    }
}

/// What became of a look at the files.
enum Taken {
    /// They were read whole, and published or refused.
    Whole,
    /// They changed while they were read.
    Moving,
}

/// The looks at a directory so far.
#[derive(Default)]
struct Looks {
    seen: Option<u64>,
    same: u32,
    taken: Option<u64>,
}

impl Looks {
    /// Whether what was seen now is new, and stood still long enough.
    fn settled(&mut self, now: u64) -> bool {
        self.same = if self.seen == Some(now) { self.same.saturating_add(1) } else { 0 };
        self.seen = Some(now);
        self.taken != Some(now) && self.same >= SETTLED_LOOKS
    }
}

/// Changes whenever a rule file below a directory is added, removed, replaced
/// or written, also behind symbolic links.
fn fingerprint(dir: &Path) -> u64 {
    let mut entries = Vec::new();
    collect(dir, 0, &mut entries);
    entries.sort();
    xxhash_rust::xxh3::xxh3_64(format!("{entries:?}").as_bytes())
}

/// A file: its path, device, number, length, and times of writing and change
/// in seconds and nanoseconds.
type Entry = (PathBuf, u64, u64, u64, [i64; 4]);

/// As the rules are read: hidden names are left out, links are followed.
fn collect(dir: &Path, depth: usize, entries: &mut Vec<Entry>) {
    let Ok(listing) = std::fs::read_dir(dir) else { return };
    for entry in listing.flatten() {
        let path = entry.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        let Ok(meta) = std::fs::metadata(&path) else { continue };
        if meta.is_dir() {
            if depth < DEPTH_MAX {
                collect(&path, depth + 1, entries);
            }
        } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            let times = [meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()];
            entries.push((path, meta.dev(), meta.ino(), meta.len(), times));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_taken_once_when_it_stood_still() {
        let mut looks = Looks::default();
        let mut looked = |what: &[u64]| -> Vec<bool> { what.iter().map(|now| looks.settled(*now)).collect() };
        assert_eq!(looked(&[1, 1, 1, 1]), [false, false, false, true]);
        // a write every other look is never settled
        assert_eq!(looked(&[2, 2, 3, 3, 4, 4, 5, 5]), [false; 8]);
        assert_eq!(looked(&[5, 5]), [false, true]);
        looks.taken = Some(5);
        assert!(!looks.settled(5) && !looks.settled(5));
    }

    #[test]
    fn a_swapped_link_is_seen_and_hidden_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for version in ["..one", "..two"] {
            std::fs::create_dir(path(version)).unwrap();
            std::fs::write(path(version).join("a.yaml"), "same").unwrap();
        }
        std::os::unix::fs::symlink("..one", path("..data")).unwrap();
        std::os::unix::fs::symlink("..data/a.yaml", path("a.yaml")).unwrap();
        let before = fingerprint(dir.path());
        std::fs::write(path("..two").join("b.yaml"), "unseen").unwrap();
        assert_eq!(fingerprint(dir.path()), before);
        std::os::unix::fs::symlink("..two", path("..next")).unwrap();
        std::fs::rename(path("..next"), path("..data")).unwrap();
        assert_ne!(fingerprint(dir.path()), before);
    }
}
