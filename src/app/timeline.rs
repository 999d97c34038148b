//! What happened to a customer, in pages, the newest first.

use std::sync::Arc;

use crate::{
    domain::{CustomerKey, EventKind, Identity, Profile, Timestamp, time::DAY_US},
    store::{HotProfile, TimelineCursor, TimelineEntry, TimelinePage, TimelineQuery, TimelineWhat},
};

use super::{App, AppError};

/// Most readings of the store for one page; then a page may be short, or empty,
/// and names the next all the same.
const READINGS_MAX: usize = 8;
/// An event that came this much later than it happened is late: a repetition of
/// it would not have been noticed. Microseconds.
const LATE_US: i64 = 7 * DAY_US;

/// The kind of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimelineKind {
    /// What followed a presentation.
    Outcome,
    /// Something the customer did, or that was done to one.
    Event,
    /// What is known or allowed was changed.
    Change,
    /// A decision that presented something.
    Decision,
}

impl TimelineKind {
    /// Of an entry.
    pub fn of(what: &TimelineWhat) -> Self {
        match what {
            TimelineWhat::Decision(..) => TimelineKind::Decision,
            TimelineWhat::Event(event) => match &event.kind {
                EventKind::Outcome { .. } => TimelineKind::Outcome,
                EventKind::Upsert { .. } | EventKind::DoNotContact { .. } => TimelineKind::Change,
                EventKind::Customer { .. } | EventKind::Exposed { .. } => TimelineKind::Event,
            },
        }
    }
}

/// The place of an entry as callers hold it: it says nothing of the customer's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimelinePlace {
    /// When it happened.
    pub at: Timestamp,
    /// The event or the decision.
    pub id: u128,
    /// What stands outside for whose it was.
    pub outside: u128,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct TimelineInput {
    /// Whose.
    pub identities: Vec<Identity>,
    /// Only these; empty for all.
    pub kinds: Vec<TimelineKind>,
    /// Only what happened then or later.
    pub from: Option<Timestamp>,
    /// Only what happened before.
    pub until: Option<Timestamp>,
    /// Where the page before ended.
    pub after: Option<TimelinePlace>,
    /// Most entries.
    pub len_max: usize,
}

/// Whether an entry came later than events are de-duplicated.
pub fn is_late(entry: &TimelineEntry) -> bool {
    entry.received_at.since_us(entry.cursor.at) > LATE_US
}

/// A customer and all who were merged into it.
pub(super) fn customers_of(profile: &Profile) -> Vec<CustomerKey> {
    let absorbed = profile.absorbed.iter().map(|origin| origin.key).filter(|key| *key != profile.key);
    std::iter::once(profile.key).chain(absorbed).collect()
}

impl App {
    /// A page of what happened to a customer, and the customer.
    ///
    /// # Errors
    /// Nobody, or more than one customer, has these identities; the place is of
    /// another customer; the store cannot be read.
    pub async fn timeline(&self, input: TimelineInput) -> Result<(TimelinePage, Arc<HotProfile>), AppError> {
        let hot = self.known(&input.identities).await?;
        let customers = customers_of(&hot.profile);
        let after = input.after.map(|after| self.cursor_of(after, &customers)).transpose()?;
        // before everything that happened at that moment
        let until = input.until.map(|at| TimelineCursor { at, id: 0, customer: CustomerKey(0) });
        let mut before = match (after, until) {
            (Some(after), Some(until)) => Some(after.min(until)),
            (after, until) => after.or(until),
        };
        let mut page = TimelinePage::default();
        for _ in 0..READINGS_MAX {
            let query = TimelineQuery {
                customers: customers.clone(),
                before,
                from: input.from,
                len_max: input.len_max - page.entries.len(),
            };
            let kinds = input.kinds.clone();
            let wanted =
                move |entry: &TimelineEntry| kinds.is_empty() || kinds.contains(&TimelineKind::of(&entry.what));
            let read = self.store.timeline(query, wanted).await?;
            page.entries.extend(read.entries);
            page.next = read.next;
            before = read.next;
            if before.is_none() || page.entries.len() >= input.len_max {
                break;
            }
        }
        Ok((page, hot))
    }

    /// A place as callers may hold it.
    pub fn place_of(&self, cursor: TimelineCursor) -> TimelinePlace {
        let TimelineCursor { at, id, customer } = cursor;
        TimelinePlace { at, id, outside: self.store.outside_key(customer) }
    }

    fn cursor_of(&self, place: TimelinePlace, customers: &[CustomerKey]) -> Result<TimelineCursor, AppError> {
        let TimelinePlace { at, id, outside } = place;
        let customer = customers.iter().find(|key| self.store.outside_key(**key) == outside);
        let customer = *customer.ok_or_else(|| {
            let why = "is of another customer, or of one that was merged since: begin again without it";
            AppError::invalid("page_token", why)
        })?;
        Ok(TimelineCursor { at, id, customer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        rules::SourceFile,
        store::{Store, StoreConfig},
    };

    #[test]
    fn a_place_says_nothing_of_the_key_and_is_of_its_customers_only() {
        let dir = tempfile::tempdir().unwrap();
        let text = "settings: { currency: GBP }\nchannels: [ { id: web, kind: self_service, require: [text] } ]\n";
        let rules = vec![SourceFile { path: "all.yaml".into(), text: text.into() }];
        let store = Store::open(StoreConfig::new(dir.path())).unwrap();
        let app = App::open(store, &Ok(rules), "http://127.0.0.1:7070").unwrap_or_else(|error| panic!("{error}"));
        let customers = [CustomerKey(7), CustomerKey(u128::MAX - 9)];
        for customer in customers {
            let cursor = TimelineCursor { at: Timestamp(-5), id: 11, customer };
            let place = app.place_of(cursor);
            assert!(customers.iter().all(|key| key.0 != place.outside));
            assert_eq!(app.cursor_of(place, &customers).unwrap(), cursor);
            assert!(app.cursor_of(place, &[CustomerKey(8)]).is_err());
            let raw = TimelinePlace { outside: customer.0, ..place };
            assert!(app.cursor_of(raw, &customers).is_err(), "a key is no place");
        }
    }
}
