//! Files row by row: NDJSON, CSV and Parquet, texts also compressed with gzip.

use std::{
    borrow::Cow,
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use anyhow::Context;
use flate2::read::MultiGzDecoder;
use xxhash_rust::xxh3::Xxh3;

use crate::{
    cli::{
        lines,
        separated::{self, Found, Separated, Values, delimiter_of},
    },
    proto::{Event, UpsertCustomerRequest},
};

use super::{
    cell::Cell,
    input::{CsvOf, Input, Rejected},
    map::Fitted,
    mapping::Mapping,
    notes::Notes,
    numbered::Numbered,
};

#[cfg(feature = "parquet")]
mod columnar;
mod objects;

/// What a row holds.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// An event or outcome.
    pub event: Option<Box<Event>>,
    /// Attributes and consents of a customer, of each line of the event in order.
    pub customers: Vec<UpsertCustomerRequest>,
    /// Whether it is a line of the event that a row after it has.
    pub part: bool,
}

/// What a row is to those around it, where lines are put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// None of an event: it is one of its own, or the mapping says that it is none.
    Alone,
    /// One of an event.
    Of {
        /// The event, as a hash: what groups, and who.
        key: u128,
        /// What groups without who, as a hash.
        bill: Option<u128>,
    },
    /// It says nobody, and what groups it otherwise.
    Nobodys {
        /// As a hash.
        bill: Option<u128>,
    },
    /// It cannot be read, and may be of the event around it.
    Unreadable {
        /// What groups it, as far as that can be read.
        bill: Option<u128>,
    },
}

/// One row.
pub struct Row {
    /// From 1; for texts without a header the line.
    pub number: u64,
    /// What it was read from.
    pub input: Input,
    /// What it holds, or why it is rejected.
    pub entries: Result<Entries, String>,
    /// What it says, as a hash, where ids are made of it.
    pub content: Option<u128>,
    /// What it is to the rows around it.
    pub line: Line,
    /// The type of its event, also where it is rejected, if that can be told.
    pub kind: Option<String>,
    /// How many events before said the same as that which it is, or is a line of.
    pub nth: Option<u32>,
}

impl Row {
    /// One that is as it is: no id is made, nothing put together.
    fn plain(number: u64, input: Input, entries: Result<Entries, String>) -> Self {
        Self { number, input, entries, content: None, line: Line::Alone, kind: None, nth: None }
    }

    /// One that cannot be read, with the values that could be.
    fn unreadable(number: u64, (input, why): (Input, String), (cells, fitted): (&[Cell], &Fitted)) -> Self {
        let (line, kind) = (fitted.line_of_unreadable(cells), fitted.kind(cells));
        Self { line, kind, ..Self::plain(number, input, Err(why)) }
    }

    /// That of the values of columns.
    fn of_cells(number: u64, (columns, cells): (&Arc<[String]>, Vec<Cell>), fitted: &Fitted) -> Self {
        let content = content_of(columns.iter().map(String::as_str).zip(&cells));
        let (entries, line, kind) = (fitted.map(&cells), fitted.line(&cells), fitted.kind(&cells));
        let input = Input::Cells(Arc::clone(columns), cells);
        Self { line, kind, content: Some(content), ..Self::plain(number, input, entries) }
    }
}

/// What a row says as a hash: its values by their names, whatever their order
/// and their kind of file. What is empty says nothing.
fn content_of<'a>(columns: impl Iterator<Item = (&'a str, &'a Cell)>) -> u128 {
    let mut said: Vec<(&str, Cow<'_, str>)> =
        columns.filter_map(|(name, cell)| Some((name, cell.as_text()?))).collect();
    said.sort_unstable();
    let mut hasher = Xxh3::new();
    for part in said.iter().flat_map(|(name, text)| [*name, text.as_ref()]) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.digest128()
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An object a line.
    Ndjson,
    /// Values with a header.
    Csv,
    /// Columns.
    Parquet,
}

