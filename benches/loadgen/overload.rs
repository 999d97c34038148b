//! More calls than can be answered, on an absolute schedule: what is answered
//! whole, what without ranking, what is refused, and how soon each caller hears.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use bytes::Bytes;
use prost::Message;
use rapport::proto::{DecideRequest, DecideResponse, Degraded};
use serde_json::json;
use tokio::task::LocalSet;

use super::{
    client::{self, Connection},
    histogram::Histogram,
    open::wait_until,
    process::rss_kib,
    report::{Report, latency, us},
    target::{Layout, Scenario, Target},
};
use crate::generator::{self, SplitMix64};

/// The desk's part of what can be answered.
const DESK_SHARE: f64 = 0.4;
/// What part of what can be answered is asked for before and after.
const UNLOADED: f64 = 0.1;
const AFTER: f64 = 0.5;
/// How long what can be answered, the time of a call without load, and the time
/// after are looked at.
const PEAK: Duration = Duration::from_secs(5);
const CALM: Duration = Duration::from_secs(10);
/// Most calls under way; more are not sent, and counted.
const IN_FLIGHT_MAX: usize = 8_192;
/// What a heavy decision costs at least.
const HEAVY_MIN: Duration = Duration::from_millis(2);

/// What has to be reached.
#[derive(Clone, Copy, Debug)]
pub struct Goals {
    heavy: bool,
    /// Times of what can be answered.
    times: f64,
    /// The least of what can be answered that is.
    goodput_min: f64,
}

/// The most that a refusal may take at p99.
const REFUSED_P99_MAX: Duration = Duration::from_millis(5);
/// The least of the desk's calls that are answered.
const DESK_MIN: f64 = 0.999;
/// The most that it takes until all is well again.
const RECOVERY_MAX: Duration = Duration::from_secs(5);

