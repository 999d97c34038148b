//! Rows of Parquet files.

use std::{
    fs::File,
    path::Path,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed},
};

use anyhow::Context;
use parquet::{
    basic::{LogicalType, TimeUnit},
    file::reader::{FileReader, SerializedFileReader},
    record::{Field, reader::RowIter},
    schema::types::SchemaDescriptor,
};

use super::{Fitted, Mapping, Row, Rows};
use crate::cli::import::cell::Cell;

/// Opens a file.
///
/// # Errors
/// It is no Parquet file, has nested columns, or does not fit the mapping.
pub fn open(path: &Path, mapping: &Mapping) -> anyhow::Result<Rows> {
    let reader = SerializedFileReader::new(File::open(path)?)?;
    let metadata = reader.metadata().file_metadata();
    let kinds = kinds(metadata.schema_descr())?;
    let total = u64::try_from(metadata.num_rows()).unwrap_or_default();
    let columns: Arc<[String]> = kinds.iter().map(|kind| kind.name.clone()).collect();
    let fitted = Fitted::new(mapping.clone(), columns.to_vec())?;
    let read = Arc::new(AtomicU64::new(0));
    let (counted, mut number, path) = (Arc::clone(&read), 0, path.to_owned());
    let rows = RowIter::from_file_into(Box::new(reader)).map(move |row| {
        number += 1;
        let row = row.with_context(|| format!("reading `{}` at row {number}", path.display()))?;
        let cells: Vec<Cell> =
            row.into_columns().iter().zip(&kinds).map(|((_, field), kind)| kind.cell(field)).collect();
        counted.store(number, Relaxed);
        Ok(Row::of_cells(number, (&columns, cells), &fitted))
    });
    Ok(Rows { rows: Box::new(rows), read, total, notes: Arc::default() })
}

/// A column.
struct Kind {
    name: String,
    /// What a whole number of it counts, if it is a moment.
    moment: Option<Moment>,
}

struct Moment {
    unit: TimeUnit,
    utc: bool,
}

fn kinds(schema: &SchemaDescriptor) -> anyhow::Result<Vec<Kind>> {
    schema
        .columns()
        .iter()
        .map(|column| {
            anyhow::ensure!(
                column.path().parts().len() == 1 && column.max_rep_level() == 0,
                "the column `{}` is nested: only plain columns can be imported",
                column.path()
            );
            let moment = match column.logical_type_ref() {
                Some(LogicalType::Timestamp(of)) => Some(Moment { unit: of.unit, utc: of.is_adjusted_to_u_t_c }),
                _ => None,
            };
            Ok(Kind { name: column.name().to_owned(), moment })
        })
        .collect()
}

impl Kind {
    fn cell(&self, field: &Field) -> Cell {
        let moment = |us: i64| Cell::Moment { us, utc: self.moment.as_ref().is_some_and(|moment| moment.utc) };
        match field {
            Field::Null => Cell::Null,
            Field::Bool(truth) => Cell::Bool(*truth),
            Field::Byte(number) => Cell::Int(i64::from(*number)),
            Field::Short(number) => Cell::Int(i64::from(*number)),
            Field::Int(number) => Cell::Int(i64::from(*number)),
            Field::Long(number) => match self.moment.as_ref().map(|moment| &moment.unit) {
                None => Cell::Int(*number),
                Some(TimeUnit::MILLIS) => moment(number.saturating_mul(1_000)),
                Some(TimeUnit::MICROS) => moment(*number),
                Some(TimeUnit::NANOS) => moment(number.div_euclid(1_000)),
            },
            Field::UByte(number) => Cell::Int(i64::from(*number)),
            Field::UShort(number) => Cell::Int(i64::from(*number)),
            Field::UInt(number) => Cell::Int(i64::from(*number)),
            Field::ULong(number) => i64::try_from(*number).map_or(Cell::Double(*number as f64), Cell::Int),
            Field::Float(number) => Cell::text(&number.to_string()),
            Field::Double(number) => Cell::Double(*number),
            Field::Str(text) => Cell::text(text),
            Field::TimestampMillis(ms) => moment(ms.saturating_mul(1_000)),
            Field::TimestampMicros(us) => moment(*us),
            Field::Date(days) => {
                Cell::Moment { us: i64::from(*days).saturating_mul(crate::domain::time::DAY_US), utc: false }
            }
            // their text is what was written
            other => Cell::text(other.to_string().trim_matches('"')),
        }
    }
}
