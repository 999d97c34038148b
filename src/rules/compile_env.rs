//! What a piece of rule text is compiled against, and where it stands.

use std::{collections::HashMap, sync::Arc};

use crate::domain::{AttrId, Currency, Schema};

use super::{Position, RuleError, condition::ParsedTexts, suggest::nearest};

/// Where a piece of rule text stands in its file.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Of the first content character of the scalar.
    pub position: Position,
    /// The file's text for snippets: all of it, or the part around the scalar.
    pub source: Arc<str>,
    /// The line of the file, from 1, that `source` begins with.
    pub first_line: u32,
    /// Whether an offset in the text maps to a column of the file: true of
    /// single-line plain and quoted scalars without escapes.
    pub exact_columns: bool,
}

/// What conditions and numbers are compiled against.
#[derive(Clone, Copy)]
pub struct CompileEnv<'a> {
    /// The attributes.
    pub schema: &'a Schema,
    /// The list whose record `r.NAME` reads, if any.
    pub each: Option<AttrId>,
    /// The one currency.
    pub currency: Currency,
    /// The segments by name, as text: they are compiled into their readers.
    pub segments: &'a HashMap<Arc<str>, SegmentSource>,
    /// The macros by name, as text.
    pub macros: &'a HashMap<Arc<str>, SegmentSource>,
    /// Texts parsed before, where somebody keeps them.
    pub parsed: Option<&'a ParsedTexts>,
    /// What could not be read.
    pub lost: Lost,
}

/// Of what a declaration could not be read: a name that seems unknown may be
/// declared there, and is not told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Attributes and what they are made of.
    pub attributes: bool,
    /// Segments.
    pub segments: bool,
    /// Macros.
    pub macros: bool,
    /// The settings, with the currency.
    pub settings: bool,
}

/// The text of a segment or macro.
#[derive(Clone, Debug)]
pub struct SegmentSource {
    /// Its CEL text.
    pub text: Arc<str>,
    /// Where it stands.
    pub origin: Origin,
}

/// What templates are compiled against.
#[derive(Clone, Copy)]
pub struct TemplateEnv<'a> {
    /// The attributes.
    pub schema: &'a Schema,
    /// The list whose record `r.NAME` reads, if any.
    pub each: Option<AttrId>,
    /// Names of the treatment's links.
    pub links: &'a [Arc<str>],
    /// The one currency.
    pub currency: Currency,
    /// What could not be read.
    pub lost: Lost,
}

impl Origin {
    /// The place of a byte offset of `text` in the file; the scalar's own place
    /// when the two cannot be aligned (escapes in quotes).
    pub fn locate(&self, text: &str, offset: usize) -> Position {
        self.places(text).at(offset)
    }

    /// The places of all offsets of `text`, for asking more than once.
    pub fn places<'o>(&'o self, text: &'o str) -> Places<'o> {
        let exact = self.exact_columns && !text.contains('\n');
        Places { origin: self, text, walked: (!exact).then(|| self.walked(text)) }
    }

    /// One mistake at a byte range of `text`.
    pub fn error(&self, text: &str, span: std::ops::Range<usize>, message: String) -> RuleError {
        let position = self.locate(text, span.start);
        let snippet = self.snippet(&position);
        RuleError { position, message, snippet }
    }

