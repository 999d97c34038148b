//! What differs between two revisions: file by file, and offer by offer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use similar::TextDiff;

use crate::rules::{Offer, Ruleset, SourceFile};

/// Lines shown around a change.
const CONTEXT_LINES: usize = 3;
/// How long one file is compared exactly; then more lines count as changed
/// than need be.
const FILE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long all files are compared; those after that are named without their
/// differences.
const FILES_TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of all differences; the files beyond are named without theirs.
pub const DIFF_BYTES_MAX: usize = 16 << 20;

/// What differs between two revisions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevisionDiff {
    /// Files that differ, by path below the directory they share.
    pub files: Vec<FileDiff>,
    /// Offers that only the later one has.
    pub offers_added: Vec<Arc<str>>,
    /// Offers that only the earlier one has.
    pub offers_removed: Vec<Arc<str>>,
    /// Offers whose text differs. What they refer to counts for itself.
    pub offers_changed: Vec<Arc<str>>,
}

/// What differs in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileDiff {
    /// Its path.
    pub path: String,
    /// What became of it.
    pub change: FileChange,
    /// A unified diff.
    pub unified: String,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileChange {
    /// Only the later revision has it.
    Added,
    /// Only the earlier revision has it.
    Removed,
    /// Both have it, with other text.
    Changed,
}

/// Files that differ.
pub(super) fn files(from: &[SourceFile], to: &[SourceFile]) -> Vec<FileDiff> {
    files_within(from, to, Room { time: FILES_TIMEOUT, bytes: DIFF_BYTES_MAX })
}

/// What the differences of all files may take.
#[derive(Clone, Copy)]
struct Room {
    time: Duration,
    bytes: usize,
}

fn files_within(from: &[SourceFile], to: &[SourceFile], room: Room) -> Vec<FileDiff> {
    let started = Instant::now();
    let (from, to) = (relative(from), relative(to));
    let paths: BTreeSet<&str> = from.keys().chain(to.keys()).copied().collect();
    let (mut diffs, mut bytes) = (Vec::new(), 0);
    for path in paths {
        let (change, before, after) = match (from.get(path), to.get(path)) {
            (Some(before), Some(after)) if before == after => continue,
            (Some(before), Some(after)) => (FileChange::Changed, *before, *after),
            (Some(before), None) => (FileChange::Removed, *before, ""),
            (None, Some(after)) => (FileChange::Added, "", *after),
            (None, None) => continue,
        };
        let left = room.time.saturating_sub(started.elapsed());
        let told = (!left.is_zero()).then(|| unified(path, (before, after), left.min(FILE_TIMEOUT)));
        let unified = match told {
            Some(told) if bytes + told.len() <= room.bytes => {
                bytes += told.len();
                told
            }
            Some(_) => format!("the differences have more than {} bytes: get both revisions\n", room.bytes),
            None => format!("comparing took longer than {} s: get both revisions\n", room.time.as_secs()),
        };
        diffs.push(FileDiff { path: path.to_owned(), change, unified });
    }
    diffs
}

fn unified(path: &str, (before, after): (&str, &str), timeout: Duration) -> String {
    let diff = TextDiff::configure().timeout(timeout).diff_lines(before, after);
    let (from, to) = (format!("a/{path}"), format!("b/{path}"));
    diff.unified_diff().context_radius(CONTEXT_LINES).header(&from, &to).to_string()
}

/// Texts by path below the directory that all files share, as the hash of a
/// revision names them.
fn relative(files: &[SourceFile]) -> BTreeMap<&str, &str> {
    let shared = shared_directory(files);
    files.iter().map(|file| (&file.path[shared..], &*file.text)).collect()
}

/// Bytes of the longest directory prefix that all paths share.
pub(crate) fn shared_directory(files: &[SourceFile]) -> usize {
    let Some((first, rest)) = files.split_first() else { return 0 };
    let mut shared = first.path.rfind('/').map_or(0, |at| at + 1);
    while !rest.iter().all(|file| file.path.starts_with(&first.path[..shared])) {
        shared = first.path[..shared].trim_end_matches('/').rfind('/').map_or(0, |at| at + 1);
    }
    shared
}

