//! The embedded store: what the log led to, in one file (redb).

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::domain::{ChannelId, CustomerKey, EventId, IdentityHash, ItemId, OfferId, Tallies, Tally, Timestamp};

use super::{HotProfile, StoreError, codec, holders::Holders, overlay::Layer, seal::DataKey};

/// Data key, then the encoded profile.
pub(super) const PROFILES: TableDefinition<u128, &[u8]> = TableDefinition::new("profiles");
/// Identity to the customer who was the first to hold it.
const ALIASES: TableDefinition<u128, u128> = TableDefinition::new("aliases");
/// Identity to the keys of the others who hold it, in order, 16 bytes each.
const HOLDERS: TableDefinition<u128, &[u8]> = TableDefinition::new("holders");
/// Event to (content, receipt time).
const EVENTS: TableDefinition<u128, (u64, i64)> = TableDefinition::new("events");
/// (receipt time, event), to forget the oldest.
const EVENTS_BY_TIME: TableDefinition<(i64, u128), ()> = TableDefinition::new("events_by_time");
const NAMES: TableDefinition<u64, &str> = TableDefinition::new("names");
pub(super) const RULESETS: TableDefinition<u64, &[u8]> = TableDefinition::new("rulesets");
/// (offer, channel) to (eligible, decided, trials, positives, impressions, declines, revenue).
const TALLIES: TableDefinition<(u64, u32), Counts> = TableDefinition::new("tallies");
/// (offer, bucket) to presentations seen.
const BUDGETS: TableDefinition<(u64, i64), u64> = TableDefinition::new("budgets");
pub(super) const META: TableDefinition<&str, i64> = TableDefinition::new("meta");

type Counts = (u64, u64, u64, u64, u64, u64, i64);

/// Version of the tables.
const FORMAT: i64 = 1;
/// How long an event id is remembered, microseconds.
pub const EVENT_IDS_KEPT_US: i64 = 7 * crate::domain::time::DAY_US;
/// Most event ids forgotten in one transaction.
const FORGET_LEN_MAX: usize = 10_000;
/// Memory redb may use for pages, bytes.
const CACHE_BYTES: usize = 64 << 20;

/// The totals of the tallies, by name in [`META`].
const TOTALS: [&str; 6] =
    ["exposed_treated", "exposed_held", "converted_treated", "converted_held", "revenue_treated", "revenue_held"];

/// The embedded store. After a failed read or write redb refuses everything
/// until the file is opened again, which [`Embedded::reopen`] does.
#[derive(Debug)]
pub(super) struct Embedded {
    path: PathBuf,
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
        prepare(&database).map_err(failed("making the tables"))?;
        check_format(&database)?;
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
            let table = database.begin_read()?.open_table(PROFILES)?;
            Ok(table.get(key.0)?.map(|value| value.value().to_vec()))
        })?;
        let Some(bytes) = stored else { return Ok(None) };
        let Some((data_key, encoded)) = bytes.split_first_chunk::<32>() else {
            return Err(StoreError::Corrupt("a profile in the embedded store has no key".to_owned()));
        };
        let profile = codec::decode_profile(encoded)?;
        let hash = xxhash_rust::xxh3::xxh3_128(encoded);
        Ok(Some(HotProfile { profile, hash, data_key: DataKey(*data_key) }))
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
    /// old at `now`.
    pub fn store(&self, layer: &Layer, now: Timestamp) -> Result<(), StoreError> {
        self.with("storing what the log holds", |database| {
            let transaction = database.begin_write()?;
            write_customers(&transaction, layer)?;
            write_events(&transaction, layer)?;
            forget_events(&transaction, Timestamp(now.0.saturating_sub(EVENT_IDS_KEPT_US)))?;
            write_totals(&transaction, layer)?;
            Ok(transaction.commit()?)
        })
    }

    /// Holds every other write back while it lives, so that the file stays as
    /// it is.
    #[cfg(test)]
    pub fn quiet(&self) -> Result<WriteTransaction, StoreError> {
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
    super::revisions::prepare(&transaction)?;
    {
        let mut meta = transaction.open_table(META)?;
        if meta.get("format")?.is_none() {
            meta.insert("format", FORMAT)?;
        }
    }
    Ok(transaction.commit()?)
}

