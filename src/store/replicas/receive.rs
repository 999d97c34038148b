//! Reading what the others wrote: the stream, by id, from where it was read up
//! to. Entries that are missing show by the marks that each replica sets: every
//! mark says from where to where it told everything.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::super::{
    Remote, ReplicaId, Store,
    redis::{self as client, Failure, Generation},
    row_seal::RowKey,
    writer,
};
use super::{
    Presence,
    entry::Entry,
    fold::CALL,
    place::{Place, StreamId},
    ship::told_again,
    take_in::Command,
};

/// Entries read at a time.
const ENTRIES_MAX: usize = 512;
/// How often the stream is looked at while nothing comes.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How long to wait when Redis does not answer.
const RETRY: Duration = Duration::from_millis(25);
/// How often it is kept how far this is.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// What reads the stream.
struct Reading {
    remote: Remote,
    seal: RowKey,
    generation: Generation,
    run_id: Option<String>,
    /// The end of the stream when this process first saw it: what is behind it
    /// of its own is in its log.
    begun: Option<StreamId>,
    kept: Kept,
}

/// How far it was, and when.
struct Kept {
    /// `None` when it is to be kept now.
    at: Option<Instant>,
    place: Place,
    /// (when, what was shipped), the oldest first.
    shipped: VecDeque<(Instant, u64)>,
}

/// An entry of the stream.
enum Read {
    Entry(Box<Entry>),
    Mark { origin: ReplicaId, from: u64, upto: u64 },
    Unreadable,
}

impl Store {
    /// Takes in what the others write, until the service stops. To be run once,
    /// and again when it panics. Ends at once when there are no others.
    pub async fn take_in(&self) {
        let Some(remote) = self.remote.clone() else { return };
        let seal = RowKey::of(&self.shared.store_key);
        let place = self.shared.replicas.place();
        let kept = Kept { at: Some(Instant::now()), place, shipped: VecDeque::new() };
        let mut reading = Reading { remote, seal, generation: Generation(0), run_id: None, begun: None, kept };
        while !self.shared.followers.has_ended() {
            let wait = match self.read_some(&mut reading).await {
                Ok(true) => Duration::ZERO,
                Ok(false) => LOOK_EVERY,
                Err(_) => RETRY,
            };
            self.keep_place(&mut reading.kept).await;
            if !wait.is_zero() {
                let _ = tokio::time::timeout(wait, self.shared.replicas.poke.notified()).await;
            }
        }
    }

    /// Whether there was anything.
    async fn read_some(&self, reading: &mut Reading) -> Result<bool, Failure> {
        if reading.remote.is_foreign() {
            return Err(client::Outage::Denied.into());
        }
        self.look_at_server(reading).await?;
        let state = &self.shared.replicas;
        let log = reading.remote.keys.log();
        let after = state.position();
        let entries = reading.remote.client.xread(&log, &after.to_string(), ENTRIES_MAX, Instant::now() + CALL).await?;
        state.read_now();
        let Some(last) = entries.last().and_then(|entry| StreamId::read(&entry.id)) else { return Ok(false) };
        let (mut taken, mut upto, mut gap) = (Vec::with_capacity(entries.len()), Vec::new(), false);
        for entry in &entries {
            let at = StreamId::read(&entry.id).unwrap_or(last);
            match read(reading, entry) {
                Read::Entry(entry) if self.is_known_own(reading, (&entry, at)) => {}
                Read::Entry(entry) => taken.push(*entry),
                Read::Mark { origin, .. } if origin == state.replica => {}
                Read::Mark { origin, from, upto: to } => {
                    let before = upto.iter().rev().find(|(of, _)| *of == origin).map(|(_, seen)| *seen);
                    gap |= before.or(state.seen_of(origin)).is_some_and(|seen| from > seen);
                    upto.push((origin, to));
                }
                Read::Unreadable => {
                    state.counts.unreadable.fetch_add(1, Relaxed);
                }
            }
        }
        let customers = taken.iter().filter_map(Entry::customer).collect::<HashSet<_>>();
        if !self.read_unknown(customers.into_iter().collect()).await {
            return Err(client::Outage::Busy.into());
        }
        if !taken.is_empty() && !self.receive(taken).await {
            return Err(client::Outage::Busy.into());
        }
        if gap {
            self.missed();
        }
        state.took_in(last, &upto);
        Ok(true)
    }

    async fn receive(&self, entries: Vec<Entry>) -> bool {
        let (reply, answer) = oneshot::channel();
        self.send(writer::Command::Replica(Command::Receive { entries, reply })).await && answer.await.unwrap_or(false)
    }

    /// Own entries are in the log, but for those of a time before the power failed.
    fn is_known_own(&self, reading: &Reading, (entry, at): (&Entry, StreamId)) -> bool {
        entry.origin == self.shared.replicas.replica && reading.begun.is_some_and(|begun| at > begun)
    }

    /// Entries were missing: every customer is read again.
    fn missed(&self) {
        tracing::warn!("entries of other replicas are missing: every customer is read again");
        self.shared.replicas.counts.gaps.fetch_add(1, Relaxed);
        self.shared.replicas.set_presence(Presence::Joining);
        self.shared.replicas.join_again();
    }

