//! Customers of rows, written before their events, and not again with every row
//! that says the same.

use std::collections::{HashMap, HashSet};

use anyhow::Context;
use prost::Message as _;
use tokio::task::JoinSet;
use xxhash_rust::xxh3::xxh3_64;

use crate::{grpc::timestamp::Timestamp, proto::UpsertCustomerRequest};

use super::{
    notes::Notes,
    rows::{Entries, Row},
    sink::Sink,
};

/// Customers written at once.
const WRITES_MAX: usize = 64;
/// Customers whose last written values are remembered.
const REMEMBERED_MAX: usize = 1_000_000;
/// Customers of whom later rows said the same, kept until that is written.
const LATER_MAX: usize = 16_384;

/// A row whose customer was written: its place, who it is, and what became of it.
type Written = (Option<usize>, u64, anyhow::Result<Result<Vec<String>, String>>);

/// What was written of a customer.
struct Known {
    /// As a hash, without its time.
    what: u64,
    /// When it became true; the last moment for now.
    at: (i64, i32),
}

/// Customers that were written.
#[derive(Default)]
pub struct Customers {
    known: HashMap<u64, Known>,
    /// The latest row that said the same as was written, at a later time. It is
    /// written before anything else of the customer is, and at the end: a value
    /// of the time in between must lose to it, whichever comes first.
    later: HashMap<u64, UpsertCustomerRequest>,
}

impl Customers {
    /// Writes the customers of rows that are not as they were written last. Those
    /// that are refused reject their row.
    ///
    /// # Errors
    /// The service has gone.
    pub async fn write(&mut self, rows: &mut [Row], sink: &Sink, notes: &Notes) -> anyhow::Result<()> {
        let (mut calls, mut busy) = (JoinSet::new(), HashSet::new());
        for index in 0..rows.len() {
            let mut is_sound = None;
            let requests = rows.get_mut(index).map(taken).unwrap_or_default();
            for request in requests {
                let who = hash(&request.identities);
                let ids: Vec<u64> = request.identities.iter().map(hash).collect();
                let (what, at) = says(&request);
                // one after the other, so that the row and not the network says what came last
                if ids.iter().any(|id| busy.contains(id)) || calls.len() >= WRITES_MAX {
                    self.wait(&mut calls, Some(&mut *rows), notes).await?;
                    busy.clear();
                }
                // what is true from now on is written in order: another row may have
                // said something else of the same customer by another name
                let is_dated = request.time.is_some();
                if is_dated && self.known.get(&who).is_some_and(|known| known.what == what) {
                    let written = self.known.get(&who).map(|known| known.at);
                    let latest = self.later.get(&who).map(|later| moment(&later.time)).max(written);
                    if latest < Some(at) {
                        self.later.insert(who, request);
                    }
                    continue;
                }
                let Some(row) = rows.get_mut(index) else { continue };
                if !*is_sound.get_or_insert_with(|| reject_refused(row, sink)) || row.entries.is_err() {
                    break;
                }
                if let Some(later) = self.later.remove(&who) {
                    start(&mut calls, sink, (None, who, later));
                    self.wait(&mut calls, Some(&mut *rows), notes).await?;
                    busy.clear();
                }
                if is_dated {
                    self.known.insert(who, Known { what, at });
                }
                busy.extend(ids);
                start(&mut calls, sink, (Some(index), who, request));
            }
        }
        self.wait(&mut calls, Some(rows), notes).await?;
        if self.later.len() > LATER_MAX || self.known.len() > REMEMBERED_MAX {
            self.settle(sink, notes).await?;
        }
        if self.known.len() > REMEMBERED_MAX {
            self.known.clear();
        }
        Ok(())
    }

    /// Writes what later rows said again.
    ///
    /// # Errors
    /// The service has gone, or refuses what it took before.
    pub async fn settle(&mut self, sink: &Sink, notes: &Notes) -> anyhow::Result<()> {
        let mut calls = JoinSet::new();
        for (who, request) in std::mem::take(&mut self.later) {
            if let Some(known) = self.known.get_mut(&who) {
                known.at = moment(&request.time);
            }
            start(&mut calls, sink, (None, who, request));
            if calls.len() >= WRITES_MAX {
                self.wait(&mut calls, None, notes).await?;
            }
        }
        self.wait(&mut calls, None, notes).await
    }

