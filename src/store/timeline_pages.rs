//! Reading timelines: what is stored and what is not yet, over all keys of a
//! customer, in pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::{CustomerKey, Timestamp};

use super::{
    Store, StoreError, TIMELINE_READ_MAX, TimelineCursor, TimelineEntry, TimelinePage, TimelineQuery, blocking,
    row_seal::{RowKey, Table},
    shared::Shared,
    timeline::{Noted, RECEIVED_BYTES, bound, decode, place},
};

impl Store {
    /// What happened to a customer, newest first, of what `wanted` takes. What
    /// is acknowledged is in it. It may answer fewer entries than there are and
    /// name a place to go on from.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn timeline(
        &self,
        query: TimelineQuery,
        wanted: impl Fn(&TimelineEntry) -> bool + Send + 'static,
    ) -> Result<TimelinePage, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || read(&shared, &query, &wanted)).await
    }

    /// How many entries there are of customers.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn timeline_len(&self, customers: Vec<CustomerKey>) -> Result<u64, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let mut len = 0;
            for key in customers {
                let waiting = shared.overlay.timeline(key).len() as u64;
                len += waiting + shared.mended(shared.embedded.timeline_len(key))?;
            }
            Ok(len)
        })
        .await
    }
}

/// INVARIANT: the overlay first. What leaves it is in the embedded store by then.
fn read(
    shared: &Shared,
    query: &TimelineQuery,
    wanted: &dyn Fn(&TimelineEntry) -> bool,
) -> Result<TimelinePage, StoreError> {
    let most = TIMELINE_READ_MAX.min(query.len_max.saturating_mul(4).max(256));
    let mut found = BTreeMap::new();
    // no customer was read further back than this
    let mut read_to: Option<TimelineCursor> = None;
    for customer in &query.customers {
        let Some(data_key) = shared.data_key(*customer)? else { continue };
        let key = RowKey::of(&data_key);
        let waiting = shared.overlay.timeline(*customer);
        let rows = shared.mended(shared.embedded.timeline_rows(*customer, query, most))?;
        if rows.len() == most
            && let Some((last, _)) = rows.last()
        {
            let cursor = TimelineCursor { at: Timestamp(last.1), id: last.2, customer: *customer };
            read_to = read_to.max(Some(cursor));
        }
        for (at, row) in rows {
            let cursor = TimelineCursor { at: Timestamp(at.1), id: at.2, customer: *customer };
            found.insert(cursor, Found::Row(row));
        }
        for noted in waiting {
            let cursor = TimelineCursor { at: noted.at, id: noted.id, customer: *customer };
            let inside =
                query.before.is_none_or(|before| cursor < before) && query.from.is_none_or(|from| cursor.at >= from);
            if inside {
                found.insert(cursor, Found::Noted(noted));
            }
        }
        found = open(found, *customer, &key)?;
    }
    Ok(page(found, read_to, query.len_max, wanted))
}

/// What was found of a customer.
enum Found {
    Row(Vec<u8>),
    Noted(Noted),
    Entry(TimelineEntry),
}

/// Opens what was found of one customer.
fn open(
    found: BTreeMap<TimelineCursor, Found>,
    customer: CustomerKey,
    key: &RowKey,
) -> Result<BTreeMap<TimelineCursor, Found>, StoreError> {
    let damaged = || StoreError::Corrupt("reading a timeline: a row is too short".to_owned());
    let mut opened = BTreeMap::new();
    for (cursor, one) in found {
        let entry = match one {
            Found::Entry(entry) => entry,
            Found::Noted(noted) => {
                TimelineEntry { cursor, received_at: noted.received_at, what: decode(&noted.entry)? }
            }
            Found::Row(row) => {
                let (received, sealed) = row.split_first_chunk::<RECEIVED_BYTES>().ok_or_else(damaged)?;
                let received_at = Timestamp(i64::from_le_bytes(*received));
                let bound = bound(place(customer, cursor.at, cursor.id), received_at);
                let what = decode(&key.open((Table::Timeline, &bound), sealed)?)?;
                TimelineEntry { cursor, received_at, what }
            }
        };
        opened.insert(cursor, Found::Entry(entry));
    }
    Ok(opened)
}

fn page(
    found: BTreeMap<TimelineCursor, Found>,
    read_to: Option<TimelineCursor>,
    len_max: usize,
    wanted: &dyn Fn(&TimelineEntry) -> bool,
) -> TimelinePage {
    let mut page = TimelinePage::default();
    for (cursor, one) in found.into_iter().rev() {
        // of one customer there may be more between here and what was read
        if read_to.is_some_and(|to| cursor < to) {
            break;
        }
        let Found::Entry(entry) = one else { continue };
        if !wanted(&entry) {
            continue;
        }
        if page.entries.len() == len_max {
            page.next = page.entries.last().map(|last| last.cursor);
            return page;
        }
        page.entries.push(entry);
    }
    page.next = read_to;
    page
}
