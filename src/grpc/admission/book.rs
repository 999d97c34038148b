//! Who goes next: the lines of the classes before one serving thread, or before
//! as many as share a runtime. Pure, in nanoseconds that the caller counts.
//!
//! A call goes ahead at once while nobody waits and the thread looked for new
//! ones lately. Otherwise it lines up with its class, and turns are given in
//! rounds, between which the thread reads what has come. When more is in line
//! than can be answered in time, who waited longest leaves it: whoever is left
//! waited shortest, and who leaves hears soon. How long is in time: in a burst as
//! long as the settings say, and a small part of it once somebody waited at
//! every moment of an interval, until nobody had to leave for as long (after the
//! controlled delay of CoDel, RFC 8289, which "Fail at Scale", ACM Queue 13.8,
//! 2015, uses for the queues of servers).

use std::collections::VecDeque;

use super::allowance::Allowance;
use crate::telemetry::CallClass;

/// How long a thread works until it looks for new calls, nanoseconds; one turn
/// may take longer.
pub const ROUND_NS: u64 = 1_000_000;
/// Most turns of a round, of each thread.
const ROUND_TURNS_MAX: u64 = 64;
/// Most calls in one line: what is kept of them is bounded however short turns are.
pub const LINE_LEN_MAX: usize = 1_024;
/// Somebody waited at every moment of so many times the age: the line stands.
const STANDING_AFTER: u64 = 2;
/// The part of the age that may be waited then.
const STANDING_PART: u64 = 20;
/// So many quarters of a turn may be waited in any case: with less the thread would
/// rest between two long ones.
const TURN_QUARTERS_MIN: u64 = 5;
/// After so many turns of others it is a line's own, whoever else waits: who goes
/// first must not keep the others from ever being answered.
const PASSED_MAX: [u32; Lane::LEN] = [u32::MAX, 8, 32, 32];
/// A new duration counts for one part in so many.
const SMOOTHING: u64 = 8;

/// A line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Calls of a class.
    Of(CallClass),
    /// Streams: they are never turned away, for who reads them waits with them.
    Stream,
}

impl Lane {
    const LEN: usize = CallClass::ALL.len() + 1;
    /// Every line, the first one first.
    const ALL: [Lane; Self::LEN] =
        [Lane::Of(CallClass::CallCentre), Lane::Of(CallClass::Web), Lane::Of(CallClass::Batch), Lane::Stream];

    fn index(self) -> usize {
        match self {
            Lane::Of(class) => class as usize,
            Lane::Stream => Self::LEN - 1,
        }
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It is its turn.
    Turn,
    /// It may be answered without ranking.
    Short,
    /// It is not answered.
    Refused(Cause),
}

/// Why a call is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There is more to do than can be done in time.
    Overload,
    /// Its caller has stopped waiting.
    Late,
}

/// A call that lines up.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// Where.
    pub lane: Lane,
    /// Since when it is here.
    pub since_ns: u64,
    /// Until when its caller waits.
    pub until_ns: u64,
    /// Whether it may be answered without ranking.
    pub may_be_short: bool,
}

struct Waiter<T> {
    ticket: T,
    caller: Caller,
}

/// One line.
struct Line<T> {
    waiters: VecDeque<Waiter<T>>,
    /// Turns of others since one was given here.
    passed: u32,
    /// When it was empty last.
    empty_ns: u64,
    /// Until when it counts as standing.
    standing_ns: u64,
}

impl<T> Line<T> {
    /// Whether somebody waited at every moment of an interval, or had to leave
    /// within one since.
    fn is_standing(&self, now_ns: u64, interval_ns: u64) -> bool {
        let never_empty = !self.waiters.is_empty() && now_ns.saturating_sub(self.empty_ns) >= interval_ns;
        never_empty || now_ns < self.standing_ns
    }
}

