//! Parquet, the wanted columns only, a batch of rows at a time.

use std::{fs::File, path::Path};

use anyhow::{Context, anyhow, bail};
use parquet::{
    basic::{ConvertedType, LogicalType, TimeUnit},
    column::reader::{ColumnReader, ColumnReaderImpl},
    data_type::{ByteArray, DataType, Int96},
    file::reader::{FileReader, SerializedFileReader},
    schema::types::ColumnDescriptor,
};

use crate::domain::Timestamp;

use super::{Field, Flow, Row, Visit};

/// Rows read at once.
const BATCH_ROWS: usize = 8_192;
const DAY_US: i64 = 86_400_000_000;
/// What a text that is not UTF-8 becomes until its row is told.
const NOT_UTF8: &str = "a text is not UTF-8";

/// The names of the columns, and how many rows there are.
///
/// # Errors
/// The file cannot be read.
pub(super) fn names(path: &Path) -> anyhow::Result<(Vec<String>, u64)> {
    let reader = open(path)?;
    let file = reader.metadata().file_metadata();
    let names = file.schema_descr().columns().iter().map(|column| column.path().string()).collect();
    Ok((names, u64::try_from(file.num_rows()).unwrap_or(0)))
}

fn open(path: &Path) -> anyhow::Result<SerializedFileReader<File>> {
    let doing = || format!("opening `{}`", path.display());
    SerializedFileReader::new(File::open(path).with_context(doing)?).with_context(doing)
}

/// Visits the rows.
///
/// # Errors
/// The file is damaged or has lists in a wanted column, or the visitor fails.
pub(super) fn read(path: &Path, wanted: &[usize], from_row: u64, visit: Visit<'_>) -> anyhow::Result<()> {
    let doing = || format!("reading `{}`", path.display());
    let reader = open(path)?;
    let mut number = 0;
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).with_context(doing)?;
        let rows = u64::try_from(group.metadata().num_rows()).unwrap_or(0);
        if number + rows <= from_row {
            number += rows;
            continue;
        }
        let mut columns = Vec::with_capacity(wanted.len());
        for column in wanted {
            let description = group.metadata().column(*column).column_descr();
            let kind = Kind::of(description).with_context(doing)?;
            let nullable = description.max_def_level();
            columns.push(Column::new(group.get_column_reader(*column).with_context(doing)?, kind, nullable));
        }
        let until = number + rows;
        if batches(&mut columns, (&mut number, until), from_row, visit).with_context(doing)? == Flow::Stop {
            break;
        }
    }
    Ok(())
}

/// Visits the rows of a group.
fn batches(
    columns: &mut [Column],
    (number, until): (&mut u64, u64),
    from_row: u64,
    visit: Visit<'_>,
) -> anyhow::Result<Flow> {
    let mut fields = vec![Field::Missing; columns.len()];
    while *number < until {
        let rows = BATCH_ROWS.min(usize::try_from(until - *number).unwrap_or(BATCH_ROWS));
        for column in columns.iter_mut() {
            column.read(rows)?;
        }
        for row in 0..rows {
            *number += 1;
            if *number <= from_row {
                continue;
            }
            let mut problem = None;
            for (column, field) in columns.iter_mut().zip(&mut fields) {
                match column.batch.get_mut(row).map(|cell| std::mem::replace(cell, Err(()))) {
                    Some(Ok(value)) => *field = value,
                    Some(Err(())) => problem = Some(NOT_UTF8),
                    None => bail!("a column ends before its row {number}: the file is damaged"),
                }
            }
            let fields = problem.map_or(Ok(fields.as_slice()), Err);
            if visit(Row { number: *number, fields }, *number)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
    }
    Ok(Flow::On)
}

/// What the values of a column mean.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Plain,
    Days,
    /// Units of time in a second.
    Moment(i64),
    /// What the numbers are divided by.
    Decimal(f64),
}