fn check_format(database: &Database) -> Result<(), StoreError> {
    let read = || -> Result<i64, redb::Error> {
        let table = database.begin_read()?.open_table(META)?;
        Ok(table.get("format")?.map_or(0, |value| value.value()))
    };
    let found = read().map_err(failed("reading the format"))?;
    if found != FORMAT {
        return Err(StoreError::Corrupt(format!(
            "the embedded store has format `{found}`, this program knows `{FORMAT}`: use the version that wrote it"
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

fn write_customers(transaction: &WriteTransaction, layer: &Layer) -> Result<(), redb::Error> {
    let mut profiles = transaction.open_table(PROFILES)?;
    let mut row = Vec::with_capacity(2_048);
    for (key, hot) in &layer.profiles {
        row.clear();
        row.extend_from_slice(&hot.data_key.0);
        codec::encode_profile(&hot.profile, &mut row);
        profiles.insert(key.0, &row[..])?;
    }
    let mut aliases = transaction.open_table(ALIASES)?;
    let mut others = transaction.open_table(HOLDERS)?;
    for (hash, holders) in &layer.aliases {
        if let Some(first) = holders.all().first() {
            aliases.insert(hash.0, first.0)?;
        }
        if let Holders::Several(_) = holders {
            others.insert(hash.0, &holders.write_others()[..])?;
        }
    }
    let mut names = transaction.open_table(NAMES)?;
    for (item, name) in &layer.names {
        names.insert(item.0, &**name)?;
    }
    Ok(())
}

fn write_events(transaction: &WriteTransaction, layer: &Layer) -> Result<(), redb::Error> {
    let mut events = transaction.open_table(EVENTS)?;
    let mut by_time = transaction.open_table(EVENTS_BY_TIME)?;
    for (id, (content, at)) in &layer.events {
        events.insert(id.0, (*content, at.0))?;
        by_time.insert((at.0, id.0), ())?;
    }
    Ok(())
}

fn forget_events(transaction: &WriteTransaction, before: Timestamp) -> Result<(), redb::Error> {
    let mut by_time = transaction.open_table(EVENTS_BY_TIME)?;
    let mut old = Vec::new();
    for row in by_time.range(..(before.0, 0))?.take(FORGET_LEN_MAX) {
        old.push(row?.0.value());
    }
    let mut events = transaction.open_table(EVENTS)?;
    for at in old {
        by_time.remove(at)?;
        events.remove(at.1)?;
    }
    Ok(())
}

fn write_totals(transaction: &WriteTransaction, layer: &Layer) -> Result<(), redb::Error> {
    let mut tallies = transaction.open_table(TALLIES)?;
    for ((offer, channel), tally) in &layer.tallies.offers {
        tallies.insert((offer.0, channel.0), counts_of(tally))?;
    }
    let mut budgets = transaction.open_table(BUDGETS)?;
    for ((offer, bucket), count) in &layer.budgets {
        budgets.insert((offer.0, *bucket), count)?;
    }
    let mut meta = transaction.open_table(META)?;
    let all = &layer.tallies;
    let totals = [
        all.exposed[0] as i64,
        all.exposed[1] as i64,
        all.converted[0] as i64,
        all.converted[1] as i64,
        all.revenue[0],
        all.revenue[1],
    ];
    for (total, name) in totals.into_iter().zip(TOTALS) {
        meta.insert(name, total)?;
    }
    meta.insert("tallies_version", all.version as i64)?;
    meta.insert("sequence", layer.sequence as i64)?;
    Ok(())
}

fn counts_of(t: &Tally) -> Counts {
    (t.eligible, t.decided, t.trials, t.positives, t.impressions, t.declines, t.revenue)
}

fn tally_of((eligible, decided, trials, positives, impressions, declines, revenue): Counts) -> Tally {
    Tally { eligible, decided, trials, positives, impressions, declines, revenue }
}
