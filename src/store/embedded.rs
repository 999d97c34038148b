//! The embedded store: what the log led to, in one file (redb).

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};

use crate::domain::{ChannelId, CustomerKey, EventId, IdentityHash, ItemId, OfferId, Tallies, Tally, Timestamp};

use super::{
    HotProfile, StoreError, TimelineQuery, erase,
    holders::Holders,
    layer_rows,
    overlay::Layer,
    row_seal::{RowKey, Table},
    seal::DataKey,
    slots::{Slot, Slots},
    timeline, tombstones,
};

/// The encoded profile, sealed with a key derived from the customer's data key.
pub(super) const PROFILES: TableDefinition<u128, &[u8]> = TableDefinition::new("profiles");
/// Identity to the customer who was the first to hold it.
pub(super) const ALIASES: TableDefinition<u128, u128> = TableDefinition::new("aliases");
/// Identity to the keys of the others who hold it, in order, 16 bytes each.
pub(super) const HOLDERS: TableDefinition<u128, &[u8]> = TableDefinition::new("holders");
/// Event to (content, receipt time).
pub(super) const EVENTS: TableDefinition<u128, (u64, i64)> = TableDefinition::new("events");
/// (receipt time, event), to forget the oldest.
pub(super) const EVENTS_BY_TIME: TableDefinition<(i64, u128), ()> = TableDefinition::new("events_by_time");
pub(super) const NAMES: TableDefinition<u64, &str> = TableDefinition::new("names");
pub(super) const RULESETS: TableDefinition<u64, &[u8]> = TableDefinition::new("rulesets");
/// (offer, channel) to (eligible, decided, trials, positives, impressions, declines, revenue).
pub(super) const TALLIES: TableDefinition<(u64, u32), Counts> = TableDefinition::new("tallies");
/// (offer, bucket) to presentations seen.
pub(super) const BUDGETS: TableDefinition<(u64, i64), u64> = TableDefinition::new("budgets");
pub(super) const META: TableDefinition<&str, i64> = TableDefinition::new("meta");

/// Customer to the slot of the data key. A merged customer keeps it.
pub(super) const DATA_KEYS: TableDefinition<u128, Slot> = TableDefinition::new("data_keys");
/// Slots of data keys that were used and are not any more.
pub(super) const FREE_SLOTS: TableDefinition<Slot, ()> = TableDefinition::new("free_slots");
/// The first slot never used, in [`META`].
pub(super) const SLOTS_END: &str = "slots_end";

pub(super) type Counts = (u64, u64, u64, u64, u64, u64, i64);

/// Version of the tables. In version 1 profiles and their keys were in the clear.
const FORMAT: i64 = 3;
/// How long an event id is remembered, microseconds.
pub const EVENT_IDS_KEPT_US: i64 = 7 * crate::domain::time::DAY_US;
/// Memory redb may use for pages, bytes.
const CACHE_BYTES: usize = 64 << 20;

/// The totals of the tallies, by name in [`META`].
pub(super) const TOTALS: [&str; 6] =
    ["exposed_treated", "exposed_held", "converted_treated", "converted_held", "revenue_treated", "revenue_held"];

/// The embedded store. After a failed read or write redb refuses everything
/// until the file is opened again, which [`Embedded::reopen`] does.
#[derive(Debug)]
pub(super) struct Embedded {
    path: PathBuf,
    /// The data keys.
    slots: Slots,
    /// Slots of erased customers that are not overwritten yet.
    doomed: Mutex<Vec<Slot>>,
    /// `None` while it is opened again.
    database: RwLock<Option<Database>>,
    /// Whether it must be opened again.
    broken: AtomicBool,
    /// Makes every access fail while it is set.
    #[cfg(test)]
    pub failing: Arc<AtomicBool>,
}

/// What the store knows as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Overview {
    /// The last log record whose effects are in the store.
    pub sequence: u64,
    /// The longest a reservation lives by any rules that were active.
    pub reserve_us: Option<i64>,
    pub tallies: Tallies,
    pub budgets: Vec<(OfferId, i64, u64)>,
    pub names: Vec<(ItemId, Arc<str>)>,
}

