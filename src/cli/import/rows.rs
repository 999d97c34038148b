//! Files row by row: NDJSON, CSV and Parquet, texts also compressed with gzip.

use std::{
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
    cli::lines,
    proto::{Event, UpsertCustomerRequest},
};

use super::{cell::Cell, map::Fitted, mapping::Mapping};

#[cfg(feature = "parquet")]
mod columnar;

/// What a row holds.
#[derive(Clone, Debug, Default)]
pub struct Entries {
    /// An event or outcome.
    pub event: Option<Box<Event>>,
    /// Attributes and consents of a customer.
    pub customer: Option<Box<UpsertCustomerRequest>>,
}

/// What a row was read from, for the file of rejects.
#[derive(Clone, Debug)]
pub enum Input {
    /// A line.
    Text(String),
    /// Values of columns.
    Cells(Arc<[String]>, Vec<Cell>),
}

impl Input {
    /// As JSON.
    pub fn as_json(&self) -> serde_json::Value {
        match self {
            Input::Text(text) => text.as_str().into(),
            Input::Cells(columns, cells) => {
                let fields = columns.iter().zip(cells).map(|(name, cell)| (name.clone(), cell.as_json()));
                serde_json::Value::Object(fields.collect())
            }
        }
    }
}

/// One row.
pub struct Row {
    /// From 1; for texts without a header the line.
    pub number: u64,
    /// What it was read from.
    pub input: Input,
    /// What it holds, or why it is rejected.
    pub entries: Result<Entries, String>,
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
}

/// Opens a file. Without a mapping it must be NDJSON of events and customers.
///
/// # Errors
/// The file cannot be read, is of no known kind, or does not fit the mapping.
pub fn open(path: &Path, mapping: Option<&Mapping>, hash: &str) -> anyhow::Result<Rows> {
    let (format, gzip) = Format::of(path)?;
    let doing = || format!("opening `{}`", path.display());
    match (format, mapping) {
        (Format::Parquet, Some(mapping)) => columnar(path, mapping, hash).with_context(doing),
        (Format::Ndjson, None) => messages(path, gzip).with_context(doing),
        (Format::Ndjson, Some(mapping)) => objects(path, gzip, (mapping, hash)).with_context(doing),
        (Format::Csv, Some(mapping)) => values(path, gzip, (mapping, hash)).with_context(doing),
        (_, None) => anyhow::bail!(
            "`{}` has columns of its own: say with `--mapping FILE.yaml` what they are; \
             `examples/retail/online_retail.yaml` is one",
            path.display()
        ),
    }
}

#[cfg(feature = "parquet")]
fn columnar(path: &Path, mapping: &Mapping, hash: &str) -> anyhow::Result<Rows> {
    columnar::open(path, mapping, hash)
}

#[cfg(not(feature = "parquet"))]
fn columnar(_: &Path, _: &Mapping, _: &str) -> anyhow::Result<Rows> {
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
    let rows = lines::read(reader, path).map(|line| {
        let line = line?;
        let entries = line.entry.map(|entry| match entry {
            lines::Entry::Event(event) => Entries { event: Some(event), customer: None },
            lines::Entry::Customer(customer) => Entries { event: None, customer: Some(customer) },
        });
        Ok(Row { number: line.number, input: Input::Text(line.text), entries })
    });
    Ok(Rows { rows: Box::new(rows), read, total })
}

/// Lines that are objects with columns of their own.
fn objects(path: &Path, gzip: bool, (mapping, hash): (&Mapping, &str)) -> anyhow::Result<Rows> {
    let Text { reader, read, total } = text(path, gzip)?;
    let columns: Vec<String> = mapping.columns().into_iter().map(str::to_owned).collect();
    let fitted = Fitted::new(mapping.clone(), columns.clone(), hash.to_owned())?;
    let rows = lines::texts(reader, path).map(move |line| {
        let (number, line) = line?;
        let entries = line.and_then(|text| {
            let object: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(&text).map_err(|error| (text.clone(), format!("not an object: {error}")))?;
            let cells: Vec<Cell> = columns.iter().map(|column| cell_of(object.get(column))).collect();
            let entries = fitted.map(number, &cells).map_err(|why| (text.clone(), why))?;
            Ok((text, entries))
        });
        Ok(match entries {
            Ok((text, entries)) => Row { number, input: Input::Text(text), entries: Ok(entries) },
            Err((text, why)) => Row { number, input: Input::Text(text), entries: Err(why) },
        })
    });
    Ok(Rows { rows: Box::new(rows), read, total })
}

fn cell_of(value: Option<&serde_json::Value>) -> Cell {
    match value {
        None | Some(serde_json::Value::Null) => Cell::Null,
        Some(serde_json::Value::Bool(truth)) => Cell::Bool(*truth),
        Some(serde_json::Value::String(text)) => Cell::text(text),
        Some(serde_json::Value::Number(number)) => {
            number.as_i64().map_or_else(|| number.as_f64().map_or(Cell::Null, Cell::Double), Cell::Int)
        }
        Some(other) => Cell::text(&other.to_string()),
    }
}

/// Values with a header.
fn values(path: &Path, gzip: bool, (mapping, hash): (&Mapping, &str)) -> anyhow::Result<Rows> {
    let Text { reader, read, total } = text(path, gzip)?;
    // INVARIANT: `Mapping::read` looked that it is ASCII
    let delimiter = u8::try_from(mapping.csv.delimiter).unwrap_or(b',');
    let mut records =
        csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).has_headers(true).from_reader(reader);
    let header: Vec<String> = records
        .byte_headers()?
        .iter()
        .map(|name| String::from_utf8_lossy(name).trim_start_matches('\u{feff}').trim().to_owned())
        .collect();
    let fitted = Fitted::new(mapping.clone(), header.clone(), hash.to_owned())?;
    let columns: Arc<[String]> = header.into();
    let (mut number, path) = (0, path.to_owned());
    let rows = records.into_byte_records().map(move |record| {
        number += 1;
        let record = record.with_context(|| format!("reading `{}` at row {number}", path.display()))?;
        let cells: Vec<Cell> = record.iter().map(|value| Cell::text(&String::from_utf8_lossy(value))).collect();
        let entries = if record.len() != columns.len() {
            Err(format!("the row has {} values, the header {}", record.len(), columns.len()))
        } else if record.iter().any(|value| std::str::from_utf8(value).is_err()) {
            Err("the row is not UTF-8: convert the file".to_owned())
        } else {
            fitted.map(number, &cells)
        };
        Ok(Row { number, input: Input::Cells(Arc::clone(&columns), cells), entries })
    });
    Ok(Rows { rows: Box::new(rows), read, total })
}

#[cfg(test)]
mod tests;