impl Format {
    /// By the name of a file, and whether it is compressed.
    ///
    /// # Errors
    /// Another name.
    pub fn of(path: &Path) -> anyhow::Result<(Self, bool)> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let (name, gzip) = name.strip_suffix(".gz").map_or((name.as_str(), false), |inner| (inner, true));
        let format = match name.rsplit_once('.').map(|(_, end)| end) {
            Some("ndjson" | "jsonl" | "json") => Format::Ndjson,
            Some("csv" | "tsv") => Format::Csv,
            Some("parquet") if !gzip => Format::Parquet,
            _ => anyhow::bail!(
                "`{}` is of no kind that is known by its name: give `.ndjson`, `.csv`, `.parquet`, or a text with `.gz`",
                path.display()
            ),
        };
        Ok((format, gzip))
    }
}

/// The rows of a file, and how much there is.
pub struct Rows {
    /// In order.
    pub rows: Box<dyn Iterator<Item = anyhow::Result<Row>> + Send>,
    /// How far the reader is.
    pub read: Arc<AtomicU64>,
    /// How far that goes: bytes of a text, rows of columns.
    pub total: u64,
    /// What is told of it at the end.
    pub notes: Arc<Notes>,
}

/// Opens a file. Without a mapping it must be NDJSON of events and customers.
///
/// # Errors
/// The file cannot be read, is of no known kind, or does not fit the mapping.
pub fn open(path: &Path, mapping: Option<&Mapping>) -> anyhow::Result<Rows> {
    let (format, gzip) = Format::of(path)?;
    let doing = || format!("opening `{}`", path.display());
    match (format, mapping) {
        (Format::Parquet, Some(mapping)) => columnar(path, mapping).with_context(doing).map(numbered(mapping)),
        (Format::Ndjson, None) => messages(path, gzip).with_context(doing),
        (Format::Ndjson, Some(mapping)) => {
            objects::open(path, gzip, mapping).with_context(doing).map(numbered(mapping))
        }
        (Format::Csv, Some(mapping)) => values(path, gzip, mapping).with_context(doing).map(numbered(mapping)),
        (_, None) => anyhow::bail!(
            "`{}` has columns of its own: say with `--mapping FILE.yaml` what they are; \
             `examples/retail/online_retail.yaml` is one",
            path.display()
        ),
    }
}

fn numbered(mapping: &Mapping) -> impl FnOnce(Rows) -> Rows {
    let makes_ids = mapping.event.as_ref().is_some_and(|event| event.id.is_empty());
    move |Rows { rows, read, total, notes }| Rows {
        rows: Box::new(Numbered::new(rows, Arc::clone(&notes), makes_ids)),
        read,
        total,
        notes,
    }
}

#[cfg(feature = "parquet")]
fn columnar(path: &Path, mapping: &Mapping) -> anyhow::Result<Rows> {
    columnar::open(path, mapping)
}

#[cfg(not(feature = "parquet"))]
fn columnar(_: &Path, _: &Mapping) -> anyhow::Result<Rows> {
    anyhow::bail!("this program was built without Parquet: build it with `--features parquet`, or give a CSV file")
}

/// The content of a file as a short name: XXH3-128, of which 16 digits.
///
/// # Errors
/// The file cannot be read.
pub fn hash_of(path: &Path) -> anyhow::Result<String> {
    let doing = || format!("reading `{}`", path.display());
    let mut file = File::open(path).with_context(doing)?;
    let (mut hasher, mut buffer) = (Xxh3::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer).with_context(doing)? {
            0 => return Ok(format!("{:016x}", hasher.digest128() >> 64)),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Counts what is read of a file.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(into)?;
        self.read.fetch_add(read as u64, Relaxed);
        Ok(read)
    }
}

/// A text, and how far it is read: bytes of the file of how many.
struct Text {
    reader: Box<dyn BufRead + Send>,
    read: Arc<AtomicU64>,
    total: u64,
}

