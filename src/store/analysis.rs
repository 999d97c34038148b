//! Analyses of the base at rest: the latest whole, and what decisions read of
//! those before it, as their replay needs them; and who is in which segment.

use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};

use crate::{
    domain::{CustomerKey, Timestamp},
    predict::{Analysis, BaseModel, SegmentsChanged},
};

use super::{
    HotProfile, Store, StoreError, codec,
    embedded::{Embedded, PROFILES},
    writer::Command,
};

/// What decisions read of an analysis, by its version.
const BASES: TableDefinition<u64, &[u8]> = TableDefinition::new("bases");
/// The latest analysis, and the names behind the bits of the members.
const ANALYSIS: TableDefinition<&str, &[u8]> = TableDefinition::new("analysis");
/// The segments of each customer who is in any: a bit per segment.
const MEMBERS: TableDefinition<u128, &[u8]> = TableDefinition::new("segment_members");

const LATEST: &str = "latest";
const SEGMENTS: &str = "segments";

/// Versions of the analysis kept; decisions of older ones cannot be replayed.
/// One an hour is more than a year; 2 MB.
pub const BASES_KEPT_MAX: u64 = 10_000;

/// Segments by the number of their bit; empty where a bit stands for none.
pub type SegmentNames = Vec<Box<str>>;

/// A customer's segments: a bit each, without zero bytes at the end.
#[derive(Clone, Debug, PartialEq, Eq, Default, Hash)]
pub struct Membership(pub Vec<u8>);

impl Membership {
    /// Puts the customer into a segment.
    pub fn insert(&mut self, bit: usize) {
        let at = bit / 8;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        if let Some(byte) = self.0.get_mut(at) {
            *byte |= 1 << (bit % 8);
        }
    }

    /// Whether the customer is in a segment.
    pub fn has(&self, bit: usize) -> bool {
        self.0.get(bit / 8).is_some_and(|byte| byte & (1 << (bit % 8)) != 0)
    }

    /// The segments.
    pub fn bits(&self) -> impl Iterator<Item = usize> {
        let bytes = self.0.iter().enumerate();
        bytes.flat_map(|(at, byte)| (0..8).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| at * 8 + bit))
    }
}

pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(BASES)?;
    transaction.open_table(ANALYSIS)?;
    transaction.open_table(MEMBERS)?;
    Ok(())
}

/// Removes in which segments an erased customer was.
pub(super) fn forget(transaction: &WriteTransaction, key: CustomerKey) -> Result<(), redb::Error> {
    transaction.open_table(MEMBERS)?.remove(key.0)?;
    Ok(())
}

/// A piece of all customers, in order of their keys.
#[derive(Clone, Debug, Default)]
pub struct PeoplePiece {
    /// The keys at rest after the one asked for.
    pub keys: Vec<CustomerKey>,
    /// The segments, by key, of those that had any up to the last of `keys`;
    /// among them customers who are no more.
    pub members: Vec<(CustomerKey, Membership)>,
}

