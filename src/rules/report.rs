//! Where mistakes are collected: every one with its place and the line it is in.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Position, RuleError, RuleErrors, SourceFile,
    compile_env::{Lost, Origin},
    source::{FILE_BYTES_MAX, Kind, Mark, Node},
    suggest::did_you_mean,
};

/// Most mistakes that are told at once.
pub const ERRORS_MAX: usize = 1_000;
/// Longest source line that is shown, characters.
const SNIPPET_CHARS_MAX: usize = 160;
/// Most mistakes that are noted: more than are told, so that those of the first
/// files are among them.
const NOTED_MAX: usize = 2 * ERRORS_MAX;
/// A line of more bytes is long: it has stops, and is not kept with its texts.
const LINE_BYTES_MAX: usize = 4_096;
/// Characters from one stop of a long line to the next.
const CHARS_PER_STOP: usize = 1_024;
/// Bytes of a file that one byte of a text may take, with its indentation.
const BYTES_PER_TEXT_BYTE: usize = 16;

/// The files and what is wrong with them.
#[derive(Debug)]
pub struct Report<'a> {
    files: &'a [SourceFile],
    /// The lines of every file; worked out when first asked for.
    lines: Vec<OnceCell<Lines>>,
    /// The lines of a file that are being looked at alone.
    part: Option<Part>,
    errors: Vec<RuleError>,
    /// How many mistakes there were, kept or not.
    count: usize,
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
    /// A field of an event or a record.
    Field,
    /// A list of records.
    Records,
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
    pub const ALL: [Noun; 18] = [
        Noun::Identity,
        Noun::Event,
        Noun::Field,
        Noun::Records,
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
            Noun::Field => "field",
            Noun::Records => "list of records",
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
        Self { files, lines, part: None, errors: Vec::new(), count: 0, incomplete: BTreeSet::new() }
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

    /// How many mistakes there were so far.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether no more mistakes are kept, so that none need be looked for.
    pub fn is_full(&self) -> bool {
        self.errors.len() >= NOTED_MAX
    }

    /// The known name nearest to an unknown one, as the end of a message.
    pub fn did_you_mean<'n>(&self, unknown: &str, known: impl IntoIterator<Item = &'n str>) -> String {
        if self.is_full() { String::new() } else { did_you_mean(unknown, known) }
    }

    /// Notes that a declaration of the noun could not be read.
    pub fn lose(&mut self, noun: Noun) {
        self.incomplete.insert(noun);
    }

    /// Whether every declaration of the noun was read.
    pub fn knows_all(&self, noun: Noun) -> bool {
        !self.incomplete.contains(&noun)
    }

    /// What could not be read of all that conditions and templates can name.
    pub fn lost(&self) -> Lost {
        let attributes = [Noun::Event, Noun::Field, Noun::Records, Noun::Attribute, Noun::Context, Noun::Trait];
        Lost {
            attributes: !attributes.into_iter().all(|noun| self.knows_all(noun)),
            segments: !self.knows_all(Noun::Segment),
            macros: !self.knows_all(Noun::Macro),
            settings: !self.knows_all(Noun::Settings),
        }
    }

    /// The place of a mark.
    pub fn position(&self, mark: Mark) -> Position {
        let path = self.files.get(mark.file as usize).map_or_else(|| Arc::from(""), |file| file.path.clone());
        Position { path, line: mark.line, column: mark.column }
    }

    /// Notes a mistake at a place.
    pub fn error(&mut self, mark: Mark, message: impl Into<String>) {
        self.count += 1;
        if self.is_full() {
            return;
        }
        let position = self.position(mark);
        let snippet = self.snippet(mark);
        self.errors.push(RuleError { position, message: message.into(), snippet });
    }

    /// Whether nothing is wrong so far.
    pub fn is_clean(&self) -> bool {
        self.count == 0
    }

    /// Notes mistakes with their places; they are shown like all others.
    pub fn extend(&mut self, errors: Vec<RuleError>) {
        self.count += errors.len();
        for mut error in errors {
            if self.is_full() {
                return;
            }
            let RuleError { position, snippet, .. } = &mut error;
            if let Ok(file) = self.files.binary_search_by(|file| file.path.cmp(&position.path)) {
                *snippet = self.snippet(Mark { file: file as u32, line: position.line, column: position.column });
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
        let holds = |part: &&Part| {
            part.file == node.mark.file && (part.first_line..part.first_line + part.lines).contains(&node.mark.line)
        };
        let text = if let Kind::Text(text) = &node.kind { text } else { "" };
        let (skipped, exact_columns) = content_start(self.text_from(node.mark), text);
        let (source, first_line) = match self.part.as_ref().filter(holds) {
            Some(part) => (part.source.clone(), part.first_line),
            None => (self.lines_of(node.mark, if exact_columns { 1 } else { text.len() }).into(), node.mark.line),
        };
        let mut position = self.position(node.mark);
        position.column += skipped;
        Origin { position, source, first_line, exact_columns }
    }

    /// The lines of a text of so many bytes, and some more; nothing where it
    /// stands far behind the begin of its line.
    fn lines_of(&self, mark: Mark, text_bytes: usize) -> &'a str {
        let Some((text, lines)) = self.file(mark.file) else { return "" };
        let begin = lines.start(text, mark.line);
        if lines.byte_of(text, mark) - begin > LINE_BYTES_MAX {
            return "";
        }
        let wanted = begin + text_bytes * BYTES_PER_TEXT_BYTE;
        let end = lines.start_after(text, wanted);
        if end - wanted.min(end) <= LINE_BYTES_MAX {
            return text.get(begin..end).unwrap_or_default();
        }
        let before = text.get(begin..wanted).unwrap_or_default().rfind('\n').map_or(begin, |at| begin + at + 1);
        text.get(begin..before).unwrap_or_default()
    }

    /// The text of a file from a place on.
    fn text_from(&self, mark: Mark) -> &'a str {
        self.file(mark.file).and_then(|(text, lines)| text.get(lines.byte_of(text, mark)..)).unwrap_or_default()
    }

    fn snippet(&self, mark: Mark) -> String {
        let skip = skipped_chars(mark.column);
        let shown = self.text_from(Mark { column: skip as u32 + 1, ..mark });
        if shown.is_empty() { String::new() } else { shown_snippet(shown, mark.line, mark.column as usize - skip) }
    }

    fn file(&self, file: u32) -> Option<(&'a str, &Lines)> {
        let text = &*self.files.get(file as usize)?.text;
        Some((text, self.lines.get(file as usize)?.get_or_init(|| Lines::of(text))))
    }
}

