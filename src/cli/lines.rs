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
    /// From 1.
    pub number: u64,
    /// Its length in the file, bytes.
    pub bytes: u64,
    /// Its text.
    pub text: String,
    /// What it holds, or what is wrong with it.
    pub entry: Result<Entry, String>,
}

/// The lines of a file that are not blank.
///
/// # Errors
/// The file cannot be opened.
pub fn read(path: &Path) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Line>> + use<>> {
    let file = File::open(path).with_context(|| format!("opening `{}`", path.display()))?;
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (path, mut number) = (path.to_owned(), 0);
    Ok(std::iter::from_fn(move || {
        loop {
            number += 1;
            let line = next(&mut reader, number, &path)?;
            match line {
                Ok(line) if line.text.trim().is_empty() && line.entry.is_ok() => {}
                other => return Some(other),
            }
        }
    }))
}

fn next(reader: &mut BufReader<File>, number: u64, path: &Path) -> Option<anyhow::Result<Line>> {
    let mut raw = Vec::new();
    match reader.read_until(b'\n', &mut raw) {
        Ok(0) => None,
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&raw).trim_end().to_owned();
            let entry = if raw.len() > LINE_BYTES_MAX {
                Err(format!("the line has {} bytes; the most is {LINE_BYTES_MAX}", raw.len()))
            } else {
                parse(&text)
            };
            Some(Ok(Line { number, bytes: bytes as u64, text, entry }))
        }
        Err(error) => Some(Err(error).with_context(|| format!("reading `{}` at line {number}", path.display()))),
    }
}

/// A line is a customer when it has `identities` of its own, else an event.
fn parse(text: &str) -> Result<Entry, String> {
    if text.is_empty() {
        return Ok(Entry::Event(Box::default()));
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