impl Store {
    /// The next customers at rest after one, with the segments they were in.
    /// Those that are only in memory yet come with a later look. Blocking.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn piece_after(&self, after: Option<CustomerKey>, most: usize) -> Result<PeoplePiece, StoreError> {
        self.shared.mended(self.shared.embedded.piece_after(after, most))
    }

    /// A profile from wherever it is, without keeping it in memory and without
    /// counting as a use: for who looks at all of them. Blocking.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn profile_quietly(&self, key: CustomerKey) -> Result<Option<std::sync::Arc<HotProfile>>, StoreError> {
        if let Some(hot) = self.look(key) {
            return Ok(Some(hot));
        }
        // one that was taken in is not one of its own
        match self.shared.find(key)? {
            Some(super::unions::Found::Profile(hot)) => Ok(Some(hot)),
            Some(super::unions::Found::Moved(_)) | None => Ok(None),
        }
    }

    /// Asks for what is only in memory yet to be stored soon.
    pub fn hurry(&self) {
        self.shared.overlay.hurry();
    }

    /// How many customers are at rest. Blocking.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn customers_at_rest(&self) -> Result<u64, StoreError> {
        self.shared.mended(
            self.shared
                .embedded
                .with("counting the customers", |database| Ok(database.begin_read()?.open_table(PROFILES)?.len()?)),
        )
    }

    /// The latest analysis, if there is one. Blocking.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn latest_analysis(&self) -> Result<Option<Analysis>, StoreError> {
        let bytes = self.shared.mended(self.shared.embedded.analysis_row(LATEST))?;
        bytes.map(|bytes| codec::decode_analysis(&bytes)).transpose()
    }

    /// What decisions read of an analysis, by its version. Blocking.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn base(&self, version: u64) -> Result<Option<BaseModel>, StoreError> {
        let bytes = self.shared.embedded.with("reading an analysis", |database| {
            let table = database.begin_read()?.open_table(BASES)?;
            Ok(table.get(version)?.map(|row| row.value().to_vec()))
        });
        self.shared.mended(bytes)?.map(|bytes| codec::decode_base(&bytes)).transpose()
    }

    /// Keeps an analysis, what decisions read of it, and the names of the
    /// segments' bits, in one transaction. On disk when it returns. Blocking.
    ///
    /// # Errors
    /// The store cannot be written: nothing is kept.
    pub fn save_analysis(&self, found: &Analysis, names: &[Box<str>]) -> Result<(), StoreError> {
        self.shared.mended(self.shared.embedded.save_analysis(found, names))
    }

    /// The names behind the bits of members. Blocking.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn segment_names(&self) -> Result<SegmentNames, StoreError> {
        let bytes = self.shared.mended(self.shared.embedded.analysis_row(SEGMENTS))?;
        bytes.map_or(Ok(Vec::new()), |bytes| codec::decode_names_of_segments(&bytes))
    }

    /// Keeps the names behind the bits of members. Blocking.
    ///
    /// # Errors
    /// The store cannot be written: nothing is kept.
    pub fn save_segment_names(&self, names: &[Box<str>]) -> Result<(), StoreError> {
        self.shared.mended(self.shared.embedded.with("keeping the names of segments", |database| {
            let transaction = database.begin_write()?;
            transaction.open_table(ANALYSIS)?.insert(SEGMENTS, &codec::encode_names_of_segments(names)[..])?;
            Ok(transaction.commit()?)
        }))
    }

    /// Keeps who is in which segment; who is in none has no row, nor has who was
    /// erased meanwhile. Blocking.
    ///
    /// # Errors
    /// The store cannot be written: nothing is kept.
    pub fn save_members(&self, members: &[(CustomerKey, Membership)]) -> Result<(), StoreError> {
        self.shared.mended(self.shared.embedded.with("keeping who is in which segment", |database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(MEMBERS)?;
                let profiles = transaction.open_table(PROFILES)?;
                for (key, segments) in members {
                    match segments.0.is_empty() || profiles.get(key.0)?.is_none() {
                        true => drop(table.remove(key.0)?),
                        false => drop(table.insert(key.0, &segments.0[..])?),
                    }
                }
            }
            Ok(transaction.commit()?)
        }))
    }

    /// Puts in the log which segments customers entered and left; answers
    /// whether it is there. Blocking.
    pub fn segments_changed(&self, changes: Vec<SegmentsChanged>, at: Timestamp) -> bool {
        let (reply, answer) = std::sync::mpsc::channel();
        self.writer.send(Command::Segments { changes, at, reply }) && answer.recv().unwrap_or(false)
    }
}

impl Embedded {
    pub(super) fn piece_after(&self, after: Option<CustomerKey>, most: usize) -> Result<PeoplePiece, StoreError> {
        self.with("reading some customers", |database| {
            let transaction = database.begin_read()?;
            let begin = after.map_or(std::ops::Bound::Unbounded, |key| std::ops::Bound::Excluded(key.0));
            let mut piece = PeoplePiece::default();
            for row in transaction.open_table(PROFILES)?.range((begin, std::ops::Bound::Unbounded))?.take(most) {
                piece.keys.push(CustomerKey(row?.0.value()));
            }
            // the last piece has no end: what is beyond every customer goes as well
            let end = match piece.keys.last() {
                Some(last) if piece.keys.len() == most => std::ops::Bound::Included(last.0),
                _ => std::ops::Bound::Unbounded,
            };
            for row in transaction.open_table(MEMBERS)?.range((begin, end))? {
                let (key, segments) = row?;
                piece.members.push((CustomerKey(key.value()), Membership(segments.value().to_vec())));
            }
            Ok(piece)
        })
    }

    fn analysis_row(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.with("reading an analysis", |database| {
            let table = database.begin_read()?.open_table(ANALYSIS)?;
            Ok(table.get(name)?.map(|row| row.value().to_vec()))
        })
    }

    fn save_analysis(&self, found: &Analysis, names: &[Box<str>]) -> Result<(), StoreError> {
        self.with("keeping an analysis", |database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(ANALYSIS)?;
                table.insert(LATEST, &codec::encode_analysis(found)[..])?;
                table.insert(SEGMENTS, &codec::encode_names_of_segments(names)[..])?;
                let mut bases = transaction.open_table(BASES)?;
                bases.insert(found.base.version, &codec::encode_base(&found.base)[..])?;
                let oldest = found.base.version.saturating_sub(BASES_KEPT_MAX - 1);
                bases.retain_in(..oldest, |_, _| false)?;
            }
            Ok(transaction.commit()?)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_membership_has_the_bits_that_were_put_in() {
        let mut segments = Membership::default();
        [3, 0, 17, 17].into_iter().for_each(|bit| segments.insert(bit));
        assert_eq!(segments.bits().collect::<Vec<_>>(), [0, 3, 17]);
        assert!(segments.has(17) && !segments.has(16) && !segments.has(400));
        assert_eq!(segments.0.len(), 3);
    }
}