/// The lines. `T` is what is known of a call that waits.
pub struct Book<T> {
    threads: usize,
    age_max_ns: u64,
    lines: [Line<T>; Lane::LEN],
    /// Turns that were given and are not over.
    running: usize,
    /// What a turn takes, smoothed.
    turn_ns: u64,
    /// From the end of one turn to that of the next while somebody waits, smoothed.
    gap_ns: u64,
    ended_ns: Option<u64>,
    short: Allowance,
}

/// Calls and what became of them.
pub type Rulings<T> = Vec<(T, Caller, Ruling)>;

impl<T> Book<T> {
    /// With nobody in line, before so many threads. In a burst calls may wait for
    /// `age_max_ns`.
    pub fn new(threads: usize, age_max_ns: u64) -> Self {
        Self {
            threads: threads.max(1),
            age_max_ns: age_max_ns.max(1),
            lines: std::array::from_fn(|_| Line { waiters: VecDeque::new(), passed: 0, empty_ns: 0, standing_ns: 0 }),
            running: 0,
            turn_ns: 0,
            gap_ns: 0,
            ended_ns: None,
            short: Allowance::new(threads.max(1) as u64),
        }
    }

    /// Whether a call may go ahead at once; then its turn has begun. `round_ns`
    /// is how long the thread has not looked for new calls. While a line stands
    /// nobody goes ahead: of all who have come the first class goes first.
    pub fn goes_ahead(&mut self, (now_ns, round_ns): (u64, u64)) -> bool {
        let stands = self.lines.iter().any(|line| now_ns < line.standing_ns);
        let goes = !stands && round_ns < ROUND_NS && self.running < self.threads && self.waiting() == 0;
        if goes {
            self.running += 1;
        }
        goes
    }

    /// Lines a call up. Who has to leave for it is among the rulings, be it the
    /// call itself. Whether somebody has to give turns now.
    pub fn line_up(&mut self, now_ns: u64, (ticket, caller): (T, Caller), rulings: &mut Rulings<T>) -> bool {
        if caller.until_ns <= now_ns {
            rulings.push((ticket, caller, Ruling::Refused(Cause::Late)));
            return false;
        }
        let lane = caller.lane;
        let line = &mut self.lines[lane.index()];
        if line.waiters.is_empty() {
            line.empty_ns = now_ns;
        }
        line.waiters.push_back(Waiter { ticket, caller });
        while self.is_too_long(now_ns, lane)
            && let Some(oldest) = self.lines[lane.index()].waiters.pop_front()
        {
            self.turn_away(now_ns, oldest, rulings);
        }
        self.running < self.threads
    }

    /// Begins a round: who waited too long leaves, and turns are given.
    pub fn begin_round(&mut self, now_ns: u64, rulings: &mut Rulings<T>) {
        for lane in Lane::ALL {
            self.turn_old_away((now_ns, 0), lane, rulings);
        }
        let turns_max = match self.turn_ns {
            0 => 1,
            turn_ns => (ROUND_NS / turn_ns).clamp(1, ROUND_TURNS_MAX),
        };
        while self.running < self.threads * turns_max as usize
            && let Some(waiter) = self.next()
        {
            if waiter.caller.until_ns <= now_ns {
                rulings.push((waiter.ticket, waiter.caller, Ruling::Refused(Cause::Late)));
                continue;
            }
            self.running += 1;
            rulings.push((waiter.ticket, waiter.caller, Ruling::Turn));
        }
        if self.running >= self.threads {
            // who would wait too long by the next round hears it now
            for lane in Lane::ALL {
                self.turn_old_away((now_ns, self.turn_ns), lane, rulings);
            }
        }
        for line in self.lines.iter_mut().filter(|line| line.waiters.is_empty()) {
            line.empty_ns = now_ns;
        }
    }

    /// A turn is over that took so long; `None` when it was never begun. Whether
    /// somebody has to give turns now.
    pub fn end_turn(&mut self, now_ns: u64, took_ns: Option<u64>) -> bool {
        self.running = self.running.saturating_sub(1);
        let waiting = self.waiting() > 0;
        if let Some(took_ns) = took_ns {
            self.turn_ns = smoothed(self.turn_ns, took_ns);
            if let Some(ended_ns) = self.ended_ns {
                self.gap_ns = smoothed(self.gap_ns, now_ns.saturating_sub(ended_ns));
            }
            self.ended_ns = waiting.then_some(now_ns);
        }
        waiting && self.running < self.threads
    }