fn failed(doing: &'static str) -> impl Fn(redb::Error) -> StoreError {
    move |error| match error {
        redb::Error::PreviousIo => StoreError::Io {
            doing: format!("{doing} in the embedded store: it failed before and is being opened again; try again"),
            source: std::io::ErrorKind::Other.into(),
        },
        redb::Error::Io(source) => StoreError::Io { doing: format!("{doing} in the embedded store"), source },
        other => StoreError::Corrupt(format!(
            "{doing} in the embedded store: {other}; restore the data directory from a copy"
        )),
    }
}

impl Embedded {
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let embedded = Self {
            path: path.to_owned(),
            slots: Slots::at(&path.with_file_name("keys.slots")),
            doomed: Mutex::default(),
            database: RwLock::new(None),
            broken: AtomicBool::new(true),
            #[cfg(test)]
            failing: Arc::default(),
        };
        embedded.reopen()?;
        Ok(embedded)
    }

    /// Whether an access failed, so that it must be opened again.
    pub fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    /// Opens the file again. Meanwhile every access is refused, none waits.
    pub fn reopen(&self) -> Result<(), StoreError> {
        let before = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        // its lock on the file must go before the next one is taken
        drop(before);
        let database = self.database_of_file()?;
        check_format(&database)?;
        prepare(&database).map_err(failed("making the tables"))?;
        // what the last transaction left undone: a key in a slot that nobody uses
        self.slots.adopt(erase::free_slots(&database).map_err(failed("reading the free slots"))?)?;
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = Some(database);
        self.broken.store(false, Relaxed);
        Ok(())
    }

    fn database_of_file(&self) -> Result<Database, StoreError> {
        let path = &self.path;
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(|source| StoreError::Io { doing: format!("opening `{}`", path.display()), source })?;
        self.build(file).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::Io {
                doing: format!(
                    "opening `{}`: another process has this data directory open; stop it or choose another directory",
                    path.display()
                ),
                source: std::io::Error::from(std::io::ErrorKind::WouldBlock),
            },
            other => failed("opening the file")(other.into()),
        })
    }

    /// As a failed access leaves it, whatever is in its memory.
    #[cfg(test)]
    pub fn lose(&self) {
        drop(self.database.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    #[cfg(not(test))]
    fn build(&self, file: File) -> Result<Database, DatabaseError> {
        let backend = redb::backends::FileBackend::new(file)?;
        Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend)
    }

    #[cfg(test)]
    fn build(&self, file: File) -> Result<Database, DatabaseError> {
        let backend = super::tests::faulty::Faulty::new(file, Arc::clone(&self.failing))?;
        Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend)
    }

    /// Runs an access, and notes when it must be opened again after it.
    pub(super) fn with<T>(
        &self,
        doing: &'static str,
        access: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let result = database.as_ref().map_or(Err(redb::Error::PreviousIo), access);
        if matches!(result, Err(redb::Error::Io(_) | redb::Error::PreviousIo)) {
            self.broken.store(true, Relaxed);
        }
        result.map_err(failed(doing))
    }

    /// A customer's profile and data key.
    pub fn profile(&self, key: CustomerKey) -> Result<Option<HotProfile>, StoreError> {
        let stored = self.with("reading a profile", |database| {
            let transaction = database.begin_read()?;
            let row = transaction.open_table(PROFILES)?.get(key.0)?.map(|value| value.value().to_vec());
            let slot = transaction.open_table(DATA_KEYS)?.get(key.0)?.map(|value| value.value());
            Ok(row.zip(slot))
        })?;
        let Some((row, slot)) = stored else { return Ok(None) };
        self.open_profile(key, slot, &row)
    }

    /// A profile as it stands in the table; `None` when it was erased meanwhile.
    pub(super) fn open_profile(
        &self,
        key: CustomerKey,
        slot: Slot,
        row: &[u8],
    ) -> Result<Option<HotProfile>, StoreError> {
        let Some(data_key) = self.slots.read(slot, key)? else { return Ok(None) };
        let encoded = RowKey::of(&data_key).open((Table::Profiles, &key.0.to_le_bytes()), row)?;
        HotProfile::of_encoded(&encoded, data_key).map(Some)
    }

    /// A customer's data key, also of one that was merged into another.
    pub fn data_key(&self, key: CustomerKey) -> Result<Option<DataKey>, StoreError> {
        let slot = self.with("reading a data key", |database| {
            let table = database.begin_read()?.open_table(DATA_KEYS)?;
            Ok(table.get(key.0)?.map(|value| value.value()))
        })?;
        slot.map_or(Ok(None), |slot| self.slots.read(slot, key))
    }

    /// Who holds an identity.
    pub fn holders(&self, hash: IdentityHash) -> Result<Option<Holders>, StoreError> {
        self.with("reading an identity", |database| {
            let transaction = database.begin_read()?;
            let Some(first) = transaction.open_table(ALIASES)?.get(hash.0)?.map(|v| CustomerKey(v.value())) else {
                return Ok(None);
            };
            let others = transaction.open_table(HOLDERS)?.get(hash.0)?;
            Ok(Some(others.map_or(Holders::One(first), |others| Holders::read(first, others.value()))))
        })
    }

    /// The content of an event recorded before, while it is remembered.
    pub fn event(&self, id: EventId) -> Result<Option<u64>, StoreError> {
        self.with("reading an event id", |database| {
            let table = database.begin_read()?.open_table(EVENTS)?;
            Ok(table.get(id.0)?.map(|value| value.value().0))
        })
    }

    pub fn overview(&self) -> Result<Overview, StoreError> {
        self.with("reading the totals", read_overview)
    }

    /// Stores a layer in one transaction and forgets event ids that are too
    /// old at `now`. Keys of the erased are overwritten when it answers.
    pub fn store(&self, layer: &Layer, now: Timestamp) -> Result<(), StoreError> {
        let freed = self.with("storing what the log holds", |database| {
            let transaction = database.begin_write()?;
            let freed = erase::apply(&transaction, layer)?;
            let plan = layer_rows::write(&transaction, layer, &self.slots)?;
            super::kept_merges::forget(&transaction, now)?;
            let before = Timestamp(now.0.saturating_sub(EVENT_IDS_KEPT_US));
            layer_rows::forget_events(&transaction, before, layer.events.len())?;
            super::due::write(&transaction, layer)?;
            transaction.commit()?;
            self.slots.used(plan);
            Ok(freed)
        })?;
        self.destroy(freed)
    }

    /// Overwrites keys; those that it cannot now it overwrites next time.
    fn destroy(&self, freed: Vec<Slot>) -> Result<(), StoreError> {
        let mut doomed = self.doomed.lock().unwrap_or_else(PoisonError::into_inner);
        doomed.extend(freed);
        if !doomed.is_empty() {
            self.slots.destroy(&doomed)?;
            doomed.clear();
        }
        Ok(())
    }

    pub fn tombstones(&self) -> Result<tombstones::Kept, StoreError> {
        self.with("reading the tombstones", tombstones::read)
    }

    pub fn timeline_rows(
        &self,
        customer: CustomerKey,
        query: &TimelineQuery,
        most: usize,
    ) -> Result<Vec<timeline::Row>, StoreError> {
        self.with("reading a timeline", |database| timeline::read_rows(database, customer, query, most))
    }

    pub fn timeline_len(&self, customer: CustomerKey) -> Result<u64, StoreError> {
        self.with("counting a timeline", |database| timeline::count(database, customer))
    }

    /// One step of the sweep of the timelines; answers how many rows went, and
    /// where to go on.
    pub fn sweep_timelines(&self, from: u128, before: Timestamp) -> Result<(u64, Option<u128>), StoreError> {
        self.with("sweeping the timelines", |database| {
            let (gone, next) = timeline::sweep_step(database, from, before)?;
            let removed = if gone.is_empty() { 0 } else { timeline::remove_rows(database, &gone)? };
            Ok((removed, next))
        })
    }

    /// Holds every other write back while it lives, so that the file stays as
    /// it is.
    #[cfg(test)]
    pub fn quiet(&self) -> Result<redb::WriteTransaction, StoreError> {
        self.with("holding writes back", |database| Ok(database.begin_write()?))
    }
}

