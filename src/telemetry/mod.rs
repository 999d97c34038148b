//! Metrics and logs. Handles are made once: counting allocates nothing.

pub mod logs;
pub mod names;

mod admission;
mod caps;
mod redis;
mod sweep;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use metrics::{Counter, Gauge, Histogram, Label};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::domain::{
    Decision, Degraded, Level, OutcomeType, PauseKind, Pauses, PlacementAnswer, PlacementStatus, Reason, RevisionOrigin,
};

pub use admission::{Admission, CallClass};
pub use caps::{CapMetrics, ClaimResult};
pub use logs::{init_json_logs, init_text_logs};
pub use redis::{InFlight, RedisMetrics};
pub use sweep::{SweepResult, Swept};

const LEVELS: [Level; 4] = [Level::Full, Level::NoRecommendations, Level::RulesOnly, Level::Fallback];
const RESULTS: [&str; 4] = ["ok", "empty", "fallback", "unknown_placement"];

/// What became of a publish; labels of [`names::PUBLISHES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishOutcome {
    /// It serves.
    Published,
    /// It serves although checks failed or might have.
    Forced,
    /// It served before.
    Unchanged,
    /// The checks refused it, or it could not be kept.
    Refused,
    /// Another revision was active than expected.
    Aborted,
}

impl PublishOutcome {
    const NAMES: [&'static str; 5] = ["published", "forced", "unchanged", "refused", "aborted"];
}

/// What work counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Somebody waits for it.
    Interactive,
    /// One of many questions of a stream; gives way.
    Batch,
}

impl Class {
    /// Every class.
    pub const ALL: [Class; 2] = [Class::Interactive, Class::Batch];

    /// Its name in labels.
    pub fn name(self) -> &'static str {
        match self {
            Class::Interactive => "interactive",
            Class::Batch => "batch",
        }
    }
}

/// Counters of one channel by class, level and result; made on first use.
struct ChannelHandles([[[OnceLock<Counter>; RESULTS.len()]; LEVELS.len()]; Class::ALL.len()]);

/// Every handle.
pub struct Metrics {
    recorder: Recorder,
    channels: ArcSwap<HashMap<Arc<str>, Arc<ChannelHandles>>>,
    decide_seconds: Histogram,
    suppressed: Vec<Counter>,
    degraded: Vec<Counter>,
    outcomes: Vec<Counter>,
    offers_reaching_nobody: Gauge,
    refused_errors: Gauge,
    reloads: [Counter; 2],
    publishes: Vec<Counter>,
    compile_seconds: Gauge,
    pauses: Vec<Gauge>,
    pauses_unwritten: Gauge,
    /// Long calls about rules refused because too many were at work.
    pub long_work_refused: Counter,
    sweep: sweep::SweepMetrics,
    admission: admission::AdmissionMetrics,
    /// Customers erased.
    pub erasures: Counter,
    /// The line that tells the active revision.
    ruleset_info: ArcSwap<String>,
    errors: Vec<Counter>,
    in_flight: [Gauge; Class::ALL.len()],
    request_ids_forgotten: [Counter; Class::ALL.len()],
    /// Requests refused because too many were being answered.
    pub shed: Counter,
    /// Streams of questions and of events that are open.
    pub streams: Gauge,
    /// Times a stream of questions gave way to single calls.
    pub streams_gave_way: Counter,
    /// Subscriptions ended, for their reader took nothing.
    pub subscribers_stalled: Counter,
    /// Times a stream of events waited for the store or its reader.
    pub event_streams_waited: Counter,
    /// Events whose time was set to now.
    pub events_clamped: Counter,
    /// Events older than repetitions are noticed.
    pub events_late: Counter,
    /// Requests of browsers refused because they came too fast.
    pub browsers_limited: Counter,
    /// Clicks on links that were not counted.
    pub clicks_dropped: Counter,
    browser_programs: Vec<Counter>,
    /// Panics caught in handlers.
    pub panics: Counter,
    /// Connections accepted.
    pub connections: Counter,
}

/// The process's metrics.
pub fn metrics() -> &'static Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(Metrics::new)
}

