//! Changes as Parquet files (format version 2.6, zstd). A file is whole or does
//! not have its name: rows are written to one beside it, which is renamed.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use parquet::{
    basic::{Compression, ZstdLevel},
    data_type::{BoolType, ByteArray, ByteArrayType, Int64Type},
    file::{
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::parser::parse_message_type,
};
use serde::Serialize;
use tokio::time::{Duration, Instant};

use crate::{
    grpc::timestamp::Timestamp,
    proto::{Money, SubscribeResponse, TimelineEntry},
};

use super::{
    changes::{Sink, kind_name},
    state::{beside, sync_dir_of},
};

/// Rows held in memory until they are written as a group.
const GROUP_ROWS_MAX: usize = 20_000;
/// Rows of one file, where there are several.
const FILE_ROWS_MAX: usize = 1_000_000;
/// A file that nothing is added to is closed after this time, where there are
/// several, so that who reads them sees them.
const FILE_AGE_MAX: Duration = Duration::from_secs(60);

/// What is not plain is JSON.
const SCHEMA: &str = "
message change {
  REQUIRED INT64 cursor;
  OPTIONAL INT64 time (TIMESTAMP(MICROS, true));
  REQUIRED BYTE_ARRAY kind (STRING);
  OPTIONAL BYTE_ARRAY customer (STRING);
  OPTIONAL BYTE_ARRAY other_customers (JSON);
  OPTIONAL BYTE_ARRAY segments_entered (JSON);
  OPTIONAL BYTE_ARRAY segments_left (JSON);
  REQUIRED BOOLEAN erased;
  OPTIONAL INT64 happened (TIMESTAMP(MICROS, true));
  OPTIONAL INT64 received (TIMESTAMP(MICROS, true));
  OPTIONAL BYTE_ARRAY type (STRING);
  OPTIONAL BYTE_ARRAY channel (STRING);
  OPTIONAL BYTE_ARRAY offer (STRING);
  OPTIONAL BYTE_ARRAY decision_id (STRING);
  OPTIONAL BYTE_ARRAY reason_code (STRING);
  OPTIONAL BYTE_ARRAY amount (STRING);
  OPTIONAL BYTE_ARRAY currency (STRING);
  OPTIONAL BYTE_ARRAY link (STRING);
  OPTIONAL BYTE_ARRAY note (STRING);
  OPTIONAL BYTE_ARRAY agent_id (STRING);
  OPTIONAL BOOLEAN late;
  OPTIONAL BYTE_ARRAY items (JSON);
  OPTIONAL BYTE_ARRAY data (JSON);
  OPTIONAL BYTE_ARRAY decided (JSON);
  OPTIONAL BYTE_ARRAY identities (JSON);
  OPTIONAL BYTE_ARRAY event_id (STRING);
  OPTIONAL BYTE_ARRAY lines (JSON);
}
";

/// A value of a row; `None` where there is none.
enum Cell {
    Number(Option<i64>),
    Truth(Option<bool>),
    Text(Option<ByteArray>),
}

/// Parquet files.
pub struct Files {
    path: PathBuf,
    /// Whether the path is a directory of several.
    in_parts: bool,
    open: Option<Open>,
    rows: Vec<Vec<Cell>>,
}

/// A file being written.
struct Open {
    writer: SerializedFileWriter<File>,
    /// Its name once it is whole.
    path: PathBuf,
    rows: usize,
    since: Instant,
}

impl Files {
    /// One file, or a directory of several that can be added to.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn new(path: &Path, in_parts: bool) -> anyhow::Result<Self> {
        if in_parts {
            fs::create_dir_all(path).with_context(|| format!("creating `{}`", path.display()))?;
        }
        Ok(Self { path: path.to_owned(), in_parts, open: None, rows: Vec::new() })
    }

    /// The file being written; begins one whose first row is of this cursor.
    fn open(&mut self, cursor: &str) -> anyhow::Result<&mut Open> {
        let path = match self.in_parts {
            true => self.path.join(format!("changes-{cursor:0>20}.parquet")),
            false => self.path.clone(),
        };
        let open = match self.open.take() {
            Some(open) => open,
            None => {
                let partial = beside(&path, "partial");
                let file = File::create(&partial).with_context(|| format!("creating `{}`", partial.display()))?;
                let schema = Arc::new(parse_message_type(SCHEMA)?);
                let compression = Compression::ZSTD(ZstdLevel::default());
                let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
                let writer = SerializedFileWriter::new(file, schema, properties)?;
                Open { writer, path, rows: 0, since: Instant::now() }
            }
        };
        Ok(self.open.insert(open))
    }

    /// Writes the rows in memory as a group.
    fn write_group(&mut self) -> anyhow::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let Some(open) = self.open.as_mut().filter(|_| !rows.is_empty()) else { return Ok(()) };
        let mut group = open.writer.next_row_group()?;
        let mut at = 0;
        while let Some(column) = group.next_column()? {
            write_column(column, rows.iter().filter_map(|row| row.get(at)))?;
            at += 1;
        }
        group.close()?;
        open.rows += rows.len();
        Ok(())
    }

    /// Makes the file whole, under its name, durable.
    fn close(&mut self) -> anyhow::Result<()> {
        self.write_group()?;
        let Some(Open { writer, path, .. }) = self.open.take() else { return Ok(()) };
        let partial = beside(&path, "partial");
        let done = writer.into_inner()?.sync_all().and_then(|()| fs::rename(&partial, &path));
        done.and_then(|()| sync_dir_of(&path)).with_context(|| format!("writing `{}`", path.display()))
    }
}

