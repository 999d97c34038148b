//! Reading a bounded piece of the log for who follows it.

use crate::domain::Timestamp;

use super::{
    NoFollow, StoreError,
    followed::{self, ChangeKinds, Followed},
    history::log_dir,
    log::LogReader,
    shared::Shared,
};

/// Most records read at a time.
pub const PIECE_RECORDS_MAX: usize = 512;
/// Most bytes of records read at a time; a single one may be larger.
pub const PIECE_BYTES_MAX: usize = 1 << 20;

/// A piece of what was written.
#[derive(Debug, Default)]
pub struct LogPiece {
    /// What is told of the wanted kinds, in order.
    pub records: Vec<Followed>,
    /// Everything up to here was read.
    pub sequence: u64,
    /// The time of the last record that was read; `None` when none was.
    pub time: Option<Timestamp>,
    /// Records read that are of no wanted kind.
    pub skipped: u64,
}

/// Reads one piece.
pub(super) struct Reading<'a> {
    pub shared: &'a Shared,
    pub reader: LogReader,
    /// The last sequence that was read.
    pub seen: u64,
    pub kinds: ChangeKinds,
}

impl Reading<'_> {
    /// What comes next up to a sequence that is on disk; the inner error when
    /// that is no longer kept.
    pub fn piece(&mut self, until: u64) -> Result<Result<LogPiece, NoFollow>, StoreError> {
        let mut piece = LogPiece::default();
        let mut bytes = 0;
        while self.seen < until && piece.records.len() < PIECE_RECORDS_MAX {
            let Some(record) = self.reader.next()? else {
                if let Some(oldest) = self.lost(u64::MAX) {
                    return Ok(Err(NoFollow::TooOld { oldest }));
                }
                // INVARIANT: everything up to there was in the log before
                self.seen = until;
                break;
            };
            let (sequence, position) = (record.sequence, record.position);
            if sequence > until {
                // not on disk yet: read anew when it is
                self.reader = LogReader::open_at(&log_dir(&self.shared.config.dir), position)?;
                self.seen = until;
                break;
            }
            bytes += record.payload.len();
            let told = followed::read(self.shared, &record, self.kinds)?;
            piece.time = Some(record.time);
            if let Some(oldest) = self.lost(position.segment) {
                return Ok(Err(NoFollow::TooOld { oldest }));
            }
            self.seen = sequence;
            piece.skipped += u64::from(told.is_none());
            piece.records.extend(told);
            if bytes >= PIECE_BYTES_MAX {
                break;
            }
        }
        piece.sequence = self.seen;
        Ok(Ok(piece))
    }

    /// Whether records between what was seen and this segment were removed
    /// unread: what the oldest record that is kept comes after.
    fn lost(&self, segment: u64) -> Option<u64> {
        let oldest = self.shared.followers.oldest();
        let next = self.seen.saturating_add(1);
        (segment > next && oldest > next).then(|| oldest.saturating_sub(1))
    }
}
