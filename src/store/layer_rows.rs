//! A layer as rows of the embedded store, in one transaction.

use std::collections::HashMap;

use redb::{ReadableTable, WriteTransaction};

use crate::domain::{CustomerKey, Tally, Timestamp};

use super::{
    StoreError,
    embedded::{
        ALIASES, BUDGETS, Counts, DATA_KEYS, EVENTS, EVENTS_BY_TIME, FREE_SLOTS, HOLDERS, META, NAMES, PROFILES,
        SLOTS_END, TALLIES, TOTALS,
    },
    holders::Holders,
    overlay::Layer,
    row_seal::{Nonces, RowKey, Table},
    slots::{Plan, Slots},
    timeline, unions,
};

/// Most event ids forgotten in one transaction, unless it stores more.
const FORGET_LEN_MAX: usize = 10_000;

/// Writes a layer. The keys that it needs are on disk when this answers; their
/// slots are used once the transaction is committed.
pub(super) fn write(transaction: &WriteTransaction, layer: &Layer, slots: &Slots) -> Result<Plan, redb::Error> {
    let mut nonces = Nonces::new().map_err(refused)?;
    let mut plan = slots.plan();
    write_keys(transaction, layer, &mut plan)?;
    slots.write(&mut plan).map_err(refused)?;
    write_profiles(transaction, layer, &mut nonces)?;
    let key_of = |key: CustomerKey| -> Result<Option<RowKey>, redb::Error> {
        if let Some(key) = layer.data_key(key) {
            return Ok(Some(RowKey::of(key)));
        }
        let slot = transaction.open_table(DATA_KEYS)?.get(key.0)?.map(|slot| slot.value());
        let key = slot.map_or(Ok(None), |slot| slots.read(slot, key).map_err(refused))?;
        Ok(key.as_ref().map(RowKey::of))
    };
    timeline::write(transaction, layer, &mut nonces, &key_of)?;
    unions::write(transaction, &layer.unions, &mut nonces, &key_of)?;
    write_names(transaction, layer)?;
    write_events(transaction, layer)?;
    write_totals(transaction, layer)?;
    Ok(plan)
}

/// What is not the embedded store's own failure, as one: the transaction is
/// given up the same.
pub(super) fn refused(error: StoreError) -> redb::Error {
    match error {
        StoreError::Io { source, .. } => redb::Error::Io(source),
        other => redb::Error::Corrupted(other.to_string()),
    }
}

/// Gives a slot to every customer of the layer who has none.
fn write_keys(transaction: &WriteTransaction, layer: &Layer, plan: &mut Plan) -> Result<(), redb::Error> {
    let mut table = transaction.open_table(DATA_KEYS)?;
    let profiles = layer.profiles.iter().map(|(key, hot)| (key, &hot.data_key));
    let moved = layer.unions.redirects.iter().filter_map(|(key, moved)| Some((key, &moved.as_ref()?.data_key)));
    let mut needed: Vec<_> = layer.keys.iter().chain(profiles).chain(moved).collect();
    needed.sort_by_key(|(customer, _)| **customer);
    for (customer, key) in needed {
        if table.get(customer.0)?.is_none() {
            let slot = plan.put(*customer, key);
            table.insert(customer.0, slot)?;
        }
    }
    let mut free = transaction.open_table(FREE_SLOTS)?;
    for slot in &plan.reused {
        free.remove(slot)?;
    }
    transaction.open_table(META)?.insert(SLOTS_END, plan.end().cast_signed())?;
    Ok(())
}

fn write_profiles(transaction: &WriteTransaction, layer: &Layer, nonces: &mut Nonces) -> Result<(), redb::Error> {
    let mut profiles = transaction.open_table(PROFILES)?;
    let mut row = Vec::with_capacity(2_048);
    for (key, hot) in in_order(&layer.profiles) {
        let place = key.0.to_le_bytes();
        let sealing = RowKey::of(&hot.data_key);
        let write = |into: &mut Vec<u8>| into.extend_from_slice(hot.packed.encoded());
        sealing.seal(nonces, (Table::Profiles, &place), &mut row, write).map_err(refused)?;
        profiles.insert(key.0, &row[..])?;
    }
    Ok(())
}

fn write_names(transaction: &WriteTransaction, layer: &Layer) -> Result<(), redb::Error> {
    let mut aliases = transaction.open_table(ALIASES)?;
    let mut others = transaction.open_table(HOLDERS)?;
    for (hash, holders) in in_order(&layer.aliases) {
        if let Some(first) = holders.all().first() {
            aliases.insert(hash.0, first.0)?;
        }
        match holders {
            Holders::Several(_) => drop(others.insert(hash.0, &holders.write_others()[..])?),
            Holders::One(_) if layer.unions.moved.contains(hash) => drop(others.remove(hash.0)?),
            Holders::One(_) => {}
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
    for (id, (content, at)) in in_order(&layer.events) {
        events.insert(id.0, (*content, at.0))?;
    }
    let mut times: Vec<(i64, u128)> = layer.events.iter().map(|(id, (_, at))| (at.0, id.0)).collect();
    times.sort_unstable();
    for time in times {
        by_time.insert(time, ())?;
    }
    Ok(())
}

/// By key: rows that lie beside each other are written one after the other, so that
/// a page is read, changed and let go once, however large the table has become.
fn in_order<K: Ord, V>(rows: &HashMap<K, V>) -> Vec<(&K, &V)> {
    let mut rows: Vec<(&K, &V)> = rows.iter().collect();
    rows.sort_unstable_by_key(|(key, _)| *key);
    rows
}

/// Forgets the oldest event ids, a bounded number of them: of so many new ones
/// twice as many at least, so that they do not pile up however fast events come.
pub(super) fn forget_events(
    transaction: &WriteTransaction,
    before: Timestamp,
    new_len: usize,
) -> Result<(), redb::Error> {
    let mut by_time = transaction.open_table(EVENTS_BY_TIME)?;
    let mut old = Vec::new();
    for row in by_time.range(..(before.0, 0))?.take(FORGET_LEN_MAX.max(2 * new_len)) {
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

#[cfg(test)]
mod tests {
    use redb::{Database, ReadableTableMetadata, backends::InMemoryBackend};

    use super::*;

    #[test]
    fn more_ids_are_forgotten_than_come() {
        let database = Database::builder().create_with_backend(InMemoryBackend::new()).unwrap();
        let left = |new_len| {
            let transaction = database.begin_write().unwrap();
            forget_events(&transaction, Timestamp(20_000), new_len).unwrap();
            let left = transaction.open_table(EVENTS).unwrap().len().unwrap();
            assert_eq!(transaction.open_table(EVENTS_BY_TIME).unwrap().len().unwrap(), left);
            transaction.commit().unwrap();
            left
        };
        let transaction = database.begin_write().unwrap();
        for at in 0..25_000 {
            transaction.open_table(EVENTS).unwrap().insert(at as u128, (1, at)).unwrap();
            transaction.open_table(EVENTS_BY_TIME).unwrap().insert((at, at as u128), ()).unwrap();
        }
        transaction.commit().unwrap();
        assert_eq!(left(0), 15_000);
        assert_eq!(left(6_000), 5_000);
        // those that are younger stay
        assert_eq!(left(6_000), 5_000);
    }
}