    /// An answer without ranking was given that took so long.
    pub fn end_short(&mut self, took_ns: u64) {
        self.short.took(took_ns);
    }

    /// Calls in line.
    pub fn waiting(&self) -> usize {
        self.lines.iter().map(|line| line.waiters.len()).sum()
    }

    fn next(&mut self) -> Option<Waiter<T>> {
        let waits = |line: &Line<T>| !line.waiters.is_empty();
        let passed = |(line, max): (&Line<T>, u32)| waits(line) && line.passed >= max;
        let passed = self.lines.iter().zip(PASSED_MAX).position(passed);
        let next = passed.or_else(|| self.lines.iter().position(waits))?;
        for (at, line) in self.lines.iter_mut().enumerate() {
            line.passed = if at == next { 0 } else { line.passed.saturating_add(1) };
        }
        self.lines[next].waiters.pop_front()
    }

    /// How long may be waited in a line.
    fn age_max_ns(&self, now_ns: u64, lane: Lane) -> u64 {
        let stands = self.lines[lane.index()].is_standing(now_ns, STANDING_AFTER * self.age_max_ns);
        match lane {
            Lane::Stream => u64::MAX,
            Lane::Of(_) if stands => (self.age_max_ns / STANDING_PART).max(TURN_QUARTERS_MIN * self.turn_ns / 4),
            Lane::Of(_) => self.age_max_ns,
        }
    }

    /// Whether the last one in line would wait too long.
    fn is_too_long(&self, now_ns: u64, lane: Lane) -> bool {
        let len = self.lines[lane.index()].waiters.len();
        if len <= 1 || lane == Lane::Stream {
            return false;
        }
        let before: usize = self.lines[..=lane.index()].iter().map(|line| line.waiters.len()).sum();
        let each_ns = self.gap_ns.max(self.turn_ns / self.threads as u64);
        len > LINE_LEN_MAX || before as u64 * each_ns > self.age_max_ns(now_ns, lane)
    }

    /// Who has waited too long leaves, or will have after some more time.
    fn turn_old_away(&mut self, (now_ns, more_ns): (u64, u64), lane: Lane, rulings: &mut Rulings<T>) {
        let age_max_ns = self.age_max_ns(now_ns, lane);
        let line = lane.index();
        let is_old = |waiter: &mut Waiter<T>| (now_ns + more_ns).saturating_sub(waiter.caller.since_ns) > age_max_ns;
        while let Some(oldest) = self.lines[line].waiters.pop_front_if(is_old) {
            self.turn_away(now_ns, oldest, rulings);
        }
    }

    /// A call leaves the line: with an answer that costs little, while there is
    /// time for such ones, else refused.
    fn turn_away(&mut self, now_ns: u64, waiter: Waiter<T>, rulings: &mut Rulings<T>) {
        let Waiter { ticket, caller } = waiter;
        let interval_ns = STANDING_AFTER * self.age_max_ns;
        let line = &mut self.lines[caller.lane.index()];
        if line.is_standing(now_ns, interval_ns) {
            line.standing_ns = now_ns + interval_ns;
        }
        let ruling = match caller.until_ns <= now_ns {
            true => Ruling::Refused(Cause::Late),
            false if caller.may_be_short && self.short.take(now_ns, self.turn_ns) => Ruling::Short,
            false => Ruling::Refused(Cause::Overload),
        };
        rulings.push((ticket, caller, ruling));
    }
}

fn smoothed(before_ns: u64, new_ns: u64) -> u64 {
    match before_ns {
        0 => new_ns,
        before_ns => (before_ns * (SMOOTHING - 1) + new_ns) / SMOOTHING,
    }
}
