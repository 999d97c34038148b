//! Lines that are objects with columns of their own, rejected rows among them.

use std::{path::Path, sync::Arc};

use crate::cli::{
    import::{
        cell::Cell,
        input::{Input, Rejected},
        map::Fitted,
        mapping::Mapping,
        notes::Notes,
    },
    lines,
};

use super::{Row, Rows, Text, content_of, text};

/// Opens a file of such lines.
///
/// # Errors
/// The file cannot be read, or the mapping has a time zone that is none.
pub fn open(path: &Path, gzip: bool, mapping: &Mapping) -> anyhow::Result<Rows> {
    let Text { reader, read, total } = text(path, gzip)?;
    let columns: Vec<String> = mapping.columns().into_iter().map(str::to_owned).collect();
    let fitted = Fitted::new(mapping.clone(), columns.clone())?;
    let notes: Arc<Notes> = Arc::default();
    let mut has = Seen { absent: columns.iter().cloned().map(Some).collect(), rows: false, notes: Arc::clone(&notes) };
    let rows = lines::texts(reader, path).map(move |line| {
        let (number, line) = line?;
        let Object { input, nth, cells } = match line {
            Ok(text) => object(text),
            Err((text, why)) => Object { input: Input::Text(text), nth: None, cells: Err(why) },
        };
        let cells = match cells {
            Ok(cells) => cells,
            Err(why) => return Ok(Row { nth, ..Row::unreadable(number, (input, why), (&[], &fitted)) }),
        };
        has.see(&cells);
        let content = content_of(cells.iter().map(|(name, cell)| (name.as_str(), cell)));
        let of = |column: &String| cells.iter().find(|(name, _)| name == column).map(|(_, cell)| cell.clone());
        let row: Vec<Cell> = columns.iter().map(|column| of(column).unwrap_or(Cell::Null)).collect();
        let (line, kind) = (fitted.line(&row), fitted.kind(&row));
        Ok(Row { content: Some(content), line, kind, nth, ..Row::plain(number, input, fitted.map(&row)) })
    });
    Ok(Rows { rows: Box::new(rows), read, total, notes })
}

/// A line with columns of its own.
struct Object {
    input: Input,
    /// Of a line that was rejected.
    nth: Option<u32>,
    /// By the names of their columns.
    cells: Result<Vec<(String, Cell)>, String>,
}

/// What a line holds, or the line that was rejected.
fn object(text: String) -> Object {
    let read = |text: &str| {
        let object: Result<serde_json::Map<_, _>, _> = serde_json::from_str(text);
        object.map(cells_of).map_err(|error| format!("not an object: {error}"))
    };
    let Some(Rejected { input, nth, csv }) = Rejected::read(&text) else {
        let cells = read(&text);
        return Object { input: Input::Text(text), nth: None, cells };
    };
    match (input, csv) {
        (serde_json::Value::String(text), Some(csv)) => {
            let cells = csv.read(&text);
            Object { input: Input::Csv(text, Arc::new(csv)), nth, cells }
        }
        (serde_json::Value::String(text), None) => {
            let cells = read(&text);
            Object { input: Input::Text(text), nth, cells }
        }
        (input, _) => {
            let cells = match &input {
                serde_json::Value::Object(object) => Ok(cells_of(object.clone())),
                _ => Err("`input` is neither an object nor a text".to_owned()),
            };
            Object { input: Input::Json(input), nth, cells }
        }
    }
}

fn cells_of(object: serde_json::Map<String, serde_json::Value>) -> Vec<(String, Cell)> {
    object.into_iter().map(|(name, value)| (name, cell_of(&value))).collect()
}

/// Which columns were in no row so far.
struct Seen {
    absent: Vec<Option<String>>,
    rows: bool,
    notes: Arc<Notes>,
}

impl Seen {
    fn see(&mut self, cells: &[(String, Cell)]) {
        self.rows = true;
        for name in &mut self.absent {
            if name.as_ref().is_some_and(|name| cells.iter().any(|(given, _)| given == name)) {
                *name = None;
            }
        }
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        if self.rows {
            self.notes.absent(self.absent.iter_mut().filter_map(Option::take).collect());
        }
    }
}

fn cell_of(value: &serde_json::Value) -> Cell {
    match value {
        serde_json::Value::Null => Cell::Null,
        serde_json::Value::Bool(truth) => Cell::Bool(*truth),
        serde_json::Value::String(text) => Cell::text(text),
        serde_json::Value::Number(number) => {
            number.as_i64().map_or_else(|| number.as_f64().map_or(Cell::Null, Cell::Double), Cell::Int)
        }
        serde_json::Value::Array(values) if values.iter().all(serde_json::Value::is_string) => {
            Cell::List(values.iter().filter_map(|value| Some(value.as_str()?.into())).collect())
        }
        other => Cell::text(&other.to_string()),
    }
}
