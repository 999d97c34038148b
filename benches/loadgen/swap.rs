//! Open load while every offer is rebuilt: whether a call fails, whether an
//! answer mixes two revisions, and what the calls wait for it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use prost::Message;
use rapport::proto::{DecideResponse, PlacementStatus};
use tokio::task::LocalSet;

use super::{
    client::Connection,
    histogram::Histogram,
    open::{self, Plan},
    target::Target,
};
use crate::generator::SplitMix64;

/// What every message of the new rules ends with.
pub const MARK: &str = " (edited)";
/// The new rules must serve after this long.
const REBUILD_MAX: Duration = Duration::from_secs(180);

/// What a swap under load came to.
pub struct Swapped {
    /// From due to answered, of calls due before the edit.
    pub before: Histogram,
    /// The same of calls due after the edit, until the new rules answered.
    pub rebuilding: Histogram,
    /// The same of calls due after that.
    pub after: Histogram,
    /// From due to sent, of all calls.
    pub lag: Histogram,
    /// Calls answered with an error.
    pub failed: u64,
    /// The error of the first of them.
    pub first_error: Option<String>,
    /// Answers whose content is not of the revision they name.
    pub mixed: u64,
    /// From the edit to the first answer of the new rules.
    pub rebuild: Duration,
}

/// A call that was answered.
struct Answered {
    due: Instant,
    sent: Instant,
    at: Instant,
    answer: BytesMut,
}

#[derive(Default)]
struct Seen {
    answered: RefCell<Vec<Answered>>,
    failed: Cell<u64>,
    first_error: RefCell<Option<String>>,
    under_way: Cell<usize>,
    /// The revision of the first answer.
    revision: RefCell<String>,
    /// When an answer named another one.
    swapped: Cell<Option<Instant>>,
}

/// Sends calls for `plan.time`, edits the rules, goes on until they serve, and
/// for `plan.time` more.
pub async fn run(
    target: &Target,
    frames: &Rc<[Bytes]>,
    plan: Plan,
    files: &[(String, String)],
) -> anyhow::Result<Swapped> {
    let mut connections = Vec::with_capacity(plan.connections);
    for _ in 0..plan.connections {
        connections.push(Connection::open(target.address).await?);
    }
    let first = DecideResponse::decode(connections[0].decide_whole(frames[0].clone()).await?)?;
    let seen = Rc::new(Seen::default());
    seen.revision.replace(first.ruleset_revision.clone());
    let started = Instant::now();
    let edited = LocalSet::new().run_until(send(&connections, frames, plan, (target, files), &seen)).await?;
    let swapped = seen.swapped.get().context("the new rules never answered")?;
    let answered = seen.answered.take();
    judge(&answered, &first.ruleset_revision, (started + plan.warm_up, edited, swapped)).map(|mut result| {
        (result.failed, result.first_error) = (seen.failed.get(), seen.first_error.take());
        result
    })
}

/// Answers when the rules were edited.
async fn send(
    connections: &[Connection],
    frames: &Rc<[Bytes]>,
    plan: Plan,
    (target, files): (&Target, &[(String, String)]),
    seen: &Rc<Seen>,
) -> anyhow::Result<Instant> {
    let mut rng = SplitMix64(plan.seed);
    let started = Instant::now();
    let (mut due, mut number, mut edited) = (Duration::ZERO, 0_usize, None);
    loop {
        let now = Instant::now();
        match (edited, seen.swapped.get()) {
            (None, _) if due >= plan.warm_up + plan.time => {
                target.edit(files)?;
                edited = Some(Instant::now());
            }
            (Some(_), Some(swapped)) if now.duration_since(swapped) > plan.time => break,
            (Some(edited), None) if now.duration_since(edited) > REBUILD_MAX => bail!("the new rules do not serve"),
            _ => {}
        }
        open::wait_until(started + due).await;
        ensure!(seen.under_way.get() < open::IN_FLIGHT_MAX, "the service is too slow for this rate");
        let (connection, frame) = (&connections[number % connections.len()], &frames[number % frames.len()]);
        seen.under_way.set(seen.under_way.get() + 1);
        tokio::task::spawn_local(one(connection.clone(), frame.clone(), started + due, Rc::clone(seen)));
        number += 1;
        due += open::gap(&mut rng, plan);
    }
    while seen.under_way.get() > 0 {
        tokio::task::yield_now().await;
    }
    edited.context("the rules were not edited")
}

async fn one(connection: Connection, frame: Bytes, due: Instant, seen: Rc<Seen>) {
    let sent = Instant::now();
    let reply = connection.decide_whole(frame).await;
    let at = Instant::now();
    seen.under_way.set(seen.under_way.get() - 1);
    match reply {
        Ok(answer) => {
            // the revision's text is looked for, the rest is read after the run
            let old = seen.revision.borrow();
            let is_old = answer.windows(old.len()).any(|part| part == old.as_bytes());
            if !is_old && seen.swapped.get().is_none() {
                seen.swapped.set(Some(at));
            }
            seen.answered.borrow_mut().push(Answered { due, sent, at, answer });
        }
        Err(error) => {
            seen.failed.set(seen.failed.get() + 1);
            seen.first_error.borrow_mut().get_or_insert_with(|| format!("{error:#}"));
        }
    }
}

fn judge(
    answered: &[Answered],
    old: &str,
    (from, edited, swapped): (Instant, Instant, Instant),
) -> anyhow::Result<Swapped> {
    let histogram = Histogram::new;
    let mut result = Swapped {
        before: histogram(),
        rebuilding: histogram(),
        after: histogram(),
        lag: histogram(),
        failed: 0,
        first_error: None,
        mixed: 0,
        rebuild: swapped - edited,
    };
    let mut revisions = std::collections::BTreeSet::new();
    for one in answered.iter().filter(|one| one.due >= from) {
        let window = match one.due {
            due if due < edited => &mut result.before,
            due if due < swapped => &mut result.rebuilding,
            _ => &mut result.after,
        };
        window.record((one.at - one.due).as_nanos() as u64);
        result.lag.record((one.sent - one.due).as_nanos() as u64);
        let answer = DecideResponse::decode(&one.answer[..])?;
        result.mixed += u64::from(is_mixed(&answer, old));
        revisions.insert(answer.ruleset_revision);
    }
    ensure!(revisions.len() == 2, "{} revisions answered, not 2", revisions.len());
    Ok(result)
}

/// Whether the content is not of the revision the answer names.
fn is_mixed(answer: &DecideResponse, old: &str) -> bool {
    let edited = answer.ruleset_revision != old;
    let shown = answer.placements.iter().filter(|placement| placement.status() == PlacementStatus::Ok);
    let messages = shown.flat_map(|placement| &placement.presentations).filter_map(|one| one.message.as_ref());
    messages.into_iter().any(|message| message.text.ends_with(MARK) != edited)
}