    /// Walks the file's text and the scalar's side by side, taking any run of
    /// white space for any other: block scalars are indented and folded.
    fn walked(&self, text: &str) -> Walked {
        let mut walked = Walked { stops: Vec::new(), end: None };
        let Some(mut file) = FileWalk::new(self) else { return walked };
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c.is_whitespace() {
                while chars.next_if(|(_, next)| next.is_whitespace()).is_some() {}
                file.skip_white_space();
                walked.stops.push((at, file.line, file.column));
                continue;
            }
            file.skip_white_space_before(c);
            if file.peek() != Some(c) {
                return walked;
            }
            walked.stops.push((at, file.line, file.column));
            file.advance();
        }
        walked.end = Some((file.line, file.column));
        walked
    }

    fn snippet(&self, position: &Position) -> String {
        let Some(line) = self.source.lines().nth(position.line.saturating_sub(self.first_line) as usize) else {
            return String::new();
        };
        let at = (position.column as usize).saturating_sub(1);
        let from = at.saturating_sub(SNIPPET_CHARS_MAX / 2);
        let shown: String = line.chars().skip(from).take(SNIPPET_CHARS_MAX).map(plain_char).collect();
        format!("{shown}\n{}^", " ".repeat(at - from))
    }
}

/// The places of the offsets of one text.
#[derive(Clone, Debug)]
pub struct Places<'o> {
    origin: &'o Origin,
    text: &'o str,
    /// Where columns do not follow from offsets.
    walked: Option<Walked>,
}

/// Where the characters of a text stand in its file.
#[derive(Clone, Debug)]
struct Walked {
    /// Offset, line and column of every character and run of white space, as
    /// far as file and text could be aligned.
    stops: Vec<(usize, u32, u32)>,
    /// Line and column behind the last character, if it was reached.
    end: Option<(u32, u32)>,
}

impl Places<'_> {
    /// The place of a byte offset, as [`Origin::locate`] tells it.
    pub fn at(&self, offset: usize) -> Position {
        let start = &self.origin.position;
        let Some(Walked { stops, end }) = &self.walked else {
            let before = self.text.get(..offset).unwrap_or(self.text);
            return Position { column: start.column + before.chars().count() as u32, ..start.clone() };
        };
        let stop = stops.get(stops.partition_point(|(at, ..)| *at < offset));
        match stop.map(|(_, line, column)| (*line, *column)).or(*end) {
            Some((line, column)) => Position { line, column, ..start.clone() },
            None => start.clone(),
        }
    }
}

/// Lines of one file that now stand elsewhere in it.
#[derive(Clone, Debug)]
pub struct Moved<'a> {
    /// The file.
    pub path: &'a str,
    /// The lines, where they stood.
    pub lines: std::ops::Range<u32>,
    /// How many lines further down they stand now.
    pub by: i64,
}

impl Moved<'_> {
    /// Moves a place that is in these lines; others stay.
    pub fn apply(&self, position: &mut Position) {
        if self.lines.contains(&position.line) && *position.path == *self.path {
            position.line = u32::try_from(i64::from(position.line) + self.by).unwrap_or(u32::MAX);
        }
    }
}

/// The most characters of a source line in a snippet.
const SNIPPET_CHARS_MAX: usize = 160;

fn plain_char(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}

/// A cursor over a file's text.
struct FileWalk<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    line: u32,
    column: u32,
}

impl<'a> FileWalk<'a> {
    fn new(origin: &'a Origin) -> Option<Self> {
        let start = &origin.position;
        let mut walk = Self { rest: origin.source.chars().peekable(), line: origin.first_line, column: 1 };
        while (walk.line, walk.column) < (start.line, start.column) {
            walk.peek()?;
            walk.advance();
        }
        Some(walk)
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn advance(&mut self) {
        match self.rest.next() {
            Some('\n') => (self.line, self.column) = (self.line + 1, 1),
            Some(_) => self.column += 1,
            None => {}
        }
    }

    fn skip_white_space(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.advance();
        }
    }

    fn skip_white_space_before(&mut self, c: char) {
        if self.peek() != Some(c) {
            self.skip_white_space();
        }
    }
}

/// The known name nearest to a mistyped one, as a hint to append to a message;
/// empty when none is near.
pub(super) fn did_you_mean<'a>(wrong: &str, known: impl Iterator<Item = &'a str>) -> String {
    let limit = if wrong.chars().count() <= 4 { 1 } else { 1 + wrong.chars().count() / 4 };
    nearest(wrong, known, limit)
}
