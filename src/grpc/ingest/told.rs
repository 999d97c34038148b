//! What a stream is told: how far it is, and what was refused.

use std::collections::BTreeMap;

use crate::proto::{AckStrength, RecordResult, RecordStatus, RecordStreamResponse, RefusedEvent, StreamWarning};

use super::{source::Unread, window::Recorded};

/// Bytes of refusals that were not read, past which nothing more is taken.
pub const REFUSED_BYTES_MAX: usize = 1 << 20;
/// What a refusal takes beside its text, bytes.
const REFUSAL_BYTES: usize = 24;

/// Most notes that are told at once; further ones are counted as one.
const WARNINGS_MAX: usize = 16;
/// What further notes are called.
const OTHER_WARNINGS: &str = "other notes";

/// How far a stream is.
pub struct Told {
    unread: Unread,
    answered: u64,
    recorded: u64,
    duplicates: u64,
    /// Not told yet.
    refused: Vec<RefusedEvent>,
    refused_bytes: usize,
    /// Refusals that are counted only.
    unlisted: u64,
    /// Notes that are not told yet, and of how many events.
    warnings: BTreeMap<String, u64>,
    /// The weakest of what was stored.
    ack: Option<AckStrength>,
    news: bool,
}

impl Told {
    /// At the beginning of a stream.
    pub fn new(unread: Unread) -> Self {
        Self {
            unread,
            answered: 0,
            recorded: 0,
            duplicates: 0,
            refused: Vec::new(),
            refused_bytes: 0,
            unlisted: 0,
            warnings: BTreeMap::new(),
            ack: None,
            news: false,
        }
    }

    /// Adds what became of a batch.
    pub fn add(&mut self, batch: Recorded) {
        for (line, result) in batch.lines.into_iter().zip(batch.results) {
            match result.status() {
                RecordStatus::Recorded => self.recorded += 1,
                RecordStatus::Duplicate => self.duplicates += 1,
                RecordStatus::Unspecified
                | RecordStatus::Refused
                | RecordStatus::Exhausted
                | RecordStatus::Conflict => {
                    self.refuse(line, result);
                    self.answered += 1;
                    continue;
                }
            }
            self.answered += 1;
            let RecordResult { ack, warnings, .. } = result;
            warnings.into_iter().for_each(|text| self.warn(text));
            let ack = AckStrength::try_from(ack).unwrap_or(AckStrength::Unspecified);
            self.ack = Some(self.ack.map_or(ack, |weakest| weakest.min(ack)));
        }
        self.news = true;
    }

    fn warn(&mut self, text: String) {
        let fits = self.warnings.len() + 1 < WARNINGS_MAX || self.warnings.contains_key(&text);
        *self.warnings.entry(if fits { text } else { OTHER_WARNINGS.to_owned() }).or_default() += 1;
    }

    fn refuse(&mut self, line: u64, result: RecordResult) {
        if self.unread == Unread::Count && self.refused_bytes >= REFUSED_BYTES_MAX {
            self.unlisted += 1;
            return;
        }
        self.refused_bytes += result.error.len() + REFUSAL_BYTES;
        let (status, error) = (result.status, result.error);
        self.refused.push(RefusedEvent { index: self.answered, status, error, line });
    }

    /// Whether there is something to tell.
    pub fn has_news(&self) -> bool {
        self.news
    }

    /// Whether refusals have to be read before more is taken.
    pub fn is_full(&self) -> bool {
        self.unread == Unread::Wait && self.refused_bytes >= REFUSED_BYTES_MAX
    }

    /// What is to be told now.
    pub fn take(&mut self) -> RecordStreamResponse {
        self.news = false;
        self.refused_bytes = 0;
        let warnings = std::mem::take(&mut self.warnings).into_iter();
        RecordStreamResponse {
            answered: self.answered,
            recorded: self.recorded,
            duplicates: self.duplicates,
            refused: std::mem::take(&mut self.refused),
            ack: self.ack.unwrap_or(AckStrength::Unspecified) as i32,
            problem: None,
            refused_unlisted: std::mem::take(&mut self.unlisted),
            warnings: warnings.map(|(text, events)| StreamWarning { text, events }).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(status: RecordStatus, ack: AckStrength, error: &str) -> RecordResult {
        RecordResult { status: status as i32, ack: ack as i32, error: error.to_owned(), ..RecordResult::default() }
    }

    #[test]
    fn counts_add_up_and_the_weakest_promise_is_told() {
        let mut told = Told::new(Unread::Wait);
        assert!(!told.has_news());
        let none = AckStrength::Unspecified;
        told.add(Recorded {
            lines: vec![0; 4],
            results: vec![
                result(RecordStatus::Recorded, AckStrength::Disk, ""),
                result(RecordStatus::Conflict, none, "other content"),
                result(RecordStatus::Duplicate, AckStrength::Process, ""),
                result(RecordStatus::Refused, none, "no type"),
            ],
        });
        let ack = told.take();
        assert_eq!((ack.answered, ack.recorded, ack.duplicates), (4, 1, 1));
        assert_eq!(ack.ack(), AckStrength::Process);
        assert_eq!(ack.refused.iter().map(|r| r.index).collect::<Vec<_>>(), [1, 3]);
        assert!(!told.has_news());
        told.add(Recorded { lines: vec![0], results: vec![result(RecordStatus::Recorded, AckStrength::Disk, "")] });
        let ack = told.take();
        assert_eq!((ack.answered, ack.recorded, ack.refused.len()), (5, 2, 0));
    }

    #[test]
    fn notes_are_counted_told_once_and_bounded() {
        let mut told = Told::new(Unread::Wait);
        let noted = |text: &str| RecordResult {
            warnings: vec![text.to_owned()],
            ..result(RecordStatus::Recorded, AckStrength::Disk, "")
        };
        told.add(Recorded { lines: vec![0; 2], results: vec![noted("late"), noted("late")] });
        let ack = told.take();
        assert_eq!(ack.warnings, [StreamWarning { text: "late".to_owned(), events: 2 }]);
        let many: Vec<_> = (0..100).map(|n| noted(&n.to_string())).collect();
        told.add(Recorded { lines: vec![0; 100], results: many });
        let ack = told.take();
        assert_eq!(ack.warnings.len(), WARNINGS_MAX);
        assert_eq!(ack.warnings.iter().map(|one| one.events).sum::<u64>(), 100);
        assert!(told.take().warnings.is_empty());
    }

    #[test]
    fn unread_refusals_are_bounded() {
        let mut told = Told::new(Unread::Wait);
        let mut refused = 0;
        while !told.is_full() {
            let why = "x".repeat(500);
            told.add(Recorded {
                lines: vec![1],
                results: vec![result(RecordStatus::Refused, AckStrength::Unspecified, &why)],
            });
            refused += 1;
        }
        assert_eq!(refused, REFUSED_BYTES_MAX.div_ceil(500 + REFUSAL_BYTES));
        told.take();
        assert!(!told.is_full());
        let mut told = Told::new(Unread::Count);
        for _ in 0..2 * refused {
            let result = result(RecordStatus::Refused, AckStrength::Unspecified, &"x".repeat(500));
            told.add(Recorded { lines: vec![1], results: vec![result] });
            assert!(!told.is_full());
        }
        let ack = told.take();
        assert_eq!((ack.refused.len(), ack.refused_unlisted), (refused, refused as u64));
    }
}
