//! The caps of one replica without the service around them.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use rapport::{
    domain::{CustomerKey, DecisionId, RecordRef, Timestamp},
    rules::{self, Ruleset, SourceFile},
    store::{
        RedisPlace, ReplicaId,
        caps::{Caps, ExactBudget, PersonClaim, Verdict, Winning},
        redis::Keys,
    },
};
use tokio::task::JoinHandle;

use crate::redis::bench::Kept;

/// How long a call may take that must succeed, on slow machines too.
pub const PATIENT: Duration = Duration::from_secs(20);
/// How long a place is reserved without being seen.
pub const RESERVED: Duration = Duration::from_secs(3);

/// Rules with four exact limits that count `ad`, and one that counts `spot`, which
/// has an exact budget too.
pub const RULES: &str = r#"
settings: { currency: GBP }
channels:
  - { id: web, kind: self_service, require: [text], counts_on: impression, reserve_for: 3s, valid_for: 1h }
placements: [ { id: hero, channel: web }, { id: side, channel: web } ]
issues: [ { id: grow } ]
groups: [ { id: all } ]
policies:
  limits:
    - { id: by_all, scope: all, group: all, max: 4000, window: 1h, exact: true, when_unknown: deny }
    - { id: by_channel, scope: channel, group: all, max: 3000, window: day, exact: true, when_unknown: deny }
    - { id: by_group, scope: group, group: all, max: 2000, window: month, exact: true, when_unknown: deny }
offers:
  - id: ad
    purpose: service
    issue: grow
    group: all
    value: 5
    limits: [ { max: 1000, window: 1h, exact: true, when_unknown: deny } ]
    placements: [hero]
    treatments: { web: { en: { text: a } } }
  - id: spot
    purpose: service
    issue: grow
    group: all
    value: 5
    budget: { max: 1000, window: 1h, exact: true }
    placements: [side]
    treatments: { web: { en: { text: a } } }
"#;

/// One replica: its caps, its client, and the tasks that keep both.
pub struct Replica {
    pub caps: Arc<Caps>,
    pub rules: Arc<Ruleset>,
    pub kept: Kept,
    keeper: JoinHandle<()>,
}

impl Replica {
    /// The replica with a number, at a Redis.
    pub fn at(url: &str, number: u64) -> Self {
        let kept = Kept::at(url);
        let remote = RedisPlace { client: kept.client.clone(), keys: Keys::default(), replica: ReplicaId(number) };
        let caps = Arc::new(Caps::new(remote));
        let rules = compiled(RULES);
        caps.go_by(&rules);
        let keeping = Arc::clone(&caps);
        let keeper = tokio::spawn(async move { keeping.keep(|| 3).await });
        Self { caps, rules, kept, keeper }
    }

    /// Ends it without a word, as a kill does.
    pub fn kill(self) {
        self.keeper.abort();
    }

    /// What a decision claims for a customer with `ad`.
    pub fn place(&self, customer: CustomerKey, decision: DecisionId, hold: Option<Duration>) -> PersonClaim {
        let offer = self.rules.offer_by_name("ad").expect("the offer");
        let channel = self.rules.channel_by_name("web").expect("the channel");
        let hold_us = hold.map(|hold| hold.as_micros() as i64);
        let winning = Winning { offer, channel, record: RecordRef::NONE, hold_us };
        PersonClaim::of(&self.rules, (customer, decision), std::iter::once(winning)).expect("a claim")
    }

    /// Claims for a customer.
    pub async fn claim(&self, customer: CustomerKey, decision: DecisionId, deadline: Instant) -> Verdict {
        self.caps.claim(&self.place(customer, decision, Some(RESERVED)), now(), deadline).await
    }

    /// A unit of the budget was seen.
    pub fn seen(&self, decision: DecisionId) {
        self.caps.unit_seen(&self.budget(), decision, 3_600_000);
    }

    /// The budget of `spot`.
    pub fn budget(&self) -> ExactBudget {
        let offer = self.rules.offer_by_name("spot").expect("the offer");
        ExactBudget::of(&self.rules, offer).expect("a budget")
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

pub fn compiled(text: &str) -> Arc<Ruleset> {
    let files = [SourceFile { path: "all.yaml".into(), text: text.into() }];
    Arc::new(rules::compile(&files).unwrap_or_else(|errors| panic!("{:#?}", errors.errors)))
}

/// The moment by the clock of this host.
pub fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    Timestamp(since.as_micros() as i64)
}

/// The id of the n-th decision of this run: the same whenever it is asked for.
pub fn decision(n: u64) -> DecisionId {
    static BEGUN: OnceLock<u64> = OnceLock::new();
    DecisionId::new(*BEGUN.get_or_init(|| now().millis() as u64), u128::from(n))
}

/// A size that an environment variable may set.
pub fn sized(variable: &str, small: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(small)
}
