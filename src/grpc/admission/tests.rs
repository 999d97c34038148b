//! Turns in virtual time: a thread that reads what has come, then works.

use std::pin::pin;

use super::{
    book::{Book, Caller, Cause, LINE_LEN_MAX, Lane, ROUND_NS, Ruling, Rulings},
    *,
};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const AGE_MAX_NS: u64 = 50 * MS;
/// What reading a call and refusing it take, and an answer without ranking.
const READ_NS: u64 = 2_000;
const REFUSE_NS: u64 = 4_000;
const SHORT_NS: u64 = 20_000;

/// Calls of one class that come at random moments.
#[derive(Clone, Copy)]
struct Source {
    lane: Lane,
    /// Calls a second.
    rate: f64,
    from_ns: u64,
    to_ns: u64,
}

/// What became of a call, and when.
#[derive(Clone, Copy, Debug)]
struct Settled {
    lane: Lane,
    due_ns: u64,
    at_ns: u64,
    ruling: Ruling,
}

impl Settled {
    fn took_ns(&self) -> u64 {
        self.at_ns - self.due_ns
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 11) + 1) as f64 / (1_u64 << 53) as f64
    }
}

/// All calls in the order in which they come.
fn calls(sources: &[Source]) -> Vec<(u64, Lane)> {
    let mut random = Random(7);
    let mut calls = Vec::new();
    for source in sources {
        let mut at = source.from_ns as f64;
        loop {
            at += -random.unit().ln() * 1e9 / source.rate;
            if at >= source.to_ns as f64 {
                break;
            }
            calls.push((at as u64, source.lane));
        }
    }
    calls.sort_by_key(|call| call.0);
    calls
}

/// A thread over a book.
struct Thread {
    book: Book<()>,
    now_ns: u64,
    turn_ns: u64,
    settled: Vec<Settled>,
}

impl Thread {
    fn new(turn_ns: u64) -> Self {
        Self { book: Book::new(1, AGE_MAX_NS), now_ns: 0, turn_ns, settled: Vec::new() }
    }

    fn run(mut self, calls: &[(u64, Lane)]) -> Vec<Settled> {
        let mut coming = calls.iter().copied().peekable();
        loop {
            let looked_ns = self.now_ns;
            let mut due = false;
            while let Some((since_ns, lane)) = coming.next_if(|call| call.0 <= looked_ns) {
                self.now_ns += READ_NS;
                due |= self.enter(looked_ns, since_ns, lane);
            }
            if self.now_ns - looked_ns >= ROUND_NS {
                // as the thread that gives turns, it looks before
                continue;
            }
            if due || self.book.waiting() > 0 {
                let mut rulings = Rulings::new();
                self.book.begin_round(self.now_ns, &mut rulings);
                self.settle(rulings);
            } else {
                let Some((next_ns, _)) = coming.peek() else { return self.settled };
                self.now_ns = self.now_ns.max(*next_ns);
            }
        }
    }

    fn enter(&mut self, looked_ns: u64, since_ns: u64, lane: Lane) -> bool {
        let may_be_short = lane == Lane::Of(CallClass::Web);
        let caller = Caller { lane, since_ns, until_ns: u64::MAX, may_be_short };
        if self.book.goes_ahead((self.now_ns, self.now_ns - looked_ns)) {
            self.settle(vec![((), caller, Ruling::Turn)]);
            return false;
        }
        let mut rulings = Rulings::new();
        let due = self.book.line_up(self.now_ns, ((), caller), &mut rulings);
        self.settle(rulings);
        due
    }

    fn settle(&mut self, rulings: Rulings<()>) {
        for ((), caller, ruling) in rulings {
            let took_ns = match ruling {
                Ruling::Turn => self.turn_ns,
                Ruling::Short => SHORT_NS,
                Ruling::Refused(_) => REFUSE_NS,
            };
            self.now_ns += took_ns;
            match ruling {
                Ruling::Turn => drop(self.book.end_turn(self.now_ns, Some(took_ns))),
                Ruling::Short => self.book.end_short(took_ns),
                Ruling::Refused(_) => {}
            }
            self.settled.push(Settled { lane: caller.lane, due_ns: caller.since_ns, at_ns: self.now_ns, ruling });
        }
    }
}