impl Kind {
    fn of(column: &ColumnDescriptor) -> anyhow::Result<Self> {
        if column.max_rep_level() > 0 {
            bail!("column `{}` has lists: name a column with single values", column.path().string());
        }
        let decimal = || Kind::Decimal(10_f64.powi(column.type_scale()));
        let per_second = |unit: &TimeUnit| match unit {
            TimeUnit::MILLIS => 1_000,
            TimeUnit::MICROS => 1_000_000,
            TimeUnit::NANOS => 1_000_000_000,
        };
        Ok(match (column.logical_type_ref(), column.converted_type()) {
            (Some(LogicalType::Timestamp(time)), _) => Kind::Moment(per_second(&time.unit)),
            (_, ConvertedType::TIMESTAMP_MILLIS) => Kind::Moment(1_000),
            (_, ConvertedType::TIMESTAMP_MICROS) => Kind::Moment(1_000_000),
            (Some(LogicalType::Date), _) | (_, ConvertedType::DATE) => Kind::Days,
            (Some(LogicalType::Decimal(_)), _) | (_, ConvertedType::DECIMAL) => decimal(),
            _ => Kind::Plain,
        })
    }

    fn whole(self, value: i64) -> Field {
        match self {
            Kind::Plain => Field::Int(value),
            Kind::Days => Field::Moment(Timestamp(value.saturating_mul(DAY_US))),
            Kind::Moment(1_000) => Field::Moment(Timestamp(value.saturating_mul(1_000))),
            Kind::Moment(1_000_000) => Field::Moment(Timestamp(value)),
            Kind::Moment(_) => Field::Moment(Timestamp(value.div_euclid(1_000))),
            Kind::Decimal(by) => Field::Double(value as f64 / by),
        }
    }
}

struct Column {
    reader: ColumnReader,
    kind: Kind,
    /// The level of a value that is there; 0 where none can be missing.
    present: i16,
    levels: Vec<i16>,
    /// The batch; `Err` where a text is not UTF-8.
    batch: Vec<Cell>,
}

type Cell = Result<Field, ()>;

impl Column {
    fn new(reader: ColumnReader, kind: Kind, present: i16) -> Self {
        Self { reader, kind, present, levels: Vec::new(), batch: Vec::new() }
    }

    /// Reads the next rows into the batch.
    fn read(&mut self, rows: usize) -> anyhow::Result<()> {
        let Self { reader, kind, present, levels, batch } = self;
        let kind = *kind;
        batch.clear();
        let into = (*present, levels, batch);
        match reader {
            ColumnReader::BoolColumnReader(r) => values(r, rows, into, |v| Ok(Field::Bool(v))),
            ColumnReader::Int32ColumnReader(r) => values(r, rows, into, |v| Ok(kind.whole(i64::from(v)))),
            ColumnReader::Int64ColumnReader(r) => values(r, rows, into, |v| Ok(kind.whole(v))),
            ColumnReader::FloatColumnReader(r) => values(r, rows, into, |v| Ok(Field::Double(f64::from(v)))),
            ColumnReader::DoubleColumnReader(r) => values(r, rows, into, |v| Ok(Field::Double(v))),
            ColumnReader::Int96ColumnReader(r) => {
                values(r, rows, into, |v: Int96| Ok(Field::Moment(Timestamp(v.to_micros()))))
            }
            ColumnReader::ByteArrayColumnReader(r) => values(r, rows, into, text),
            ColumnReader::FixedLenByteArrayColumnReader(_) => {
                bail!("a wanted column has bytes of fixed length, which mean nothing here")
            }
        }
    }
}

fn text(bytes: ByteArray) -> Cell {
    std::str::from_utf8(bytes.data()).map(|text| Field::Text(text.to_owned())).map_err(|_| ())
}

fn values<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    (present, levels, batch): (i16, &mut Vec<i16>, &mut Vec<Cell>),
    mut field: impl FnMut(T::T) -> Cell,
) -> anyhow::Result<()> {
    levels.clear();
    let mut found = Vec::with_capacity(rows);
    let mut done = 0;
    while done < rows {
        let (read, ..) = reader.read_records(rows - done, Some(levels), None, &mut found)?;
        if read == 0 {
            return Err(anyhow!("a column ends early: the file is damaged"));
        }
        done += read;
    }
    let mut found = found.into_iter();
    match present {
        0 => batch.extend(found.map(field)),
        _ => batch.extend(levels.iter().map(|level| match (*level == present).then(|| found.next()).flatten() {
            Some(value) => field(value),
            None => Ok(Field::Missing),
        })),
    }
    Ok(())
}
