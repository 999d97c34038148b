//! Exact budgets: a unit is granted from the lease of this replica, in memory. The
//! lease is taken and renewed behind the decisions; only one that finds it empty
//! asks Redis itself.

use std::sync::{Arc, PoisonError, atomic::Ordering::Relaxed};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;

use crate::{
    domain::{DecisionId, OfferId, OutcomeSet, OutcomeType, PresentationRef, Timestamp, time::DAY_US},
    rules::{Offer, Ruleset, WhenUnknown, Window},
    store::redis::{Failure, Outage, scripts_caps::LEASE_BUDGET},
};

use super::{
    Caps,
    claim::{Said, Verdict},
    lease::{Brought, BudgetLease, Call, LEASE_MS, Op, OpKind},
    person::{millis_up, window},
    settle::signs,
};

/// The deadline of a call behind the decisions.
const CALL_TIMEOUT: Duration = Duration::from_millis(250);
/// How much longer than a presentation is valid it is told from others, so that a
/// late sign of it is not another one, milliseconds.
const APART_MS: i64 = 60_000;

/// A budget that is exact over all replicas.
#[derive(Clone, Debug)]
pub struct ExactBudget {
    /// The offer.
    pub offer: OfferId,
    /// The most units in the window.
    pub max: u64,
    /// The window.
    pub window: Window,
    /// The longest that a unit is open which is granted without asking, microseconds.
    pub hold_us: i64,
    /// What becomes of a claim that nobody answers.
    pub when_unknown: WhenUnknown,
    /// The zone of calendar windows.
    pub zone: TimeZone,
}

/// What became of a unit that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// It is granted.
    Granted,
    /// Redis must be asked.
    Ask,
    /// Nothing was left a moment ago.
    Spent,
}

impl ExactBudget {
    /// The exact budget of an offer; `None` when it has none.
    pub fn of(ruleset: &Ruleset, offer: &Offer) -> Option<Self> {
        let budget = offer.budget.filter(|budget| budget.exact)?;
        let reserves = offer.treatments.iter().map(|treatment| ruleset.channel(treatment.channel).reserve_us);
        Some(Self {
            offer: offer.id,
            max: budget.max,
            window: budget.window,
            hold_us: reserves.max().unwrap_or(0),
            when_unknown: budget.when_unknown,
            zone: ruleset.time_zone.clone(),
        })
    }

    /// How long a unit must be told apart from others at most, milliseconds: then
    /// the window does not hold it any more.
    pub(super) fn apart_ms(&self) -> i64 {
        millis_up(self.window.length_us().saturating_add(2 * DAY_US))
    }
}

impl Caps {
    /// Grants a unit from the lease. One that is open for longer than `hold_us` of
    /// the budget, or counts at once (`None`), is told to Redis before the answer.
    pub fn take(&self, budget: &ExactBudget, decision: DecisionId, hold_us: Option<i64>) -> Took {
        let lease = self.budget_lease(budget);
        let mut state = lease.lock();
        let now = Instant::now();
        let within = hold_us.filter(|hold_us| *hold_us <= budget.hold_us);
        let granted = within.is_some_and(|hold_us| state.take(grant(budget, (decision, Some(hold_us)), now), now));
        if granted && state.runs_low() {
            self.stirred.notify_one();
        }
        match granted {
            true => Took::Granted,
            false if state.is_spent(now) => Took::Spent,
            false => Took::Ask,
        }
    }

    /// Grants a unit after asking Redis.
    pub async fn take_asking(
        &self,
        budget: &ExactBudget,
        (decision, hold_us): (DecisionId, Option<i64>),
        now: Timestamp,
        deadline: Instant,
    ) -> Verdict {
        let lease = self.budget_lease(budget);
        let Ok(_turn) = tokio::time::timeout_at(deadline.into(), lease.turn.lock()).await else {
            return Verdict::Unknown;
        };
        let must_tell = hold_us.is_none_or(|hold_us| hold_us > budget.hold_us);
        for _ in 0..2 {
            let granted = {
                let at = Instant::now();
                lease.lock().take(grant(budget, (decision, hold_us), at), at)
            };
            if granted && !must_tell {
                return Verdict::Granted;
            }
            match self.tell(&lease, (now, true), deadline).await {
                Ok(_) if granted => return Verdict::Granted,
                Ok(_) => {}
                Err(_) if granted => {
                    lease.lock().give_back(decision);
                    return Verdict::Unknown;
                }
                Err(_) => return Verdict::Unknown,
            }
        }
        let at = Instant::now();
        match !must_tell && lease.lock().take(grant(budget, (decision, hold_us), at), at) {
            true => Verdict::Granted,
            false => Verdict::Refused(Vec::new()),
        }
    }