    /// After connecting anew: whether it is another server, which may lack the
    /// latest.
    async fn look_at_server(&self, reading: &mut Reading) -> Result<(), Failure> {
        let health = reading.remote.client.health();
        if health.generation == reading.generation && reading.begun.is_some() {
            return Ok(());
        }
        let state = &self.shared.replicas;
        let end = self.end_of_stream(&reading.remote).await?;
        if reading.begun.is_none() {
            reading.begun = Some(end);
            state.begin();
            if state.position() == StreamId::default() {
                // what came before is read with the customers; that it began is kept at
                // once, or it would begin at the end again and miss what comes now
                state.took_in(end.max(StreamId { ms: 0, number: 1 }), &[]);
                reading.kept.at = None;
                self.keep_place(&mut reading.kept).await;
            }
        }
        let run_id = health.primary.and_then(|primary| primary.run_id);
        let trimmed = self.is_trimmed(reading).await?;
        let another = reading.run_id.is_some() && run_id.is_some() && reading.run_id != run_id;
        if end == StreamId::default() && state.position().ms > 0 {
            state.refills.notify_one();
        }
        if another || (end < state.position() && state.position().ms > 0) {
            let kept = &reading.kept;
            let behind = kept.shipped.front().map_or(kept.place.shipped, |(_, shipped)| *shipped);
            tracing::warn!(behind, "another redis serves: what was told lately is told and read again");
            state.ship_again(behind);
            let back = u64::try_from(told_again().as_millis()).unwrap_or(u64::MAX);
            let position = state.position().min(end);
            state.took_in(StreamId { ms: position.ms.saturating_sub(back), number: 0 }, &[]);
        } else if trimmed {
            self.missed();
        }
        reading.run_id = run_id.or(reading.run_id.take());
        reading.generation = health.generation;
        state.looked_at(health.generation.0);
        Ok(())
    }

    /// Whether entries behind the last one that was read are gone.
    async fn is_trimmed(&self, reading: &Reading) -> Result<bool, Failure> {
        let position = self.shared.replicas.position();
        let first = self.edge_of_stream(&reading.remote, ("XRANGE", "-", "+")).await?;
        Ok(position.ms > 0 && first > position && first != StreamId::default())
    }

    async fn end_of_stream(&self, remote: &Remote) -> Result<StreamId, Failure> {
        self.edge_of_stream(remote, ("XREVRANGE", "+", "-")).await
    }

    /// The id of the first or the last entry; the smallest when there is none.
    async fn edge_of_stream(
        &self,
        remote: &Remote,
        (command, from, to): (&str, &str, &str),
    ) -> Result<StreamId, Failure> {
        let mut command = redis::cmd(command);
        command.arg(remote.keys.log()).arg(from).arg(to).arg("COUNT").arg(1);
        let redis::Value::Array(entries) = remote.client.call(&command, Instant::now() + CALL).await? else {
            return Ok(StreamId::default());
        };
        let Some(redis::Value::Array(entry)) = entries.first() else { return Ok(StreamId::default()) };
        let id = match entry.first() {
            Some(redis::Value::BulkString(id)) => std::str::from_utf8(id).ok().and_then(StreamId::read),
            _ => None,
        };
        Ok(id.unwrap_or_default())
    }

    /// Keeps how far it is, once what was taken in is on disk.
    async fn keep_place(&self, kept: &mut Kept) {
        if kept.at.is_some_and(|at| at.elapsed() < KEEP_EVERY) {
            return;
        }
        let now = Instant::now();
        kept.at = Some(now);
        let place = self.shared.replicas.place();
        kept.shipped.push_back((now, place.shipped));
        while kept.shipped.len() > 1 && kept.shipped[1].0.elapsed() > told_again() {
            kept.shipped.pop_front();
        }
        if place == kept.place || !self.on_disk_now().await {
            return;
        }
        let (dir, written) = (self.shared.config.dir.clone(), place.clone());
        let wrote = tokio::task::spawn_blocking(move || written.write(&dir)).await;
        match wrote {
            Ok(Ok(())) => kept.place = place,
            Ok(Err(error)) => tracing::warn!(%error, "keeping how far replication is"),
            Err(_) => {}
        }
    }
}

fn read(reading: &Reading, entry: &client::Entry) -> Read {
    let field = |name: &[u8]| entry.fields.iter().find(|(field, _)| field == name).map(|(_, value)| &value[..]);
    let number = |name| field(name).and_then(|value| <[u8; 8]>::try_from(value).ok()).map(u64::from_be_bytes);
    let Some(origin) = number(b"o").map(ReplicaId) else { return Read::Unreadable };
    if let (Some(from), Some(upto)) = (number(b"f"), number(b"u")) {
        return Read::Mark { origin, from, upto };
    }
    let (Some(sequence), Some(sealed)) = (number(b"s"), field(b"e")) else { return Read::Unreadable };
    match Entry::open(&reading.seal, (origin, sequence), sealed) {
        Ok(entry) => Read::Entry(Box::new(entry)),
        Err(error) => {
            tracing::error!(%error, "an entry of another replica cannot be read");
            Read::Unreadable
        }
    }
}