fn quantile_ns(mut all: Vec<u64>, share: f64) -> u64 {
    all.sort_unstable();
    all.get(((all.len() as f64 * share).ceil() as usize).saturating_sub(1)).copied().unwrap_or_default()
}

fn took(settled: &[Settled], which: impl Fn(&Settled) -> bool) -> Vec<u64> {
    settled.iter().filter(|one| which(one)).map(Settled::took_ns).collect()
}

fn is_turn(one: &Settled) -> bool {
    one.ruling == Ruling::Turn
}

const CENTRE: Lane = Lane::Of(CallClass::CallCentre);
const WEB: Lane = Lane::Of(CallClass::Web);
const BATCH: Lane = Lane::Of(CallClass::Batch);

#[test]
fn ten_times_what_can_be_answered_is_refused_soon_and_the_rest_answered_in_time() {
    const TURN: u64 = 2 * MS;
    let capacity = SECOND as f64 / TURN as f64;
    // as long as the whole is measured: the first tenth of a second counts as a burst
    let (over, end) = (60 * SECOND, 70 * SECOND);
    let sources = [
        Source { lane: CENTRE, rate: 0.3 * capacity, from_ns: 0, to_ns: end },
        Source { lane: WEB, rate: 8.0 * capacity, from_ns: 0, to_ns: over },
        Source { lane: BATCH, rate: 1.6 * capacity, from_ns: 0, to_ns: over },
        Source { lane: WEB, rate: 0.2 * capacity, from_ns: over, to_ns: end },
    ];
    let settled = Thread::new(TURN).run(&calls(&sources));
    let (during, after): (Vec<Settled>, Vec<Settled>) = settled.iter().copied().partition(|one| one.due_ns < over);
    let answered = during.iter().filter(|one| is_turn(one)).count() as f64;
    assert!(answered >= 0.9 * capacity * 60.0, "{answered}");
    let centre: Vec<&Settled> = during.iter().filter(|one| one.lane == CENTRE).collect();
    let kept = centre.iter().filter(|one| is_turn(one)).count();
    assert!(kept as f64 >= 0.999 * centre.len() as f64, "{kept} of {}", centre.len());
    let accepted_ns = quantile_ns(took(&during, is_turn), 0.99);
    assert!(accepted_ns <= 2 * TURN + 5 * MS, "{accepted_ns}");
    let refused = took(&during, |one| matches!(one.ruling, Ruling::Refused(_)));
    assert!(refused.len() > 10_000 && quantile_ns(refused.clone(), 0.99) <= 5 * MS, "{}", quantile_ns(refused, 0.99));
    // it is over at once
    let late = after.iter().filter(|one| !is_turn(one)).map(|one| one.due_ns - over).max().unwrap_or_default();
    assert!(late <= 200 * MS, "{late}");
}

#[test]
fn short_turns_are_given_many_a_round_and_nothing_is_answered_short() {
    const TURN: u64 = 30_000;
    let capacity = SECOND as f64 / TURN as f64;
    let sources = [Source { lane: WEB, rate: 3.0 * capacity, from_ns: 0, to_ns: SECOND }];
    let settled = Thread::new(TURN).run(&calls(&sources));
    let answered = settled.iter().filter(|one| is_turn(one)).count() as f64;
    // of the 30 us in which three come, reading and refusing takes at least 14
    assert!(answered >= 0.4 * capacity, "{answered}");
    assert!(settled.iter().all(|one| one.ruling != Ruling::Short));
    let later = took(&settled, |one| is_turn(one) && one.due_ns > 300 * MS);
    assert!(quantile_ns(later, 0.99) <= 6 * MS);
}

#[test]
fn a_burst_is_answered_and_what_stands_is_not_let_grow() {
    const TURN: u64 = 2 * MS;
    let burst: Vec<(u64, Lane)> = (0..20).map(|n| (n * 1_000, WEB)).collect();
    let settled = Thread::new(TURN).run(&burst);
    assert!(settled.len() == 20 && settled.iter().all(is_turn), "{settled:?}");

    // a fifth too much: those who wait are soon let wait for a small part of the age
    let capacity = SECOND as f64 / TURN as f64;
    let sources = [Source { lane: BATCH, rate: 3.0 * capacity, from_ns: 0, to_ns: 5 * SECOND }];
    let settled = Thread::new(TURN).run(&calls(&sources));
    let later = quantile_ns(took(&settled, |one| is_turn(one) && one.due_ns > SECOND), 1.0);
    assert!(later <= 2 * TURN + 5 * MS, "{later}");
    let early = quantile_ns(took(&settled, |one| is_turn(one) && one.due_ns < SECOND), 1.0);
    assert!(early > 20 * MS, "{early}");
}

