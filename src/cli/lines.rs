//! NDJSON files, line by line: which message a line holds, and where it stands.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use anyhow::Context;
use serde::de::DeserializeOwned;

use crate::{
    http::path,
    proto::{Event, UpsertCustomerRequest},
};

/// The longest line that is read, bytes.
const LINE_BYTES_MAX: usize = 1 << 20;

/// What a line holds.
pub enum Entry {
    /// An event or outcome.
    Event(Box<Event>),
    /// Attributes and consents of a customer.
    Customer(Box<UpsertCustomerRequest>),
}

/// One line of a file.
pub struct Line {
    /// What it holds, or what is wrong with it.
    pub entry: Result<Entry, String>,
}

/// The lines of a file that are not blank.
///
/// # Errors
/// The file cannot be opened.
pub fn open(path: &Path) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Line>> + use<>> {
    let file = File::open(path).with_context(|| format!("opening `{}`", path.display()))?;
    Ok(read(BufReader::with_capacity(1 << 16, file), path))
}

/// The lines of a text that are not blank.
pub fn read<R: BufRead>(reader: R, path: &Path) -> impl Iterator<Item = anyhow::Result<Line>> + use<R> {
    texts(reader, path).map(|line| {
        let (_, text) = line?;
        Ok(Line { entry: text.map_err(|(_, why)| why).and_then(|text| parse(&text)) })
    })
}

/// The number of a line and its text; or what can be told of the text, and what
/// is wrong with it.
type Text = (u64, Result<String, (String, String)>);

/// The texts of the lines that are not blank. INVARIANT: a line that is too long
/// is never in memory as a whole.
pub fn texts<R: BufRead>(mut reader: R, path: &Path) -> impl Iterator<Item = anyhow::Result<Text>> + use<R> {
    let (path, mut number) = (path.to_owned(), 0);
    std::iter::from_fn(move || {
        loop {
            number += 1;
            match next(&mut reader) {
                Ok(None) => return None,
                Ok(Some(Ok(text))) if text.trim().is_empty() => {}
                Ok(Some(text)) => return Some(Ok((number, text))),
                Err(error) => {
                    return Some(Err(error).with_context(|| format!("reading `{}` at line {number}", path.display())));
                }
            }
        }
    })
}

fn next(reader: &mut impl BufRead) -> std::io::Result<Option<Result<String, (String, String)>>> {
    const SHOWN_BYTES: usize = 200;
    let (mut raw, mut bytes) = (Vec::new(), 0);
    loop {
        let available = reader.fill_buf()?;
        if available.is_empty() {
            break;
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(available.len(), |end| end + 1);
        if bytes + used <= LINE_BYTES_MAX {
            raw.extend_from_slice(&available[..used]);
        } else {
            raw.truncate(SHOWN_BYTES);
        }
        bytes += used;
        reader.consume(used);
        if end.is_some() {
            break;
        }
    }
    if bytes == 0 {
        return Ok(None);
    }
    if bytes > LINE_BYTES_MAX {
        let why = format!("the line has {bytes} bytes; the most is {LINE_BYTES_MAX}");
        return Ok(Some(Err((String::from_utf8_lossy(&raw).into_owned(), why))));
    }
    Ok(Some(match String::from_utf8(raw) {
        Ok(text) => Ok(text.trim_end().to_owned()),
        Err(error) => {
            let text = String::from_utf8_lossy(error.as_bytes()).trim_end().to_owned();
            Err((text, "the line is not UTF-8: convert the file".to_owned()))
        }
    }))
}

/// A line is a customer when it has `identities` of its own, else an event.
///
/// # Errors
/// What is wrong with it.
pub fn parse(text: &str) -> Result<Entry, String> {
    if let Ok(event) = serde_json::from_str(text) {
        return Ok(Entry::Event(Box::new(event)));
    }
    let says = |e: serde_json::Error| format!("not a valid line: {e}");
    let value: serde_json::Value = serde_json::from_str(text).map_err(says)?;
    if value.get("identities").is_some() {
        read_as(value, text).map(|c| Entry::Customer(Box::new(c)))
    } else {
        read_as(value, text).map(|e| Entry::Event(Box::new(e)))
    }
}

/// A mistake is looked for in the text again, which knows where it stands.
fn read_as<T: DeserializeOwned>(value: serde_json::Value, text: &str) -> Result<T, String> {
    serde_json::from_value(value).map_err(|without_place| {
        let why = match serde_json::from_str::<T>(text) {
            Err(error) => path::explain(text.as_bytes(), &error),
            Ok(_) => without_place.to_string(),
        };
        format!("not a valid line: {why}")
    })
}