fn prepare(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(PROFILES)?;
    transaction.open_table(ALIASES)?;
    transaction.open_table(HOLDERS)?;
    transaction.open_table(EVENTS)?;
    transaction.open_table(EVENTS_BY_TIME)?;
    transaction.open_table(NAMES)?;
    transaction.open_table(RULESETS)?;
    transaction.open_table(TALLIES)?;
    transaction.open_table(BUDGETS)?;
    super::due::prepare(&transaction)?;
    transaction.open_table(DATA_KEYS)?;
    transaction.open_table(FREE_SLOTS)?;
    transaction.open_table(timeline::TIMELINE)?;
    tombstones::prepare(&transaction)?;
    super::revisions::prepare(&transaction)?;
    super::unions::prepare(&transaction)?;
    super::analysis::prepare(&transaction)?;
    {
        let mut meta = transaction.open_table(META)?;
        if meta.get("format")?.is_none() {
            meta.insert("format", FORMAT)?;
        }
    }
    Ok(transaction.commit()?)
}

/// Before anything is written: a directory of another format stays as it is.
fn check_format(database: &Database) -> Result<(), StoreError> {
    let read = || -> Result<i64, redb::Error> {
        match database.begin_read()?.open_table(META) {
            Ok(table) => Ok(table.get("format")?.map_or(FORMAT, |value| value.value())),
            // a new file
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(FORMAT),
            Err(error) => Err(error.into()),
        }
    };
    let found = read().map_err(failed("reading the format"))?;
    if found != FORMAT {
        return Err(StoreError::Corrupt(format!(
            "the data directory has format `{found}`, this version reads and writes only format `{FORMAT}`: use the \
             version that wrote it, or begin with an empty directory"
        )));
    }
    Ok(())
}

