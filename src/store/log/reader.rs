//! The reading side.

use std::{
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    HEADER_BYTES, Position, RecordKind,
    record::Header,
    segment::{self, SegmentReader, Stop},
};
use crate::{domain::Timestamp, store::StoreError};

/// A record read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRecord<'a> {
    /// Where it stands.
    pub position: Position,
    /// Its sequence.
    pub sequence: u64,
    /// Its time.
    pub time: Timestamp,
    /// What it holds.
    pub kind: RecordKind,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Reads records in order. Works while the writer appends: at the end it
/// answers `None`, and goes on later when there is more. It may give a record
/// that the writer is about to take back because its write failed half-way.
#[derive(Debug)]
pub struct LogReader {
    dir: PathBuf,
    from_sequence: u64,
    segment: Option<SegmentReader>,
    /// Whether a later segment was seen, so that this one grows no more.
    closed: bool,
}

impl LogReader {
    /// Starts at the first record with at least this sequence.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn open(dir: &Path, from_sequence: u64) -> Result<Self, StoreError> {
        let segments = segment::list(dir)?;
        let begin = segments.partition_point(|first| *first <= from_sequence).saturating_sub(1);
        let mut reader = Self { dir: dir.to_path_buf(), from_sequence, segment: None, closed: false };
        for first in &segments[begin.min(segments.len())..] {
            reader.segment = SegmentReader::open(dir, *first)?;
            if reader.segment.is_some() {
                break;
            }
        }
        Ok(reader)
    }

    /// Starts at a record whose place is known.
    ///
    /// # Errors
    /// The directory cannot be read, or the segment was removed.
    pub fn open_at(dir: &Path, position: Position) -> Result<Self, StoreError> {
        let mut reader = open_segment(dir, position)?;
        reader.seek(position.offset)?;
        Ok(Self { dir: dir.to_path_buf(), from_sequence: 0, segment: Some(reader), closed: false })
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// The log cannot be read, or a record that is not at its end is damaged.
    #[expect(clippy::should_implement_trait, reason = "a record borrows the reader's buffer")]
    pub fn next(&mut self) -> Result<Option<LogRecord<'_>>, StoreError> {
        loop {
            let Some(reader) = self.segment.as_mut() else {
                return Ok(None);
            };
            match reader.advance()? {
                Ok(head) if head.sequence < self.from_sequence => {}
                Ok(head) => return Ok(self.segment.as_ref().map(|r| r.record(head))),
                Err(stop) => {
                    if !self.leave_segment(stop)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Where this segment has no further record now: decides whether to look
    /// again. False at the end of the log.
    fn leave_segment(&mut self, stop: Stop) -> Result<bool, StoreError> {
        let Some(reader) = self.segment.as_ref() else {
            return Ok(false);
        };
        let current = reader.first_sequence();
        let later = segment::list(&self.dir)?.into_iter().filter(|first| *first > current);
        match stop {
            _ if !self.closed => {
                // A segment with a later one does not grow any more; but it may
                // have grown since it was read, so it is read once more.
                self.closed = later.count() > 0;
                Ok(self.closed)
            }
            Stop::Damaged(what) => Err(reader.corrupt(what)),
            Stop::End => {
                for first in later {
                    if let Some(next) = SegmentReader::open(&self.dir, first)? {
                        self.segment = Some(next);
                        self.closed = false;
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}

fn open_segment(dir: &Path, position: Position) -> Result<SegmentReader, StoreError> {
    SegmentReader::open(dir, position.segment)?.ok_or_else(|| StoreError::Io {
        doing: format!("opening `{}`", segment::path_of(dir, position.segment).display()),
        source: io::ErrorKind::NotFound.into(),
    })
}

/// Reads one record into a buffer, which then holds its payload.
///
/// # Errors
/// There is no such record, or it is damaged.
pub fn read_at<'a>(dir: &Path, position: Position, buffer: &'a mut Vec<u8>) -> Result<LogRecord<'a>, StoreError> {
    let path = segment::path_of(dir, position.segment);
    let fail = |source| StoreError::Io {
        doing: format!("reading `{}` at offset `{}`", path.display(), position.offset),
        source,
    };
    let corrupt = |what: &str| {
        StoreError::Corrupt(format!(
            "reading the event log: {what} in `{}` at offset `{}`",
            path.display(),
            position.offset
        ))
    };
    let file = std::fs::File::open(&path).map_err(fail)?;
    let mut bytes = [0_u8; HEADER_BYTES];
    file.read_exact_at(&mut bytes, position.offset).map_err(fail)?;
    let header = Header::decode(&bytes).map_err(corrupt)?;
    let payload_offset = position.offset.saturating_add(HEADER_BYTES as u64);
    if file.metadata().map_err(fail)?.len().saturating_sub(payload_offset) < header.payload_bytes as u64 {
        return Err(corrupt("a torn record"));
    }
    buffer.clear();
    buffer.resize(header.payload_bytes, 0);
    file.read_exact_at(buffer, payload_offset).map_err(fail)?;
    if !header.fits(&bytes, buffer) {
        return Err(corrupt("a record with a wrong checksum"));
    }
    Ok(LogRecord { position, sequence: header.sequence, time: header.time, kind: header.kind, payload: buffer })
}