fn text(path: &Path, gzip: bool) -> anyhow::Result<Text> {
    const BUFFER_BYTES: usize = 1 << 17;
    let file = File::open(path)?;
    let total = file.metadata()?.len();
    let read = Arc::new(AtomicU64::new(0));
    let counted = Counted { file, read: Arc::clone(&read) };
    let reader: Box<dyn BufRead + Send> = if gzip {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(BufReader::new(counted))))
    } else {
        Box::new(BufReader::with_capacity(BUFFER_BYTES, counted))
    };
    Ok(Text { reader, read, total })
}

/// Lines that are events or customers already.
fn messages(path: &Path, gzip: bool) -> anyhow::Result<Rows> {
    let Text { reader, read, total } = text(path, gzip)?;
    let rows = lines::texts(reader, path).map(|line| {
        let (number, line) = line?;
        let (input, entries) = match line {
            Ok(text) => match Rejected::read(&text) {
                Some(Rejected { input: serde_json::Value::String(inner), .. }) => {
                    let entries = lines::parse(&inner);
                    (Input::Text(inner), entries)
                }
                Some(Rejected { input, .. }) => {
                    let entries = lines::parse(&input.to_string());
                    (Input::Json(input), entries)
                }
                None => {
                    let entries = lines::parse(&text);
                    (Input::Text(text), entries)
                }
            },
            Err((text, why)) => (Input::Text(text), Err(why)),
        };
        let entries = entries.map(|entry| match entry {
            lines::Entry::Event(event) => Entries { event: Some(event), ..Entries::default() },
            lines::Entry::Customer(customer) => Entries { customers: vec![*customer], ..Entries::default() },
        });
        Ok(Row::plain(number, input, entries))
    });
    Ok(Rows { rows: Box::new(rows), read, total, notes: Arc::default() })
}

/// Values with a header.
fn values(path: &Path, gzip: bool, mapping: &Mapping) -> anyhow::Result<Rows> {
    let Text { reader, read, total } = text(path, gzip)?;
    // INVARIANT: `Mapping::read` looked that it is ASCII
    let delimiter = mapping.csv.delimiter.and_then(|delimiter| u8::try_from(delimiter).ok());
    let delimiter = delimiter.unwrap_or_else(|| delimiter_of(path));
    let mut records = Separated::new(reader, delimiter, mapping.csv.line_breaks);
    let header = records.names()?;
    let fitted = Fitted::new(mapping.clone(), header.clone())?;
    let columns: Arc<[String]> = header.into();
    let csv = Arc::new(CsvOf { columns: columns.to_vec(), delimiter: char::from(delimiter) });
    let notes: Arc<Notes> = Arc::default();
    let told = Arc::clone(&notes);
    let (mut number, mut record, path) = (0, Values::default(), path.to_owned());
    let rows = std::iter::from_fn(move || {
        let found =
            records.next(&mut record).with_context(|| format!("reading `{}` after row {number}", path.display()));
        let found = match found {
            Err(error) => return Some(Err(error)),
            Ok(Found::End) => return None,
            Ok(found) => found,
        };
        number += 1;
        let cells: Vec<Cell> = record.iter().map(|value| Cell::text(&String::from_utf8_lossy(value))).collect();
        let raw = |text| Input::Csv(text, Arc::clone(&csv));
        let wrong = if let Found::Bad(text, why) = found {
            Some((raw(text), format!("line {}: {why}", records.first_line())))
        } else if record.len() != columns.len() {
            let why = format!("the row has {} values, the header {}", record.len(), columns.len());
            Some((raw(separated::written(&record, delimiter)), why))
        } else if record.iter().any(|value| std::str::from_utf8(value).is_err()) {
            let why = "the row is not UTF-8: convert the file".to_owned();
            Some((Input::Cells(Arc::clone(&columns), cells.clone()), why))
        } else {
            None
        };
        if let Some(wrong) = wrong {
            return Some(Ok(Row::unreadable(number, wrong, (&cells, &fitted))));
        }
        if records.holds_rows() {
            told.held.fetch_add(1, Relaxed);
        }
        Some(Ok(Row::of_cells(number, (&columns, cells), &fitted)))
    });
    Ok(Rows { rows: Box::new(rows), read, total, notes })
}

#[cfg(test)]
mod tests;
