//! The rules of the house, as far as text can tell: import arrows, what pure
//! rooms must not do, sizes of files and functions, words that must not stand.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::harness::repository;

/// Most lines of a file, tests not counted.
const FILE_LINES_MAX: usize = 400;
/// Most lines of a function.
const FUNCTION_LINES_MAX: usize = 70;
/// Most lines of `ARCHITECTURE.md`.
const ARCHITECTURE_LINES_MAX: usize = 150;

/// The rooms and what each may import.
const ARROWS: [(&str, &[&str]); 14] = [
    ("domain", &[]),
    ("customer", &["domain"]),
    ("rules", &["domain"]),
    ("predict", &["domain"]),
    ("decide", &["rules", "predict", "customer", "domain"]),
    ("learn", &["rules", "predict", "customer", "domain"]),
    ("campaign", &["rules", "predict", "customer", "domain"]),
    ("store", &["rules", "predict", "customer", "domain", "telemetry"]),
    ("telemetry", &["domain"]),
    ("app", &["decide", "learn", "campaign", "store", "rules", "predict", "customer", "domain", "telemetry"]),
    ("grpc", &["app", "decide", "store", "rules", "predict", "customer", "domain", "telemetry", "proto"]),
    ("http", &["app", "grpc", "decide", "store", "rules", "predict", "customer", "domain", "telemetry", "proto"]),
    ("config", &["domain"]),
    ("proto", &[]),
];
/// Rooms without clock, randomness, locks, logging, async; and all but the
/// rules without files.
const PURE: [&str; 5] = ["domain", "customer", "rules", "predict", "decide"];
const BANNED_IN_PURE: [&str; 21] = [
    "Instant",
    "SystemTime",
    "Timestamp::now",
    "Zoned::now",
    "getrandom",
    "thread_rng",
    "Mutex",
    "RwLock",
    "std::fs",
    "std::net",
    "std::env",
    "std::thread",
    "tokio",
    "tracing",
    "metrics::",
    "println!",
    "eprintln!",
    "async fn",
    "async move",
    ".await",
    "dashmap",
];
const BANNED_EVERYWHERE: [&str; 9] =
    [".unwrap()", ".expect(", "panic!(", "todo!(", "unreachable!(", "unimplemented!(", "unsafe ", "dbg!(", "#[ignore"];
const BANNED_NOTES: [&str; 3] = ["TODO", "FIXME", "XXX:"];
/// The only file where a metric's name may stand.
const METRIC_NAMES: &str = "telemetry/names.rs";

/// A source file.
struct Source {
    /// Path below `src/`.
    path: String,
    /// Its lines without tests, comments emptied.
    code: Vec<String>,
    /// Its lines without tests, as they stand.
    lines: Vec<String>,
}

impl Source {
    /// The room: the first part of the path, without `.rs`.
    fn room(&self) -> &str {
        let first = self.path.split('/').next().unwrap_or_default();
        first.strip_suffix(".rs").unwrap_or(first)
    }
}

fn walk(dir: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.map(|e| e.expect("an entry").path()) {
        if entry.is_dir() {
            walk(&entry, files);
        } else if entry.extension().is_some_and(|e| e == "rs") {
            files.push(entry);
        }
    }
}

/// Every file of `src/` but test modules.
fn sources() -> Vec<Source> {
    let root = repository().join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files.sort();
    let mut sources = Vec::new();
    for file in files {
        let path = file.strip_prefix(&root).expect("below src").to_string_lossy().replace('\\', "/");
        if path.ends_with("tests.rs") || path.contains("/tests/") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file");
        let lines = without_tests(&text);
        let code = lines.iter().map(|line| without_comment(line)).collect();
        sources.push(Source { path, code, lines });
    }
    assert!(sources.len() > 20, "only {} files found below {}", sources.len(), root.display());
    sources
}

/// Leaves out every item under `#[cfg(test)]`, to its closing brace or semicolon.
fn without_tests(text: &str) -> Vec<String> {
    let mut kept = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push(line.to_owned());
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        for inner in lines.by_ref() {
            let at_level = inner.len() - inner.trim_start().len() == indent;
            let ends = inner.trim_end();
            let attribute = inner.trim_start().starts_with("#[");
            if at_level && !attribute && (ends.trim() == "}" || ends.ends_with(';') || ends.ends_with("{}")) {
                break;
            }
        }
    }
    kept
}

