//! What this replica claimed and confirmed lately, to count again what a failover
//! lost.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use smallvec::smallvec;

use crate::{
    domain::{CustomerKey, Timestamp},
    store::redis::Failure,
    telemetry::CapMetrics,
};

use super::{
    Caps,
    person::{CapSpec, Member, PersonClaim, Place},
};

/// Most places that are remembered; of more the oldest are forgotten and counted.
const JOURNAL_LEN_MAX: usize = 65_536;
/// The deadline of counting one customer again.
const RECOUNT_TIMEOUT: Duration = Duration::from_millis(500);
/// How much longer ago units are told again than asked: telling one again changes
/// nothing.
const LONGER: Duration = Duration::from_secs(1);

/// Places in the order they were claimed and confirmed.
#[derive(Debug, Default)]
pub(super) struct Journal(VecDeque<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    at: Timestamp,
    customer: CustomerKey,
    caps: smallvec::SmallVec<[CapSpec; 4]>,
    zone: jiff::tz::TimeZone,
    member: Member,
    /// How long it is reserved from then on, microseconds; `None` once it counts.
    hold_us: Option<i64>,
    /// Whether it was given back.
    released: bool,
}

/// What is to be remembered.
pub(super) enum What<'a> {
    Claimed(&'a PersonClaim),
    Confirmed(&'a PersonClaim),
    Released(&'a PersonClaim),
}

impl Journal {
    pub fn push(&mut self, at: Timestamp, what: What<'_>, metrics: &CapMetrics) {
        let (claim, released, confirmed) = match what {
            What::Claimed(claim) => (claim, false, false),
            What::Confirmed(claim) => (claim, false, true),
            What::Released(claim) => (claim, true, false),
        };
        for place in &claim.places {
            let caps = place.under.iter().filter_map(|at| claim.caps.get(usize::from(*at)).copied()).collect();
            let hold_us = if confirmed { None } else { place.hold_us };
            let (customer, zone, member) = (claim.customer, claim.zone.clone(), place.member);
            self.0.push_back(Entry { at, customer, caps, zone, member, hold_us, released });
        }
        while self.0.len() > JOURNAL_LEN_MAX {
            self.0.pop_front();
            metrics.dropped();
        }
    }

    /// What holds now of everything since a moment.
    fn since(&self, since: Timestamp, now: Timestamp) -> Vec<PersonClaim> {
        let mut last: HashMap<(CustomerKey, Member), &Entry> = HashMap::new();
        for entry in self.0.iter().filter(|entry| entry.at >= since) {
            last.insert((entry.customer, entry.member), entry);
        }
        let holds =
            |entry: &&Entry| !entry.released && entry.hold_us.is_none_or(|hold_us| entry.at.plus_us(hold_us) > now);
        last.into_values().filter(holds).map(|entry| entry.again(now)).collect()
    }
}

impl Entry {
    /// The claim as it must be made now to be what it was.
    fn again(&self, now: Timestamp) -> PersonClaim {
        let age_us = now.since_us(self.at).max(0);
        let place = Place {
            member: self.member,
            hold_us: self.hold_us.map(|hold_us| hold_us.saturating_sub(age_us)),
            age_ms: age_us / 1_000,
            under: (0..self.caps.len() as u8).collect(),
            unknown: crate::rules::WhenUnknown::Allow,
        };
        let (customer, caps, zone) = (self.customer, self.caps.clone(), self.zone.clone());
        PersonClaim { customer, caps, places: smallvec![place], zone }
    }
}

impl Caps {
    /// Counts again what this replica claimed and confirmed since a moment: what
    /// Redis lost is put back, also where a cap or budget is exceeded by it. Answers
    /// by how much they were exceeded, after counting it.
    ///
    /// # Errors
    /// Redis could not be asked: call it again.
    pub async fn recount(&self, since: Timestamp, now: Timestamp) -> Result<u64, Failure> {
        // of a moment before this host was started everything that is remembered
        let lately = Duration::from_micros(now.0.saturating_sub(since.0).max(0).unsigned_abs()) + LONGER;
        let told_since = Instant::now().checked_sub(lately);
        let claims = self.lock_journal().since(since, now);
        let mut over = 0;
        for claim in &claims {
            let beyond = self.claim_anyway(claim, now, Instant::now() + RECOUNT_TIMEOUT).await?;
            // at once: who is put back is not missed again when this is called again
            self.metrics.over_granted(beyond);
            over += beyond;
        }
        over += self.recount_budgets(told_since, RECOUNT_TIMEOUT).await?;
        tracing::info!(places = claims.len(), over, "counted claims again after a failover");
        Ok(over)
    }
}
