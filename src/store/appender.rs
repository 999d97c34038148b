//! The writing side of the log with what makes each segment readable by
//! itself: the tallies, and each profile and the pauses that its decisions read.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Arc, atomic::Ordering::Relaxed};

use crate::{
    domain::{ChannelId, CustomerKey, Event, OfferId, Pauses, Tallies, Timestamp},
    predict::SegmentsChanged,
};

use super::{
    DecisionRecord, HotProfile, StoreError, codec, frames,
    log::{EventLog, Position, RecordKind, Written},
    seal::DataKey,
    shared::Shared,
};

/// The log, and what its current segment has.
pub(super) struct Appender {
    pub log: EventLog,
    /// The tallies that decisions are made with.
    pub published: Arc<Tallies>,
    /// Seals what belongs to no customer.
    store_key: DataKey,
    /// Whether the segment has the tallies.
    has_tallies: bool,
    /// Profiles in the segment by content hash.
    profiles: HashMap<u128, Position>,
    /// Pauses in the segment by version.
    pauses: HashMap<u64, Position>,
    buffers: frames::Buffers,
}

/// Where a decision and the profile it read stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub decision: Position,
    pub profile: Option<Position>,
    pub pauses: Option<Position>,
}

impl Appender {
    pub fn new(log: EventLog, published: Arc<Tallies>, store_key: DataKey) -> Self {
        Self {
            log,
            published,
            store_key,
            has_tallies: false,
            profiles: HashMap::new(),
            pauses: HashMap::new(),
            buffers: frames::Buffers::default(),
        }
    }

    pub fn event(
        &mut self,
        owner: Option<(CustomerKey, &DataKey)>,
        event: &Event,
        content: u64,
    ) -> Result<(), StoreError> {
        self.begin(event.received_at);
        let owner = frames::Owner {
            customer: owner.map(|(customer, _)| customer),
            key: owner.map_or(&self.store_key, |(_, key)| key),
        };
        let sequence = self.log.next_sequence();
        let payload = frames::encode_event(owner, (event, content), sequence, &mut self.buffers)?;
        self.log.append(RecordKind::Event, event.received_at, payload);
        Ok(())
    }

    pub fn decision(&mut self, record: &DecisionRecord) -> Result<Place, StoreError> {
        self.begin(record.now);
        let profile = record.customer.as_ref().map(|hot| self.profile(hot, record.now)).transpose()?;
        let pauses = (record.pauses.version > 0).then(|| self.pauses(&record.pauses, record.now));
        let sequence = self.log.next_sequence();
        let payload = frames::encode_decision(record, &self.store_key, sequence, &mut self.buffers)?;
        Ok(Place { decision: self.log.append(RecordKind::Decision, record.now, payload), profile, pauses })
    }

    /// Makes sure that the segment has this version of the pauses.
    fn pauses(&mut self, pauses: &Pauses, time: Timestamp) -> Position {
        if let Some(known) = self.pauses.get(&pauses.version) {
            return *known;
        }
        let position = self.log.append(RecordKind::Pauses, time, &codec::encode_pauses(pauses));
        self.pauses.insert(pauses.version, position);
        position
    }

    /// Makes sure that the segment has this version of a profile.
    fn profile(&mut self, hot: &HotProfile, time: Timestamp) -> Result<Position, StoreError> {
        if let Some(known) = self.profiles.get(&hot.hash) {
            return Ok(*known);
        }
        let payload = frames::encode_profile(hot, self.log.next_sequence(), &mut self.buffers)?;
        let position = self.log.append(RecordKind::Profile, time, payload);
        self.profiles.insert(hot.hash, position);
        Ok(position)
    }

    pub fn names(&mut self, names: &[Box<str>], time: Timestamp) {
        self.begin(time);
        self.log.append(RecordKind::Items, time, &frames::encode_names(names));
    }

    /// Segments that a customer entered and left, sealed with their data key.
    pub fn segments(
        &mut self,
        (changed, key): (&SegmentsChanged, &DataKey),
        time: Timestamp,
    ) -> Result<(), StoreError> {
        self.begin(time);
        let sequence = self.log.next_sequence();
        let payload = frames::encode_segments((changed, key), sequence, &mut self.buffers)?;
        self.log.append(RecordKind::Segments, time, payload);
        Ok(())
    }

