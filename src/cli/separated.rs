//! Separated values (RFC 4180), a record at a time. A text within quotes may have
//! several lines. A quote that is never closed costs the row it stands in, not
//! those that follow.

use std::{
    collections::VecDeque,
    io::{BufRead, Read as _},
};

/// The longest line and the longest record, bytes.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// Most lines of a record.
const RECORD_LINES_MAX: usize = 1_000;
/// What of a line that cannot be read is told, bytes.
const SHOWN_BYTES: usize = 200;
/// A mark of byte order that some programs write first.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What stands between the values of a file by its name: tabs in `.tsv` and
/// `.tsv.gz`, else commas.
pub fn delimiter_of(path: &std::path::Path) -> u8 {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if name.strip_suffix(".gz").unwrap_or(&name).ends_with(".tsv") { b'\t' } else { b',' }
}

/// The values of a record.
#[derive(Clone, Debug, Default)]
pub struct Values {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Values {
    /// How many.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// One of them.
    pub fn get(&self, at: usize) -> Option<&[u8]> {
        let begin = if at == 0 { 0 } else { *self.ends.get(at - 1)? };
        self.bytes.get(begin..*self.ends.get(at)?)
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).filter_map(|at| self.get(at))
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn end(&mut self) {
        self.ends.push(self.bytes.len());
    }
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The values of a record.
    Record,
    /// One that cannot be read: its text, all lines of it, and why. The values
    /// before what is wrong with it are read.
    Bad(String, String),
    /// The file ends.
    End,
}

/// Where in a value a line ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Begin,
    Plain,
    Quoted,
    /// After a quote within quotes: the end of the value, or half of `""`.
    Quote,
}

/// How a line was parsed.
struct Parsed {
    at: At,
    /// A quote in it is followed by neither a quote nor the end of the value.
    stray: Option<Stray>,
}

/// Where a quote stands that should end a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stray {
    /// Where a value begins: it seems to open one.
    Begin,
    /// In a text.
    Inside,
}

/// Why lines are no record.
struct Wrong {
    why: String,
    /// Whether the lines after the first may be rows of their own.
    first_only: bool,
}

/// A line of the file, with its end.
enum Line {
    Whole(Vec<u8>),
    /// Its beginning.
    TooLong(Vec<u8>),
}

impl Line {
    fn bytes(&self) -> &[u8] {
        match self {
            Line::Whole(bytes) | Line::TooLong(bytes) => bytes,
        }
    }
}

/// Reads records.
pub struct Separated<R> {
    reader: R,
    delimiter: u8,
    /// Whether texts within quotes may have several lines.
    line_breaks: bool,
    /// Values of a row, once the first line is read.
    width: usize,
    /// Lines that are read again, after a quote that was never closed.
    again: VecDeque<Line>,
    /// The number of the last line.
    line: u64,
    /// The number of the first line of the last record.
    first_line: u64,
    /// Whether a text of the last record has lines that look like rows.
    holds_rows: bool,
    bytes: u64,
}

impl<R: BufRead> Separated<R> {
    /// Reads with this between two values. Without `line_breaks` a quote has to
    /// be closed in its line.
    pub fn new(reader: R, delimiter: u8, line_breaks: bool) -> Self {
        Self {
            reader,
            delimiter,
            line_breaks,
            width: 0,
            again: VecDeque::new(),
            line: 0,
            first_line: 0,
            holds_rows: false,
            bytes: 0,
        }
    }

    /// The names in the first line.
    ///
    /// # Errors
    /// The file cannot be read, or its first line is none.
    pub fn names(&mut self) -> anyhow::Result<Vec<String>> {
        let mut values = Values::default();
        match self.next(&mut values)? {
            Found::Record | Found::End => {}
            Found::Bad(_, why) => anyhow::bail!("the first line has to name the columns: {why}"),
        }
        self.width = values.len();
        let name = |raw| String::from_utf8_lossy(raw).trim().to_owned();
        Ok(values.iter().map(name).collect())
    }