/// Offers that differ.
pub(super) fn offers(from: &Ruleset, to: &Ruleset, files: Vec<FileDiff>) -> RevisionDiff {
    let (before, after) = (texts(from), texts(to));
    let only = |these: &BTreeMap<Arc<str>, String>, those: &BTreeMap<Arc<str>, String>| {
        these.keys().filter(|id| !those.contains_key(*id)).cloned().collect()
    };
    let changed = before.iter().filter(|(id, text)| after.get(*id).is_some_and(|other| other != *text));
    RevisionDiff {
        files,
        offers_added: only(&after, &before),
        offers_removed: only(&before, &after),
        offers_changed: changed.map(|(id, _)| Arc::clone(id)).collect(),
    }
}

/// The text of every offer, by id.
fn texts(ruleset: &Ruleset) -> BTreeMap<Arc<str>, String> {
    let lines: BTreeMap<&str, Vec<&str>> =
        ruleset.sources.iter().map(|file| (&*file.path, file.text.lines().collect())).collect();
    let text = |offer: &Offer| {
        let lines = lines.get(&*offer.position.path).map(Vec::as_slice).unwrap_or_default();
        block(lines, offer.position.line, offer.position.column)
    };
    ruleset.offers.iter().map(|offer| (Arc::clone(&offer.name_id), text(offer))).collect()
}

/// The lines of a YAML value that begins at a line and a column, both from 1:
/// up to the next line that is indented less.
fn block(lines: &[&str], line: u32, column: u32) -> String {
    let (line, indent) = (line.saturating_sub(1) as usize, column.saturating_sub(1) as usize);
    let Some((first, rest)) = lines.get(line..).and_then(<[&str]>::split_first) else { return String::new() };
    let begin = first.char_indices().nth(indent).map_or(first.len(), |(at, _)| at);
    let mut text = first[begin..].to_owned();
    for line in rest {
        let letters = line.trim_start_matches(' ');
        let inside = letters.is_empty() || line.len() - letters.len() >= indent;
        if !inside {
            break;
        }
        text.push('\n');
        // moved to another depth it is the same
        text.push_str(line.get(indent..).unwrap_or_default());
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.into(), text: text.into() }
    }

    #[test]
    fn files_are_compared_below_the_directory_they_share() {
        let before = [file("rules/a.yaml", "one\ntwo\n"), file("rules/b.yaml", "same\n"), file("rules/c.yaml", "x\n")];
        let after = [file("a.yaml", "one\n2\n"), file("b.yaml", "same\n"), file("d/e.yaml", "y\n")];
        let diffs = files(&before, &after);
        let told: Vec<_> = diffs.iter().map(|diff| (&*diff.path, diff.change)).collect();
        assert_eq!(
            told,
            [("a.yaml", FileChange::Changed), ("c.yaml", FileChange::Removed), ("d/e.yaml", FileChange::Added)]
        );
        assert_eq!(diffs[0].unified, "--- a/a.yaml\n+++ b/a.yaml\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n");
    }

    #[test]
    fn what_takes_too_long_or_too_much_is_only_named() {
        let (before, after) = ([file("a.yaml", "one\n"), file("b.yaml", "1\n")], [file("a.yaml", "two\n")]);
        let late = files_within(&before, &after, Room { time: Duration::ZERO, bytes: DIFF_BYTES_MAX });
        assert!(late.len() == 2 && late.iter().all(|diff| diff.unified.starts_with("comparing took")), "{late:?}");
        let small = files_within(&before, &after, Room { time: FILES_TIMEOUT, bytes: 60 });
        assert!(small[0].unified.contains("+two") && small[1].unified.contains("more than 60 bytes"), "{small:?}");
    }

    #[test]
    fn an_offer_ends_where_the_next_begins() {
        let lines: Vec<&str> =
            "offers:\n  - id: a\n    value: 1\n\n    text: b\n  - id: c\n  - { id: d, value: 2 }\nnext: 1"
                .lines()
                .collect();
        assert_eq!(block(&lines, 2, 5), "id: a\nvalue: 1\n\ntext: b");
        assert_eq!(block(&lines, 6, 5), "id: c");
        assert_eq!(block(&lines, 7, 5), "{ id: d, value: 2 }");
        assert_eq!(block(&lines, 99, 1), "");
    }
}
