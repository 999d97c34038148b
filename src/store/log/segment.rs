//! Segment files: names, and reading records out of one.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::{HEADER_BYTES, LogRecord, Position, RecordKind, record::Header};
use crate::{domain::Timestamp, store::StoreError};

/// Segments are for the owner only.
const FILE_MODE: u32 = 0o600;
/// Bytes read ahead.
const READ_AHEAD_BYTES: usize = 256 << 10;

/// One segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The sequence in its file name: no record in it has a smaller one.
    pub first_sequence: u64,
    /// Time of its first record; `None` while it has none.
    pub first_time: Option<Timestamp>,
    /// Time of its last record; `None` while it has none. After a restart the
    /// time of the next segment's first record stands in for it.
    pub last_time: Option<Timestamp>,
    /// Its length, bytes.
    pub bytes: u64,
}

/// The path of a segment.
pub(super) fn path_of(dir: &Path, first_sequence: u64) -> PathBuf {
    dir.join(format!("{first_sequence:020}.log"))
}

/// The first sequences of the segments in a directory, sorted.
pub(super) fn list(dir: &Path) -> Result<Vec<u64>, StoreError> {
    let fail = |source| StoreError::Io { doing: format!("listing the event log in `{}`", dir.display()), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        let digits = name.to_str().and_then(|n| n.strip_suffix(".log")).filter(|n| n.len() == 20);
        if let Some(first_sequence) = digits.and_then(|d| d.parse().ok()) {
            found.push(first_sequence);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Creates the directory of a log, its name durable.
pub(super) fn create_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    // A relative path of one part lies in the current directory.
    sync_dir(dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

pub(super) fn empty_segment(first_sequence: u64) -> Segment {
    Segment { first_sequence, first_time: None, last_time: None, bytes: 0 }
}

/// Creates a segment file, its name durable.
pub(super) fn create_segment(dir: &Path, first_sequence: u64) -> io::Result<File> {
    let path = path_of(dir, first_sequence);
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(FILE_MODE).open(path)?;
    sync_dir(dir)?;
    Ok(file)
}

/// Why there is no record at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The file ends here.
    End,
    /// What is here is no whole record.
    Damaged(&'static str),
}

/// A record without its payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub sequence: u64,
    pub time: Timestamp,
    pub kind: RecordKind,
    pub offset: u64,
}

/// Reads the records of one segment in order.
#[derive(Debug)]
pub(super) struct SegmentReader {
    path: PathBuf,
    first_sequence: u64,
    file: File,
    /// What was read of the file and not yet given.
    ahead: Vec<u8>,
    /// Where in `ahead` the next record begins.
    start: usize,
    /// Where in the file the next record begins.
    offset: u64,
    last_sequence: Option<u64>,
    payload: Vec<u8>,
}

impl SegmentReader {
    /// Opens a segment; `None` when it was removed.
    pub fn open(dir: &Path, first_sequence: u64) -> Result<Option<Self>, StoreError> {
        let path = path_of(dir, first_sequence);
        match File::open(&path) {
            Ok(file) => Ok(Some(Self {
                path,
                first_sequence,
                file,
                ahead: Vec::new(),
                start: 0,
                offset: 0,
                last_sequence: None,
                payload: Vec::new(),
            })),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Io { doing: format!("opening `{}`", path.display()), source }),
        }
    }

    /// Goes to a record without reading those before it.
    pub fn seek(&mut self, offset: u64) -> Result<(), StoreError> {
        self.offset = offset;
        self.forget_ahead()
    }

    /// The sequence in the file name.
    pub fn first_sequence(&self) -> u64 {
        self.first_sequence
    }

    /// Where the next record begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The error for what was found at the next record.
    pub fn corrupt(&self, what: &str) -> StoreError {
        let (path, offset) = (self.path.display(), self.offset);
        StoreError::Corrupt(format!(
            "reading the event log: {what} in `{path}` at offset `{offset}`; restore the data directory from a copy"
        ))
    }

    /// Reads the next record; its payload is then [`SegmentReader::payload`].
    /// After a [`Stop`] the same place is read anew by the next call.
    pub fn advance(&mut self) -> Result<Result<Head, Stop>, StoreError> {
        let found = self
            .parse()
            .map_err(|source| StoreError::Io { doing: format!("reading `{}`", self.path.display()), source })?;
        if found.is_err() {
            self.forget_ahead()?;
        }
        Ok(found)
    }

    fn parse(&mut self) -> io::Result<Result<Head, Stop>> {
        if !self.fill(HEADER_BYTES)? {
            let whole = self.ahead.len() == self.start;
            return Ok(Err(if whole { Stop::End } else { Stop::Damaged("a torn header") }));
        }
        let mut bytes = [0_u8; HEADER_BYTES];
        bytes.copy_from_slice(&self.ahead[self.start..self.start + HEADER_BYTES]);
        let header = match Header::decode(&bytes) {
            Ok(header) => header,
            Err(what) => return Ok(Err(Stop::Damaged(what))),
        };
        let record_bytes = HEADER_BYTES + header.payload_bytes;
        if !self.has_bytes(record_bytes as u64)? || !self.fill(record_bytes)? {
            return Ok(Err(Stop::Damaged("a torn record")));
        }
        let payload = &self.ahead[self.start + HEADER_BYTES..self.start + record_bytes];
        if !header.fits(&bytes, payload) {
            return Ok(Err(Stop::Damaged("a record with a wrong checksum")));
        }
        if header.sequence < self.first_sequence || self.last_sequence.is_some_and(|last| header.sequence <= last) {
            return Ok(Err(Stop::Damaged("a record out of sequence")));
        }
        self.payload.clear();
        self.payload.extend_from_slice(payload);
        let head = Head { sequence: header.sequence, time: header.time, kind: header.kind, offset: self.offset };
        self.start += record_bytes;
        self.offset += record_bytes as u64;
        self.last_sequence = Some(header.sequence);
        Ok(Ok(head))
    }

    /// Whether the file has this many bytes from the next record on; so that a
    /// damaged length reserves nothing.
    fn has_bytes(&self, wanted: u64) -> io::Result<bool> {
        if (self.ahead.len() - self.start) as u64 >= wanted {
            return Ok(true);
        }
        Ok(self.file.metadata()?.len().saturating_sub(self.offset) >= wanted)
    }

    /// Reads on until this many bytes are ahead; false at the end of the file.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.ahead.len() - self.start >= wanted {
            return Ok(true);
        }
        self.ahead.drain(..self.start);
        self.start = 0;
        while self.ahead.len() < wanted {
            let have = self.ahead.len();
            self.ahead.resize(wanted.max(READ_AHEAD_BYTES), 0);
            let read = self.file.read(&mut self.ahead[have..]);
            self.ahead.truncate(have + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Ok(false),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn forget_ahead(&mut self) -> Result<(), StoreError> {
        self.ahead.clear();
        self.start = 0;
        let sought = self.file.seek(SeekFrom::Start(self.offset));
        sought
            .map(|_| ())
            .map_err(|source| StoreError::Io { doing: format!("reading `{}`", self.path.display()), source })
    }

    /// The record with the payload read last.
    pub fn record(&self, head: Head) -> LogRecord<'_> {
        LogRecord {
            position: Position { segment: self.first_sequence, offset: head.offset },
            sequence: head.sequence,
            time: head.time,
            kind: head.kind,
            payload: &self.payload,
        }
    }
}