    /// Grants a unit without asking, as far as the budget's policy allows.
    pub fn take_unasked(&self, budget: &ExactBudget, decision: DecisionId, hold_us: Option<i64>) -> bool {
        self.metrics.unknown(budget.when_unknown.name());
        let lease = self.budget_lease(budget);
        let grant = grant(budget, (decision, hold_us), Instant::now());
        match budget.when_unknown {
            WhenUnknown::Deny => false,
            WhenUnknown::LocalShare => lease.lock().take_unasked(grant, true),
            WhenUnknown::Allow => lease.lock().take_unasked(grant, false),
        }
    }

    /// A unit that was granted is given back: nobody got it, or it was cancelled.
    pub fn give_unit_back(&self, offer: OfferId, decision: DecisionId) {
        let lease = self.budgets.read().unwrap_or_else(PoisonError::into_inner).get(&offer).cloned();
        if let Some(lease) = lease {
            lease.lock().give_back(decision);
        }
    }

    /// Whether nothing was left of an offer's budget a moment ago.
    pub fn is_spent(&self, offer: OfferId) -> bool {
        let budgets = self.budgets.read().unwrap_or_else(PoisonError::into_inner);
        budgets.get(&offer).is_some_and(|lease| lease.lock().is_spent(Instant::now()))
    }

    /// A unit was seen: it is spent. Another sign of the same within so many
    /// milliseconds is no other unit.
    pub fn unit_seen(&self, budget: &ExactBudget, decision: DecisionId, apart_ms: i64) {
        if !self.budget_lease(budget).lock().tell(Op { kind: OpKind::Seen(apart_ms), decision }) {
            self.metrics.dropped();
            // it is in the log, and told from there when there is room
            self.owes.store(true, Relaxed);
        }
    }

    /// What followed a presentation, for its unit.
    pub(super) fn unit_followed(
        &self,
        budget: &ExactBudget,
        (presentation, at): (PresentationRef, Timestamp),
        (outcome, known): (OutcomeType, OutcomeSet),
    ) {
        let before = OutcomeSet(known.0 & !(1 << outcome as u16)).intersects(signs());
        let decision = presentation.decision;
        if signs().has(outcome) && !before {
            let apart_ms = millis_up(presentation.expires_at.since_us(at)).max(0) + APART_MS;
            self.unit_seen(budget, decision, apart_ms);
        } else if outcome == OutcomeType::Cancelled && !before {
            self.budget_lease(budget).lock().give_back(decision);
        }
    }

    fn budget_lease(&self, budget: &ExactBudget) -> Arc<BudgetLease> {
        let known = self.budgets.read().unwrap_or_else(PoisonError::into_inner).get(&budget.offer).cloned();
        if let Some(lease) = known {
            let mut state = lease.lock();
            if state.budget.max != budget.max || state.budget.window != budget.window {
                state.budget = budget.clone();
            }
            drop(state);
            return lease;
        }
        let mut budgets = self.budgets.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(budgets.entry(budget.offer).or_insert_with(|| Arc::new(BudgetLease::new(budget.clone()))))
    }

    /// Tells what was granted, renews what is in use, gives back what is not.
    pub(super) async fn look_at_leases(&self) {
        let leases: Vec<_> = self.budgets.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let (mut held, mut units) = (0, 0);
        for lease in leases {
            let (has_news, used) = {
                let (state, now) = (lease.lock(), Instant::now());
                (state.has_news(now), state.is_used(now))
            };
            if has_news {
                let _turn = lease.turn.lock().await;
                let now = self.clock();
                // one that fails is tried again at the next look
                let _ = self.tell(&lease, (now, used), Instant::now() + CALL_TIMEOUT).await;
            }
            let left = lease.lock().units();
            held += usize::from(left > 0);
            units += left;
        }
        self.metrics.leased(held, units);
    }

    /// Tells again what was told of budgets since a moment, or ever; answers by how
    /// many units budgets are exceeded more than before, after counting it.
    pub(super) async fn recount_budgets(&self, since: Option<Instant>, timeout: Duration) -> Result<u64, Failure> {
        let leases: Vec<_> = self.budgets.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let mut over = 0;
        for lease in leases {
            let _turn = lease.turn.lock().await;
            let used = lease.lock().is_used(Instant::now());
            let before = self.tell(&lease, (self.clock(), used), Instant::now() + timeout).await?;
            lease.lock().tell_again(since);
            let mut after = before;
            while lease.lock().has_ops() {
                after = self.tell(&lease, (self.clock(), used), Instant::now() + timeout).await?;
            }
            let beyond = after.saturating_sub(before);
            self.metrics.over_granted(beyond);
            over += beyond;
        }
        Ok(over)
    }