impl Goals {
    /// Of heavy or ordinary decisions, at so many times what can be answered.
    pub fn of(heavy: bool, times: Option<f64>) -> Self {
        let (usual, goodput_min) = if heavy { (10.0, 0.9) } else { (3.0, 0.5) };
        Self { heavy, times: times.unwrap_or(usual), goodput_min }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Desk,
    Page,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Became {
    Whole,
    Short,
    Refused,
}

/// What became of all calls of a stretch.
#[derive(Default)]
struct Counted {
    /// By who asks: sent, whole, short, refused.
    desk: [u64; 4],
    page: [u64; 4],
    whole: Option<Histogram>,
    desk_whole: Option<Histogram>,
    short: Option<Histogram>,
    refused: Option<Histogram>,
    lag: Option<Histogram>,
    not_sent: u64,
    /// From the beginning to when the last call was due that was not answered whole
    /// or not in time.
    last_unwell: Option<Duration>,
    failed: Option<String>,
    elapsed: Duration,
}

impl Counted {
    fn whole(&self) -> u64 {
        self.desk[1] + self.page[1]
    }

    fn rate(&self) -> f64 {
        self.whole() as f64 / self.elapsed.as_secs_f64()
    }
}

fn quantile(histogram: &Option<Histogram>, share: f64) -> Duration {
    Duration::from_nanos(histogram.as_ref().map_or(0, |histogram| histogram.quantile_ns(share)))
}

/// What is asked, and over which connections.
struct Client {
    connections: Vec<Connection>,
    desk: Rc<[Bytes]>,
    page: Rc<[Bytes]>,
    heavy: bool,
}

/// How much of whom for how long.
#[derive(Clone, Copy)]
struct Stretch {
    /// Calls a second of the desk, and of pages.
    rates: (f64, f64),
    time: Duration,
    /// Over this a call was not answered in time.
    in_time: Duration,
}

impl Client {
    async fn open(target: &Target, scenario: &Scenario, connections: usize, heavy: bool) -> anyhow::Result<Self> {
        let frames = |question: fn(usize) -> serde_json::Value| -> anyhow::Result<Rc<[Bytes]>> {
            let frame = |n| Ok(client::frame(&serde_json::from_value::<DecideRequest>(question(n))?));
            (0..scenario.customers).map(frame).collect()
        };
        let mut open = Vec::with_capacity(connections);
        for _ in 0..connections {
            open.push(Connection::open(target.address).await?);
        }
        Ok(Self {
            connections: open,
            desk: frames(generator::question_of_agent)?,
            page: frames(generator::question)?,
            heavy,
        })
    }

    /// Calls answered a second with so many always under way: few enough that
    /// none is refused.
    async fn peak(&self, under_way: usize) -> anyhow::Result<f64> {
        let (next, answered) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0_u64)));
        let local = LocalSet::new();
        let started = Instant::now();
        let mut tasks = Vec::new();
        for at in 0..under_way {
            let connection = self.connections[at % self.connections.len()].clone();
            let (frames, next, answered) = (Rc::clone(&self.page), Rc::clone(&next), Rc::clone(&answered));
            tasks.push(local.spawn_local(async move {
                while started.elapsed() < PEAK {
                    let at: usize = next.get();
                    next.set((at + 1) % frames.len());
                    connection.decide(frames[at].clone()).await?;
                    answered.set(answered.get() + 1);
                }
                anyhow::Ok(())
            }));
        }
        local
            .run_until(async {
                for task in tasks {
                    task.await??;
                }
                anyhow::Ok(())
            })
            .await?;
        Ok(answered.get() as f64 / started.elapsed().as_secs_f64())
    }

    async fn send(&self, stretch: Stretch) -> anyhow::Result<Counted> {
        LocalSet::new().run_until(self.send_all(stretch)).await
    }

    async fn send_all(&self, stretch: Stretch) -> anyhow::Result<Counted> {
        let counted = Rc::new(RefCell::new(Counted::default()));
        let under_way = Rc::new(Cell::new(0_usize));
        let mut rng = SplitMix64(generator::SEED);
        let rate = stretch.rates.0 + stretch.rates.1;
        let started = Instant::now();
        let (mut due, mut number) = (Duration::ZERO, 0_usize);
        while due < stretch.time {
            wait_until(started + due).await;
            let from = if rng.unit() * rate < stretch.rates.0 { From::Desk } else { From::Page };
            if under_way.get() >= IN_FLIGHT_MAX {
                counted.borrow_mut().not_sent += 1;
            } else {
                let frames = if from == From::Desk { &self.desk } else { &self.page };
                let frame = frames[number % frames.len()].clone();
                let connection = self.connections[number % self.connections.len()].clone();
                let (counted, under_way) = (Rc::clone(&counted), Rc::clone(&under_way));
                under_way.set(under_way.get() + 1);
                let heavy = self.heavy;
                tokio::task::spawn_local(async move {
                    let sent = started.elapsed();
                    let became = ask(&connection, frame, heavy).await;
                    under_way.set(under_way.get() - 1);
                    let answered = started.elapsed();
                    counted.borrow_mut().settle((from, became), (due, sent, answered), stretch.in_time);
                });
            }
            number += 1;
            due += Duration::from_secs_f64(-rng.unit().ln() / rate);
        }
        while under_way.get() > 0 {
            tokio::task::yield_now().await;
        }
        let mut counted = counted.take();
        counted.elapsed = started.elapsed();
        if let Some(why) = counted.failed.take() {
            anyhow::bail!("a call failed: {why}");
        }
        Ok(counted)
    }
}

