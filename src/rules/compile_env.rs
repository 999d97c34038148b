//! What a piece of rule text is compiled against, and where it stands.

use std::{collections::HashMap, sync::Arc};

use crate::domain::{Currency, Schema};

use super::{Position, RuleError, condition::ParsedTexts};

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
    /// The one currency.
    pub currency: Currency,
    /// The segments by name, as text: they are compiled into their readers.
    pub segments: &'a HashMap<Arc<str>, SegmentSource>,
    /// The macros by name, as text.
    pub macros: &'a HashMap<Arc<str>, SegmentSource>,
    /// Texts parsed before, where somebody keeps them.
    pub parsed: Option<&'a ParsedTexts>,
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
    /// Names of the treatment's links.
    pub links: &'a [Arc<str>],
    /// The one currency.
    pub currency: Currency,
}

impl Origin {
    /// The place of a byte offset of `text` in the file; the scalar's own place
    /// when the two cannot be aligned (escapes in quotes).
    pub fn locate(&self, text: &str, offset: usize) -> Position {
        let before = text.get(..offset).unwrap_or(text);
        if self.exact_columns && !text.contains('\n') {
            let column = self.position.column + before.chars().count() as u32;
            return Position { column, ..self.position.clone() };
        }
        self.aligned(text, offset).unwrap_or_else(|| self.position.clone())
    }

    /// One mistake at a byte range of `text`.
    pub fn error(&self, text: &str, span: std::ops::Range<usize>, message: String) -> RuleError {
        let position = self.locate(text, span.start);
        let snippet = self.snippet(&position);
        RuleError { position, message, snippet }
    }

    /// Walks the file's text and the scalar's side by side, taking any run of
    /// white space for any other: block scalars are indented and folded.
    fn aligned(&self, text: &str, offset: usize) -> Option<Position> {
        let mut file = FileWalk::new(self)?;
        let mut chars = text.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c.is_whitespace() {
                while chars.next_if(|(_, next)| next.is_whitespace()).is_some() {}
                file.skip_white_space();
                if at >= offset {
                    break;
                }
                continue;
            }
            file.skip_white_space_before(c);
            if file.peek() != Some(c) {
                return None;
            }
            if at >= offset {
                break;
            }
            file.advance();
        }
        Some(Position { line: file.line, column: file.column, ..self.position.clone() })
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
    let nearest = known.map(|name| (edits(wrong, name), name)).filter(|(edits, _)| *edits <= limit).min();
    nearest.map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"))
}

/// Edits (insert, delete, replace, swap of neighbours) between two names.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(96).collect(), b.chars().take(96).collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let swap = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + swap);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}
