//! Reading decisions back from the log, with the state that each of them read.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;

use tokio::sync::oneshot;

use crate::domain::{CustomerKey, DecisionId, Pauses, Tallies, Timestamp};

use super::{
    HotProfile, Store, StoreError, StoredDecision,
    appender::Place,
    blocking,
    codec::{self, DecodedDecision},
    frames::{self, DecisionFrame},
    log::{LogReader, LogRecord, Position, RecordKind, Segment, read_at},
    recent::Versions,
    seal::DataKey,
    shared::Shared,
    writer::{Command, Located},
};

/// How far the times of records and of their decisions may differ, microseconds.
const SLACK_US: i64 = 10 * 60 * 1_000_000;

/// Where the log of a data directory is.
pub(super) fn log_dir(dir: &Path) -> PathBuf {
    dir.join("log")
}

impl Store {
    /// Reads a decision back, also one that is still queued.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn decision(&self, id: DecisionId) -> Result<Option<StoredDecision>, StoreError> {
        let (reply, answer) = oneshot::channel();
        if !self.send(Command::Locate { id, reply }).await {
            return Err(StoreError::Closed);
        }
        let located = answer.await.map_err(|_| StoreError::Closed)?;
        let shared = Arc::clone(&self.shared);
        blocking(move || read(&shared, id, &located)).await
    }

    /// Visits decisions made in `[from, until)` in order of the log until the
    /// visitor answers false. Blocking.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn scan_decisions(
        &self,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
        visit: &mut dyn FnMut(StoredDecision) -> bool,
    ) -> Result<(), StoreError> {
        let (reply, answer) = channel();
        if !self.writer.send(Command::Flush(reply)) {
            return Err(StoreError::Closed);
        }
        let segments = answer.recv().map_err(|_| StoreError::Closed)?;
        let first = from.unwrap_or(Timestamp(i64::MIN));
        let near = near(&segments, first, until.unwrap_or(Timestamp(i64::MAX)));
        scan(&self.shared, &near, &Wanted { from, until, ..Wanted::default() }, visit)
    }

    /// Visits the decisions of customers in order of the log until the visitor
    /// answers false. Blocking.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn scan_decisions_of(
        &self,
        customers: &[CustomerKey],
        visit: &mut dyn FnMut(StoredDecision) -> bool,
    ) -> Result<(), StoreError> {
        let (reply, answer) = channel();
        if !self.writer.send(Command::Flush(reply)) {
            return Err(StoreError::Closed);
        }
        let segments = answer.recv().map_err(|_| StoreError::Closed)?;
        scan(&self.shared, &segments, &Wanted { customers, ..Wanted::default() }, visit)
    }
}

/// Reads a decision that the writer located. Blocking.
pub(super) fn read(shared: &Shared, id: DecisionId, located: &Located) -> Result<Option<StoredDecision>, StoreError> {
    if let Some(place) = located.place {
        // its segment may be gone by now: then it is not found below either
        if let Ok(Some(found)) = read_place(shared, place, &located.versions) {
            return Ok(Some(found));
        }
    }
    let made = Timestamp::from_millis(i64::try_from(id.unix_ms()).unwrap_or(i64::MAX));
    let mut found = None;
    let wanted = Wanted { id: Some(id), ..Wanted::default() };
    scan(shared, &near(&located.segments, made, made), &wanted, &mut |decision| {
        found = Some(decision);
        false
    })?;
    Ok(found)
}

/// The quick way: two reads. `None` when the versions do not reach that far.
fn read_place(shared: &Shared, place: Place, versions: &Versions) -> Result<Option<StoredDecision>, StoreError> {
    let dir = log_dir(&shared.config.dir);
    let mut buffer = Vec::new();
    let record = read_at(&dir, place.decision, &mut buffer)?;
    let frame = DecisionFrame::read(&record)?;
    let key = data_key(shared, frame.customer)?;
    let decoded = frame.whole(&record, key.as_ref())?;
    let Some(tallies) = versions.get(decoded.record.model_version) else { return Ok(None) };
    let erased = frame.customer.is_some() && key.is_none();
    let customer = match (place.profile, key) {
        (Some(position), Some(key)) => Some(read_profile(&dir, position, &key)?),
        _ => None,
    };
    let pauses = place.pauses.map(|position| read_pauses(&dir, position)).transpose()?;
    Ok(Some(StoredDecision { erased, ..stored(decoded, customer, pauses, tallies) }))
}

/// The decision with what it read; without pauses that it did read it says so.
fn stored(
    decoded: DecodedDecision,
    customer: Option<Arc<HotProfile>>,
    pauses: Option<Arc<Pauses>>,
    tallies: Arc<Tallies>,
) -> StoredDecision {
    let version = decoded.record.pauses.version;
    let pauses_known = pauses.is_some() || version == 0;
    let pauses = pauses.unwrap_or_else(|| Arc::clone(&decoded.record.pauses));
    StoredDecision { record: decoded.into_record(customer, pauses), tallies, pauses_known, erased: false }
}

fn read_pauses(dir: &Path, position: Position) -> Result<Arc<Pauses>, StoreError> {
    let mut buffer = Vec::new();
    Ok(Arc::new(codec::decode_pauses(read_at(dir, position, &mut buffer)?.payload)?))
}

