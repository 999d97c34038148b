//! Where mistakes are collected: every one with its place and the line it is in.

use std::{cell::OnceCell, collections::BTreeSet, sync::Arc};

use super::{
    Position, RuleError, RuleErrors, SourceFile,
    compile_env::Origin,
    source::{FILE_BYTES_MAX, Kind, Mark, Node},
};

/// Most mistakes that are told at once.
pub const ERRORS_MAX: usize = 1_000;
/// Longest source line that is shown, characters.
const SNIPPET_CHARS_MAX: usize = 160;

/// The files and what is wrong with them.
#[derive(Debug)]
pub struct Report<'a> {
    files: &'a [SourceFile],
    /// Byte offset of every line's begin, per file; worked out when first asked for.
    lines: Vec<OnceCell<Vec<u32>>>,
    /// The lines of a file that are being looked at alone.
    part: Option<Part>,
    errors: Vec<RuleError>,
    /// Nouns of which a declaration could not be read: what seems unknown may
    /// be declared there, so that it is not told.
    incomplete: BTreeSet<Noun>,
}

/// Lines of a file.
#[derive(Clone, Debug)]
pub struct Part {
    /// Index of the file.
    pub file: u32,
    /// The first line, from 1.
    pub first_line: u32,
    /// How many lines.
    pub lines: u32,
    /// Their text.
    pub source: Arc<str>,
}

/// What a name in a rule file may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Noun {
    /// An identity type.
    Identity,
    /// An event type.
    Event,
    /// A stored attribute.
    Attribute,
    /// A context attribute.
    Context,
    /// A computed attribute.
    Trait,
    /// A segment.
    Segment,
    /// A macro.
    Macro,
    /// A channel.
    Channel,
    /// A placement.
    Placement,
    /// An issue.
    Issue,
    /// A group.
    Group,
    /// A contact limit.
    Limit,
    /// A decline reason.
    DeclineReason,
    /// A data field of a placement.
    DataField,
    /// An offer.
    Offer,
    /// The settings.
    Settings,
}

impl Noun {
    /// Every noun.
    pub const ALL: [Noun; 16] = [
        Noun::Identity,
        Noun::Event,
        Noun::Attribute,
        Noun::Context,
        Noun::Trait,
        Noun::Segment,
        Noun::Macro,
        Noun::Channel,
        Noun::Placement,
        Noun::Issue,
        Noun::Group,
        Noun::Limit,
        Noun::DeclineReason,
        Noun::DataField,
        Noun::Offer,
        Noun::Settings,
    ];

    /// Its name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Noun::Identity => "identity type",
            Noun::Event => "event",
            Noun::Attribute => "stored attribute",
            Noun::Context => "context attribute",
            Noun::Trait => "trait",
            Noun::Segment => "segment",
            Noun::Macro => "macro",
            Noun::Channel => "channel",
            Noun::Placement => "placement",
            Noun::Issue => "issue",
            Noun::Group => "group",
            Noun::Limit => "limit",
            Noun::DeclineReason => "decline reason",
            Noun::DataField => "data field",
            Noun::Offer => "offer",
            Noun::Settings => "settings",
        }
    }
}

impl<'a> Report<'a> {
    /// Nothing is wrong yet. Marks index into these files, which are sorted by path.
    pub fn new(files: &'a [SourceFile]) -> Self {
        let lines = files.iter().map(|_| OnceCell::new()).collect();
        Self { files, lines, part: None, errors: Vec::new(), incomplete: BTreeSet::new() }
    }

    /// Looks at lines of a file alone, or at whole files again: places in them
    /// are found without walking through the rest of the file.
    pub fn look_at(&mut self, part: Option<Part>) {
        self.part = part;
    }