struct Recorder {
    recorder: metrics_exporter_prometheus::PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Recorder {
    fn new() -> Self {
        let buckets = names::BUCKETS.iter().try_fold(PrometheusBuilder::new(), |builder, (name, bounds)| {
            builder.set_buckets_for_metric(Matcher::Full((*name).to_owned()), bounds)
        });
        // INVARIANT: no buckets are empty, the only error there is.
        let recorder = buckets.unwrap_or_else(|_| PrometheusBuilder::new()).build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            for (name, help) in names::HELP {
                metrics::describe_counter!(*name, *help);
            }
        });
        Self { recorder, handle }
    }

    fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        metrics::with_local_recorder(&self.recorder, || metrics::counter!(name, labels))
    }

    fn gauge(&self, name: &'static str) -> Gauge {
        metrics::with_local_recorder(&self.recorder, || metrics::gauge!(name))
    }

    fn gauge_of(&self, name: &'static str, key: &'static str, value: &'static str) -> Gauge {
        metrics::with_local_recorder(&self.recorder, || metrics::gauge!(name, key => value))
    }

    fn counters<'a>(
        &self,
        name: &'static str,
        key: &'static str,
        values: impl Iterator<Item = &'a str>,
    ) -> Vec<Counter> {
        values.map(|value| self.counter(name, vec![Label::new(key, value.to_owned())])).collect()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// A set of its own; services share [`metrics()`].
    pub fn new() -> Self {
        let recorder = Recorder::new();
        let reload = |result| recorder.counter(names::RULESET_RELOADS, vec![Label::new("result", result)]);
        Self {
            channels: ArcSwap::default(),
            decide_seconds: metrics::with_local_recorder(&recorder.recorder, || {
                metrics::histogram!(names::DECIDE_SECONDS)
            }),
            suppressed: recorder.counters(names::SUPPRESSED, "reason", Reason::ALL.iter().map(|r| r.name())),
            degraded: recorder.counters(names::DEGRADED, "flag", Degraded::ALL.into_iter().map(Degraded::name)),
            outcomes: recorder.counters(names::OUTCOMES, "type", OutcomeType::ALL.into_iter().map(OutcomeType::name)),
            offers_reaching_nobody: recorder.gauge(names::OFFERS_REACHING_NOBODY),
            refused_errors: recorder.gauge(names::RULESET_REFUSED_ERRORS),
            reloads: [reload("ok"), reload("refused")],
            publishes: recorder.counters(names::PUBLISHES, "outcome", PublishOutcome::NAMES.into_iter()),
            compile_seconds: recorder.gauge(names::COMPILE_SECONDS),
            pauses: PauseKind::ALL.iter().map(|kind| recorder.gauge_of(names::PAUSES, "kind", kind.name())).collect(),
            pauses_unwritten: recorder.gauge(names::PAUSES_UNWRITTEN),
            erasures: recorder.counter(names::ERASURES, Vec::new()),
            long_work_refused: recorder.counter(names::LONG_WORK_REFUSED, Vec::new()),
            sweep: sweep::SweepMetrics::new(&recorder),
            admission: admission::AdmissionMetrics::new(&recorder),
            ruleset_info: ArcSwap::default(),
            errors: recorder.counters(names::REQUEST_ERRORS, "code", names::CODES.into_iter()),
            in_flight: Class::ALL.map(|class| recorder.gauge_of(names::REQUESTS_IN_FLIGHT, "class", class.name())),
            request_ids_forgotten: Class::ALL
                .map(|class| recorder.counter(names::REQUEST_IDS_FORGOTTEN, vec![Label::new("class", class.name())])),
            shed: recorder.counter(names::REQUESTS_SHED, Vec::new()),
            streams: recorder.gauge(names::STREAMS),
            subscribers_stalled: recorder.counter(names::SUBSCRIBERS_STALLED, Vec::new()),
            streams_gave_way: recorder.counter(names::STREAMS_GAVE_WAY, Vec::new()),
            event_streams_waited: recorder.counter(names::EVENT_STREAMS_WAITED, Vec::new()),
            events_clamped: recorder.counter(names::EVENTS_CLAMPED, Vec::new()),
            events_late: recorder.counter(names::EVENTS_LATE, Vec::new()),
            browsers_limited: recorder.counter(names::BROWSERS_LIMITED, Vec::new()),
            clicks_dropped: recorder.counter(names::CLICKS_DROPPED, Vec::new()),
            browser_programs: recorder.counters(names::BROWSER_PROGRAMS, "kind", names::PROGRAMS.into_iter()),
            panics: recorder.counter(names::PANICS, Vec::new()),
            connections: recorder.counter(names::CONNECTIONS, Vec::new()),
            recorder,
        }
    }

    /// Counts one answered question. `dropped` are candidates per reason;
    /// `channel_of` gives the channel of a placement by its name. Only what
    /// somebody waits for is timed.
    pub fn decided<'a>(
        &self,
        (class, decision): (Class, &'a Decision),
        dropped: &[(Reason, u32)],
        elapsed: Duration,
        channel_of: impl Fn(&str) -> Option<&'a str>,
    ) {
        if class == Class::Interactive {
            self.decide_seconds.record(elapsed.as_secs_f64());
        }
        for answer in &decision.placements {
            let channel = match answer.presentations.first() {
                Some(presentation) => &*presentation.channel,
                None => channel_of(&answer.placement).unwrap_or("none"),
            };
            self.answered(channel, (class, decision.level), answer);
        }
        for (reason, count) in dropped {
            if let Some(counter) = self.suppressed.get(*reason as usize - 1) {
                counter.increment(u64::from(*count));
            }
        }
        for flag in decision.degraded.iter() {
            if let Some(counter) = self.degraded.get(flag as usize - 1) {
                counter.increment(1);
            }
        }
    }

    fn answered(&self, channel: &str, (class, level): (Class, Level), answer: &PlacementAnswer) {
        let result = match answer.status {
            PlacementStatus::Ok => 0,
            PlacementStatus::Empty => 1,
            PlacementStatus::Fallback => 2,
            PlacementStatus::UnknownPlacement => 3,
        };
        let channels = self.channels.load();
        let known = channels.get(channel).map(|handles| (channel, Arc::clone(handles)));
        let (channel, handles) = known.unwrap_or_else(|| self.add_channel(channel));
        let levels = handles.0.get(class as usize);
        let cell = levels.and_then(|levels| levels.get(level as usize - 1)).and_then(|row| row.get(result));
        let Some(cell) = cell else { return };
        let counter = cell.get_or_init(|| {
            let labels =
                [("channel", channel), ("level", level.name()), ("result", RESULTS[result]), ("class", class.name())];
            let labels = labels.into_iter().map(|(key, value)| Label::new(key, value.to_owned())).collect();
            self.recorder.counter(names::DECISIONS, labels)
        });
        counter.increment(1);
    }

    /// Handles of a channel not seen before; `other` when there are too many.
    fn add_channel<'a>(&self, channel: &'a str) -> (&'a str, Arc<ChannelHandles>) {
        let room = self.channels.load().len() < names::CHANNELS_MAX;
        let label = if room { channel } else { "other" };
        self.channels.rcu(|channels| {
            let mut channels = HashMap::clone(channels);
            channels.entry(Arc::from(label)).or_insert_with(|| Arc::new(ChannelHandles(Default::default())));
            channels
        });
        let handles = self.channels.load().get(label).cloned();
        (label, handles.unwrap_or_else(|| Arc::new(ChannelHandles(Default::default()))))
    }

    /// Counts one recorded outcome.
    pub fn outcome(&self, outcome: OutcomeType) {
        if let Some(counter) = self.outcomes.get(outcome as usize) {
            counter.increment(1);
        }
    }

    /// Counts one reload of the rules, refused when it has errors.
    pub fn reloaded(&self, errors: usize) {
        self.reloads[usize::from(errors > 0)].increment(1);
    }

    /// Sets how many errors the edit has that is refused now.
    pub fn refused(&self, errors: usize) {
        self.refused_errors.set(errors as f64);
    }

    /// Sets how many changes of what is paused are not on disk.
    pub fn pauses_unwritten(&self, changes: u64) {
        self.pauses_unwritten.set(changes as f64);
    }

    /// Counts one publish.
    pub fn published(&self, outcome: PublishOutcome) {
        if let Some(counter) = self.publishes.get(outcome as usize) {
            counter.increment(1);
        }
    }

    /// Sets how long the last compilation took.
    pub fn compiled(&self, took: Duration) {
        self.compile_seconds.set(took.as_secs_f64());
    }

    /// Sets how much is paused.
    pub fn paused(&self, pauses: &Pauses) {
        for (kind, gauge) in PauseKind::ALL.iter().zip(&self.pauses) {
            gauge.set(pauses.list.iter().filter(|pause| pause.kind == *kind).count() as f64);
        }
    }

    /// Tells the active revision. A label would stay for every revision that
    /// ever was, so the line is written by hand.
    pub fn revision(&self, hash: &str, origin: RevisionOrigin) {
        let name = names::RULESET_INFO;
        let line = format!(
            "# HELP {name} The active revision\n# TYPE {name} gauge\n{name}{{revision=\"{hash}\",origin=\"{}\"}} 1\n",
            origin.name()
        );
        self.ruleset_info.store(Arc::new(line));
    }

    /// Sets how many offers were presented to nobody in the last 24 hours.
    pub fn offers_reaching_nobody(&self, offers: usize) {
        self.offers_reaching_nobody.set(offers as f64);
    }

    /// Counts one request answered with an error code of `google.rpc.Code`.
    pub fn request_error(&self, code: i32) {
        if let Some(counter) = usize::try_from(code).ok().and_then(|code| self.errors.get(code)) {
            counter.increment(1);
        }
    }

    /// Counts one request of a program among browsers, by its number in
    /// [`names::PROGRAMS`].
    pub fn program(&self, program: usize) {
        if let Some(counter) = self.browser_programs.get(program) {
            counter.increment(1);
        }
    }

    /// Sets how many requests of a class are being answered.
    pub fn in_flight(&self, class: Class, requests: usize) {
        // INVARIANT: there is a gauge of every class
        self.in_flight[class as usize].set(requests as f64);
    }

    /// Counts request ids of a class that were forgotten before their time, for
    /// there were too many.
    pub fn request_ids_forgotten(&self, class: Class) -> Counter {
        self.request_ids_forgotten[class as usize].clone()
    }

    /// A counter of this set; keep it, making one allocates.
    pub fn counter(&self, name: &'static str, labels: Vec<Label>) -> Counter {
        self.recorder.counter(name, labels)
    }

    /// A gauge of this set; keep it, making one allocates.
    pub fn gauge(&self, name: &'static str) -> Gauge {
        self.recorder.gauge(name)
    }

    /// Folds histogram samples into their buckets. Call it every second:
    /// samples pile up in memory until then.
    pub fn upkeep(&self) {
        self.recorder.handle.run_upkeep();
    }

    /// The Prometheus text. Takes milliseconds: keep it off serving threads.
    pub fn render(&self) -> String {
        self.recorder.handle.render() + &self.ruleset_info.load() + &self.sweep.segments.load()
    }
}