    /// The number of the first line of what was read.
    pub fn first_line(&self) -> u64 {
        self.first_line
    }

    /// Whether a text of the last record has lines with as many values as a row:
    /// a text, or rows after a quote that was opened by mistake.
    pub fn holds_rows(&self) -> bool {
        self.holds_rows
    }

    /// Bytes that are read.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads the next record that is not blank.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next(&mut self, values: &mut Values) -> std::io::Result<Found> {
        loop {
            values.clear();
            self.holds_rows = false;
            let first = self.line()?;
            self.first_line = self.line;
            let first = match first {
                None => return Ok(Found::End),
                Some(Line::Whole(line)) => line,
                Some(Line::TooLong(begin)) => {
                    let why = format!("it has more than {RECORD_BYTES_MAX} bytes");
                    return Ok(Found::Bad(text_of(&begin), why));
                }
            };
            if split(&first).0.is_empty() {
                continue;
            }
            let mut rest = Vec::new();
            let Some(Wrong { why, first_only }) = self.record(&first, &mut rest, values)? else {
                return Ok(Found::Record);
            };
            let mut text = first;
            if first_only {
                self.line = self.first_line;
                rest.into_iter().rev().for_each(|line| self.again.push_front(line));
            } else {
                // what a quote held is never read as rows
                rest.iter().for_each(|line| text.extend_from_slice(line.bytes()));
            }
            return Ok(Found::Bad(text_of(&text), why));
        }
    }

    /// Parses a record that begins with a line; answers why it is none. Further
    /// lines that it took are put into `rest`.
    fn record(&mut self, first: &[u8], rest: &mut Vec<Line>, values: &mut Values) -> std::io::Result<Option<Wrong>> {
        const STRAY: &str = "a quote in it is followed by neither a quote nor the end of the value";
        let again = |why: &str| Ok(Some(Wrong { why: why.to_owned(), first_only: true }));
        let Parsed { mut at, mut stray } = parse(first, self.delimiter, At::Begin, values);
        let (mut bytes, opened) = (first.len(), values.len());
        while at == At::Quoted && stray != Some(Stray::Begin) {
            if !self.line_breaks {
                return again(
                    "it opens a quote that is not closed in its line, and the mapping says `line_breaks: false`",
                );
            }
            let next = match self.line()? {
                None => return again(if stray.is_some() { STRAY } else { "it opens a quote that is never closed" }),
                Some(next) => next,
            };
            let too_long = matches!(next, Line::TooLong(_));
            bytes += next.bytes().len();
            let parsed = parse(next.bytes(), self.delimiter, At::Quoted, values);
            rest.push(next);
            if too_long || bytes > RECORD_BYTES_MAX || rest.len() > RECORD_LINES_MAX {
                let most = format!("at most {RECORD_LINES_MAX} lines and {RECORD_BYTES_MAX} bytes are one row");
                return again(&format!("it opens a quote that is not closed: {most}"));
            }
            at = parsed.at;
            stray = if parsed.stray == Some(Stray::Begin) { parsed.stray } else { stray.or(parsed.stray) };
        }
        if let Some(stray) = stray {
            // a quote where a value begins opens one: that before it was not closed
            return Ok(Some(Wrong { why: STRAY.to_owned(), first_only: stray == Stray::Begin }));
        }
        self.holds_rows = self.looks_like_rows(rest, opened);
        Ok(None)
    }

    /// Whether a line within quotes has as many values as a row. The last line
    /// has what follows the quotes too: where they began in the first column it
    /// tells nothing.
    fn looks_like_rows(&self, rest: &[Line], opened: usize) -> bool {
        let is_row = |line: &Line| {
            let mut values = Values::default();
            let Parsed { at, stray } = parse(line.bytes(), self.delimiter, At::Begin, &mut values);
            self.width > 1 && at != At::Quoted && stray.is_none() && values.len() == self.width
        };
        let Some((last, inner)) = rest.split_last() else { return false };
        inner.iter().any(is_row) || (opened > 0 && is_row(last))
    }

    fn line(&mut self) -> std::io::Result<Option<Line>> {
        if let Some(line) = self.again.pop_front() {
            self.line += 1;
            return Ok(Some(line));
        }
        let mut raw = Vec::new();
        let read = (&mut self.reader).take(RECORD_BYTES_MAX as u64 + 1).read_until(b'\n', &mut raw)?;
        if read == 0 {
            return Ok(None);
        }
        self.bytes += read as u64;
        self.line += 1;
        if read <= RECORD_BYTES_MAX || raw.ends_with(b"\n") {
            if self.line == 1 && raw.starts_with(BYTE_ORDER_MARK) {
                raw.drain(..BYTE_ORDER_MARK.len());
            }
            return Ok(Some(Line::Whole(raw)));
        }
        let begin = raw[..SHOWN_BYTES].to_vec();
        loop {
            raw.clear();
            let read = (&mut self.reader).take(RECORD_BYTES_MAX as u64).read_until(b'\n', &mut raw)?;
            self.bytes += read as u64;
            if read == 0 || raw.ends_with(b"\n") {
                return Ok(Some(Line::TooLong(begin)));
            }
        }
    }
}

