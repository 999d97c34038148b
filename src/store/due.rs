//! Presentations that wait for an answer: when each is looked at next. A row is
//! written with the outcome that made it, in the same transaction, so that a
//! restart misses none; looking at one twice is the reader's to bear.

use redb::{Durability, ReadableDatabase, TableDefinition, WriteTransaction};

use crate::domain::{
    ChannelId, CustomerKey, DecisionId, Effect, Event, EventKind, OfferId, OutcomeType, PresentationRef, RecordRef,
    Timestamp,
};

use super::{Store, StoreError, blocking, embedded::Embedded, overlay::Layer, shared::Shared};

/// (when it is looked at next, customer, decision, offer, channel, record, outcome) to
/// when the outcome came.
const DUE: TableDefinition<Key, i64> = TableDefinition::new("due");

type Key = (i64, u128, u128, u64, u32, u64, u8);

/// A presentation that reached, or may have reached, a customer and may still be
/// answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When it is looked at next.
    pub look_at: Timestamp,
    /// Whose it is.
    pub customer: CustomerKey,
    /// The decision.
    pub decision: DecisionId,
    /// The offer.
    pub offer: OfferId,
    /// The channel.
    pub channel: ChannelId,
    /// The keyed hash of the record it speaks of, see [`Store::is_of_record`]; 0 for
    /// none.
    pub record: u64,
    /// What showed it: decided, impression or handoff.
    pub shown_by: OutcomeType,
    /// When that came.
    pub at: Timestamp,
}

impl Due {
    /// The presentation that an event shows, when it does so for the first time;
    /// looked at as soon as may be, for how long it is waited for stands in the
    /// rules.
    pub(super) fn of(shared: &Shared, customer: CustomerKey, (event, effects): (&Event, &[Effect])) -> Option<Self> {
        let EventKind::Outcome { presentation, outcome: shown_by, .. } = &event.kind else { return None };
        let PresentationRef { decision, offer, channel, record, .. } = *presentation;
        let is_new = effects.iter().any(|effect| matches!(effect, Effect::Outcome { .. }));
        let shows = matches!(shown_by, OutcomeType::Decided | OutcomeType::Impression | OutcomeType::Handoff);
        let (look_at, at, shown_by) = (event.at, event.at, *shown_by);
        let record = shared.hasher.record(customer, record);
        (is_new && shows).then_some(Self { look_at, customer, decision, offer, channel, record, shown_by, at })
    }

    fn key(&self) -> Key {
        let Self { look_at, customer, decision, offer, channel, record, shown_by, at: _ } = *self;
        (look_at.0, customer.0, decision.0, offer.0, channel.0, record, shown_by as u8)
    }

    fn read((look_at, customer, decision, offer, channel, record, shown_by): Key, at: i64) -> Option<Self> {
        Some(Self {
            look_at: Timestamp(look_at),
            customer: CustomerKey(customer),
            decision: DecisionId(decision),
            offer: OfferId(offer),
            channel: ChannelId(channel),
            record,
            shown_by: OutcomeType::from_number(shown_by)?,
            at: Timestamp(at),
        })
    }
}

/// What becomes of a row that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// It goes.
    Settled(Due),
    /// It is looked at again then.
    Later(Due, Timestamp),
}

pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(DUE)?;
    Ok(())
}

/// Writes the rows of a layer.
pub(super) fn write(transaction: &WriteTransaction, layer: &Layer) -> Result<(), redb::Error> {
    if layer.due.is_empty() {
        return Ok(());
    }
    let mut table = transaction.open_table(DUE)?;
    for due in &layer.due {
        table.insert(due.key(), due.at.0)?;
    }
    Ok(())
}

impl Embedded {
    fn due(&self, now: Timestamp, len_max: usize) -> Result<Vec<Due>, StoreError> {
        self.with("reading what is due", |database| {
            let table = database.begin_read()?.open_table(DUE)?;
            let mut found = Vec::new();
            for row in table.range(..(now.0.saturating_add(1), 0, 0, 0, 0, 0, 0))?.take(len_max) {
                let (key, at) = row?;
                found.extend(Due::read(key.value(), at.value()));
            }
            Ok(found)
        })
    }

    /// What is lost of it with the power is only looked at once more, so that it
    /// waits for no disk.
    fn looked_at(&self, rows: &[Looked]) -> Result<(), StoreError> {
        self.with("noting what is not due any more", |database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::None)?;
            {
                let mut table = transaction.open_table(DUE)?;
                for row in rows {
                    match row {
                        Looked::Settled(due) => {
                            table.remove(due.key())?;
                        }
                        Looked::Later(due, look_at) => {
                            table.remove(due.key())?;
                            table.insert(Due { look_at: *look_at, ..*due }.key(), due.at.0)?;
                        }
                    }
                }
            }
            Ok(transaction.commit()?)
        })
    }
}

impl Store {
    /// Presentations that are to be looked at by now, the earliest first. What the
    /// log has and the embedded store has not comes a moment later.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn due(&self, now: Timestamp, len_max: usize) -> Result<Vec<Due>, StoreError> {
        let shared = std::sync::Arc::clone(&self.shared);
        blocking(move || shared.mended(shared.embedded.due(now, len_max))).await
    }

    /// Whether what is due speaks of this record, or of none as this is none.
    pub fn is_of_record(&self, due: &Due, record: RecordRef) -> bool {
        self.shared.hasher.record(due.customer, record) == due.record
    }

    /// Notes what became of what was due.
    ///
    /// # Errors
    /// The store cannot be written; then it is due again.
    pub async fn looked_at(&self, rows: Vec<Looked>) -> Result<(), StoreError> {
        let shared = std::sync::Arc::clone(&self.shared);
        blocking(move || shared.mended(shared.embedded.looked_at(&rows))).await
    }
}
