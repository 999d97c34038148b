//! Cuts the offers out of a rule file, so that each can be read on its own: of
//! a file of many offers only those that changed need be parsed again.
//!
//! A file is cut only where its parts must mean the same alone as together; any
//! doubt leaves it whole, and so does any mistake, which is then told as ever.

/// A file without its offers, and the offers.
#[derive(Debug, PartialEq)]
pub struct Cut<'f> {
    /// The file with empty lines in place of the offers: everything else keeps its place.
    pub rest: String,
    /// The line of `offers:`, from 1.
    pub key_line: u32,
    /// The offers, in order.
    pub pieces: Vec<Piece<'f>>,
}

/// The lines of one offer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece<'f> {
    /// Its text, whole lines as they stand in the file.
    pub text: &'f str,
    /// Its first line in the file, from 1.
    pub first_line: u32,
    /// How many lines it has.
    pub lines: u32,
}

const KEY: &str = "offers:";

/// Cuts a file whose top-level `offers` is a list in block style.
///
/// Each item begins with `- ` in one column and goes on in deeper columns until
/// the next, so that every line belongs to one item whatever is in it: a quoted
/// text or a bracket that would reach over the border is not closed in its part,
/// which then cannot be read alone. `\r\n` ends a line like `\n`. Anchors, aliases, directives, markers of
/// documents, tabs in indentation are left to the parser of the whole file.
pub fn cut(text: &str) -> Option<Cut<'_>> {
    if text.contains('\0') || has_bare_return(text) || text.starts_with('\u{feff}') || may_refer(text) {
        return None;
    }
    let mut cut = Cut { rest: String::new(), key_line: 0, pieces: Vec::new() };
    let mut state = State::Before;
    let (mut offset, mut piece_start, mut number) = (0, 0, 0);
    for line in text.split_inclusive('\n') {
        number += 1;
        let start = offset;
        offset += line.len();
        let shape = Shape::of(line)?;
        if let State::Inside(column) = state {
            match shape {
                Shape::Empty => {}
                Shape::Text { indent, .. } if column.is_some_and(|column| indent > column) => {}
                Shape::Text { indent, item: true } if column.is_none_or(|column| column == indent) => {
                    cut.close(&text[piece_start..start], number);
                    cut.pieces.push(Piece { text: "", first_line: number, lines: 0 });
                    piece_start = start;
                    state = State::Inside(Some(indent));
                }
                Shape::Text { indent: 0, item: false } => {
                    cut.close(&text[piece_start..start], number);
                    state = State::After;
                }
                Shape::Text { .. } => return None,
            }
            if matches!(state, State::Inside(_)) {
                cut.rest.push('\n');
                continue;
            }
        }
        cut.rest.push_str(line);
        if let Some(rest) = line.strip_prefix(KEY) {
            let after = rest.trim_start_matches(' ').trim_end();
            let alone = after.is_empty() || (after.starts_with('#') && rest.starts_with(' '));
            if !alone || !matches!(state, State::Before) {
                return None;
            }
            cut.key_line = number;
            state = State::Inside(None);
        }
    }
    if matches!(state, State::Inside(_)) {
        cut.close(&text[piece_start..], number + 1);
    }
    (!cut.pieces.is_empty()).then_some(cut)
}

impl<'f> Cut<'f> {
    /// Ends the last piece before a line.
    fn close(&mut self, text: &'f str, line: u32) {
        if let Some(last) = self.pieces.last_mut() {
            (last.text, last.lines) = (text, line - last.first_line);
        }
    }
}

/// Where the cutter is.
#[derive(Clone, Copy)]
enum State {
    /// Before `offers:`.
    Before,
    /// Among the offers; the column of their dashes, once known.
    Inside(Option<usize>),
    /// Behind them.
    After,
}

/// What a line begins with.
enum Shape {
    /// Nothing but spaces or a comment.
    Empty,
    /// Text after so many spaces; whether it begins an item of a list.
    Text { indent: usize, item: bool },
}

impl Shape {
    /// `None` for a line whose meaning depends on more than its column.
    fn of(line: &str) -> Option<Self> {
        let text = line.trim_start_matches(' ');
        let indent = line.len() - text.len();
        match text.as_bytes().first() {
            None | Some(b'\n' | b'\r' | b'#') => Some(Shape::Empty),
            Some(b'\t') => None,
            Some(b'%') if indent == 0 => None,
            _ if indent == 0 && (text.starts_with("---") || text.starts_with("...")) => None,
            _ => Some(Shape::Text { indent, item: text.starts_with("- ") }),
        }
    }
}

/// Whether a carriage return stands elsewhere than before a line feed: there it
/// is a line break by itself, or a part of quoted text.
fn has_bare_return(text: &str) -> bool {
    text.match_indices('\r').any(|(at, _)| text.as_bytes().get(at + 1) != Some(&b'\n'))
}

/// Whether a text may hold an anchor, an alias or a merge: what one part says
/// of another. `&&` between two conditions and `*` between two numbers do not count.
fn may_refer(text: &str) -> bool {
    let bytes = text.as_bytes();
    let opens = |at: usize| {
        let before = bytes[..at].iter().rev().find(|byte| **byte != b' ');
        before.is_none_or(|byte| matches!(byte, b':' | b'-' | b',' | b'[' | b'{' | b'?' | b'\n' | b'!'))
    };
    let space = |at: usize| bytes.get(at).is_none_or(u8::is_ascii_whitespace);
    let alias = text.match_indices('*').any(|(at, _)| !space(at + 1) && opens(at));
    let anchor = text.match_indices('&').any(|(at, _)| {
        let and = bytes.get(at + 1) == Some(&b'&') && space(at + 2);
        let second = at > 0 && bytes[at - 1] == b'&';
        !and && !second && !space(at + 1) && opens(at)
    });
    alias || anchor || text.contains("<<:")
}