impl Counted {
    fn settle(
        &mut self,
        (from, became): (From, anyhow::Result<Became>),
        (due, sent, answered): (Duration, Duration, Duration),
        in_time: Duration,
    ) {
        let became = match became {
            Ok(became) => became,
            Err(why) => {
                self.failed.get_or_insert_with(|| format!("{why:#}"));
                return;
            }
        };
        let took = answered - due;
        let (row, histogram) = match became {
            Became::Whole => (1, &mut self.whole),
            Became::Short => (2, &mut self.short),
            Became::Refused => (3, &mut self.refused),
        };
        histogram.get_or_insert_with(Histogram::new).record(took.as_nanos() as u64);
        self.lag.get_or_insert_with(Histogram::new).record((sent - due).as_nanos() as u64);
        if became == Became::Whole && from == From::Desk {
            self.desk_whole.get_or_insert_with(Histogram::new).record(took.as_nanos() as u64);
        }
        let counts = if from == From::Desk { &mut self.desk } else { &mut self.page };
        counts[0] += 1;
        counts[row] += 1;
        if became != Became::Whole || took > in_time {
            self.last_unwell = self.last_unwell.max(Some(due));
        }
    }
}

/// Asks; only where answers may be without ranking they are read.
async fn ask(connection: &Connection, frame: Bytes, heavy: bool) -> anyhow::Result<Became> {
    let refused = |error: anyhow::Error| match error.to_string().starts_with("grpc-status 8:") {
        true => Ok(Became::Refused),
        false => Err(error),
    };
    if !heavy {
        return connection.decide(frame).await.map(|_| Became::Whole).or_else(refused);
    }
    match connection.decide_whole(frame).await {
        Ok(answer) => {
            let short = DecideResponse::decode(answer)?.degraded.contains(&(Degraded::Overload as i32));
            Ok(if short { Became::Short } else { Became::Whole })
        }
        Err(error) => refused(error),
    }
}

/// Runs it all against a server of its own.
pub async fn run(
    scenario: &Scenario,
    (title, time, connections): (String, Duration, usize),
    goals: Goals,
) -> anyhow::Result<Report> {
    let target = scenario.rapport(Layout::PerCore).await?;
    let client = Client::open(&target, scenario, connections, goals.heavy).await?;
    let under_way = if goals.heavy { 2 } else { 32 };
    client.peak(under_way).await?;
    let peak = client.peak(under_way).await?;
    let forever = Duration::MAX;
    let of_both = |share: f64| (peak * share * DESK_SHARE, peak * share * (1.0 - DESK_SHARE));
    let calm = client.send(Stretch { rates: of_both(UNLOADED), time: CALM, in_time: forever }).await?;
    let unloaded = quantile(&calm.whole, 0.99);
    let in_time = 2 * unloaded + Duration::from_millis(5);
    let rss_before = rss_kib(target.pid)?;
    let rates = (peak * DESK_SHARE, peak * (goals.times - DESK_SHARE));
    let over = client.send(Stretch { rates, time, in_time }).await?;
    let rss = (rss_before, rss_kib(target.pid)?);
    let after = client.send(Stretch { rates: of_both(AFTER), time: CALM, in_time: forever }).await?;
    ensure!(over.whole() > 0, "nothing was answered");

    let columns =
        vec!["stretch", "sent/s", "whole/s", "short/s", "refused/s", "desk whole", "p50 us", "p99 us", "refused p99"];
    let mut report = Report::new(title, columns);
    for (name, counted) in [("calm", &calm), ("overload", &over), ("after", &after)] {
        row(&mut report, name, counted);
    }
    let measured = Measured { peak, unloaded, in_time, over: &over, after: &after };
    measured.tell(&mut report, goals, rss);
    measured.judge(&mut report, goals);
    Ok(report)
}

fn row(report: &mut Report, name: &str, counted: &Counted) {
    let seconds = counted.elapsed.as_secs_f64();
    let sum = |at: usize| counted.desk[at] + counted.page[at];
    let rate = |at: usize| format!("{:.0}", sum(at) as f64 / seconds);
    let cell = |duration: Duration| format!("{:.0}", us(duration.as_nanos() as u64));
    let told = |histogram: &Option<Histogram>| histogram.as_ref().map(latency);
    report.row(
        vec![
            name.to_owned(),
            rate(0),
            rate(1),
            rate(2),
            rate(3),
            format!("{:.4}", counted.desk[1] as f64 / counted.desk[0].max(1) as f64),
            cell(quantile(&counted.whole, 0.5)),
            cell(quantile(&counted.whole, 0.99)),
            cell(quantile(&counted.refused, 0.99)),
        ],
        json!({
            "stretch": name, "seconds": seconds, "desk": counted.desk, "page": counted.page,
            "not_sent": counted.not_sent, "whole": told(&counted.whole), "desk_whole": told(&counted.desk_whole),
            "short": told(&counted.short), "refused": told(&counted.refused), "lag": told(&counted.lag),
        }),
    );
}

