//! YAML text in, a tree of located values out: the only file of the room that
//! knows serde. Nothing is interpreted here, so that one pass over the tree can
//! report every mistake with its place.

use std::{fmt, sync::Arc};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{
    Spanned,
    options::{AliasLimits, DuplicateKeyPolicy},
};

use super::{Position, RuleError, SourceFile};

/// Largest rule file, bytes.
pub const FILE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Deepest nesting of a rule file.
pub const DEPTH_MAX: usize = 24;
/// Most values in a rule file.
pub const NODES_MAX: usize = 8_000_000;
/// Most values that aliases may repeat in a rule file.
pub const ALIAS_NODES_MAX: usize = 20_000;

/// Line and column of a value, from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mark {
    /// Index of the file.
    pub file: u32,
    /// Line from 1.
    pub line: u32,
    /// Column from 1, in characters.
    pub column: u32,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub mark: Mark,
    /// What it is.
    pub kind: Kind,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number, always finite.
    Float(f64),
    /// Text.
    Text(Arc<str>),
    /// A list.
    List(Vec<Node>),
    /// A map in the order of the file; keys may repeat.
    Map(Vec<(Key, Node)>),
}

/// A key of a map and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Where it begins.
    pub mark: Mark,
    /// Its text.
    pub text: Arc<str>,
}

impl Kind {
    /// What it is, in words for messages.
    pub fn describe(&self) -> String {
        match self {
            Kind::Null => "nothing".into(),
            Kind::Bool(value) => format!("`{value}`"),
            Kind::Int(value) => format!("the number `{value}`"),
            Kind::Float(value) => format!("the number `{value}`"),
            Kind::Text(value) if value.chars().count() > 40 => "text".into(),
            Kind::Text(value) => format!("the text `{}`", value.escape_debug()),
            Kind::List(_) => "a list".into(),
            Kind::Map(_) => "a map".into(),
        }
    }
}