    pub(super) async fn give_leases_back(&self, deadline: Instant) {
        let leases: Vec<_> = self.budgets.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for lease in leases {
            let Ok(_turn) = tokio::time::timeout_at(deadline.into(), lease.turn.lock()).await else { return };
            if lease.lock().has_news(Instant::now()) {
                // who cannot be told now finds the lease run out
                let _ = self.tell(&lease, (self.clock(), false), deadline).await;
            }
        }
    }

    /// A call for a lease; the caller has its turn. `keeps` and takes more, or gives
    /// everything back. Answers by how many units the budget is exceeded.
    async fn tell(
        &self,
        lease: &BudgetLease,
        (mut now, keeps): (Timestamp, bool),
        deadline: Instant,
    ) -> Result<u64, Failure> {
        for _ in 0..2 {
            let asked_at = Instant::now();
            let call = lease.lock().begin(asked_at, keeps);
            self.metrics.returned(call.returned);
            match self.send(&call, (now, keeps), deadline).await {
                Ok(Said::Done(numbers)) => {
                    let number = |at: usize| numbers.get(at).map_or(0, |number| number.unsigned_abs());
                    let brought = Brought { new: number(0), drop: number(1), free: number(2) };
                    let replicas = u64::from(self.replicas.load(Relaxed));
                    let returned = lease.lock().end(&call, brought, (asked_at, replicas));
                    self.metrics.returned(returned);
                    self.metrics.lease(usize::from(brought.new == 0));
                    return Ok(number(3));
                }
                Ok(Said::Now(there)) => now = there,
                Ok(Said::Refused(_) | Said::Overtaken) => break,
                Err(failure) => {
                    self.metrics.lease(2);
                    return Err(failure);
                }
            }
        }
        Err(Outage::Timeout.into())
    }

    async fn send(&self, call: &Call, (now, wants): (Timestamp, bool), deadline: Instant) -> Result<Said, Failure> {
        let (budget, keys) = (&call.budget, &self.remote.keys);
        let id = budget.offer.0;
        let keys =
            [keys.budget(id), keys.budget_minutes(id), keys.open_units(id), keys.seen_units(id), keys.leases(id)];
        let (rolling, from, until) = window(budget.window, now, &budget.zone);
        let hold_ms = millis_up(budget.hold_us).max(1);
        let keep_ms = millis_up(budget.window.length_us().saturating_add(2 * DAY_US)).saturating_add(hold_ms);
        let mut arguments = vec![self.lessee.clone().into_bytes()];
        let numbers = [call.seq as i64, budget.max as i64, rolling, from, until, LEASE_MS, hold_ms, keep_ms];
        let last = [i64::from(self.replicas.load(Relaxed)), call.have as i64, i64::from(wants)];
        arguments.extend(numbers.iter().chain(&last).map(|number| number.to_string().into_bytes()));
        for op in &call.ops {
            describe(op, &mut arguments);
        }
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let keys = keys.each_ref().map(Vec::as_slice);
        Said::read(self.remote.client.script(&LEASE_BUDGET, &keys, &arguments, deadline).await?)
    }

    /// The moment by the clock of this host, for calls that no decision makes: only
    /// a first guess at the calendar window, which the clock of Redis decides.
    fn clock(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A grant; one that counts at once is told apart for as long as the window holds it.
fn grant(budget: &ExactBudget, (decision, hold_us): (DecisionId, Option<i64>), now: Instant) -> Op {
    let kind = match hold_us {
        Some(hold_us) => OpKind::Open(now + Duration::from_micros(hold_us.max(0).unsigned_abs())),
        None => OpKind::Decided(budget.apart_ms()),
    };
    Op { kind, decision }
}

fn describe(op: &Op, into: &mut Vec<Vec<u8>>) {
    let (kind, ms): (&[u8], i64) = match op.kind {
        OpKind::Open(until) => {
            let left = until.saturating_duration_since(Instant::now());
            (b"g", i64::try_from(left.as_millis()).unwrap_or(i64::MAX))
        }
        OpKind::Decided(apart_ms) => (b"g", -apart_ms),
        OpKind::Seen(apart_ms) => (b"c", apart_ms),
        OpKind::Released => (b"r", 0),
    };
    let minute = op.decision.unix_ms() / 60_000;
    into.extend([kind.to_vec(), op.decision.0.to_be_bytes().to_vec()]);
    into.extend([minute.to_string().into_bytes(), ms.to_string().into_bytes()]);
}