fn read_overview(database: &Database) -> Result<Overview, redb::Error> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let number = |name: &str| -> Result<i64, redb::Error> { Ok(meta.get(name)?.map_or(0, |v| v.value())) };
    let mut overview = Overview { sequence: number("sequence")? as u64, ..Overview::default() };
    overview.reserve_us = Some(number(super::revisions::RESERVE_US)?).filter(|us| *us > 0);
    let mut totals = [0_i64; 6];
    for (total, name) in totals.iter_mut().zip(TOTALS) {
        *total = number(name)?;
    }
    let tallies = &mut overview.tallies;
    tallies.version = number("tallies_version")? as u64;
    tallies.exposed = [totals[0] as u64, totals[1] as u64];
    tallies.converted = [totals[2] as u64, totals[3] as u64];
    tallies.revenue = [totals[4], totals[5]];
    for row in transaction.open_table(TALLIES)?.iter()? {
        let (pair, counts) = row?;
        let (offer, channel) = pair.value();
        tallies.offers.insert((OfferId(offer), ChannelId(channel)), tally_of(counts.value()));
    }
    for row in transaction.open_table(BUDGETS)?.iter()? {
        let (at, count) = row?;
        let (offer, bucket) = at.value();
        overview.budgets.push((OfferId(offer), bucket, count.value()));
    }
    for row in transaction.open_table(NAMES)?.iter()? {
        let (item, name) = row?;
        overview.names.push((ItemId(item.value()), name.value().into()));
    }
    Ok(overview)
}

fn tally_of((eligible, decided, trials, positives, impressions, declines, revenue): Counts) -> Tally {
    Tally { eligible, decided, trials, positives, impressions, declines, revenue }
}