/// The line without its comment and without the insides of its strings.
fn without_comment(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut chars = line.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => {
                chars.next();
            }
            '\'' if !quoted && chars.peek() == Some(&'"') => {
                chars.next();
            }
            '"' => {
                quoted = !quoted;
                out.push('"');
            }
            '/' if !quoted && chars.peek() == Some(&'/') => return out,
            _ if quoted => {}
            _ => out.push(c),
        }
    }
    out
}

/// Fails with every finding at once.
fn none(findings: Vec<String>) {
    assert!(findings.is_empty(), "{} findings:\n{}", findings.len(), findings.join("\n"));
}

/// Findings of lines that contain a word.
fn find(source: &Source, words: &[&str]) -> Vec<String> {
    let mut findings = Vec::new();
    for (at, line) in source.code.iter().enumerate() {
        for word in words.iter().filter(|w| contains_word(line, w)) {
            findings.push(format!("src/{} `{word}`: {}", source.path, source.lines[at].trim()));
        }
    }
    findings
}

/// Whether a word stands in the line, not as the end of a longer name.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !word.starts_with(|c: char| c.is_alphanumeric()) || !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// The rooms named after `crate::` in the file, single or in a list.
fn imports(source: &Source) -> Vec<String> {
    let text = source.code.join("\n");
    let mut rooms = Vec::new();
    for (at, found) in text.match_indices("crate::") {
        let rest = &text[at + found.len()..];
        match rest.strip_prefix('{') {
            Some(list) => rooms.extend(first_names(list)),
            None => rooms.push(name_at(rest)),
        }
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

/// The first name of each entry of a `use` list, nested lists skipped.
fn first_names(list: &str) -> Vec<String> {
    let (mut depth, mut fresh, mut names) = (0, true, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => fresh = true,
            c if depth == 0 && fresh && !c.is_whitespace() => {
                names.push(name_at(&list[at..]));
                fresh = false;
            }
            _ => {}
        }
    }
    names
}

fn name_at(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

#[test]
fn imports_run_one_way() {
    let known: Vec<&str> = ARROWS.iter().map(|(room, _)| *room).chain(["cli", "server"]).collect();
    let mut findings = Vec::new();
    for source in sources() {
        let Some((_, allowed)) = ARROWS.iter().find(|(room, _)| *room == source.room()) else { continue };
        for import in imports(&source) {
            let arrow = import == source.room() || allowed.contains(&import.as_str());
            if known.contains(&import.as_str()) && !arrow {
                findings.push(format!("src/{} imports `{import}`", source.path));
            }
        }
    }
    none(findings);
}

/// What a pure room may all the same: rules read files, and deep rule text is
/// parsed on a stack of its own.
fn is_granted(source: &Source, word: &str) -> bool {
    let parser = source.path.ends_with("rules/condition/syntax.rs") && word == "std::thread";
    parser || source.room() == "rules" && word == "std::fs"
}

#[test]
fn pure_rooms_are_pure() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|s| PURE.contains(&s.room())) {
        let banned: Vec<&str> = BANNED_IN_PURE.into_iter().filter(|word| !is_granted(source, word)).collect();
        findings.extend(find(source, &banned));
    }
    none(findings);
}

#[test]
fn nothing_gives_up() {
    none(sources().iter().flat_map(|source| find(source, &BANNED_EVERYWHERE)).collect());
}

#[test]
fn nothing_is_left_for_later() {
    let mut findings = Vec::new();
    for source in sources() {
        for line in &source.lines {
            if BANNED_NOTES.iter().any(|note| line.contains(note)) {
                findings.push(format!("src/{}: {}", source.path, line.trim()));
            }
        }
    }
    none(findings);
}

#[test]
fn files_are_short() {
    let long = sources().into_iter().filter(|s| s.lines.len() > FILE_LINES_MAX);
    none(long.map(|s| format!("src/{} has {} lines", s.path, s.lines.len())).collect());
}

