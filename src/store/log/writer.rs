//! The appending side.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Position, RECORD_BYTES_MAX, RecordKind, Segment, record,
    recovery::{Found, closed_segments},
    segment::{self, create_segment, empty_segment},
};
use crate::{domain::Timestamp, store::StoreError};

/// How far the sequence skips when a torn tail was cut, so that no number that
/// was on disk is given again.
pub const SEQUENCE_SKIP: u64 = 1 << 32;
/// A buffer that grew beyond this is given back after its write, bytes.
const BUFFER_KEEP_BYTES: usize = 4 << 20;

/// What was found on opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The sequence the next record gets.
    pub next_sequence: u64,
    /// The segments, oldest first; at least one.
    pub segments: Vec<Segment>,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Bytes of a torn tail that were cut; 0 when the log ended cleanly.
    pub cut_bytes: u64,
}

/// What one write put in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Records written.
    pub records: u64,
    /// Bytes written.
    pub bytes: u64,
    /// The last sequence that is in the log; 0 before the first record.
    pub last_sequence: u64,
    /// Whether a new segment was begun; the one before is synced already.
    pub rolled: bool,
}

/// What waits for the next write.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    records: u64,
    /// Times of the first and the last record.
    times: Option<(Timestamp, Timestamp)>,
    last_sequence: u64,
    /// The segment to begin with this buffer, if any.
    roll_to: Option<u64>,
    /// Set when a payload was longer than [`RECORD_BYTES_MAX`].
    too_long: bool,
}

/// The log, as its one writer has it.
#[derive(Debug)]
pub struct EventLog {
    dir: PathBuf,
    segment_bytes: u64,
    /// The last of `segments`.
    file: Arc<File>,
    // INVARIANT: never empty; the last one is being written.
    segments: Vec<Segment>,
    next_sequence: u64,
    last_sequence: u64,
    buffer: Buffer,
    /// Whether the file may have bytes beyond its segment's length, from a
    /// failed write; they go before the next one.
    unclean_tail: bool,
    /// A segment that could not be begun and may still have its file; it goes
    /// before the next write.
    stray_segment: Option<u64>,
    /// Whether syncing the file failed: the system may have dropped what it
    /// could not write, and a later sync would not tell. The next record
    /// begins a segment.
    distrusted: bool,
    /// The last sequence in a file that is distrusted; 0 for none.
    undurable: u64,
}

impl EventLog {
    /// Opens or creates the log in a directory, and cuts a torn tail off.
    /// Segments but the last are not read beyond their first record. A segment
    /// may become longer than `segment_bytes` by one buffer.
    ///
    /// # Errors
    /// The directory cannot be read or written, or a record is damaged that is
    /// not in a torn tail: sound ones follow it.
    pub fn open(dir: &Path, segment_bytes: u64) -> Result<(Self, Opened), StoreError> {
        let fail = |doing: &str, source| StoreError::Io { doing: format!("{doing} `{}`", dir.display()), source };
        segment::create_dir(dir).map_err(|e| fail("creating", e))?;
        let names = segment::list(dir)?;
        let mut found =
            Found { segments: closed_segments(dir, &names)?, next_sequence: 1, last_sequence: 0, cut_bytes: 0 };
        let file = match names.last() {
            Some(first) => found.open_last(dir, *first)?,
            None => {
                found.segments.push(empty_segment(1));
                create_segment(dir, 1).map_err(|e| fail("creating a segment of the event log in", e))?
            }
        };
        let opened = Opened {
            next_sequence: found.next_sequence,
            bytes: found.segments.iter().map(|s| s.bytes).sum(),
            segments: found.segments.clone(),
            cut_bytes: found.cut_bytes,
        };
        let log = Self {
            dir: dir.to_path_buf(),
            segment_bytes,
            file: Arc::new(file),
            segments: found.segments,
            next_sequence: found.next_sequence,
            last_sequence: found.last_sequence,
            buffer: Buffer::default(),
            unclean_tail: false,
            stray_segment: None,
            distrusted: false,
            undurable: 0,
        };
        Ok((log, opened))
    }

    /// The sequence the next appended record gets; what to seal it with.
    pub fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// The last sequence that was written; 0 before the first record.
    pub fn last_sequence(&self) -> u64 {
        self.last_sequence
    }

    /// Makes the next sequence at least this one.
    pub fn skip_to(&mut self, sequence: u64) {
        self.next_sequence = self.next_sequence.max(sequence);
    }

    /// Adds a record to the buffer; nothing is written before [`EventLog::write`].
    /// A payload longer than [`RECORD_BYTES_MAX`] makes that write fail.
    pub fn append(&mut self, kind: RecordKind, time: Timestamp, payload: &[u8]) -> Position {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let (current, length) = self.current();
        let buffer = &mut self.buffer;
        if buffer.records == 0 && (self.distrusted || length >= self.segment_bytes) {
            buffer.roll_to = Some(sequence);
        }
        let (segment, base) = buffer.roll_to.map_or((current, length), |first| (first, 0));
        let position = Position { segment, offset: base + buffer.bytes.len() as u64 };
        buffer.records += 1;
        buffer.last_sequence = sequence;
        buffer.times = Some((buffer.times.map_or(time, |(first, _)| first), time));
        if payload.len() > RECORD_BYTES_MAX {
            buffer.too_long = true;
        } else {
            record::encode((kind, sequence, time), payload, &mut buffer.bytes);
        }
        position
    }

