//! The one thread that writes: it takes commands in order, puts them in the log
//! in groups, applies each group to memory once the log has it, and answers.

use std::sync::mpsc::Sender;
use std::sync::{Arc, atomic::Ordering::Relaxed};
use std::time::Instant;

use tokio::sync::{oneshot, watch};

use crate::{
    domain::{DecisionId, ItemId, Tallies, Timestamp},
    predict::SegmentsChanged,
};

use super::{
    DecisionRecord, NewErasure, Receipt, ReceiptStatus, StoreError, Strength, Submission,
    appender::{Appender, Place},
    bell::Inbox,
    decided::Decided,
    eligible::EligibleCounts,
    erase::Begun,
    group::{Changed, Group},
    log::Segment,
    merges::Order,
    recent::{RecentDecisions, Versions},
    replicas,
    shared::Shared,
    sync::{Ack, SyncJob},
};

/// Most commands written together.
const GROUP_LEN_MAX: usize = 1_024;
/// Most bytes written together; a single command may be larger.
const GROUP_BYTES_MAX: u64 = 4 << 20;

/// What the writer is asked for.
pub(super) enum Command {
    Record {
        batch: Vec<Submission>,
        reply: oneshot::Sender<Vec<Receipt>>,
    },
    Decision(Box<DecisionRecord>),
    /// Makes one customer of two, or two again.
    Order {
        order: Order,
        reply: oneshot::Sender<Vec<Receipt>>,
    },
    /// Where a decision stands.
    Locate {
        id: DecisionId,
        reply: oneshot::Sender<Located>,
    },
    Names(Vec<Box<str>>),
    /// Of other replicas.
    Replica(replicas::Command),
    /// Customers entered and left segments; whether it is in the log.
    Segments {
        changes: Vec<SegmentsChanged>,
        at: Timestamp,
        reply: Sender<bool>,
    },
    /// Erases a customer.
    Erase {
        erasure: NewErasure,
        /// Once memory has it; `None` when there is no such customer.
        reply: oneshot::Sender<Result<Option<Begun>, StoreError>>,
        /// Once the log has it on disk.
        durable: oneshot::Sender<Vec<Receipt>>,
    },
    /// Everything sent before is in the log; which segments there are.
    Flush(Sender<Vec<Segment>>),
    /// Everything sent before is in the log, up to which sequence; it is to be
    /// brought to disk.
    Sync(oneshot::Sender<u64>),
    Close,
}

/// What the writer knows of a decision.
#[derive(Debug)]
pub(super) struct Located {
    pub place: Option<Place>,
    pub versions: Versions,
    pub segments: Vec<Segment>,
}

/// The writer.
pub(super) struct Writer {
    pub shared: Arc<Shared>,
    pub appender: Appender,
    /// As of the last applied record.
    pub tallies: Tallies,
    pub recent: RecentDecisions,
    pub versions: Versions,
    pub watch: watch::Sender<Arc<Tallies>>,
    pub syncer: Sender<SyncJob>,
    /// Not published yet.
    pub changed: Changed,
    /// How often each pair was eligible; not in the tallies yet.
    pub eligible: EligibleCounts,
    pub published_at: Instant,
    /// When the counts that no model sees were folded last.
    pub counted_at: Instant,
    /// When a write last failed; `None` once one succeeded.
    pub failed_at: Option<Instant>,
}

/// A group and who waits for it.
#[derive(Default)]
pub(super) struct Batch {
    pub group: Group,
    acks: Vec<(Ack, Strength)>,
    places: Vec<(DecisionId, Place)>,
}

impl Drop for Writer {
    /// However it ends, nobody waits for it.
    fn drop(&mut self) {
        self.shared.decision_room.close();
        self.shared.record_room.close();
        self.shared.overlay.close();
    }
}

impl Writer {
    /// Serves until told to close, or until nobody can send any more.
    pub fn run(mut self, mut inbox: Inbox<Command>) {
        while let Some(commands) = inbox.receive(self.due_in(), GROUP_LEN_MAX) {
            let closing = self.process(commands);
            self.publish_when_due();
            if closing {
                break;
            }
        }
        self.publish(true);
    }

