//! The rule files at hand, and when they are saved.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use crate::rules::{self, RuleErrors, SourceFile};

/// How often is looked for a save. Two looks must agree, so that half a save
/// is not taken for one.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Where rules are, and what is watched.
pub struct Saves {
    rules: PathBuf,
    watched: PathBuf,
    seen: Vec<Seen>,
}

/// A file as it was seen: path, bytes, time.
type Seen = (PathBuf, u64, Option<SystemTime>);

impl Saves {
    /// Of a watched file or directory and a rules directory.
    pub fn new(watch: Option<PathBuf>, rules: Option<PathBuf>) -> Self {
        let of_watch = || watch.clone().filter(|path| path.is_dir());
        let rules = rules.or_else(of_watch).unwrap_or_else(|| "rules".into());
        let watched = watch.unwrap_or_else(|| rules.clone());
        let mut saves = Self { rules, watched, seen: Vec::new() };
        saves.seen = saves.look();
        saves
    }

    /// The files as they are. A watched file outside of the directory stands
    /// for the one of its name, or is added.
    ///
    /// # Errors
    /// A file or the directory cannot be read.
    pub fn files(&self) -> Result<Vec<SourceFile>, RuleErrors> {
        let mut files = rules::read_dir(&self.rules)?;
        if self.watched.is_file() && !inside(&self.watched, &self.rules) {
            let edited = rules::read_file(&self.watched)?;
            let name = self.watched.file_name();
            match files.iter_mut().find(|file| Path::new(&*file.path).file_name() == name) {
                Some(file) => file.text = edited.text,
                None => files.push(edited),
            }
        }
        Ok(files)
    }

    /// Waits for a save.
    pub fn wait(&mut self) {
        loop {
            thread::sleep(LOOK_EVERY);
            let now = self.look();
            if now == self.seen {
                continue;
            }
            thread::sleep(LOOK_EVERY);
            if self.look() == now {
                self.seen = now;
                return;
            }
        }
    }

    fn look(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        collect(&self.watched, 0, &mut seen);
        seen.sort();
        seen
    }
}

/// Directories deeper than this are not looked at.
const DEPTH_MAX: usize = 16;

fn collect(path: &Path, depth: usize, seen: &mut Vec<Seen>) {
    let Ok(meta) = std::fs::metadata(path) else { return };
    if !meta.is_dir() {
        let rule = depth == 0 || path.extension().is_some_and(|e| e == "yaml" || e == "yml");
        if rule {
            seen.push((path.to_owned(), meta.len(), meta.modified().ok()));
        }
    } else if depth <= DEPTH_MAX
        && let Ok(listing) = std::fs::read_dir(path)
    {
        listing.flatten().for_each(|entry| collect(&entry.path(), depth + 1, seen));
    }
}

fn inside(file: &Path, dir: &Path) -> bool {
    match (file.canonicalize(), dir.canonicalize()) {
        (Ok(file), Ok(dir)) => file.starts_with(dir),
        _ => false,
    }
}
