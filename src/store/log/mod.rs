//! The event log: records appended to segment files, each with its checksum.
//!
//! One thread appends and writes; another may sync; any number may read.
//! Sequences only grow. Gaps are normal: a number that a failed write may have
//! put on disk is never given again, because it is part of a nonce.

mod reader;
mod record;
mod recovery;
mod segment;
mod writer;

#[cfg(test)]
mod tests;

pub use reader::{LogReader, LogRecord, read_at};
pub use record::{HEADER_BYTES, RECORD_BYTES_MAX, RecordKind};
pub use segment::Segment;
pub use writer::{EventLog, Opened, SEQUENCE_SKIP, Written};

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The segment: the sequence in its file name.
    pub segment: u64,
    /// Byte offset of the record in it.
    pub offset: u64,
}