    /// Answers whether to close.
    fn process(&mut self, commands: Vec<Command>) -> bool {
        if self.shared.segment_failed.swap(false, Relaxed) {
            // nothing is written where a sync failed
            self.appender.log.distrust();
        }
        let (mut decisions, mut bytes, mut records, mut closing) = (0, 0, 0, false);
        let mut batch = Batch::default();
        for command in commands {
            match command {
                Command::Record { batch: submissions, reply } => {
                    records += 1;
                    self.record(&mut batch, submissions, reply);
                }
                Command::Decision(record) => {
                    decisions += 1;
                    bytes += record.heap_bytes();
                    self.decide(&mut batch, record);
                }
                Command::Order { order, reply } => {
                    records += 1;
                    self.order(&mut batch, order, reply);
                }
                Command::Names(names) => self.name(&mut batch, &names),
                Command::Replica(command) => {
                    records += 1;
                    self.commit(std::mem::take(&mut batch));
                    self.replicate(command);
                }
                Command::Segments { changes, at, reply } => {
                    self.commit(std::mem::take(&mut batch));
                    let _ = reply.send(self.tell_segments(&changes, at));
                }
                Command::Erase { erasure, reply, durable } => {
                    records += 1;
                    self.commit(std::mem::take(&mut batch));
                    let _ = reply.send(self.erase(erasure, durable));
                }
                Command::Locate { id, reply } => {
                    records += 1;
                    self.commit(std::mem::take(&mut batch));
                    let _ = reply.send(self.locate(id));
                }
                Command::Flush(reply) => {
                    self.commit(std::mem::take(&mut batch));
                    let _ = reply.send(self.appender.log.segments().to_vec());
                }
                Command::Sync(reply) => {
                    records += 1;
                    self.commit(std::mem::take(&mut batch));
                    self.sync(Vec::new());
                    let _ = reply.send(self.appender.log.last_sequence());
                }
                Command::Close => closing = true,
            }
            if self.appender.log.buffered_bytes() >= GROUP_BYTES_MAX {
                self.commit(std::mem::take(&mut batch));
            }
        }
        self.commit(batch);
        self.shared.replicas.set_applied(self.appender.log.last_sequence());
        self.shared.give_decision_room(decisions, bytes);
        self.shared.record_room.add_permits(records);
        closing
    }

    fn record(&mut self, batch: &mut Batch, submissions: Vec<Submission>, reply: oneshot::Sender<Vec<Receipt>>) {
        let strength = submissions.iter().map(|s| s.strength).max().unwrap_or(Strength::Process);
        let mut receipts = Vec::with_capacity(submissions.len());
        for submission in submissions {
            let room = self.appender.has_room(&self.shared);
            receipts.push(if room {
                self.shared.saw_time(submission.event.received_at);
                let mut receipt = super::submit::submit(&self.shared, &mut self.appender, &mut batch.group, submission);
                receipt.sequence = self.appender.log.next_sequence() - 1;
                if let Some(customer) = receipt.customer.filter(|_| receipt.created) {
                    self.shared.replicas.makes(customer);
                }
                if receipt.status == ReceiptStatus::Recorded {
                    self.shared.replicas.wrote(receipt.customer, receipt.sequence);
                }
                receipt
            } else {
                self.shared.log_full.store(true, Relaxed);
                self.shared.counters.exhausted.fetch_add(1, Relaxed);
                Receipt::without(ReceiptStatus::Exhausted)
            });
        }
        batch.acks.push((Ack { reply, receipts }, strength));
    }

    fn order(&mut self, batch: &mut Batch, order: Order, reply: oneshot::Sender<Vec<Receipt>>) {
        let receipt = if self.appender.has_room(&self.shared) {
            let mut receipt = super::merge::order(&self.shared, &mut self.appender, &mut batch.group, order);
            receipt.sequence = self.appender.log.next_sequence() - 1;
            self.shared.replicas.wrote(receipt.customer, receipt.sequence);
            receipt
        } else {
            self.shared.log_full.store(true, Relaxed);
            self.shared.counters.exhausted.fetch_add(1, Relaxed);
            Receipt::without(ReceiptStatus::Exhausted)
        };
        batch.acks.push((Ack { reply, receipts: vec![receipt] }, Strength::Disk));
    }

