//! Comma-separated values (RFC 4180), a record at a time.

use std::path::Path;

use anyhow::Context;

use super::{Field, Flow, Row, Visit};

/// The names in the first line.
///
/// # Errors
/// The file cannot be read, or its first line is not UTF-8.
pub(super) fn names(path: &Path) -> anyhow::Result<Vec<String>> {
    let mut reader = open(path)?;
    let header = reader.headers().with_context(|| format!("reading the first line of `{}`", path.display()))?;
    // some programs write a mark of byte order first
    Ok(header.iter().map(|name| name.trim_start_matches('\u{feff}').trim().to_owned()).collect())
}

fn open(path: &Path) -> anyhow::Result<csv::Reader<std::fs::File>> {
    let reader = csv::ReaderBuilder::new().flexible(true).from_path(path);
    reader.with_context(|| format!("opening `{}`", path.display()))
}

/// Visits the rows; `wanted` has the wanted columns and how many there are.
pub(super) fn read(
    path: &Path,
    (wanted, width): (&[usize], usize),
    from_row: u64,
    visit: Visit<'_>,
) -> anyhow::Result<()> {
    let mut reader = open(path)?;
    let mut record = csv::ByteRecord::new();
    let mut fields = vec![Field::Missing; wanted.len()];
    let mut number = 0;
    while reader.read_byte_record(&mut record).with_context(|| format!("reading `{}`", path.display()))? {
        number += 1;
        if number <= from_row {
            continue;
        }
        let problem = taken(&record, (wanted, width), &mut fields);
        let fields = problem.as_deref().map_or(Ok(fields.as_slice()), Err);
        if visit(Row { number, fields }, reader.position().byte())? == Flow::Stop {
            break;
        }
    }
    Ok(())
}

/// Takes the wanted fields of a record; answers why it cannot be read.
fn taken(record: &csv::ByteRecord, (wanted, width): (&[usize], usize), fields: &mut [Field]) -> Option<String> {
    if record.len() != width {
        return Some(format!("it has {} fields where the first line names {width}", record.len()));
    }
    for (column, field) in wanted.iter().zip(fields) {
        match std::str::from_utf8(record.get(*column).unwrap_or_default()) {
            Ok("") => *field = Field::Missing,
            Ok(text) => *field = Field::Text(text.to_owned()),
            Err(_) => return Some(format!("field {} is not UTF-8", column + 1)),
        }
    }
    None
}