    /// Whether the next record begins a segment.
    pub fn will_roll(&self) -> bool {
        self.buffer.records == 0 && (self.distrusted || self.current().1 >= self.segment_bytes)
    }

    /// Syncing the current file failed: it takes no further write than what
    /// is appended already.
    pub fn distrust(&mut self) {
        self.distrusted = true;
        self.undurable = self.last_sequence;
    }

    /// The last sequence in a file whose sync failed; 0 for none. Up to here
    /// a sync of the current file promises nothing.
    pub fn undurable(&self) -> u64 {
        self.undurable
    }

    /// Bytes appended and not yet written.
    pub fn buffered_bytes(&self) -> u64 {
        self.buffer.bytes.len() as u64
    }

    /// Drops what was appended and not yet written. Its sequences are not
    /// given again.
    pub fn discard(&mut self) {
        self.take_buffer();
    }

    /// Writes the buffer with one system call.
    ///
    /// # Errors
    /// The system refused. Then no record of the buffer is in the log, the
    /// buffer is empty, and the log can be used again.
    pub fn write(&mut self) -> io::Result<Written> {
        let result = self.write_buffer();
        self.take_buffer();
        result
    }

    fn write_buffer(&mut self) -> io::Result<Written> {
        let buffer = &self.buffer;
        if buffer.records == 0 {
            return Ok(Written { last_sequence: self.last_sequence, ..Written::default() });
        }
        if buffer.too_long {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a record is longer than the event log takes"));
        }
        self.clean_tail()?;
        let written = Written {
            records: self.buffer.records,
            bytes: self.buffer.bytes.len() as u64,
            last_sequence: self.buffer.last_sequence,
            rolled: self.buffer.roll_to.is_some(),
        };
        match self.buffer.roll_to {
            Some(first_sequence) => self.write_new_segment(first_sequence)?,
            None => self.write_current()?,
        }
        self.note_times(written.bytes);
        self.last_sequence = written.last_sequence;
        Ok(written)
    }

    fn write_current(&mut self) -> io::Result<()> {
        let (_, length) = self.current();
        let result = self.file.write_all_at(&self.buffer.bytes, length);
        if result.is_err() {
            self.unclean_tail = true;
            // What it cannot cut now it cuts before the next write.
            let _ = self.clean_tail();
        }
        result
    }

    /// Begins a segment with the buffer. When that fails, the segment is
    /// removed, so that the one before stays the last.
    fn write_new_segment(&mut self, first_sequence: u64) -> io::Result<()> {
        if self.distrusted {
            self.undurable = self.last_sequence;
        } else if let Err(error) = self.file.sync_data() {
            self.distrust();
            return Err(error);
        }
        let created = create_segment(&self.dir, first_sequence)
            .and_then(|file| file.write_all_at(&self.buffer.bytes, 0).map(|()| file));
        match created {
            Ok(file) => {
                self.file = Arc::new(file);
                self.segments.push(empty_segment(first_sequence));
                self.distrusted = false;
                Ok(())
            }
            Err(error) => {
                self.stray_segment = Some(first_sequence);
                let _ = self.clean_tail();
                Err(error)
            }
        }
    }

    /// Removes what a failed write left behind.
    fn clean_tail(&mut self) -> io::Result<()> {
        if let Some(first_sequence) = self.stray_segment {
            match std::fs::remove_file(segment::path_of(&self.dir, first_sequence)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => segment::sync_dir(&self.dir)?,
            }
            self.stray_segment = None;
        }
        if self.unclean_tail {
            let (_, length) = self.current();
            self.file.set_len(length)?;
            self.unclean_tail = false;
        }
        Ok(())
    }

    fn note_times(&mut self, bytes: u64) {
        let times = self.buffer.times;
        if let Some(segment) = self.segments.last_mut() {
            segment.bytes += bytes;
            segment.first_time = segment.first_time.or(times.map(|t| t.0));
            segment.last_time = times.map(|t| t.1);
        }
    }

    fn take_buffer(&mut self) {
        let mut bytes = std::mem::take(&mut self.buffer.bytes);
        bytes.clear();
        bytes.shrink_to(BUFFER_KEEP_BYTES);
        self.buffer = Buffer { bytes, ..Buffer::default() };
    }

    /// Name and length of the segment that is being written.
    fn current(&self) -> (u64, u64) {
        self.segments.last().map_or((1, 0), |s| (s.first_sequence, s.bytes))
    }

    /// The file written last, for `sync_data` from another thread. Segments
    /// before it are synced, but for what [`EventLog::undurable`] tells.
    pub fn sync_handle(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Bytes of all segments, without the buffer.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.bytes).sum()
    }

    /// The segments, oldest first.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Removes the oldest segment; `None` when only the current one is left.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove_oldest(&mut self) -> Result<Option<Segment>, StoreError> {
        if self.segments.len() < 2 {
            return Ok(None);
        }
        let path = segment::path_of(&self.dir, self.segments[0].first_sequence);
        let removed = std::fs::remove_file(&path).and_then(|()| segment::sync_dir(&self.dir));
        match removed {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::Io { doing: format!("removing `{}`", path.display()), source })
            }
            _ => Ok(Some(self.segments.remove(0))),
        }
    }

    /// Makes the next writes go to another file, to see them fail.
    #[cfg(test)]
    pub(super) fn swap_file(&mut self, file: Arc<File>) -> Arc<File> {
        std::mem::replace(&mut self.file, file)
    }
}
