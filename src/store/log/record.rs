//! One record: its header, its kinds, its checksum.

use crate::domain::Timestamp;

/// Bytes of a header: length u32, CRC-32 u32, sequence u64, time i64, kind u8;
/// all little-endian. The length is that of the payload; the checksum is over
/// everything but itself.
pub const HEADER_BYTES: usize = 25;
/// The longest payload, bytes.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

/// What a record holds. Closed; the number is the one at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum RecordKind {
    /// An event of a customer.
    Event = 1,
    /// A decision.
    Decision = 2,
    /// One version of a profile, sealed.
    Profile = 3,
    /// All tallies.
    Tallies = 4,
    /// What changed in the tallies since the version before.
    TalliesDelta = 5,
    /// A customer created, merged or erased.
    Customer = 6,
    /// Names behind the hashes of items.
    Items = 7,
    /// Rule files.
    Ruleset = 8,
    /// Everything before this record is in the embedded store.
    Checkpoint = 9,
    /// What is paused, as decisions after it read it.
    Pauses = 10,
    /// Segments that a customer entered and left.
    Segments = 11,
    /// A customer as it was read from Redis, with the ids of what it holds.
    Adopted = 12,
}

impl RecordKind {
    /// Every kind, in order of its number.
    pub const ALL: [RecordKind; 12] = [
        RecordKind::Event,
        RecordKind::Decision,
        RecordKind::Profile,
        RecordKind::Tallies,
        RecordKind::TalliesDelta,
        RecordKind::Customer,
        RecordKind::Items,
        RecordKind::Ruleset,
        RecordKind::Checkpoint,
        RecordKind::Pauses,
        RecordKind::Segments,
        RecordKind::Adopted,
    ];

    /// From its number at rest.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// A header, its kind known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of the payload.
    pub payload_bytes: usize,
    /// CRC-32 of everything but itself.
    pub crc: u32,
    /// The sequence.
    pub sequence: u64,
    /// The time.
    pub time: Timestamp,
    /// The kind.
    pub kind: RecordKind,
}

/// What of a header its checksum covers, without the payload.
fn header_crc(bytes: &[u8; HEADER_BYTES]) -> crc32fast::Hasher {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..4]);
    hasher.update(&bytes[8..]);
    hasher
}

/// Appends one record.
pub(super) fn encode(header: (RecordKind, u64, Timestamp), payload: &[u8], into: &mut Vec<u8>) {
    let (kind, sequence, time) = header;
    let mut bytes = [0_u8; HEADER_BYTES];
    bytes[..4].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes[8..16].copy_from_slice(&sequence.to_le_bytes());
    bytes[16..24].copy_from_slice(&time.0.to_le_bytes());
    bytes[24] = kind as u8;
    let mut hasher = header_crc(&bytes);
    hasher.update(payload);
    bytes[4..8].copy_from_slice(&hasher.finalize().to_le_bytes());
    into.extend_from_slice(&bytes);
    into.extend_from_slice(payload);
}

/// Little-endian bytes from an offset that is inside the header.
fn field<const N: usize>(bytes: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut out = [0_u8; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

impl Header {
    /// Reads a header; the reason when it cannot be one.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, &'static str> {
        let payload_bytes = u32::from_le_bytes(field(bytes, 0)) as usize;
        if payload_bytes > RECORD_BYTES_MAX {
            return Err("an impossible length");
        }
        Ok(Self {
            payload_bytes,
            crc: u32::from_le_bytes(field(bytes, 4)),
            sequence: u64::from_le_bytes(field(bytes, 8)),
            time: Timestamp(i64::from_le_bytes(field(bytes, 16))),
            kind: RecordKind::from_number(bytes[24]).ok_or("an unknown kind")?,
        })
    }

    /// Whether the checksum fits.
    pub fn fits(&self, bytes: &[u8; HEADER_BYTES], payload: &[u8]) -> bool {
        let mut hasher = header_crc(bytes);
        hasher.update(payload);
        hasher.finalize() == self.crc
    }
}
