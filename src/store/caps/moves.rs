//! Claims follow customers: merges, their undoing, erasures. Two customers lie in
//! two slots, so that no script sees both. Every replica moves the claims once it
//! knows of the merge, and again when calls that were on their way have ended: then
//! what it claimed for the absorbed one before is there to be moved.

use std::time::{Duration, Instant};

use ::redis::{Value, cmd, pipe};

use crate::{
    domain::CustomerKey,
    store::redis::{
        Failure,
        scripts_caps::{ADOPT_CAPS, LEAVE_CAPS},
    },
};

use super::{
    Caps,
    lane::{TASK_TIMEOUT, Task},
};

/// When claims are moved again: calls take at most 1 s.
const AGAIN_AFTER: Duration = Duration::from_millis(1_500);
/// How often the claims of a cap are moved while they change.
const ROUNDS_MAX: usize = 3;
/// Most merges that wait to be moved again.
const AGAIN_MAX: usize = 1_024;

impl Caps {
    /// What two customers claimed is the survivor's from now on.
    pub fn unite(self: &std::sync::Arc<Self>, absorbed: CustomerKey, survivor: CustomerKey) {
        let task = Task::Move { from: absorbed, to: survivor, keeps: false };
        self.queue(task.clone());
        let mut again = self.moved.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if again.len() < AGAIN_MAX {
            again.push_back((Instant::now() + AGAIN_AFTER, task));
        }
    }

    /// Both are customers again and hold all of it.
    pub fn part(&self, survivor: CustomerKey, absorbed: CustomerKey) {
        self.queue(Task::Move { from: survivor, to: absorbed, keeps: true });
    }

    /// A customer was erased.
    pub fn forget(&self, customer: CustomerKey) {
        self.queue(Task::Forget(customer));
    }

    /// Queues the moves whose time has come again.
    pub(super) fn move_again(&self) {
        let mut again = self.moved.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        while again.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, task)) = again.pop_front() {
                self.queue(task);
            }
        }
    }

    pub(super) async fn move_claims(
        &self,
        (from, to): (CustomerKey, CustomerKey),
        keeps: bool,
        deadline: Instant,
    ) -> Result<(), Failure> {
        for cap in self.caps_of(from, deadline).await? {
            for _ in 0..ROUNDS_MAX {
                // each has its own time: however many there are, all are moved
                let deadline = deadline.max(Instant::now() + TASK_TIMEOUT);
                if self.move_cap((from, to), (cap, keeps), deadline).await? == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Moves the claims of one cap; answers how many changed meanwhile and stayed.
    async fn move_cap(
        &self,
        (from, to): (CustomerKey, CustomerKey),
        (cap, keeps): (u64, bool),
        deadline: Instant,
    ) -> Result<usize, Failure> {
        let keys = &self.remote.keys;
        let (claims, open) = (keys.cap(from, cap), keys.open_claims(from, cap));
        let mut read = pipe();
        read.cmd("ZRANGE").arg(&claims).arg(0).arg(-1).arg("WITHSCORES");
        read.cmd("ZRANGE").arg(&open).arg(0).arg(-1).arg("WITHSCORES");
        read.cmd("PTTL").arg(&claims);
        let mut answers = self.remote.client.pipeline(&read, deadline).await?.into_iter();
        let mut next = || answers.next().unwrap_or_else(|| Err(Failure::shape("three answers")));
        let (all, lapsing, ttl) = (scored(next()?), scored(next()?), next()?);
        if all.is_empty() {
            return Ok(0);
        }
        let ttl_ms = if let Value::Int(ttl_ms @ 1..) = ttl { ttl_ms } else { 1 };
        let mut adopted = vec![format!("{cap:x}").into_bytes(), ttl_ms.to_string().into_bytes()];
        let mut left = Vec::with_capacity(2 * all.len());
        for (member, at) in all {
            let lapses = lapsing.iter().find(|one| one.0 == member).map_or(Vec::new(), |one| one.1.clone());
            adopted.extend([member.clone(), at, lapses.clone()]);
            left.extend([member, lapses]);
        }
        let adopted: Vec<&[u8]> = adopted.iter().map(Vec::as_slice).collect();
        let into = [keys.caps(to), keys.cap(to, cap), keys.open_claims(to, cap)];
        self.remote.client.script(&ADOPT_CAPS, &into.each_ref().map(Vec::as_slice), &adopted, deadline).await?;
        if keeps {
            return Ok(0);
        }
        // one that was confirmed here meanwhile is read and taken over again
        let left: Vec<&[u8]> = left.iter().map(Vec::as_slice).collect();
        match self.remote.client.script(&LEAVE_CAPS, &[&claims, &open], &left, deadline).await? {
            Value::Int(stayed) => Ok(usize::try_from(stayed).unwrap_or(0)),
            _ => Err(Failure::shape("a number of claims")),
        }
    }

    pub(super) async fn forget_claims(&self, customer: CustomerKey, deadline: Instant) -> Result<(), Failure> {
        let keys = &self.remote.keys;
        let mut remove = pipe();
        for cap in self.caps_of(customer, deadline).await? {
            remove.cmd("UNLINK").arg(keys.cap(customer, cap)).cmd("UNLINK").arg(keys.open_claims(customer, cap));
        }
        remove.cmd("UNLINK").arg(keys.caps(customer));
        self.remote.client.pipeline(&remove, deadline).await?;
        Ok(())
    }

    /// The caps that a customer has claims on.
    async fn caps_of(&self, customer: CustomerKey, deadline: Instant) -> Result<Vec<u64>, Failure> {
        let answer = self.remote.client.call(cmd("HKEYS").arg(self.remote.keys.caps(customer)), deadline).await?;
        let fields = if let Value::Array(fields) | Value::Set(fields) = answer { fields } else { Vec::new() };
        let cap = |field: &Value| match field {
            Value::BulkString(bytes) => u64::from_str_radix(std::str::from_utf8(bytes).ok()?, 16).ok(),
            _ => None,
        };
        Ok(fields.iter().filter_map(cap).collect())
    }
}

/// Members with their scores as text, in either shape of a reply.
fn scored(answer: Value) -> Vec<(Vec<u8>, Vec<u8>)> {
    let Value::Array(parts) = answer else { return Vec::new() };
    let mut flat = Vec::with_capacity(2 * parts.len());
    for part in parts {
        match part {
            Value::Array(pair) => flat.extend(pair),
            other => flat.push(other),
        }
    }
    let pair = |pair: &[Value]| match pair {
        [Value::BulkString(member), Value::Double(score)] => Some((member.clone(), format!("{score:.0}").into_bytes())),
        [Value::BulkString(member), Value::BulkString(score)] => Some((member.clone(), score.clone())),
        _ => None,
    };
    flat.chunks(2).filter_map(pair).collect()
}