#[test]
fn functions_are_short() {
    let mut findings = Vec::new();
    for source in sources() {
        let mut start: Option<(usize, usize, &str)> = None;
        for (at, line) in source.code.iter().enumerate() {
            let trimmed = line.trim_start();
            let indent = line.len() - trimmed.len();
            let begins = ["fn ", "pub fn ", "async fn ", "pub async fn ", "pub(crate) fn ", "pub(super) fn "]
                .iter()
                .any(|head| trimmed.starts_with(head));
            if begins && start.is_none() && !trimmed.ends_with(';') {
                start = Some((at, indent, trimmed));
            }
            let Some((from, level, name)) = start else { continue };
            let ends = indent == level && trimmed.starts_with('}') || at == from && trimmed.ends_with('}');
            if ends {
                if at - from + 1 > FUNCTION_LINES_MAX {
                    findings.push(format!("src/{}:{} {} lines: {name}", source.path, from + 1, at - from + 1));
                }
                start = None;
            }
        }
    }
    none(findings);
}

#[test]
fn public_items_must_be_documented() {
    let library = fs::read_to_string(repository().join("src/lib.rs")).expect("src/lib.rs");
    assert!(library.contains("#![warn(missing_docs)]"), "src/lib.rs lacks `#![warn(missing_docs)]`");
    let forbids = library.contains("#![forbid(unsafe_code)]")
        || fs::read_to_string(repository().join("Cargo.toml")).expect("Cargo.toml").contains("unsafe_code");
    assert!(forbids, "src/lib.rs lacks `#![forbid(unsafe_code)]`");
}

#[test]
fn metric_names_stand_in_one_file() {
    let mut findings = Vec::new();
    for source in sources().iter().filter(|s| s.path != METRIC_NAMES) {
        for (line, code) in source.lines.iter().zip(&source.code) {
            // the quotes survive in the code, so that a comment does not count
            if code.contains('"') && line.contains("\"rapport_") && !line.contains("rapport_descriptor") {
                findings.push(format!("src/{}: {}", source.path, line.trim()));
            }
        }
    }
    none(findings);
}

#[test]
fn the_architecture_fits_in_a_head() {
    let Ok(text) = fs::read_to_string(repository().join("ARCHITECTURE.md")) else { return };
    let lines = text.lines().count();
    assert!(lines <= ARCHITECTURE_LINES_MAX, "ARCHITECTURE.md has {lines} lines");
}

/// The text files of the repository that are not source of `src/`.
fn documents() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let here = fs::read_dir(repository()).expect("the repository").flatten().map(|entry| entry.path());
    files.extend(here.filter(|path| path.is_file()));
    for dir in [".ci", "benches", "docs", "examples", "fuzz", "proto", "rules", "tests"] {
        walk_all(&repository().join(dir), &mut files);
    }
    files
}

fn walk_all(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true if ["target", "node_modules", "corpus"].iter().any(|name| path.ends_with(name)) => {}
            true => walk_all(&path, files),
            false => files.push(path),
        }
    }
}

#[test]
fn no_mark_of_a_merge_is_left() {
    let mut findings = Vec::new();
    let mut look = |path: &Path, text: &str| {
        let marks = text.lines().filter(|line| line.starts_with("<<<<<<< ") || line.starts_with(">>>>>>> "));
        findings.extend(marks.map(|mark| format!("{}: {mark}", path.display())));
    };
    let documents = documents();
    assert!(documents.iter().any(|path| path.ends_with("README.md")) && documents.len() > 50);
    documents.iter().filter_map(|path| Some((path, fs::read_to_string(path).ok()?))).for_each(|(p, t)| look(p, &t));
    sources().iter().for_each(|source| look(Path::new(&source.path), &source.lines.join("\n")));
    none(findings);
}

#[test]
fn the_checks_find_what_they_look_for() {
    let source = |text: &str| {
        let lines = without_tests(text);
        let code = lines.iter().map(|line| without_comment(line)).collect();
        Source { path: "decide/x.rs".to_owned(), code, lines }
    };
    let bad = source("use crate::{\n    app::App,\n    domain::{Event, store},\n};\nfn f() { x.unwrap(); }");
    assert_eq!(imports(&bad), ["app", "domain"]);
    assert_eq!(find(&bad, &BANNED_EVERYWHERE).len(), 1);
    let good =
        source("// x.unwrap()\nlet s = \".unwrap() Mutex\";\n#[cfg(test)]\nmod tests {\n    x.unwrap();\n}\nfn g() {}");
    assert!(find(&good, &BANNED_EVERYWHERE).is_empty());
    assert!(find(&good, &BANNED_IN_PURE).is_empty());
    assert_eq!(good.lines.last().map(String::as_str), Some("fn g() {}"));
    assert_eq!(find(&source("let at = Instant::now();"), &BANNED_IN_PURE).len(), 1);
}