/// As the book, but the newest is refused when the line is full.
fn refusing_the_newest(calls: &[(u64, Lane)], turn_ns: u64, len_max: usize) -> Vec<u64> {
    let (mut now_ns, mut line, mut took) = (0, std::collections::VecDeque::new(), Vec::new());
    let mut coming = calls.iter().copied().peekable();
    loop {
        let looked_ns = now_ns;
        while let Some((since_ns, _)) = coming.next_if(|call| call.0 <= looked_ns) {
            now_ns += READ_NS;
            if line.len() < len_max {
                line.push_back(since_ns);
            } else {
                now_ns += REFUSE_NS;
            }
        }
        if let Some(since_ns) = line.pop_front() {
            now_ns += turn_ns;
            took.push(now_ns - since_ns);
        } else {
            let Some((next_ns, _)) = coming.peek() else { return took };
            now_ns = now_ns.max(*next_ns);
        }
    }
}

#[test]
fn who_is_answered_waited_shorter_when_the_oldest_leaves() {
    const TURN: u64 = 2 * MS;
    let capacity = SECOND as f64 / TURN as f64;
    let sources = [Source { lane: BATCH, rate: 10.0 * capacity, from_ns: 0, to_ns: 5 * SECOND }];
    let calls = calls(&sources);
    let settled = Thread::new(TURN).run(&calls);
    let oldest_leaves = took(&settled, |one| is_turn(one) && one.due_ns > SECOND);
    let newest_refused = refusing_the_newest(&calls, TURN, 2);
    let (ours, theirs) = (quantile_ns(oldest_leaves.clone(), 0.5), quantile_ns(newest_refused.clone(), 0.5));
    assert!(oldest_leaves.len() * 10 >= newest_refused.len() * 7, "as much is answered");
    assert!(2 * ours < 2 * theirs - TURN, "{ours} {theirs}");
}

#[test]
fn every_class_gets_turns_while_those_before_it_ask_without_end() {
    const TURN: u64 = MS;
    let sources = [CENTRE, WEB, BATCH].map(|lane| Source { lane, rate: 5_000.0, from_ns: 0, to_ns: 4 * SECOND });
    let mut all = calls(&sources);
    all.extend((0..100).map(|n| (n * 10 * MS, Lane::Stream)));
    all.sort_by_key(|call| call.0);
    let settled = Thread::new(TURN).run(&all);
    let turns = |lane| settled.iter().filter(|one| one.lane == lane && is_turn(one)).count();
    let (centre, web, batch) = (turns(CENTRE), turns(WEB), turns(BATCH));
    assert!(centre > 4 * web && web > 2 * batch && batch > 50, "{centre} {web} {batch}");
    assert_eq!(turns(Lane::Stream), 100, "streams wait, they are not turned away");
}

#[test]
fn answers_without_ranking_take_a_bounded_part_of_the_time() {
    const TURN: u64 = 2 * MS;
    let sources = [Source { lane: WEB, rate: 5_000.0, from_ns: 0, to_ns: 4 * SECOND }];
    let settled = Thread::new(TURN).run(&calls(&sources));
    let short = settled.iter().filter(|one| one.ruling == Ruling::Short).count() as u64;
    let refused = settled.iter().filter(|one| one.ruling == Ruling::Refused(Cause::Overload)).count();
    assert!(short * SHORT_NS > SECOND * 4 / 40 && short * SHORT_NS < SECOND * 4 / 15, "{short}");
    assert!(refused > 1_000, "{refused}");
}

fn caller(lane: Lane, since_ns: u64, until_ns: u64) -> Caller {
    Caller { lane, since_ns, until_ns, may_be_short: false }
}

