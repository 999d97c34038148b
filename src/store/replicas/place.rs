//! How far replication is, in the data directory: what was shipped, and what was
//! taken in. Either may be older than it is: what comes twice is known by its id.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::super::{ReplicaId, StoreError, codec};

/// The file in the data directory.
const FILE: &str = "replication";
/// First byte of it.
const VERSION: u8 = 1;
/// For the owner only.
const MODE: u32 = 0o600;

/// The id of an entry of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::store) struct StreamId {
    /// Milliseconds since 1970, by the clock of Redis.
    pub ms: u64,
    /// Within the millisecond.
    pub number: u64,
}

impl StreamId {
    /// From how Redis writes it.
    pub fn read(text: &str) -> Option<Self> {
        let (ms, number) = text.split_once('-')?;
        Some(Self { ms: ms.parse().ok()?, number: number.parse().ok()? })
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.number)
    }
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Place {
    /// Everything of this log up to here was shipped.
    pub shipped: u64,
    /// The last entry of the stream that was taken in.
    pub position: StreamId,
    /// Whether everything of before was read.
    pub whole: bool,
    /// Up to which sequence others' entries were taken in.
    pub seen: Vec<(ReplicaId, u64)>,
}

impl Place {
    /// What is kept in a data directory; `None` when nothing is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(dir: &Path) -> Result<Option<Self>, StoreError> {
        match fs::read(path(dir)) {
            Ok(bytes) => Self::decode(&bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Io { doing: format!("reading `{}`", path(dir).display()), source }),
        }
    }

    /// Keeps it. INVARIANT: what it says was taken in is on disk.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), StoreError> {
        let (path, new) = (path(dir), path(dir).with_extension("new"));
        let written =
            File::options().write(true).create(true).truncate(true).mode(MODE).open(&new).and_then(|mut file| {
                file.write_all(&self.encode())?;
                file.sync_data()?;
                fs::rename(&new, &path)
            });
        written.map_err(|source| StoreError::Io { doing: format!("writing `{}`", path.display()), source })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let mut writer = codec::Writer::new(&mut bytes);
        writer.u64(self.shipped);
        writer.u64(self.position.ms);
        writer.u64(self.position.number);
        writer.bool(self.whole);
        writer.list(&self.seen, |w, (replica, sequence)| {
            w.u64(replica.0);
            w.u64(*sequence);
        });
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let mut reader = codec::Reader::new("file `replication`", bytes);
        let damaged = || {
            let why =
                "reading the file `replication`: it is damaged; remove it: this replica then reads everything again";
            StoreError::Corrupt(why.to_owned())
        };
        let (text, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
        if crc32fast::hash(text) != u32::from_le_bytes(*crc) {
            return Err(damaged());
        }
        reader.version(VERSION)?;
        Ok(Self {
            shipped: reader.u64()?,
            position: StreamId { ms: reader.u64()?, number: reader.u64()? },
            whole: reader.bool()?,
            seen: reader.list(16, |r| Ok((ReplicaId(r.u64()?), r.u64()?)))?,
        })
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Place::read(dir.path()).unwrap(), None);
        let place = Place {
            shipped: 7,
            position: StreamId { ms: 5, number: 2 },
            whole: true,
            seen: vec![(ReplicaId(3), 9), (ReplicaId(u64::MAX), 1)],
        };
        place.write(dir.path()).unwrap();
        assert_eq!(Place::read(dir.path()).unwrap(), Some(place.clone()));
        let mut bytes = place.encode();
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert!(Place::decode(&bytes).is_err(), "{at}");
            bytes[at] ^= 1;
        }
    }

    #[test]
    fn ids_are_read_as_they_are_shown() {
        let id = StreamId { ms: 1_700_000_000_000, number: 12 };
        assert_eq!(StreamId::read(&id.to_string()), Some(id));
        assert_eq!(StreamId::read("1700000000000"), None);
    }
}