fn read_profile(dir: &Path, position: Position, key: &DataKey) -> Result<Arc<HotProfile>, StoreError> {
    let mut buffer = Vec::new();
    let record = read_at(dir, position, &mut buffer)?;
    Ok(Arc::new(frames::profile_body(&record, key)?))
}

/// What opens a record; `None` when it was destroyed.
pub(super) fn data_key(shared: &Shared, customer: Option<CustomerKey>) -> Result<Option<DataKey>, StoreError> {
    let Some(customer) = customer else { return Ok(Some(shared.store_key.clone())) };
    shared.data_key(customer)
}

/// The segments that may hold decisions made in a time, with the one before
/// for the tallies: (first, last) sequence of their names.
pub(super) fn near(segments: &[Segment], from: Timestamp, until: Timestamp) -> Vec<Segment> {
    let (from, until) = (from.plus_us(-SLACK_US), until.plus_us(SLACK_US));
    let early = |s: &Segment| s.first_time.is_none_or(|first| first <= until);
    let late = |s: &Segment| s.last_time.is_none_or(|last| last >= from);
    let holds: Vec<usize> = (0..segments.len()).filter(|at| early(&segments[*at]) && late(&segments[*at])).collect();
    match (holds.first(), holds.last()) {
        (Some(first), Some(last)) => segments[first.saturating_sub(1)..=*last].to_vec(),
        _ => Vec::new(),
    }
}

/// Which decisions are visited.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted<'a> {
    pub id: Option<DecisionId>,
    pub from: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// Only those of these; empty for all.
    pub customers: &'a [CustomerKey],
}

impl Wanted<'_> {
    fn has(&self, (id, customer): (DecisionId, Option<CustomerKey>), at: Timestamp) -> bool {
        let whose = self.customers.is_empty() || customer.is_some_and(|key| self.customers.contains(&key));
        whose
            && self.id.is_none_or(|wanted| wanted == id)
            && self.from.is_none_or(|from| at >= from)
            && self.until.is_none_or(|until| at < until)
    }
}

/// Visits wanted decisions of these segments in order. Blocking.
pub(super) fn scan(
    shared: &Shared,
    segments: &[Segment],
    wanted: &Wanted<'_>,
    visit: &mut dyn FnMut(StoredDecision) -> bool,
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return Ok(()) };
    let mut scan = Scan {
        shared,
        dir: log_dir(&shared.config.dir),
        versions: Versions::default(),
        profiles: HashMap::new(),
        pauses: HashMap::new(),
        segment: first.first_sequence,
    };
    let mut reader = LogReader::open(&scan.dir, first.first_sequence)?;
    while let Some(record) = reader.next()? {
        if record.position.segment > last.first_sequence {
            break;
        }
        if let Some(decision) = scan.step(&record, wanted)?
            && !visit(decision)
        {
            break;
        }
    }
    Ok(())
}

struct Scan<'a> {
    shared: &'a Shared,
    dir: PathBuf,
    versions: Versions,
    /// Profiles of the segment by content hash.
    profiles: HashMap<u128, Position>,
    /// Pauses of the segment by version.
    pauses: HashMap<u64, Arc<Pauses>>,
    segment: u64,
}

impl Scan<'_> {
    fn take_tallies(&mut self, record: &LogRecord<'_>) -> Result<(), StoreError> {
        let tallies = codec::decode_tallies(record.payload)?;
        if !self.versions.has(tallies.version) {
            self.versions.add(Arc::new(tallies));
        }
        Ok(())
    }

    fn step(&mut self, record: &LogRecord<'_>, wanted: &Wanted<'_>) -> Result<Option<StoredDecision>, StoreError> {
        if record.position.segment != self.segment {
            self.segment = record.position.segment;
            self.profiles.clear();
            self.pauses.clear();
        }
        match record.kind {
            RecordKind::Tallies => self.take_tallies(record)?,
            RecordKind::TalliesDelta => {
                self.versions.apply(codec::decode_tallies_delta(record.payload)?);
            }
            RecordKind::Profile => {
                let (hash, _) = frames::profile_head(record)?;
                self.profiles.insert(hash, record.position);
            }
            RecordKind::Pauses => {
                let pauses = codec::decode_pauses(record.payload)?;
                self.pauses.insert(pauses.version, Arc::new(pauses));
            }
            RecordKind::Decision => {
                let frame = DecisionFrame::read(record)?;
                if wanted.has((frame.id, frame.customer), record.time) {
                    return self.decision(record, &frame).map(Some);
                }
            }
            _ => {}
        }
        Ok(None)
    }

    fn decision(&self, record: &LogRecord<'_>, frame: &DecisionFrame<'_>) -> Result<StoredDecision, StoreError> {
        let key = data_key(self.shared, frame.customer)?;
        let erased = frame.customer.is_some() && key.is_none();
        let decoded = frame.whole(record, key.as_ref())?;
        let customer = match (decoded.customer, key) {
            (Some((_, hash)), Some(key)) => {
                let position = self.profiles.get(&hash);
                position.map(|at| read_profile(&self.dir, *at, &key)).transpose()?
            }
            _ => None,
        };
        // the exact version is gone only with the segment that had it
        let tallies = self.versions.nearest(decoded.record.model_version).unwrap_or_default();
        let pauses = self.pauses.get(&decoded.record.pauses.version).cloned();
        Ok(StoredDecision { erased, ..stored(decoded, customer, pauses, tallies) })
    }
}
