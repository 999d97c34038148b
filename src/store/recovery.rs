//! Opening: what the log has and the embedded store has not is applied again;
//! reservations and open budget claims come back from recent decisions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{CustomerKey, ItemId, OutcomeType, Reservation, Tallies};

use super::{
    DecisionRecord, Erasure, StoreError, WinnerRecord,
    budgets::{Presentation, Sign},
    codec::{self, DecodedDecision},
    decided::{self, Decided},
    frames::{self, DecisionFrame},
    group::{self, Group},
    history::log_dir,
    log::{LogReader, LogRecord, RecordKind, Segment},
    materialise,
    merge::Union,
    merge_record::{self, ChangeBody, CustomerChange},
    overlay::Taken,
    replicas,
    seal::DataKey,
    shared::Shared,
};

/// Records applied before they are put in memory.
const GROUP_LEN: u64 = 1_000;
/// Records in memory before they are stored.
const STORE_LEN: u64 = 50_000;

/// Applies the log again.
pub(super) struct Recovery<'a> {
    pub shared: &'a Shared,
    /// The last record whose effects are in the embedded store.
    pub stored: u64,
    /// Keys of customers that may not be in the embedded store. A write that
    /// failed leaves a key that seals nothing beside the one that came after it,
    /// and the journals take turns: so what a key opens says which one it is.
    pub keys: HashMap<CustomerKey, Vec<DataKey>>,
    pub tallies: Tallies,
    pub group: Group,
    pub last_sequence: u64,
}

