//! Rows of comma- and tab-separated values.

use std::{fs::File, io::BufReader, path::Path};

use anyhow::Context;

use crate::cli::separated::{Found, Separated, Values, delimiter_of};

use super::{Field, Flow, Row, Visit};

/// The names in the first line.
///
/// # Errors
/// The file cannot be read, or its first line is none.
pub(super) fn names(path: &Path) -> anyhow::Result<Vec<String>> {
    open(path)?.names().with_context(|| format!("reading the first line of `{}`", path.display()))
}

fn open(path: &Path) -> anyhow::Result<Separated<BufReader<File>>> {
    const BUFFER_BYTES: usize = 1 << 17;
    let file = File::open(path).with_context(|| format!("opening `{}`", path.display()))?;
    Ok(Separated::new(BufReader::with_capacity(BUFFER_BYTES, file), delimiter_of(path), true))
}

/// Visits the rows; `wanted` has the wanted columns and how many there are.
pub(super) fn read(
    path: &Path,
    (wanted, width): (&[usize], usize),
    from_row: u64,
    visit: Visit<'_>,
) -> anyhow::Result<()> {
    let doing = || format!("reading `{}`", path.display());
    let mut reader = open(path)?;
    reader.names().with_context(doing)?;
    let mut values = Values::default();
    let mut fields = vec![Field::Missing; wanted.len()];
    let mut number = 0;
    loop {
        let problem = match reader.next(&mut values).with_context(doing)? {
            Found::End => return Ok(()),
            Found::Bad(_, why) => Some(why),
            Found::Record => None,
        };
        number += 1;
        if number <= from_row {
            continue;
        }
        let problem = problem.or_else(|| taken(&values, (wanted, width), &mut fields));
        let fields = problem.as_deref().map_or(Ok(fields.as_slice()), Err);
        if visit(Row { number, fields }, reader.bytes())? == Flow::Stop {
            return Ok(());
        }
    }
}

/// Takes the wanted fields of a record; answers why it cannot be read.
fn taken(values: &Values, (wanted, width): (&[usize], usize), fields: &mut [Field]) -> Option<String> {
    if values.len() != width {
        return Some(format!("it has {} fields where the first line names {width}", values.len()));
    }
    for (column, field) in wanted.iter().zip(fields) {
        match std::str::from_utf8(values.get(*column).unwrap_or_default()) {
            Ok("") => *field = Field::Missing,
            Ok(text) => *field = Field::Text(text.to_owned()),
            Err(_) => return Some(format!("field {} is not UTF-8", column + 1)),
        }
    }
    None
}
