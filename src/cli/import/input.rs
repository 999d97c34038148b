//! What a row was read from, as it stands in the file of rejects, and how that is
//! read again when it is corrected.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use crate::cli::separated::{Found, Separated, Values};

use super::cell::Cell;

/// What a row was read from.
#[derive(Clone, Debug)]
pub enum Input {
    /// A line.
    Text(String),
    /// The `input` of a reject.
    Json(Value),
    /// Lines of a CSV file that are no row, and what its columns are.
    Csv(String, Arc<CsvOf>),
    /// Values of columns.
    Cells(Arc<[String]>, Vec<Cell>),
}

/// How a CSV file is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CsvOf {
    /// The names in its first line.
    pub columns: Vec<String>,
    /// What stands between two values.
    pub delimiter: char,
}

impl Input {
    /// As JSON.
    pub fn as_json(&self) -> Value {
        match self {
            Input::Text(text) | Input::Csv(text, _) => text.as_str().into(),
            Input::Json(value) => value.clone(),
            Input::Cells(columns, cells) => {
                let fields = columns.iter().zip(cells).map(|(name, cell)| (name.clone(), cell.as_json()));
                Value::Object(fields.collect())
            }
        }
    }
}

impl CsvOf {
    /// The values of a row by the names of their columns.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(&self, text: &str) -> Result<Vec<(String, Cell)>, String> {
        let delimiter = u8::try_from(self.delimiter).map_err(|_| "`csv.delimiter` is no ASCII character".to_owned())?;
        let (mut rows, mut values) = (Separated::new(text.as_bytes(), delimiter, true), Values::default());
        let cannot = |error: std::io::Error| error.to_string();
        match rows.next(&mut values).map_err(cannot)? {
            Found::Record => {}
            Found::Bad(_, why) => return Err(why),
            Found::End => return Err("it is empty".to_owned()),
        }
        if values.len() != self.columns.len() {
            return Err(format!("the row has {} values, the header {}", values.len(), self.columns.len()));
        }
        let cells = values.iter().map(|value| Cell::text(&String::from_utf8_lossy(value)));
        let cells = self.columns.iter().cloned().zip(cells).collect();
        match rows.next(&mut Values::default()).map_err(cannot)? {
            Found::End => Ok(cells),
            _ => Err("it has more than one row: give each a line of its own".to_owned()),
        }
    }
}

/// A line of a file of rejects.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    row: u64,
    error: String,
    input: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nth: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    csv: Option<CsvOf>,
    /// Of `input`, to know whether somebody corrected it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
}

/// A row that was rejected.
#[derive(Debug)]
pub struct Rejected {
    /// What it was read from.
    pub input: Value,
    /// How many events before said the same.
    pub nth: Option<u32>,
    /// Where `input` is of a CSV file: how that is written.
    pub csv: Option<CsvOf>,
}

impl Rejected {
    /// Of a line of a file of rejects, also where that was rejected itself;
    /// `None` for another line.
    pub fn read(text: &str) -> Option<Self> {
        let mut written: Written =
            if text.contains("\"input\"") { serde_json::from_str(text).ok()? } else { return None };
        loop {
            let inner = match &written.input {
                Value::String(text) if text.contains("\"input\"") => serde_json::from_str(text).ok(),
                Value::Object(object) if object.contains_key("input") => Written::deserialize(&written.input).ok(),
                _ => None,
            };
            match inner {
                Some(inner) => written = inner,
                None => return Some(Self { input: written.input, nth: written.nth, csv: written.csv }),
            }
        }
    }

    /// A line of a file of rejects.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn write((row, why): (u64, &str), input: &Input, nth: Option<u32>) -> serde_json::Result<String> {
        let csv = match input {
            Input::Csv(_, csv) => Some(CsvOf::clone(csv)),
            _ => None,
        };
        let input = input.as_json();
        let hash = Some(hash_of(&input));
        let line = Written { row, error: why.to_owned(), input, nth, csv, hash };
        serde_json::to_string(&line)
    }

    /// Whether a line is as it was written.
    pub fn is_as_written(text: &str) -> bool {
        let line: Result<Written, _> = serde_json::from_str(text);
        line.is_ok_and(|line| line.hash.is_some_and(|hash| hash == hash_of(&line.input)))
    }
}

fn hash_of(input: &Value) -> String {
    format!("{:016x}", xxh3_64(input.to_string().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_of_rejects_are_unwrapped_and_what_is_edited_is_told() {
        let csv = Arc::new(CsvOf { columns: vec!["a".into(), "b".into()], delimiter: ';' });
        let first = Rejected::write((4, "why"), &Input::Csv("1;\"open".into(), Arc::clone(&csv)), Some(2)).unwrap();
        assert!(Rejected::is_as_written(&first) && !Rejected::is_as_written(&first.replace("open", "shut")));
        assert!(!Rejected::is_as_written(&first.replace('}', "")) && !Rejected::is_as_written("{}"));
        let outer = serde_json::json!({"row": 1, "error": "again", "input": first}).to_string();
        let inner: Value = serde_json::from_str(&outer).unwrap();
        let outest = serde_json::json!({"row": 1, "error": "again", "input": inner}).to_string();
        for text in [&first, &outer, &outest] {
            let read = Rejected::read(text).unwrap();
            assert_eq!((read.input, read.nth, read.csv.as_ref()), ("1;\"open".into(), Some(2), Some(&*csv)));
        }
        assert!(Rejected::read("{\"input\":1}").is_none());
        let cells =
            |text: &str| csv.read(text).map(|cells| cells.into_iter().map(|(_, cell)| cell).collect::<Vec<_>>());
        assert_eq!(cells("1;\"x; y\"").unwrap(), [Cell::text("1"), Cell::text("x; y")]);
        assert!(cells("1").unwrap_err().contains("1 values") && cells("1;2\n3;4").is_err() && cells("1;\"x").is_err());
    }
}