impl Recovery<'_> {
    /// Reads the log from where it matters and answers the tallies afterwards.
    pub fn run(mut self, segments: &[Segment]) -> Result<Tallies, StoreError> {
        let mut reader = LogReader::open(&log_dir(&self.shared.config.dir), self.begin(segments))?;
        while let Some(record) = reader.next()? {
            self.shared.saw_time(record.time);
            self.last_sequence = record.sequence;
            if record.sequence > self.stored {
                self.apply(&record)?;
            } else {
                self.remember(&record)?;
            }
            if self.group.records >= GROUP_LEN {
                self.put_in_memory()?;
            }
        }
        self.put_in_memory()?;
        Ok(self.tallies)
    }

    /// The sequence to begin at: what is not stored, and what may still be
    /// reserved.
    fn begin(&self, segments: &[Segment]) -> u64 {
        let latest = segments.iter().rev().find_map(|s| s.last_time.or(s.first_time));
        let Some(latest) = latest else { return self.stored + 1 };
        let horizon = latest.plus_us(-self.shared.config.reserve_us_max);
        let reserved = segments.iter().find(|s| s.last_time.is_none_or(|last| last >= horizon));
        reserved.map_or(self.stored + 1, |s| s.first_sequence.min(self.stored + 1))
    }

    fn put_in_memory(&mut self) -> Result<(), StoreError> {
        let group = std::mem::take(&mut self.group);
        if group.records > 0 {
            group.publish(self.shared, self.last_sequence, &mut self.tallies);
        }
        if self.shared.overlay.records() >= STORE_LEN
            && let Taken::Layer(layer) = self.shared.overlay.take(Duration::ZERO, 0)
        {
            materialise::store(self.shared, &layer)?;
        }
        Ok(())
    }

    /// Applies a record that is not in the embedded store.
    fn apply(&mut self, record: &LogRecord<'_>) -> Result<(), StoreError> {
        match record.kind {
            RecordKind::Event => self.apply_event(record)?,
            RecordKind::Decision => {
                let frame = DecisionFrame::read(record)?;
                let decoded = self.decided(record, &frame)?;
                self.restore(&decoded.record, frame.customer, true)?;
                let decided = Decided { record: &decoded.record, customer: frame.customer };
                self.group.apply_decision(self.shared, &decided)?;
                self.group.records += 1;
            }
            RecordKind::Customer => match Erasure::decode(record)? {
                Some(erasure) => {
                    self.put_in_memory()?;
                    self.group.erase(self.shared, Arc::new(erasure))?;
                    self.put_in_memory()?;
                }
                None => self.apply_change(record)?,
            },
            RecordKind::Tallies => {
                let version = codec::decode_tallies(record.payload)?.version;
                self.tallies.version = self.tallies.version.max(version);
            }
            RecordKind::TalliesDelta => {
                // INVARIANT: what a delta tells is what the records before it
                // add up to, and the counts that are not stored with decisions
                self.put_in_memory()?;
                let delta = codec::decode_tallies_delta(record.payload)?;
                delta.apply(&mut self.tallies);
                self.group.recounted(delta.offers.iter().map(|(pair, _)| *pair));
            }
            RecordKind::Items => {
                let names = frames::decode_names(record)?;
                let named = names.iter().map(|name| (ItemId::of(name), Arc::from(&**name)));
                self.group.names.extend(self.shared.keep_names(named));
                self.group.records += 1;
            }
            RecordKind::Adopted => self.adopt(record)?,
            _ => {}
        }
        Ok(())
    }

    /// A customer as it was read from Redis.
    fn adopt(&mut self, record: &LogRecord<'_>) -> Result<(), StoreError> {
        let key = frames::adopted_head(record)?;
        let known = self.group.stage(self.shared, key)?.map(|staged| staged.data_key.clone());
        let new = known.is_none();
        let opened = match known {
            Some(data_key) => Some((data_key.clone(), frames::adopted_body(record, &data_key)?)),
            None => self.opened(key, |data_key| frames::adopted_body(record, data_key))?,
        };
        let Some((data_key, (profile, ids))) = opened else { return Ok(()) };
        if new {
            self.group.keys.push((key, data_key.clone()));
        }
        for identity in &profile.identities {
            let hash = self.shared.hasher.identity(identity.kind, &identity.value);
            let joined = self.group.joined(self.shared, hash, key)?;
            self.group.aliases.extend(joined.map(|holders| (hash, holders)));
        }
        self.group.customers.insert(key, group::Staged { profile, data_key, touched: true, applied: 0 });
        for id in ids {
            if !self.group.events.contains_key(&id) && self.shared.event(id)?.is_none() {
                self.group.events.insert(id, (replicas::HELD, record.time));
            }
        }
        self.group.records += 1;
        Ok(())
    }

    fn apply_event(&mut self, record: &LogRecord<'_>) -> Result<(), StoreError> {
        let head = frames::event_head(record)?;
        let Some(key) = head.customer else {
            let event = frames::event_body(record, &self.shared.store_key)?;
            self.group.events.insert(head.id, (head.content, event.received_at));
            self.group.records += 1;
            return self.group.apply(self.shared, None, &event);
        };
        let known = self.group.stage(self.shared, key)?.map(|staged| staged.data_key.clone());
        let opened = match &known {
            Some(data_key) => Some((data_key.clone(), frames::event_body(record, data_key)?)),
            None => self.opened(key, |data_key| frames::event_body(record, data_key))?,
        };
        let Some((data_key, event)) = opened else { return Ok(()) };
        if known.is_none() {
            self.group.keys.push((key, data_key.clone()));
            self.group.create(key, data_key);
        }
        for identity in &event.identities {
            let hash = self.shared.hasher.identity(identity.kind, &identity.value);
            let joined = self.group.joined(self.shared, hash, key)?;
            self.group.aliases.extend(joined.map(|holders| (hash, holders)));
        }
        let before = self.group.events.get(&head.id).map(|known| known.0);
        let held = before.or(self.shared.event(head.id)?) == Some(replicas::HELD);
        self.group.events.insert(head.id, (head.content, event.received_at));
        self.group.records += 1;
        if held {
            // the customer had it already when it was read from Redis
            self.group.note(key, &event);
            return Ok(());
        }
        match decided::is_of_decision(&event) {
            // another replica's decision: its own record is there
            true => self.group.apply_quietly(self.shared, Some(key), &event),
            false => self.group.apply(self.shared, Some(key), &event),
        }
    }

    /// What a record says of a customer who is not known yet, and the key that opens
    /// it; `None` where there is no key: it was destroyed, so is what it sealed.
    fn opened<T>(
        &self,
        key: CustomerKey,
        body: impl Fn(&DataKey) -> Result<T, StoreError>,
    ) -> Result<Option<(DataKey, T)>, StoreError> {
        if self.shared.tombstones.erased(key).is_some() {
            return Ok(None);
        }
        let mut failed = None;
        for data_key in self.keys.get(&key).into_iter().flatten() {
            match body(data_key) {
                Ok(told) => return Ok(Some((data_key.clone(), told))),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// A decision with the records that its presentations speak of, where there is
    /// still a key that opens them.
    fn decided(&mut self, record: &LogRecord<'_>, frame: &DecisionFrame<'_>) -> Result<DecodedDecision, StoreError> {
        let Some(customer) = frame.customer else { return frame.public() };
        if self.shared.tombstones.erased(customer).is_some() {
            return frame.public();
        }
        let stored = self.shared.data_key(customer)?;
        let staged = self.group.stage(self.shared, customer)?.map(|staged| staged.data_key.clone());
        let journals = self.keys.get(&customer).into_iter().flatten();
        let opened = stored.iter().chain(&staged).chain(journals).find_map(|key| frame.whole(record, Some(key)).ok());
        opened.map_or_else(|| frame.public(), Ok)
    }

    /// Two customers who became one, or are two again.
    fn apply_change(&mut self, record: &LogRecord<'_>) -> Result<(), StoreError> {
        let head = merge_record::head(record)?;
        // a key that is nowhere was destroyed: so is what it sealed
        let Some(staged) = self.group.stage(self.shared, head.survivor)? else { return Ok(()) };
        let ChangeBody { id, cause, reason, joined } = merge_record::body(record, &staged.data_key)?;
        match head.change {
            CustomerChange::Merge => {
                let union = Union { id, at: record.time, cause, reason, joined };
                self.group.merge(self.shared, (head.survivor, head.absorbed), &union)?;
            }
            CustomerChange::Joined => self.group.count_people(self.shared, &joined)?,
            CustomerChange::Undo => self.group.part(self.shared, (head.survivor, id), record.time)?,
        }
        self.group.records += 1;
        Ok(())
    }

    /// Looks at a record that is in the embedded store for what is not.
    fn remember(&mut self, record: &LogRecord<'_>) -> Result<(), StoreError> {
        match record.kind {
            RecordKind::Decision => {
                let frame = DecisionFrame::read(record)?;
                let decoded = self.decided(record, &frame)?;
                self.restore(&decoded.record, frame.customer, false)
            }
            RecordKind::Event => self.release(record),
            _ => Ok(()),
        }
    }

    /// An outcome whose effects are stored: what it did to the unit of its
    /// presentation, but for the count, which is stored too.
    fn release(&self, record: &LogRecord<'_>) -> Result<(), StoreError> {
        let head = frames::event_head(record)?;
        let Some(outcome) = head.outcome else { return Ok(()) };
        let seen = head.customer.is_none() && group::reaches_anonymous(outcome);
        if !seen && outcome != OutcomeType::Cancelled {
            return Ok(());
        }
        let data_key = match head.customer {
            Some(key) => match self.shared.data_key(key)? {
                Some(data_key) => data_key,
                None => return Ok(()),
            },
            None => self.shared.store_key.clone(),
        };
        let event = frames::event_body(record, &data_key)?;
        if let crate::domain::EventKind::Outcome { presentation, .. } = &event.kind {
            let crate::domain::PresentationRef { decision, offer, record, expires_at: until, .. } = *presentation;
            let ledger = &self.shared.ledger;
            if seen {
                ledger.budgets().restore_confirmed(&Presentation { decision, offer, record, until }, Sign::Seen);
            } else {
                let live = |key| Ok::<_, StoreError>(self.shared.load(key)?.map_or(key, |hot| hot.profile.key));
                ledger.release_reservation(head.customer.map(live).transpose()?, decision, (offer, Some(record)));
                ledger.budgets().restore_release(decision, (offer, record));
            }
        }
        Ok(())
    }

    /// Puts what a decision reserved back. `fresh` when what followed it is
    /// applied after it.
    fn restore(
        &mut self,
        record: &DecisionRecord,
        customer: Option<CustomerKey>,
        fresh: bool,
    ) -> Result<(), StoreError> {
        // of who was taken in since, the one who lives on holds it
        let customer = match customer {
            Some(key) => Some(self.shared.load(key)?.map_or(key, |hot| hot.profile.key)),
            None => None,
        };
        let erased = customer.is_some_and(|key| self.shared.tombstones.erased(key).is_some());
        for winner in &record.winners {
            let Some(until) = winner.reserved_until else { continue };
            // what lapsed before the log ends holds nothing any more; what is
            // applied after a fresh decision may still confirm it
            if !fresh && until <= self.shared.latest() {
                continue;
            }
            if let Some(key) = customer.filter(|_| !erased) {
                self.shared.ledger.restore(key, reservation(record, winner, until));
            }
            let budgets = self.shared.ledger.budgets();
            let sign = if !fresh && budgets.counts(winner.offer) { self.sign(record, customer, winner)? } else { None };
            let of = Presentation { decision: record.id, offer: winner.offer, record: winner.record, until };
            match sign {
                Some(sign) => budgets.restore_confirmed(&of, sign),
                // an open one was given back with the customer, and one that was seen is counted
                None if erased => {}
                None => budgets.restore_claim(&of),
            }
        }
        Ok(())
    }

    /// What made the unit of a stored decision permanent, if anything.
    fn sign(
        &self,
        record: &DecisionRecord,
        customer: Option<CustomerKey>,
        winner: &WinnerRecord,
    ) -> Result<Option<Sign>, StoreError> {
        let Some(key) = customer else { return Ok(winner.counts_now.then_some(Sign::Decided)) };
        let hot = self.shared.load(key)?;
        Ok(hot.and_then(|hot| group::sign_of(&hot.profile, record.id, winner.offer)))
    }
}

fn reservation(record: &DecisionRecord, winner: &WinnerRecord, until: crate::domain::Timestamp) -> Reservation {
    let WinnerRecord { offer, channel, record: of, .. } = *winner;
    Reservation { decision: record.id, offer, channel, record: of, at: record.now, expires_at: until }
}