    /// Whether every declaration of everything was read so far.
    pub fn is_complete(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// How many mistakes are noted so far.
    pub fn count(&self) -> usize {
        self.errors.len()
    }

    /// Notes that a declaration of the noun could not be read.
    pub fn lose(&mut self, noun: Noun) {
        self.incomplete.insert(noun);
    }

    /// Whether every declaration of the noun was read.
    pub fn knows_all(&self, noun: Noun) -> bool {
        !self.incomplete.contains(&noun)
    }

    /// Whether everything was read that conditions and templates can name.
    pub fn knows_schema(&self) -> bool {
        let named =
            [Noun::Event, Noun::Attribute, Noun::Context, Noun::Trait, Noun::Segment, Noun::Macro, Noun::Settings];
        named.into_iter().all(|noun| self.knows_all(noun))
    }

    /// The place of a mark.
    pub fn position(&self, mark: Mark) -> Position {
        let path = self.files.get(mark.file as usize).map_or_else(|| Arc::from(""), |file| file.path.clone());
        Position { path, line: mark.line, column: mark.column }
    }

    /// Notes a mistake at a place.
    pub fn error(&mut self, mark: Mark, message: impl Into<String>) {
        if self.errors.len() >= 2 * ERRORS_MAX {
            return;
        }
        let position = self.position(mark);
        let snippet = snippet_of(self.rest_of_file(mark.file, mark.line), mark.line, mark.column);
        self.errors.push(RuleError { position, message: message.into(), snippet });
    }

    /// Whether nothing is wrong so far.
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    /// Notes mistakes with their places; they are shown like all others.
    pub fn extend(&mut self, errors: Vec<RuleError>) {
        for mut error in errors {
            let RuleError { position, snippet, .. } = &mut error;
            if let Ok(file) = self.files.binary_search_by(|file| file.path.cmp(&position.path)) {
                *snippet = snippet_of(self.rest_of_file(file as u32, position.line), position.line, position.column);
            }
            self.errors.push(error);
        }
    }

    /// Ends with every mistake, sorted by place, each once.
    ///
    /// # Errors
    /// When there is at least one mistake.
    pub fn finish(self) -> Result<(), RuleErrors> {
        let mut errors = self.errors;
        if errors.is_empty() {
            return Ok(());
        }
        let key = |e: &RuleError| (e.position.path.clone(), e.position.line, e.position.column, e.message.clone());
        errors.sort_by_cached_key(key);
        errors.dedup();
        errors.truncate(ERRORS_MAX);
        Err(RuleErrors { errors })
    }

    /// Where the content of a text value begins, and whether its columns are exact.
    pub fn origin(&self, node: &Node) -> Origin {
        let whole = || self.files.get(node.mark.file as usize).map_or_else(|| Arc::from(""), |file| file.text.clone());
        let holds = |part: &&Part| {
            part.file == node.mark.file && (part.first_line..part.first_line + part.lines).contains(&node.mark.line)
        };
        let part = self.part.as_ref().filter(holds);
        let (source, first_line) = part.map_or_else(|| (whole(), 1), |part| (part.source.clone(), part.first_line));
        let line = self.rest_of_file(node.mark.file, node.mark.line).lines().next().unwrap_or_default();
        let text = if let Kind::Text(text) = &node.kind { text } else { "" };
        let (skipped, exact_columns) = content_start(line, node.mark, text);
        let mut position = self.position(node.mark);
        position.column += skipped;
        Origin { position, source, first_line, exact_columns }
    }

    /// The text of a file from the begin of a line (from 1).
    fn rest_of_file(&self, file: u32, line: u32) -> &'a str {
        let Some(source) = self.files.get(file as usize) else { return "" };
        let Some(lines) = self.lines.get(file as usize) else { return "" };
        let starts = lines.get_or_init(|| line_starts(&source.text));
        let start = starts.get((line.max(1) - 1) as usize).copied().unwrap_or(source.text.len() as u32);
        source.text.get(start as usize..).unwrap_or_default()
    }
}

fn line_starts(text: &str) -> Vec<u32> {
    // A file over the size limit is refused before it is looked into.
    if text.len() > FILE_BYTES_MAX {
        return vec![0];
    }
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at as u32 + 1)).collect()
}

/// The source line of a place and a caret under its column.
pub fn snippet(text: &str, position: &Position) -> String {
    let rest = text.splitn(position.line.max(1) as usize, '\n').last().unwrap_or_default();
    snippet_of(rest, position.line, position.column)
}

fn snippet_of(rest: &str, line: u32, column: u32) -> String {
    let Some(text) = rest.lines().next() else { return String::new() };
    let column = (column.max(1) - 1) as usize;
    // Long lines are cut so that the caret stays in view.
    let skip = column.saturating_sub(SNIPPET_CHARS_MAX - 20);
    let shown: String = text.chars().skip(skip).take(SNIPPET_CHARS_MAX).collect();
    // Tabs stay tabs under tabs, so that the caret lines up.
    let pad: String = text.chars().skip(skip).take(column - skip).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let number = line.to_string();
    let gutter = " ".repeat(number.len());
    format!("{number} | {shown}\n{gutter} | {pad}^")
}

/// How many characters after its mark the content of a scalar begins, and
/// whether it stands in one line as it is written. The mark of a block scalar
/// is already its content.
fn content_start(line: &str, mark: Mark, text: &str) -> (u32, bool) {
    let begin = line.char_indices().nth((mark.column.max(1) - 1) as usize).map_or(line.len(), |(at, _)| at);
    let rest = &line[begin..];
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\'') && !text.starts_with(*c));
    match quote {
        Some(quote) => (1, rest[1..].strip_prefix(text).is_some_and(|after| after.starts_with(quote))),
        None => (0, rest.starts_with(text)),
    }
}
