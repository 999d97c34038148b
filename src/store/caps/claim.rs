//! The claim: one script for all winners of a decision, all or nothing.

use std::time::Instant;

use ::redis::Value;

use crate::{
    domain::Timestamp,
    store::redis::{Failure, Outage, scripts_caps::CLAIM_CAPS},
    telemetry::ClaimResult,
};

use super::{
    Caps,
    journal::What,
    person::{PersonClaim, Place, millis_up},
};

/// How often one claim is sent.
const ATTEMPTS_MAX: u32 = 4;

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every place is held.
    Granted,
    /// These have no room, by number; nothing is held.
    Refused(Vec<usize>),
    /// Nobody can say: it may be held all the same.
    Unknown,
}

/// What a script said.
pub(super) enum Said {
    /// It was done; the numbers that follow.
    Done(Vec<i64>),
    /// It was refused.
    Refused(Vec<i64>),
    /// A calendar window does not hold the moment it is there.
    Now(Timestamp),
    /// It came too late.
    Overtaken,
}

impl Said {
    pub fn read(answer: Value) -> Result<Self, Failure> {
        let shape = || Failure::shape("the numbers of a claim");
        let Value::Array(parts) = answer else { return Err(shape()) };
        let number = |part: &Value| match part {
            Value::Int(number) => Ok(*number),
            _ => Err(shape()),
        };
        let numbers: Vec<i64> = parts.iter().map(number).collect::<Result<_, _>>()?;
        match numbers.as_slice() {
            [0, _, refused @ ..] => Ok(Said::Refused(refused.to_vec())),
            [1, _, rest @ ..] => Ok(Said::Done(rest.to_vec())),
            [2, now] => Ok(Said::Now(Timestamp::from_millis(*now))),
            [3, _] => Ok(Said::Overtaken),
            _ => Err(shape()),
        }
    }
}

impl Caps {
    /// Claims every place, or none. One that got no answer is sent again with the
    /// same names until the deadline: what was granted is not granted twice.
    pub async fn claim(&self, claim: &PersonClaim, now: Timestamp, deadline: Instant) -> Verdict {
        let begun = Instant::now();
        self.lane(claim.customer).released(claim.customer, share_of(deadline, 1)).await;
        let verdict = match self.send_claim(claim, (b"claim", now), deadline).await {
            Ok(Said::Done(_)) => {
                self.lock_journal().push(now, What::Claimed(claim), &self.metrics);
                Verdict::Granted
            }
            Ok(Said::Refused(places)) => {
                Verdict::Refused(places.into_iter().filter_map(|at| usize::try_from(at).ok()).collect())
            }
            Ok(Said::Now(_) | Said::Overtaken) | Err(_) => Verdict::Unknown,
        };
        let result = match verdict {
            Verdict::Granted => ClaimResult::Granted,
            Verdict::Refused(_) => ClaimResult::Refused,
            Verdict::Unknown => ClaimResult::Unknown,
        };
        self.metrics.claimed(result, begun.elapsed());
        verdict
    }

    /// Claims every place whether there is room or not; answers by how much any
    /// cap was exceeded.
    pub(super) async fn claim_anyway(
        &self,
        claim: &PersonClaim,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<u64, Failure> {
        match self.send_claim(claim, (b"force", now), deadline).await? {
            Said::Done(numbers) => Ok(numbers.first().map_or(0, |over| over.unsigned_abs())),
            _ => Err(Outage::Timeout.into()),
        }
    }

    async fn send_claim(
        &self,
        claim: &PersonClaim,
        (mode, mut now): (&[u8], Timestamp),
        deadline: Instant,
    ) -> Result<Said, Failure> {
        let keys = claim.keys(&self.remote.keys);
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let mut last = Failure::from(Outage::Timeout);
        for attempt in 1..=ATTEMPTS_MAX {
            let arguments = arguments(claim, mode, now);
            let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
            let until = share_of(deadline, attempt);
            match self.remote.client.script(&CLAIM_CAPS, &keys, &arguments, until).await.and_then(Said::read) {
                Ok(Said::Now(there)) => now = there,
                Ok(said) => return Ok(said),
                Err(failure) if failure.outage().is_some_and(Outage::may_have_run) && Instant::now() < deadline => {
                    self.metrics.retried();
                    last = failure;
                }
                Err(failure) => return Err(failure),
            }
        }
        Err(last)
    }
}

/// The deadline of an attempt: half of what is left, so that there is time for
/// another; all of it for the last.
pub(super) fn share_of(deadline: Instant, attempt: u32) -> Instant {
    let now = Instant::now();
    let left = deadline.saturating_duration_since(now);
    if attempt >= ATTEMPTS_MAX { deadline } else { now + left / 2 }
}

fn arguments(claim: &PersonClaim, mode: &[u8], now: Timestamp) -> Vec<Vec<u8>> {
    let mut list = Vec::with_capacity(3 + 6 * claim.caps.len() + 8 * claim.places.len());
    list.push(mode.to_vec());
    claim.windows(now, &mut list);
    list.push(claim.places.len().to_string().into_bytes());
    for place in &claim.places {
        describe(place, &mut list);
    }
    list
}

fn describe(place: &Place, into: &mut Vec<Vec<u8>>) {
    into.push(place.member.to_vec());
    // 0 holds for ever
    let hold_ms = place.hold_us.map_or(0, |hold_us| millis_up(hold_us).max(1));
    let numbers = [place.age_ms, hold_ms, place.under.len() as i64];
    into.extend(numbers.map(|number| number.to_string().into_bytes()));
    into.extend(place.under.iter().map(|at| (at + 1).to_string().into_bytes()));
}