fn mark_of(location: serde_saphyr::Location) -> Mark {
    let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Mark { file: 0, line: small(location.line()), column: small(location.column()) }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Kind>::deserialize(deserializer)?;
        Ok(Node { mark: mark_of(spanned.referenced), kind: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(KindVisitor)
    }
}

struct KindVisitor;

impl<'de> Visitor<'de> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_none<E>(self) -> Result<Kind, E> {
        Ok(Kind::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Kind, E> {
        Ok(Kind::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Kind, E> {
        Ok(Kind::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Kind, E> {
        Ok(i64::try_from(value).map_or(Kind::Float(value as f64), Kind::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Kind, E> {
        Ok(Kind::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Kind, E> {
        Ok(Kind::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Kind, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = seq.next_element::<Node>()? {
            nodes.push(node);
        }
        Ok(Kind::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Kind, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let key = Key { mark: mark_of(key.referenced), text: key.value.into() };
            entries.push((key, map.next_value::<Node>()?));
        }
        Ok(Kind::Map(entries))
    }
}

/// Reads one file into its documents' trees.
///
/// # Errors
/// What keeps it from being YAML, or a limit it breaks.
pub fn parse(index: u32, file: &SourceFile) -> Result<Node, RuleError> {
    let at = |line, column| Position { path: file.path.clone(), line, column };
    if file.text.len() > FILE_BYTES_MAX {
        let message = format!(
            "the file has {} bytes, at most {FILE_BYTES_MAX} are read: split it into several files",
            file.text.len()
        );
        return Err(RuleError { position: at(1, 1), message, snippet: String::new() });
    }
    match serde_saphyr::from_str_with_options::<Node>(&file.text, options(DEPTH_MAX)) {
        Ok(mut node) => {
            place(&mut node, (index, 0));
            Ok(node)
        }
        Err(error) => {
            let mark = error.location().map(mark_of).unwrap_or_default();
            let position = at(mark.line.max(1), mark.column.max(1));
            let text = error.without_snippet().to_string();
            let message = format!("the file is not valid YAML: {}", one_line(&text));
            let snippet = super::report::snippet(&file.text, &position);
            Err(RuleError { position, message, snippet })
        }
    }
}

/// Reads the lines of one item of a top-level list, from a line of its file;
/// answers how many values and keys it has too. `None` when they are not YAML,
/// or not one item, or break a limit.
pub fn parse_item(index: u32, text: &str, first_line: u32) -> Option<(Node, usize)> {
    // In its file the item is one level deeper.
    let node = serde_saphyr::from_str_with_options::<Node>(text, options(DEPTH_MAX - 1)).ok()?;
    let Kind::List(items) = node.kind else { return None };
    let [mut item]: [Node; 1] = items.try_into().ok()?;
    let count = place(&mut item, (index, first_line.saturating_sub(1)));
    Some((item, count))
}

/// Reads a file without its offers; answers how many values and keys it has too.
/// `None` when it is not YAML, or breaks a limit.
pub fn parse_rest(index: u32, text: &str) -> Option<(Node, usize)> {
    let mut node = serde_saphyr::from_str_with_options::<Node>(text, options(DEPTH_MAX)).ok()?;
    let count = place(&mut node, (index, 0));
    Some((node, count))
}

fn options(depth_max: usize) -> serde_saphyr::Options {
    let mut limits = AliasLimits::default();
    limits.max_total_replayed_events = ALIAS_NODES_MAX;
    limits.max_replay_stack_depth = DEPTH_MAX;
    let mut budget = serde_saphyr::Budget::default();
    budget.max_depth = depth_max;
    budget.flow_nesting_limit = DEPTH_MAX * 2;
    budget.max_nodes = NODES_MAX;
    budget.max_events = 2 * NODES_MAX;
    budget.max_documents = 1;
    let mut options = serde_saphyr::Options::default();
    options.budget = Some(budget);
    options.alias_limits = limits;
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.strict_booleans = true;
    options.reject_unsupported_tags = true;
    options.with_snippet = false;
    options
}

/// The first line of a parser's message, lower-cased at the start, without the
/// place (it is given apart) and the full stop.
fn one_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().trim().trim_end_matches('.');
    let line = line.split(" at line ").next().unwrap_or(line);
    if line.contains("budget breached: Documents") {
        return "a file holds one document: remove `---`".into();
    }
    if let Some(limit) = limit_broken(line) {
        return limit;
    }
    let mut letters = line.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => "it cannot be read".into(),
    }
}

/// What a broken limit of the parser means.
fn limit_broken(line: &str) -> Option<String> {
    let flow = DEPTH_MAX * 2;
    let told: [(&str, String); 7] = [
        ("budget breached: Depth", format!("it is nested more than {DEPTH_MAX} deep")),
        ("budget breached: Flow", format!("its brackets are nested more than {flow} deep")),
        ("budget breached: Nodes", format!("it has more than {NODES_MAX} values: split it into several files")),
        ("budget breached: Events", format!("it has more than {NODES_MAX} values: split it into several files")),
        ("budget breached", "it breaks a limit of the reader: split it into several files".into()),
        (
            "alias replay",
            format!("its aliases repeat more than {ALIAS_NODES_MAX} values, or stand too deep in each other"),
        ),
        ("recursive references", "an alias stands inside what it stands for: write the values out".into()),
    ];
    told.into_iter().find(|(begin, _)| line.contains(begin)).map(|(_, told)| told)
}

/// Sets the file of every mark and moves it down by some lines; answers how many
/// values and keys there are.
// INVARIANT: the depth of the tree is at most DEPTH_MAX, which bounds the recursion.
pub fn place(node: &mut Node, to: (u32, u32)) -> usize {
    let set = |mark: &mut Mark| (mark.file, mark.line) = (to.0, mark.line.saturating_add(to.1));
    set(&mut node.mark);
    let mut count = 1;
    match &mut node.kind {
        Kind::List(nodes) => count += nodes.iter_mut().map(|node| place(node, to)).sum::<usize>(),
        Kind::Map(entries) => {
            for (key, value) in entries {
                set(&mut key.mark);
                count += 1 + place(value, to);
            }
        }
        _ => {}
    }
    count
}