#[test]
fn who_has_stopped_waiting_is_not_answered() {
    let mut book = Book::new(1, AGE_MAX_NS);
    let mut rulings = Rulings::new();
    assert!(book.goes_ahead((0, 0)) && !book.goes_ahead((0, 0)));
    assert!(!book.line_up(MS, ('a', caller(CENTRE, 0, MS)), &mut rulings));
    book.line_up(MS, ('b', caller(CENTRE, 0, 2 * MS)), &mut rulings);
    book.line_up(MS, ('c', caller(CENTRE, 0, 9 * MS)), &mut rulings);
    assert!(book.end_turn(3 * MS, Some(3 * MS)));
    book.begin_round(3 * MS, &mut rulings);
    let told: Vec<(char, Ruling)> = rulings.iter().map(|(who, _, ruling)| (*who, *ruling)).collect();
    let late = Ruling::Refused(Cause::Late);
    assert_eq!(told, [('a', late), ('b', late), ('c', Ruling::Turn)]);
}

#[test]
fn a_line_is_bounded_and_a_thread_that_has_not_looked_lets_nobody_go_ahead() {
    let mut book = Book::new(1, AGE_MAX_NS);
    let mut rulings = Rulings::new();
    assert!(!book.goes_ahead((2 * MS, 2 * MS)));
    for at in 0..=LINE_LEN_MAX {
        assert!(book.line_up(0, (at, caller(WEB, 0, u64::MAX)), &mut rulings));
    }
    assert_eq!((book.waiting(), rulings.len(), rulings[0].0), (LINE_LEN_MAX, 1, 0));
    book.begin_round(0, &mut rulings);
    assert_eq!(rulings.iter().filter(|one| one.2 == Ruling::Turn).count(), 1);
}

fn turns_of(age_max: Duration) -> Arc<Turns> {
    Arc::new(Turns::new(1, age_max, Arc::new(Shares::new(8))))
}

fn entering(turns: &Arc<Turns>) -> Entering {
    Entering::now(turns, &HeaderMap::new())
}

const URGENT: Urgency = Urgency { class: CallClass::CallCentre, time_budget_ms: 0 };

#[tokio::test]
async fn a_call_that_waits_for_something_lets_others_compute() {
    let turns = turns_of(Duration::from_secs(60));
    let giving = tokio::spawn(Arc::clone(&turns).give());
    let (go, mut gone) = oneshot::channel::<()>();
    let first = entering(&turns).turn(URGENT, Offered::Whole).await.unwrap();
    let waiting = tokio::spawn(async move { first.run(Pin::new(&mut gone)).await });
    let second = entering(&turns).turn(URGENT, Offered::Whole).await.unwrap();
    assert!(!waiting.is_finished());
    // one that lines up behind it gets its turn once it is over, or is dropped
    let third = entering(&turns);
    let third = tokio::spawn(async move { third.turn(URGENT, Offered::Whole).await.map(|_| ()) });
    tokio::task::yield_now().await;
    assert!(!third.is_finished());
    drop(second);
    assert!(third.await.unwrap().is_ok());
    go.send(()).unwrap();
    assert!(waiting.await.unwrap().is_ok());
    giving.abort();
}

#[tokio::test]
async fn a_class_leaves_room_for_those_before_it() {
    let turns = turns_of(Duration::from_secs(60));
    let mut held = Vec::new();
    let batch = Urgency { class: CallClass::Batch, time_budget_ms: 0 };
    for _ in 0..4 {
        let turn = entering(&turns).turn(batch, Offered::Whole).await.unwrap();
        // under way, but not computing
        let mut under_way = Box::pin(async move { turn.run(pin!(std::future::pending::<()>())).await });
        assert!(std::future::poll_fn(|ctx| std::task::Poll::Ready(under_way.as_mut().poll(ctx).is_pending())).await);
        held.push(under_way);
    }
    let away = entering(&turns).turn(batch, Offered::Whole).await.err();
    assert_eq!(away, Some(TurnedAway { class: CallClass::Batch, cause: Cause::Overload }));
    assert!(entering(&turns).turn(URGENT, Offered::Whole).await.is_ok());
    drop(held);
    assert!(entering(&turns).turn(batch, Offered::Whole).await.is_ok());
}