/// A line and its end.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let body = line.strip_suffix(b"\n").unwrap_or(line);
    let body = body.strip_suffix(b"\r").unwrap_or(body);
    line.split_at(body.len())
}

/// Lines as a text, without the end of the last.
fn text_of(lines: &[u8]) -> String {
    String::from_utf8_lossy(split(lines).0).into_owned()
}

/// Parses a line on, and ends the value unless it goes on in the next line. A
/// quote in a text that does not end it is part of it; one where a value seems
/// to begin ends the parsing.
fn parse(line: &[u8], delimiter: u8, mut at: At, values: &mut Values) -> Parsed {
    let (body, end) = split(line);
    let mut stray = None;
    for (index, byte) in body.iter().copied().enumerate() {
        at = match (at, byte) {
            (At::Begin, b'"') => At::Quoted,
            (At::Quoted, b'"') => At::Quote,
            (At::Quote, b'"') => {
                values.bytes.push(byte);
                At::Quoted
            }
            (At::Begin | At::Plain | At::Quote, byte) if byte == delimiter => {
                values.end();
                At::Begin
            }
            (At::Quote, _) => {
                // the quote is the byte before
                let begins = index < 2 || body.get(index - 2) == Some(&delimiter);
                if begins {
                    return Parsed { at: At::Quoted, stray: Some(Stray::Begin) };
                }
                stray = Some(Stray::Inside);
                values.bytes.extend_from_slice(&[b'"', byte]);
                At::Quoted
            }
            (At::Begin | At::Plain, _) => {
                values.bytes.push(byte);
                At::Plain
            }
            (At::Quoted, _) => {
                values.bytes.push(byte);
                At::Quoted
            }
        };
    }
    if at == At::Quoted {
        values.bytes.extend_from_slice(end);
    } else {
        values.end();
    }
    Parsed { at, stray }
}

/// A row as it is written: values that need quotes within quotes.
pub fn written(values: &Values, delimiter: u8) -> String {
    let mut line = Vec::new();
    for (at, value) in values.iter().enumerate() {
        if at > 0 {
            line.push(delimiter);
        }
        if value.iter().any(|byte| *byte == delimiter || matches!(byte, b'"' | b'\n' | b'\r')) {
            line.push(b'"');
            for byte in value {
                line.extend(std::iter::repeat_n(*byte, 1 + usize::from(*byte == b'"')));
            }
            line.push(b'"');
        } else {
            line.extend_from_slice(value);
        }
    }
    String::from_utf8_lossy(&line).into_owned()
}

#[cfg(test)]
mod tests;