    /// A customer as it was read from Redis, with the ids of what it holds.
    pub fn adopted(
        &mut self,
        (hot, ids): (&HotProfile, &[crate::domain::EventId]),
        time: Timestamp,
    ) -> Result<(), StoreError> {
        self.begin(time);
        let payload = frames::encode_adopted((hot, ids), self.log.next_sequence(), &mut self.buffers)?;
        self.log.append(RecordKind::Adopted, time, payload);
        Ok(())
    }

    /// A record of a customer: merged, parted or erased.
    pub fn customer(&mut self, payload: &[u8], time: Timestamp) {
        self.begin(time);
        self.log.append(RecordKind::Customer, time, payload);
    }

    /// What changed up to the version of `tallies`, which decisions are made
    /// with from now on.
    pub fn delta(&mut self, tallies: Arc<Tallies>, changed: &BTreeSet<(OfferId, ChannelId)>, time: Timestamp) {
        let mut payload = Vec::with_capacity(256);
        codec::encode_tallies_delta(&tallies, changed, &mut payload);
        // before: a segment that begins here begins with this version
        self.published = tallies;
        self.begin(time);
        self.log.append(RecordKind::TalliesDelta, time, &payload);
    }

    /// Begins a segment, where the next record would, with all tallies. The
    /// log goes to a new segment only with the first record of a write.
    pub(super) fn begin(&mut self, time: Timestamp) {
        if self.has_tallies && !self.log.will_roll() {
            return;
        }
        self.profiles.clear();
        self.pauses.clear();
        let mut payload = Vec::with_capacity(4_096);
        codec::encode_tallies(&self.published, &mut payload);
        self.log.append(RecordKind::Tallies, time, &payload);
        self.has_tallies = true;
    }

    /// Writes what was appended. On an error nothing of it is in the log.
    pub fn write(&mut self, shared: &Shared) -> io::Result<Written> {
        let written = self.log.write();
        shared.undurable.store(self.log.undurable(), Relaxed);
        match &written {
            Ok(written) => {
                shared.counters.log_records.fetch_add(written.records, Relaxed);
                shared.followers.wrote(written.last_sequence);
                self.note(shared);
            }
            Err(_) => self.forget(),
        }
        written
    }

    /// Drops what was appended and not written.
    pub fn forget(&mut self) {
        self.log.discard();
        // what the segment has is not known any more: write it again
        self.has_tallies = false;
        self.profiles.clear();
        self.pauses.clear();
    }

    /// Whether there is room, after removing what is not needed any more.
    /// INVARIANT: a segment goes only when its effects are in the embedded store,
    /// and in Redis where replicas share one.
    pub fn has_room(&mut self, shared: &Shared) -> bool {
        let max = shared.config.log_bytes_max;
        while self.log.bytes() + self.log.buffered_bytes() >= max {
            let stored = shared.materialised.load(Relaxed);
            let needless = stored.min(shared.replicas.shipped());
            let removable =
                self.log.segments().get(1).is_some_and(|next| next.first_sequence <= needless.saturating_add(1));
            if !removable {
                shared.overlay.hurry();
                return false;
            }
            // before: who follows must not take the gap for none
            self.log.segments().get(1).iter().for_each(|next| shared.followers.keeps_from(next.first_sequence));
            let removed = matches!(self.log.remove_oldest(), Ok(Some(_)));
            self.note(shared);
            if !removed {
                return false;
            }
        }
        true
    }

    pub fn note(&self, shared: &Shared) {
        shared.counters.log_bytes.store(self.log.bytes(), Relaxed);
        self.log.segments().first().iter().for_each(|oldest| shared.followers.keeps_from(oldest.first_sequence));
        let oldest = self.log.segments().iter().find_map(|segment| segment.first_time);
        shared.oldest_us.store(oldest.map_or(i64::MIN, |at| at.0), Relaxed);
    }
}
