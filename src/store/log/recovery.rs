//! Finding what a log has when it is opened.

use std::{
    fs::{File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
};

use super::{
    HEADER_BYTES, SEQUENCE_SKIP, Segment,
    record::Header,
    segment::{self, SegmentReader, Stop, empty_segment},
};
use crate::{domain::Timestamp, store::StoreError};

/// What opening learns.
pub(super) struct Found {
    /// The segments, oldest first.
    pub segments: Vec<Segment>,
    /// The sequence the next record gets.
    pub next_sequence: u64,
    /// The last sequence in the log; 0 when it has none.
    pub last_sequence: u64,
    /// Bytes of a torn tail that were cut.
    pub cut_bytes: u64,
}

impl Found {
    /// Reads the last segment whole, cuts its torn tail, opens it for writing.
    pub fn open_last(&mut self, dir: &Path, first_sequence: u64) -> Result<File, StoreError> {
        let path = segment::path_of(dir, first_sequence);
        let fail = |source| StoreError::Io { doing: format!("opening `{}`", path.display()), source };
        let mut reader =
            SegmentReader::open(dir, first_sequence)?.ok_or_else(|| fail(io::ErrorKind::NotFound.into()))?;
        let mut last = empty_segment(first_sequence);
        self.last_sequence = first_sequence.saturating_sub(1);
        let stop = loop {
            match reader.advance()? {
                Ok(head) => {
                    last.first_time = last.first_time.or(Some(head.time));
                    last.last_time = Some(head.time);
                    self.last_sequence = head.sequence;
                }
                Err(stop) => break stop,
            }
        };
        last.bytes = reader.offset();
        self.next_sequence = self.last_sequence.saturating_add(1);
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(fail)?;
        if let Stop::Damaged(what) = stop {
            if hides_sound_records(&file, last.bytes, self.last_sequence).map_err(fail)? {
                return Err(reader.corrupt(what));
            }
            self.cut_bytes = file.metadata().map_err(fail)?.len().saturating_sub(last.bytes);
            file.set_len(last.bytes).and_then(|()| file.sync_all()).map_err(fail)?;
            let (bytes, at) = (self.cut_bytes, last.bytes);
            tracing::warn!(segment = first_sequence, at, bytes, what, "the event log had a torn tail; it was cut off");
            self.next_sequence = self.next_sequence.saturating_add(SEQUENCE_SKIP);
        }
        self.segments.push(last);
        Ok(file)
    }
}

/// Bytes a disk writes together.
const SECTOR_BYTES: usize = 512;

/// Whether the bytes from a damaged record on are more than a torn tail: a
/// sound record follows, and no sector between them was lost with the power.
/// Cutting there would drop records that were acknowledged.
fn hides_sound_records(file: &File, damaged_at: u64, last_sequence: u64) -> io::Result<bool> {
    let length = file.metadata()?.len().saturating_sub(damaged_at);
    let mut tail = vec![0_u8; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut tail, damaged_at)?;
    let sequences = last_sequence.saturating_add(1)..last_sequence.saturating_add(2 * SEQUENCE_SKIP);
    let Some(sound_at) = (1..tail.len()).find(|at| is_sound(&tail[*at..], &sequences)) else {
        return Ok(false);
    };
    let to_sector = (SECTOR_BYTES - (damaged_at % SECTOR_BYTES as u64) as usize) % SECTOR_BYTES;
    let sectors = tail[..sound_at].get(to_sector..).unwrap_or_default();
    let lost = sectors.as_chunks::<SECTOR_BYTES>().0.iter().any(|sector| sector.iter().all(|b| *b == 0));
    Ok(!lost)
}

/// Whether the bytes begin with a whole record of such a sequence.
fn is_sound(bytes: &[u8], sequences: &Range<u64>) -> bool {
    let Some((head, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return false;
    };
    match Header::decode(head) {
        Ok(header) if sequences.contains(&header.sequence) => {
            rest.get(..header.payload_bytes).is_some_and(|payload| header.fits(head, payload))
        }
        _ => false,
    }
}

/// All segments but the last, from their first records.
pub(super) fn closed_segments(dir: &Path, names: &[u64]) -> Result<Vec<Segment>, StoreError> {
    let mut segments: Vec<Segment> = Vec::with_capacity(names.len());
    for (at, first_sequence) in names.iter().enumerate() {
        let Some(mut reader) = SegmentReader::open(dir, *first_sequence)? else {
            continue;
        };
        let is_last = at + 1 == names.len();
        let first_time = match reader.advance()? {
            Ok(head) => Some(head.time),
            Err(Stop::Damaged(what)) if !is_last => return Err(reader.corrupt(what)),
            Err(_) => None,
        };
        if let Some(previous) = segments.last_mut() {
            previous.last_time = match first_time {
                Some(time) => Some(time),
                None => last_time(dir, previous.first_sequence)?,
            };
        }
        let bytes = std::fs::metadata(segment::path_of(dir, *first_sequence)).map(|m| m.len()).unwrap_or(0);
        segments.push(Segment { first_sequence: *first_sequence, first_time, last_time: None, bytes });
    }
    // The last one is read whole by the caller.
    segments.pop();
    Ok(segments)
}

/// Time of the last record of a segment, which is read whole.
fn last_time(dir: &Path, first_sequence: u64) -> Result<Option<Timestamp>, StoreError> {
    let mut last = None;
    if let Some(mut reader) = SegmentReader::open(dir, first_sequence)? {
        while let Ok(head) = reader.advance()? {
            last = Some(head.time);
        }
    }
    Ok(last)
}