    /// Waits for what is under way.
    async fn wait(
        &mut self,
        calls: &mut JoinSet<Written>,
        mut rows: Option<&mut [Row]>,
        notes: &Notes,
    ) -> anyhow::Result<()> {
        while let Some(call) = calls.join_next().await {
            let (index, who, result) = call.context("writing a customer was interrupted")?;
            match result? {
                Ok(warnings) => warnings.iter().for_each(|text| notes.add(text, 1)),
                Err(why) => {
                    self.known.remove(&who);
                    let row = rows.as_deref_mut().zip(index).and_then(|(rows, index)| rows.get_mut(index));
                    anyhow::ensure!(row.is_some(), "a customer that was written before is refused: {why}");
                    if let Some(row) = row {
                        row.entries = Err(why);
                    }
                }
            }
        }
        Ok(())
    }
}

fn start(
    calls: &mut JoinSet<Written>,
    sink: &Sink,
    (index, who, request): (Option<usize>, u64, UpsertCustomerRequest),
) {
    let sink = sink.clone();
    calls.spawn(async move { (index, who, sink.upsert(request).await) });
}

/// The customers of a row; a row without an event stays one that is written.
fn taken(row: &mut Row) -> Vec<UpsertCustomerRequest> {
    row.entries.as_mut().map_or_else(|_| Vec::new(), |entries| std::mem::take(&mut entries.customers))
}

/// Rejects a row whose event is refused, as far as it can be told before its
/// customer is written; answers whether it is not.
fn reject_refused(row: &mut Row, sink: &Sink) -> bool {
    let Ok(Entries { event: Some(event), .. }) = &row.entries else { return true };
    let refused = sink.refuses(event);
    let is_sound = refused.is_none();
    if let Some(why) = refused {
        row.entries = Err(why);
    }
    is_sound
}

fn moment(time: &Option<Timestamp>) -> (i64, i32) {
    time.as_ref().map_or((i64::MAX, 0), |time| (time.seconds, time.nanos))
}

fn hash(of: &impl std::fmt::Debug) -> u64 {
    xxh3_64(format!("{of:?}").as_bytes())
}

/// What is written, as a hash, and when it became true. A consent of the same
/// time as everything else has no time of its own.
fn says(request: &UpsertCustomerRequest) -> (u64, (i64, i32)) {
    let mut what = UpsertCustomerRequest { time: None, ..request.clone() };
    for consent in what.consents.iter_mut().filter(|consent| consent.time == request.time) {
        consent.time = None;
    }
    (xxh3_64(&what.encode_to_vec()), moment(&request.time))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Consent, Preferences};

    fn given(time: Option<i64>) -> UpsertCustomerRequest {
        let time = time.map(|seconds| Timestamp { seconds, nanos: 0 });
        let consents = vec![Consent { permission: 1, time, ..Consent::default() }];
        UpsertCustomerRequest { time, consents, ..UpsertCustomerRequest::default() }
    }

    #[test]
    fn only_what_says_the_same_is_the_same() {
        let what = |request: &UpsertCustomerRequest| says(request).0;
        let first = given(Some(5));
        assert_eq!(what(&first), what(&given(Some(7))));
        assert!(says(&given(None)).1 > says(&given(Some(7))).1);
        let wish = Preferences { language: Some("en".into()), ..Preferences::default() };
        let other = |change: &dyn Fn(&mut UpsertCustomerRequest)| {
            let mut request = given(Some(5));
            change(&mut request);
            what(&request)
        };
        for different in [
            other(&|request| request.preferences = Some(wish.clone())),
            other(&|request| request.records.push(crate::proto::RecordList::default())),
            other(&|request| request.consents[0].source = "form".into()),
            other(&|request| request.consents[0].proof = "v2".into()),
            other(&|request| request.consents[0].time = Some(Timestamp { seconds: 1, nanos: 0 })),
            other(&|request| request.request_id = "r".into()),
        ] {
            assert_ne!(different, what(&first));
        }
    }
}
