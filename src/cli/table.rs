//! Rows of a CSV or Parquet file with named columns, read as a stream.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use crate::domain::Timestamp;

#[cfg(feature = "parquet")]
mod columns;
mod moment;
mod separated;

/// What every Parquet file begins with.
const PARQUET_MAGIC: &[u8; 4] = b"PAR1";

/// What stands in one column of a row.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Field {
    /// Nothing.
    #[default]
    Missing,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// Text.
    Text(String),
    /// A moment; one without a time zone is taken as UTC.
    Moment(Timestamp),
}

impl Field {
    /// As a text: what names something. A whole number that a file has as a
    /// floating one, such as `17850.0`, is named without its fraction.
    pub fn text(&self) -> Option<String> {
        match self {
            Field::Missing => None,
            Field::Bool(value) => Some(value.to_string()),
            Field::Int(value) => Some(value.to_string()),
            Field::Double(value) => Some(value.to_string()),
            Field::Text(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            Field::Moment(at) => Some(moment::text(*at)),
        }
    }

    /// As a finite number.
    pub fn number(&self) -> Option<f64> {
        let number = match self {
            Field::Int(value) => Some(*value as f64),
            Field::Double(value) => Some(*value),
            Field::Text(text) => text.trim().parse().ok(),
            _ => None,
        };
        number.filter(|number: &f64| number.is_finite())
    }

    /// As a moment: RFC 3339, or a date with or without a time, which count as
    /// UTC.
    pub fn moment(&self) -> Option<Timestamp> {
        match self {
            Field::Moment(at) => Some(*at),
            Field::Text(text) => moment::parse(text.trim()),
            _ => None,
        }
    }
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// Which, from 1, not counting the names of the columns.
    pub number: u64,
    /// The wanted columns in the order they were wanted, or why the row cannot
    /// be read.
    pub fields: Result<&'a [Field], &'a str>,
}

/// Whether reading goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// The next row.
    On,
    /// No more.
    Stop,
}

/// Who looks at rows: a row, and how much of [`Table::size`] is read.
pub type Visit<'a> = &'a mut dyn FnMut(Row<'_>, u64) -> anyhow::Result<Flow>;

/// A file with rows.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    form: Form,
    columns: Vec<String>,
    size: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Separated,
    Columns,
}

impl Table {
    /// Opens a file: Parquet by what it begins with, else CSV whose first line
    /// has the names.
    ///
    /// # Errors
    /// The file cannot be read, or is Parquet and this program cannot read it.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let doing = || format!("opening `{}`", path.display());
        let mut file = File::open(path).with_context(doing)?;
        let mut begin = Vec::new();
        file.by_ref().take(PARQUET_MAGIC.len() as u64).read_to_end(&mut begin).with_context(doing)?;
        let size = file.metadata().with_context(doing)?.len();
        let (form, (columns, size)) = match begin == PARQUET_MAGIC {
            true => (Form::Columns, of_parquet(path)?),
            false => (Form::Separated, (separated::names(path)?, size)),
        };
        Ok(Self { path: path.to_owned(), form, columns, size })
    }

    /// The names of the columns, in order.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Where a column is.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column == name)
    }

    /// Whether the file has a column of a name twice.
    pub fn is_double(&self, name: &str) -> bool {
        self.columns.iter().filter(|column| *column == name).count() > 1
    }

    /// How long a bar of progress is: rows of Parquet, bytes of CSV.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Visits the rows from one on (0 is the first) until the visitor stops.
    ///
    /// # Errors
    /// The file cannot be read on, or the visitor fails. A row that cannot be
    /// read is no error: the visitor is told why.
    pub fn read(&self, wanted: &[usize], from_row: u64, visit: Visit<'_>) -> anyhow::Result<()> {
        if let Some(absent) = wanted.iter().find(|column| **column >= self.columns.len()) {
            bail!("reading `{}`: there is no column {absent}", self.path.display());
        }
        match self.form {
            Form::Separated => separated::read(&self.path, (wanted, self.columns.len()), from_row, visit),
            Form::Columns => read_parquet(&self.path, wanted, from_row, visit),
        }
    }
}

#[cfg(feature = "parquet")]
fn of_parquet(path: &Path) -> anyhow::Result<(Vec<String>, u64)> {
    columns::names(path)
}

#[cfg(feature = "parquet")]
fn read_parquet(path: &Path, wanted: &[usize], from_row: u64, visit: Visit<'_>) -> anyhow::Result<()> {
    columns::read(path, wanted, from_row, visit)
}

#[cfg(not(feature = "parquet"))]
fn of_parquet(path: &Path) -> anyhow::Result<(Vec<String>, u64)> {
    bail!("`{}` is a Parquet file, and this program was built without the feature `parquet`", path.display())
}

#[cfg(not(feature = "parquet"))]
fn read_parquet(path: &Path, _: &[usize], _: u64, _: Visit<'_>) -> anyhow::Result<()> {
    of_parquet(path).map(|_| ())
}

#[cfg(test)]
mod tests;