/// Where the lines of a text are.
#[derive(Debug, Default)]
struct Lines {
    /// Byte offset of every line's begin.
    starts: Vec<u32>,
    /// Of long lines, by index: the byte offset of one character in so many.
    stops: BTreeMap<usize, Vec<u32>>,
}

impl Lines {
    fn of(text: &str) -> Self {
        // A file over the size limit is refused before it is looked into.
        if text.len() > FILE_BYTES_MAX {
            return Self::default();
        }
        let starts: Vec<u32> =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at as u32 + 1)).collect();
        let mut stops = BTreeMap::new();
        for (at, start) in starts.iter().enumerate() {
            let start = *start as usize;
            let end = starts.get(at + 1).map_or(text.len(), |next| *next as usize);
            if end - start > LINE_BYTES_MAX {
                let chars = text[start..end].char_indices().step_by(CHARS_PER_STOP);
                stops.insert(at, chars.map(|(byte, _)| (start + byte) as u32).collect());
            }
        }
        Self { starts, stops }
    }

    /// Where a line (from 1) begins.
    fn start(&self, text: &str, line: u32) -> usize {
        self.starts.get((line.max(1) - 1) as usize).map_or(text.len(), |start| *start as usize)
    }

    /// Where the first line behind an offset begins.
    fn start_after(&self, text: &str, offset: usize) -> usize {
        let next = self.starts.partition_point(|start| *start as usize <= offset);
        self.starts.get(next).map_or(text.len(), |start| *start as usize)
    }

    /// Where a character is; the end of its line when that has fewer.
    fn byte_of(&self, text: &str, mark: Mark) -> usize {
        let mut skip = (mark.column.max(1) - 1) as usize;
        let mut from = self.start(text, mark.line);
        if let Some(stops) = self.stops.get(&((mark.line.max(1) - 1) as usize)) {
            let stop = (skip / CHARS_PER_STOP).min(stops.len().saturating_sub(1));
            from = stops.get(stop).map_or(from, |byte| *byte as usize);
            skip -= stop * CHARS_PER_STOP;
        }
        let mut rest = text.get(from..).unwrap_or_default().char_indices();
        let end = rest.by_ref().take(skip).find(|(_, c)| *c == '\n');
        end.map_or_else(|| text.len() - rest.as_str().len(), |(at, _)| from + at)
    }
}

/// The source line of a place and a caret under its column.
pub fn snippet(text: &str, position: &Position) -> String {
    let rest = text.splitn(position.line.max(1) as usize, '\n').last().unwrap_or_default();
    snippet_of(rest, position.line, position.column)
}

fn snippet_of(rest: &str, line: u32, column: u32) -> String {
    let Some(text) = rest.lines().next() else { return String::new() };
    let skip = skipped_chars(column);
    let from = text.char_indices().nth(skip).map_or(text.len(), |(at, _)| at);
    shown_snippet(&text[from..], line, column.max(1) as usize - skip)
}

/// How many characters of a long line are left out so that the caret stays in view.
fn skipped_chars(column: u32) -> usize {
    (column.max(1) as usize - 1).saturating_sub(SNIPPET_CHARS_MAX - 20)
}

/// The begin of a text up to its line's end, and a caret under a column of it.
fn shown_snippet(text: &str, line: u32, column: usize) -> String {
    let shown: String = text.chars().take(SNIPPET_CHARS_MAX).take_while(|c| *c != '\n').collect();
    let shown = shown.strip_suffix('\r').unwrap_or(&shown);
    // Tabs stay tabs under tabs, so that the caret lines up.
    let pad: String = shown.chars().take(column.max(1) - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let number = line.to_string();
    let gutter = " ".repeat(number.len());
    format!("{number} | {shown}\n{gutter} | {pad}^")
}

/// How many characters after its mark the content of a scalar begins, and
/// whether it stands in one line as it is written. The mark of a block scalar
/// is already its content.
fn content_start(rest: &str, text: &str) -> (u32, bool) {
    let one_line = !text.contains('\n');
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\'') && !text.starts_with(*c));
    match quote {
        Some(quote) => (1, one_line && rest[1..].strip_prefix(text).is_some_and(|after| after.starts_with(quote))),
        None => (0, one_line && rest.starts_with(text)),
    }
}