/// What the stretches came to.
struct Measured<'a> {
    peak: f64,
    unloaded: Duration,
    in_time: Duration,
    over: &'a Counted,
    after: &'a Counted,
}

impl Measured<'_> {
    fn goodput(&self) -> f64 {
        self.over.rate() / self.peak
    }

    fn desk(&self) -> f64 {
        self.over.desk[1] as f64 / self.over.desk[0].max(1) as f64
    }

    fn recovery(&self) -> Duration {
        self.after.last_unwell.unwrap_or_default()
    }

    fn tell(&self, report: &mut Report, goals: Goals, (rss_before, rss_after): (u64, u64)) {
        let over = self.over;
        let sent = (over.desk[0] + over.page[0]) as f64 / over.elapsed.as_secs_f64() / self.peak;
        report.note(
            format!(
                "answered at most {:.0}/s, so a decision takes {:.0} us; sent {sent:.1} times that of {:.1} planned, {} \
                 not sent, lag p99 {:.0} us; goodput {:.3} of the most; of the desk, {DESK_SHARE} of the most, {:.5} \
                 answered, p99 {:.0} us; accepted p99 {:.0} us of {:.0} us (unloaded {:.0} us); recovery {:.2} s; memory \
                 {rss_before} to {rss_after} KiB",
                self.peak,
                1e6 / self.peak,
                goals.times,
                over.not_sent,
                us(quantile(&over.lag, 0.99).as_nanos() as u64),
                self.goodput(),
                self.desk(),
                us(quantile(&over.desk_whole, 0.99).as_nanos() as u64),
                us(quantile(&over.whole, 0.99).as_nanos() as u64),
                us(self.in_time.as_nanos() as u64),
                us(self.unloaded.as_nanos() as u64),
                self.recovery().as_secs_f64(),
            ),
            json!({
                "peak": self.peak, "sent_times": sent, "goodput": self.goodput(), "desk": self.desk(),
                "unloaded_p99_us": us(self.unloaded.as_nanos() as u64), "recovery_s": self.recovery().as_secs_f64(),
                "rss_kib": [rss_before, rss_after],
            }),
        );
    }

    fn judge(&self, report: &mut Report, goals: Goals) {
        if goals.heavy && self.peak > 1.0 / HEAVY_MIN.as_secs_f64() {
            report.invalid(format!("a decision takes {:.0} us, under 2 ms: give more `--offers`", 1e6 / self.peak));
        }
        if self.goodput() < goals.goodput_min {
            report.invalid(format!("goodput {:.3}, under {}", self.goodput(), goals.goodput_min));
        }
        let accepted = quantile(&self.over.whole, 0.99);
        if accepted > self.in_time {
            report.invalid(format!("accepted p99 {accepted:?}, over {:?}", self.in_time));
        }
        let refused = quantile(&self.over.refused, 0.99);
        if refused > REFUSED_P99_MAX {
            report.invalid(format!("refused p99 {refused:?}, over {REFUSED_P99_MAX:?}"));
        }
        if self.desk() < DESK_MIN {
            report.invalid(format!("{:.5} of the desk's calls answered, under {DESK_MIN}", self.desk()));
        }
        if self.recovery() > RECOVERY_MAX {
            report.invalid(format!("well again after {:?}, over {RECOVERY_MAX:?}", self.recovery()));
        }
    }
}
