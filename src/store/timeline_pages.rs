//! Reading timelines: what is stored and what is not yet, over all keys of a
//! customer, in pages.

use std::collections::{BTreeMap, HashMap};
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

/// Fewest rows read of each key at a time: where few are wanted of many, a page
/// is found sooner.
const ROWS_READ_MIN: usize = 256;

/// Merges the newest rows of every key, still sealed, and opens them one after
/// the other until the page is full. INVARIANT: the overlay first. What leaves it
/// is in the embedded store by then.
pub(super) fn read(
    shared: &Shared,
    query: &TimelineQuery,
    wanted: &dyn Fn(&TimelineEntry) -> bool,
) -> Result<TimelinePage, StoreError> {
    let most = query.len_max.saturating_add(1).clamp(ROWS_READ_MIN, TIMELINE_READ_MAX);
    let mut gathered = Gathered::default();
    for customer in &query.customers {
        let Some(data_key) = shared.data_key(*customer)? else { continue };
        gathered.keys.insert(*customer, RowKey::of(&data_key));
        let waiting = shared.overlay.timeline(*customer);
        let rows = shared.mended(shared.embedded.timeline_rows(*customer, query, most))?;
        let cursor = |at: i64, id: u128| TimelineCursor { at: Timestamp(at), id, customer: *customer };
        if rows.len() == most
            && let Some((last, _)) = rows.last()
        {
            gathered.read_to = gathered.read_to.max(Some(cursor(last.1, last.2)));
        }
        let rows = rows.into_iter().map(|(at, row)| (cursor(at.1, at.2), Found::Row(row)));
        gathered.found.extend(rows);
        let inside = |cursor: TimelineCursor| {
            query.before.is_none_or(|before| cursor < before) && query.from.is_none_or(|from| cursor.at >= from)
        };
        let noted = waiting.into_iter().map(|noted| (cursor(noted.at.0, noted.id), Found::Noted(noted)));
        gathered.found.extend(noted.filter(|(cursor, _)| inside(*cursor)));
    }
    gathered.page(query.len_max, wanted)
}

/// What was found of one customer's key.
enum Found {
    Row(Vec<u8>),
    Noted(Noted),
}

/// What was found of every key.
#[derive(Default)]
struct Gathered {
    keys: HashMap<CustomerKey, RowKey>,
    found: BTreeMap<TimelineCursor, Found>,
    /// No key was read further back than this.
    read_to: Option<TimelineCursor>,
}

impl Gathered {
    fn page(self, len_max: usize, wanted: &dyn Fn(&TimelineEntry) -> bool) -> Result<TimelinePage, StoreError> {
        let Self { keys, found, read_to } = self;
        let mut page = TimelinePage::default();
        for (cursor, one) in found.into_iter().rev() {
            // of one key there may be more between here and what was read
            if read_to.is_some_and(|to| cursor < to) {
                break;
            }
            let Some(key) = keys.get(&cursor.customer) else { continue };
            let entry = open(cursor, one, key)?;
            if !wanted(&entry) {
                continue;
            }
            if page.entries.len() == len_max {
                page.next = page.entries.last().map(|last| last.cursor);
                return Ok(page);
            }
            page.entries.push(entry);
        }
        page.next = read_to;
        Ok(page)
    }
}

fn open(cursor: TimelineCursor, one: Found, key: &RowKey) -> Result<TimelineEntry, StoreError> {
    let row = match one {
        Found::Row(row) => row,
        Found::Noted(noted) => {
            return Ok(TimelineEntry { cursor, received_at: noted.received_at, what: decode(&noted.entry)? });
        }
    };
    let damaged = || StoreError::Corrupt("reading a timeline: a row is too short".to_owned());
    let (received, sealed) = row.split_first_chunk::<RECEIVED_BYTES>().ok_or_else(damaged)?;
    let received_at = Timestamp(i64::from_le_bytes(*received));
    let bound = bound(place(cursor.customer, cursor.at, cursor.id), received_at);
    let what = decode(&key.open((Table::Timeline, &bound), sealed)?)?;
    Ok(TimelineEntry { cursor, received_at, what })
}