impl Sink for Files {
    fn put(&mut self, message: &SubscribeResponse) -> anyhow::Result<()> {
        let full = self.open(&message.cursor)?.rows >= FILE_ROWS_MAX;
        self.rows.push(row(message)?);
        if self.rows.len() >= GROUP_ROWS_MAX {
            self.write_group()?;
        }
        if self.in_parts && full { self.close() } else { Ok(()) }
    }

    fn settle(&mut self, cursor: &str) -> anyhow::Result<u64> {
        let old = self.open.as_ref().is_some_and(|open| open.since.elapsed() >= FILE_AGE_MAX);
        if self.in_parts && old { self.finish(cursor) } else { Ok(0) }
    }

    fn finish(&mut self, cursor: &str) -> anyhow::Result<u64> {
        if !self.in_parts {
            // a file without rows is an answer too
            self.open(cursor)?;
        }
        self.close()?;
        Ok(0)
    }

    fn give_up(&mut self, cursor: &str) -> anyhow::Result<u64> {
        if self.in_parts { self.finish(cursor) } else { Ok(0) }
    }

    fn is_whole(&self) -> bool {
        self.open.is_none()
    }
}

fn write_column<'a>(
    mut column: SerializedColumnWriter<'_>,
    cells: impl Iterator<Item = &'a Cell>,
) -> anyhow::Result<()> {
    let (mut numbers, mut truths, mut texts, mut levels) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for cell in cells {
        let known = match cell {
            Cell::Number(number) => number.map(|number| numbers.push(number)),
            Cell::Truth(truth) => truth.map(|truth| truths.push(truth)),
            Cell::Text(text) => text.as_ref().map(|text| texts.push(text.clone())),
        };
        levels.push(i16::from(known.is_some()));
    }
    // INVARIANT: the cells of a column are of its type, and a required one has a
    // value in every row, for which levels are ignored
    if !numbers.is_empty() || matches!(column.untyped(), parquet::column::writer::ColumnWriter::Int64ColumnWriter(_)) {
        column.typed::<Int64Type>().write_batch(&numbers, Some(&levels), None)?;
    } else if matches!(column.untyped(), parquet::column::writer::ColumnWriter::BoolColumnWriter(_)) {
        column.typed::<BoolType>().write_batch(&truths, Some(&levels), None)?;
    } else {
        column.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None)?;
    }
    Ok(column.close()?)
}

fn text(text: &str) -> Cell {
    Cell::Text((!text.is_empty()).then(|| ByteArray::from(text.as_bytes().to_vec())))
}

fn moment(moment: Option<Timestamp>) -> Cell {
    let us =
        |moment: Timestamp| moment.seconds.saturating_mul(1_000_000).saturating_add(i64::from(moment.nanos) / 1_000);
    Cell::Number(moment.map(us))
}

fn json<T: Serialize>(list: &[T]) -> anyhow::Result<Cell> {
    let encoded = (!list.is_empty()).then(|| serde_json::to_vec(list)).transpose()?;
    Ok(Cell::Text(encoded.map(ByteArray::from)))
}

/// In order of the columns of [`SCHEMA`].
fn row(message: &SubscribeResponse) -> anyhow::Result<Vec<Cell>> {
    let none = TimelineEntry::default();
    let entry = message.entry.as_ref().unwrap_or(&none);
    let money = |of: fn(&Money) -> &str| text(entry.amount.as_ref().map_or("", of));
    let data = entry.data.as_ref().map(serde_json::to_vec).transpose()?;
    let cursor = message.cursor.parse().with_context(|| format!("reading the cursor `{}`", message.cursor))?;
    Ok(vec![
        Cell::Number(Some(cursor)),
        moment(message.time),
        text(&kind_name(message.kind())),
        text(&message.customer),
        json(&message.other_customers)?,
        json(&message.segments_entered)?,
        json(&message.segments_left)?,
        Cell::Truth(Some(message.erased)),
        moment(entry.time),
        moment(entry.received),
        text(&entry.r#type),
        text(&entry.channel),
        text(&entry.offer),
        text(&entry.decision_id),
        text(&entry.reason_code),
        money(|money| &money.amount),
        money(|money| &money.currency),
        text(&entry.link),
        text(&entry.note),
        text(&entry.agent_id),
        Cell::Truth(message.entry.as_ref().map(|entry| entry.late)),
        json(&entry.items)?,
        Cell::Text(data.map(ByteArray::from)),
        json(&message.decided)?,
        json(&message.identities)?,
        text(&entry.event_id),
        json(&entry.lines)?,
    ])
}
