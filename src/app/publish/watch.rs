//! The rules directory, looked at ten times a second. It behaves the same on
//! every filesystem and for the symbolic links that Kubernetes swaps.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    app::{App, AppError, gently},
    domain::{RevisionOrigin, RulesetHash},
    learn, rules,
};

use super::{
    Refusal, RevisionInfo,
    follow::{Directory, RefusedFiles},
    report::Change,
};

/// How often the rules directory is looked at.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// An edit counts as settled once so many looks after it found the same: 300 ms
/// without a write. Who writes more slowly must rename into place.
const SETTLED_LOOKS: u32 = 3;
/// What could not be looked at or taken, for want of a disk or a thread, is
/// tried again after this long.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Directories deeper than this are not looked at.
const DEPTH_MAX: usize = 16;
/// Who an edit of the directory is by.
const AUTHOR: &str = "directory";

impl App {
    /// Publishes every settled edit of a rules directory, for ever. The first
    /// look is compared by content, so that an edit during start-up is not
    /// missed.
    pub async fn watch_rules(self: Arc<Self>, dir: PathBuf) {
        let mut looks = Looks::default();
        loop {
            let looked_at = dir.clone();
            let Ok(now) = tokio::task::spawn_blocking(move || fingerprint(&looked_at)).await else {
                tokio::time::sleep(RETRY_AFTER).await;
                continue;
            };
            let mut pause = WATCH_EVERY;
            if looks.settled(now) {
                let (app, dir) = (Arc::clone(&self), dir.clone());
                match gently::run(move || app.take_directory(&dir, now)).await {
                    Some(Taken::Whole) => looks.taken = Some(now),
                    Some(Taken::Moving) => {}
                    Some(Taken::Failed) | None => pause = RETRY_AFTER,
                }
            }
            tokio::time::sleep(pause).await;
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
            // it may be the disk: reading it again costs little
            Err(errors) => {
                self.refuse_unreadable(Refusal::from(errors).0);
                Taken::Failed
            }
        }
    }

    /// Refuses a directory that cannot be read.
    pub(super) fn refuse_unreadable(&self, lines: Vec<String>) {
        self.directory().refused = None;
        self.refuse_directory(lines);
    }

    fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes the files of the directory, unless they are those taken last or
    /// would undo what a call made active since then.
    pub(super) fn take_files(&self, files: &[rules::SourceFile]) -> Taken {
        let hash = rules::hash_of(files);
        let active = self.current().ruleset.hash;
        let now = RefusedFiles { hash, against: active };
        let astray = self.astray(hash);
        let (taken, refused) = {
            let mut directory = self.directory();
            directory.read = Some(hash);
            directory.refused = directory.refused.filter(|refused| *refused == now);
            (directory.taken, directory.refused)
        };
        if taken == Some(hash) {
            self.note_refused(Vec::new());
            return Taken::Whole;
        }
        if hash != active && self.came_late(hash) {
            return Taken::Whole;
        }
        if let Some(line) = astray {
            self.refuse_directory(vec![line]);
            return Taken::Whole;
        }
        if refused.is_some() {
            return Taken::Whole;
        }
        let change = Change {
            author: AUTHOR.into(),
            comment: "".into(),
            origin: RevisionOrigin::Directory,
            force: None,
            // a call in between is not undone
            expected: Some(active),
        };
        let published = self.publish(files, &change);
        {
            let mut directory = self.directory();
            match &published {
                Ok(_) => {
                    directory.taken = Some(hash);
                    directory.elsewhere.clear();
                }
                Err(AppError::Refused(report)) => {
                    directory.refused = Some(RefusedFiles { hash, against: report.active.unwrap_or_default() });
                }
                Err(_) => {}
            }
        }
        match published {
            Ok(published) => {
                if published.changed {
                    tracing::info!(revision = %hash, "rules published");
                }
                Taken::Whole
            }
            Err(AppError::Refused(report)) => {
                self.refuse_directory(report.refusals());
                Taken::Whole
            }
            // a call was first: looked at again against what it made active
            Err(AppError::Aborted(_)) => Taken::Moving,
            Err(error) => {
                self.refuse_directory(vec![format!("keeping revision `{hash}`: {error}")]);
                Taken::Failed
            }
        }
    }

    /// Whether the files are a copy, come late, of what another replica published
    /// and something else followed: then they are no edit.
    fn came_late(&self, hash: RulesetHash) -> bool {
        let mut directory = self.directory();
        let late = directory.elsewhere.contains(&hash);
        if late {
            (directory.taken, directory.refused) = (Some(hash), None);
        }
        drop(directory);
        if late {
            tracing::warn!(revision = %hash, "the rules directory holds what another replica published before: it is not published again");
            self.note_refused(Vec::new());
            if let Err(error) = self.store.save_directory(hash) {
                tracing::warn!(revision = %hash, "remembering that the directory holds it: {error}");
            }
        }
        late
    }

    /// Tells why the directory is not served; the same lines only once.
    fn refuse_directory(&self, lines: Vec<String>) {
        let RevisionInfo { activation, refused, .. } = self.revision();
        if refused == lines {
            return;
        }
        let active = activation.hash;
        tracing::error!(mistakes = lines.len(), %active, "the rules directory is refused; the old revision serves on");
        for line in &lines {
            tracing::error!("{line}");
        }
        self.metrics.reloaded(lines.len());
        self.note_refused(lines);
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// They were read whole, and published or refused.
    Whole,
    /// They changed while they were read.
    Moving,
    /// They could not be read, or not be kept: try again.
    Failed,
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
        // A link that leads nowhere counts too: taking it away is an edit.
        let Ok(meta) = std::fs::metadata(&path) else {
            entries.push((path, 0, 0, 0, [0; 4]));
            continue;
        };
        if meta.is_dir() {
            if depth < DEPTH_MAX {
                collect(&path, depth + 1, entries);
            }
        } else if meta.is_file() && path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
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
        let after = fingerprint(dir.path());
        assert_ne!(after, before);
        // what leads nowhere counts, what is no regular file does not
        let _listener = std::os::unix::net::UnixListener::bind(path("c.yaml")).unwrap();
        assert_eq!(fingerprint(dir.path()), after);
        std::os::unix::fs::symlink("nowhere", path("d.yaml")).unwrap();
        assert_ne!(fingerprint(dir.path()), after);
    }
}