    fn decide(&mut self, batch: &mut Batch, mut record: Box<DecisionRecord>) {
        self.shared.saw_time(record.now);
        if !self.appender.has_room(&self.shared) {
            self.shared.log_full.store(true, Relaxed);
            self.shared.counters.decisions_dropped.fetch_add(1, Relaxed);
            return;
        }
        let customer = record.customer.as_ref().map(|c| c.profile.key);
        let appended = self.appender.decision(&record);
        batch.group.records += 1;
        let applied = batch.group.apply_decision(&self.shared, &Decided { record: &record, customer });
        match (appended, applied) {
            (Ok(place), Ok(())) => {
                if record.exposed.is_some() || record.winners.iter().any(|winner| winner.counts_now) {
                    self.shared.replicas.wrote(customer, self.appender.log.next_sequence() - 1);
                }
                batch.places.push((record.id, place));
                batch.group.eligible.push(std::mem::take(&mut record.eligible));
            }
            _ => {
                self.shared.counters.decisions_dropped.fetch_add(1, Relaxed);
            }
        }
    }

    fn name(&mut self, batch: &mut Batch, names: &[Box<str>]) {
        let new = self.shared.keep_names(names.iter().map(|name| (ItemId::of(name), Arc::from(&**name))));
        if new.is_empty() || !self.appender.has_room(&self.shared) {
            return;
        }
        let texts: Vec<Box<str>> = new.iter().map(|(_, name)| Box::from(&**name)).collect();
        self.appender.names(&texts, self.shared.latest());
        self.shared.replicas.wrote(None, self.appender.log.next_sequence() - 1);
        batch.group.records += 1;
        batch.group.names.extend(new);
    }

    /// Puts changes of segments in the log; whether they are there. They change
    /// nothing else. Of who was erased meanwhile nothing is written.
    fn tell_segments(&mut self, changes: &[SegmentsChanged], at: Timestamp) -> bool {
        if !self.appender.has_room(&self.shared) {
            return false;
        }
        self.shared.saw_time(at);
        let mut batch = Batch::default();
        for changed in changes {
            let appended = match self.shared.data_key(changed.customer) {
                Ok(Some(key)) => self.appender.segments((changed, &key), at).map(|()| 1),
                Ok(None) => Ok(0),
                Err(error) => Err(error),
            };
            match appended {
                Ok(records) => batch.group.records += records,
                Err(_) => {
                    self.appender.forget();
                    return false;
                }
            }
        }
        self.commit(batch);
        self.failed_at.is_none()
    }

    /// Writes a group, then applies it, then answers.
    pub(super) fn commit(&mut self, mut batch: Batch) {
        if batch.group.records > 0 {
            // INVARIANT: a key is in the journal before a record needs it
            let written =
                self.shared.journals.append(&batch.group.keys).is_ok().then(|| self.appender.write(&self.shared));
            let Some(Ok(written)) = written else { return self.fail(batch) };
            self.shared.log_full.store(false, Relaxed);
            self.shared.write_failed.store(false, Relaxed);
            self.failed_at = None;
            let eligible = std::mem::take(&mut batch.group.eligible);
            eligible.iter().for_each(|pairs| self.eligible.add(pairs));
            let changed = batch.group.publish(&self.shared, written.last_sequence, &mut self.tallies);
            self.changed.extend(changed);
            for (id, place) in batch.places {
                self.recent.add(id, place);
            }
        }
        self.answer(batch.acks);
    }

    pub(super) fn answer(&self, acks: Vec<(Ack, Strength)>) {
        let mut synced = Vec::new();
        for (ack, strength) in acks {
            match strength {
                Strength::Process => ack.send(),
                Strength::Disk => synced.push(ack),
            }
        }
        if !synced.is_empty() {
            self.sync(synced);
        }
    }

    /// Has everything that was written brought to disk.
    fn sync(&self, acks: Vec<Ack>) {
        let log = &self.appender.log;
        let job = SyncJob { file: log.sync_handle(), sequence: log.last_sequence(), acks };
        if let Err(back) = self.syncer.send(job) {
            back.0.acks.into_iter().for_each(Ack::exhausted);
        }
    }

    /// Nothing of the group happened.
    fn fail(&mut self, batch: Batch) {
        self.appender.forget();
        self.failed_at = Some(Instant::now());
        self.shared.write_failed.store(true, Relaxed);
        self.shared.log_full.store(true, Relaxed);
        let refused: usize = batch.acks.iter().map(|(ack, _)| ack.receipts.len()).sum();
        self.shared.counters.exhausted.fetch_add(refused as u64, Relaxed);
        self.shared.counters.decisions_dropped.fetch_add(batch.places.len() as u64, Relaxed);
        batch.acks.into_iter().for_each(|(ack, _)| ack.exhausted());
    }

    fn locate(&self, id: DecisionId) -> Located {
        Located {
            place: self.recent.get(id),
            versions: self.versions.clone(),
            segments: self.appender.log.segments().to_vec(),
        }
    }
}
