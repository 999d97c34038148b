//! What is told of a file at the end of its import beside the rows.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Most texts that are counted each by itself.
const TEXTS_MAX: usize = 32;

/// Notes on a file.
#[derive(Debug, Default)]
pub struct Notes {
    /// Events that stand in more than one place of the file.
    pub split: AtomicU64,
    /// Rows whose item has no place in its event.
    pub itemless: AtomicU64,
    /// Rows with a text whose lines look like rows.
    pub held: AtomicU64,
    /// Columns of the mapping that no row has.
    absent: Mutex<Vec<String>>,
    /// What was noted of events and customers, and of how many.
    said: Mutex<BTreeMap<String, u64>>,
}

impl Notes {
    /// Columns of the mapping that no row has.
    pub fn absent(&self, columns: Vec<String>) {
        *self.absent.lock().unwrap_or_else(PoisonError::into_inner) = columns;
    }

    /// Adds what was noted of so many.
    pub fn add(&self, text: &str, count: u64) {
        const OTHERS: &str = "other notes";
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let text = if said.len() < TEXTS_MAX || said.contains_key(text) { text } else { OTHERS };
        *said.entry(text.to_owned()).or_default() += count;
    }

    /// What there is to tell.
    pub fn told(&self) -> Vec<String> {
        let mut told = Vec::new();
        let absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        if !absent.is_empty() {
            told.push(format!("no row has `{}`, which the mapping names", absent.join("`, `")));
        }
        let split = self.split.load(Relaxed);
        if split > 0 {
            told.push(format!(
                "{split} events are of lines that the file has in an earlier place too: sort it by `event.group_by` to \
                 make one event of them"
            ));
        }
        let itemless = self.itemless.load(Relaxed);
        if itemless > 0 {
            told.push(format!(
                "{itemless} lines count in the amount of their event only: it has no room for more items"
            ));
        }
        let held = self.held.load(Relaxed);
        if held > 0 {
            told.push(format!(
                "{held} rows have a text within quotes whose lines look like rows: if they are rows after a quote that \
                 was opened by mistake, say `csv: {{ line_breaks: false }}` in the mapping"
            ));
        }
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        told.extend(said.iter().map(|(text, count)| format!("{count} times: {text}")));
        told
    }
}
