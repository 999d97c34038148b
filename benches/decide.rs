//! The pure pipeline over 10 to 10,000 offers: time and allocations of
//! rank and of compose, against the plain way through the `cel` interpreter in
//! the same run. `benches/README.md` says what the numbers mean.

use std::{hint::black_box, process::ExitCode, sync::Arc, time::Instant};

use anyhow::{Context, bail};
use rapport::{
    decide::{Inputs, Scratch, Signer, Snapshot, compose, rank},
    domain::{
        ArmKey, AttrId, ChannelId, Consent, ConsentPurpose, CustomerKey, DecisionId, DegradedSet, EventStat,
        EventTypeId, Holder, Interaction, LinkRef, Match, OfferId, OutcomeSet, OutcomeType, Permission, PlacementAsk,
        PlacementId, PresentationRef, Profile, ReasonCode, Request, StoredAttribute, Tallies, Timestamp, Value,
        VisitorId,
    },
    learn,
    rules::{self, SourceFile},
};

mod baseline;
mod counting;
#[allow(dead_code, reason = "the rest is for the bench of the service")]
mod generator;
#[path = "loadgen/histogram.rs"]
mod histogram;
#[path = "loadgen/statistics.rs"]
mod statistics;

use baseline::{Baseline, agree};
use counting::{Counting, allocations};
use generator::{ANY_AGE_YEARS, SplitMix64};
use histogram::Histogram;
use statistics::Quartiles;

#[global_allocator]
static ALLOCATOR: Counting<std::alloc::System> = Counting(std::alloc::System);

/// Offers, and the years of age that each is for: a third and a twentieth of
/// the customers.
const CASES: [(usize, u64); 5] = [
    (10, ANY_AGE_YEARS),
    (100, ANY_AGE_YEARS),
    (1_000, ANY_AGE_YEARS),
    (10_000, ANY_AGE_YEARS),
    (10_000, NARROW_YEARS),
];
const NARROW_YEARS: u64 = 9;
/// Customers that ask in turn.
const CUSTOMERS: usize = 64;
/// Rounds; each measures every size and every way once.
const ROUNDS: usize = 12;
/// The first rounds warm up and are not counted.
const ROUNDS_DROPPED: usize = 2;
/// Decisions of a round: fewer for more offers.
const DECISIONS: usize = 200_000;
/// Decisions of a round at least.
const DECISIONS_MIN: usize = 200;
/// Offers evaluated the plain way per round: fewer customers for more offers.
const PLAIN_OFFERS: usize = 64_000;
/// Contacts in each customer's history.
const INTERACTIONS: usize = 20;
/// 2025-06-01T12:00:00Z.
const NOW: Timestamp = Timestamp(1_748_779_200_000_000);
const DAY_US: i64 = 86_400_000_000;

/// Signs nothing: signing is not part of the pipeline.
struct Unsigned;

impl Signer for Unsigned {
    fn presentation_token(&self, _presentation: &PresentationRef, _: Option<Holder>) -> String {
        "a-token-as-long-as-a-signed-one-is-in-the-service-with-its-hmac-in-base64".to_owned()
    }

    fn link_url(&self, _link: &LinkRef, _: Option<Holder>) -> String {
        "http://127.0.0.1:7070/c/a-token-as-long-as-a-signed-one-with-its-hmac-in-base64".to_owned()
    }

    fn visitor_id(&self, _visitor: VisitorId, _: Timestamp) -> String {
        String::new()
    }
}

/// One ruleset and those who ask.
struct Case {
    offers: usize,
    span_years: u64,
    snapshot: Snapshot,
    people: Vec<(Profile, Request)>,
    plain: Baseline,
    scratch: Scratch,
    seen: Measured,
}

/// What the counted rounds came to.
struct Measured {
    rank: Histogram,
    compose: Histogram,
    rank_allocations: u64,
    compose_allocations: u64,
    composed: u64,
    winners: u64,
    speed_ratios: Vec<f64>,
}

impl Case {
    fn new((offers, span_years): (usize, u64)) -> anyhow::Result<Self> {
        let files = generator::rules(offers, span_years);
        let file = |(path, text): (String, String)| SourceFile { path: path.into(), text: text.into() };
        let files: Vec<SourceFile> = files.into_iter().map(file).collect();
        let ruleset = match rules::compile(&files) {
            Ok(ruleset) => Arc::new(ruleset),
            Err(errors) => {
                let lines: Vec<String> = errors.errors.iter().take(10).map(ToString::to_string).collect();
                bail!("the generated rules do not compile:\n{}", lines.join("\n"));
            }
        };
        let models = Arc::new(learn::response_rates(&Tallies::default(), &ruleset));
        let plain = Baseline::of(&ruleset)?;
        let people = (0..CUSTOMERS).map(|number| Ok((profile(number, offers)?, request(number)))).collect();
        Ok(Self {
            offers,
            span_years,
            snapshot: Snapshot::new(ruleset, models, Arc::default()),
            people: people_of(people)?,
            plain,
            scratch: Scratch::default(),
            seen: Measured {
                rank: Histogram::new(),
                compose: Histogram::new(),
                rank_allocations: 0,
                compose_allocations: 0,
                composed: 0,
                winners: 0,
                speed_ratios: Vec::new(),
            },
        })
    }

    fn round(&mut self, counted: bool) -> anyhow::Result<()> {
        let decisions = (DECISIONS / self.offers.max(20)).max(DECISIONS_MIN);
        let mut round = Histogram::new();
        let (mut best, mut allocated) = (Vec::with_capacity(CUSTOMERS), 0);
        let mut spent = 0_u64;
        for number in 0..decisions {
            let (profile, request) = &self.people[number % CUSTOMERS];
            let inputs = inputs(&self.snapshot, profile, request, number);
            let before = allocations();
            let started = Instant::now();
            let ranking = black_box(rank(black_box(&inputs), &mut self.scratch));
            let took = started.elapsed().as_nanos() as u64;
            allocated += allocations() - before;
            round.record(took);
            spent += took;
            if number < CUSTOMERS {
                best.push(ranking.winners.first().map(|w| w.factors.net_priority));
            }
            if counted && number % 8 == 0 {
                let before = allocations();
                let started = Instant::now();
                black_box(compose(&inputs, &ranking, &mut self.scratch));
                self.seen.compose.record(started.elapsed().as_nanos() as u64);
                self.seen.compose_allocations += allocations() - before;
                self.seen.composed += 1;
                self.seen.winners += ranking.winners.len() as u64;
            }
        }
        let plain_ns = self.plain_round(&best)?;
        if counted {
            self.seen.rank.merge(&round);
            self.seen.rank_allocations += allocated;
            self.seen.speed_ratios.push(plain_ns / (spent as f64 / decisions as f64));
        }
        Ok(())
    }

    /// Nanoseconds of a decision the plain way; fails when the two ways differ.
    fn plain_round(&self, best: &[Option<f64>]) -> anyhow::Result<f64> {
        let started = Instant::now();
        let mut answers = Vec::with_capacity(CUSTOMERS);
        let asking = (PLAIN_OFFERS / self.offers).clamp(4, CUSTOMERS);
        for (profile, request) in self.people.iter().take(asking) {
            answers.push(black_box(self.plain.best(&self.snapshot.ruleset, profile, request, NOW.0)?));
        }
        let spent = started.elapsed().as_nanos() as f64 / asking as f64;
        for (number, (ranked, plain)) in best.iter().zip(answers).enumerate() {
            if !agree(*ranked, plain) {
                bail!("customer {number} of {} offers: rank gives {ranked:?}, the plain way {plain:?}", self.offers);
            }
        }
        Ok(spent)
    }
}

fn people_of(people: anyhow::Result<Vec<(Profile, Request)>>) -> anyhow::Result<Vec<(Profile, Request)>> {
    people.context("making the customers")
}

fn inputs<'a>(snapshot: &'a Snapshot, profile: &'a Profile, request: &'a Request, number: usize) -> Inputs<'a> {
    Inputs {
        snapshot,
        profile,
        matched: Match::Known,
        request,
        now: NOW,
        decision_id: DecisionId::new(NOW.millis() as u64, number as u128),
        reservations: &[],
        exhausted: &[],
        denied: &[],
        keep_order: &[],
        degraded: DegradedSet::default(),
        consistency_token: "",
        signer: &Unsigned,
    }
}

/// The customer the service benchmark records over the API, as a profile.
fn profile(number: usize, offers: usize) -> anyhow::Result<Profile> {
    let mut rng = SplitMix64(generator::SEED ^ number as u64);
    let json = generator::customer(number);
    let fields = json["attributes"].as_object().context("no attributes")?;
    let mut attributes: Vec<StoredAttribute> = fields
        .iter()
        .map(|(name, value)| StoredAttribute { id: AttrId::of(name), value: value_of(value), at: NOW })
        .collect();
    attributes.sort_by_key(|a| a.id);
    let last_at = NOW.plus_us(-DAY_US * 30);
    let bought = generator::purchases(number, "2025-05-02T12:00:00Z");
    let amounts = bought.iter().filter_map(|e| e["customer"]["amount"]["amount"].as_str()?.parse::<f64>().ok());
    let purchases = EventStat {
        event: EventTypeId::of("purchase"),
        count: bought.len() as u64,
        amount: (amounts.sum::<f64>() * 100.0) as i64,
        first_at: last_at,
        last_at,
    };
    let mut interactions: Vec<Interaction> = (0..INTERACTIONS)
        .map(|n| {
            let at = NOW.plus_us(-DAY_US * (n as i64 + 1));
            Interaction {
                record: Default::default(),
                decision: DecisionId::new(at.millis() as u64, n as u128),
                offer: OfferId::of(&format!("offer_{:04}", rng.below(offers as u64))),
                channel: ChannelId::of("web"),
                at,
                answered_at: Timestamp::default(),
                outcomes: OutcomeSet::default().with(OutcomeType::Impression),
                reason: ReasonCode::default(),
                reason_at: Timestamp::default(),
            }
        })
        .collect();
    interactions.sort_by_key(|i| (i.at, i.decision, i.offer));
    let consent = Consent {
        channel: None,
        purpose: ConsentPurpose::Profiling,
        permission: Permission::Granted,
        at: NOW,
        source: "".into(),
        proof: "".into(),
    };
    let key = u128::from(rng.next()) << 64 | u128::from(rng.next());
    Ok(Profile {
        key: CustomerKey(key),
        arm_key: ArmKey(key),
        version: 1,
        first_seen: purchases.first_at,
        attributes,
        stats: vec![purchases],
        interactions,
        consents: vec![consent],
        ..Profile::default()
    })
}

fn value_of(json: &serde_json::Value) -> Option<Value> {
    match json {
        serde_json::Value::Bool(v) => Some(Value::Bool(*v)),
        serde_json::Value::Number(n) => n.as_i64().map(Value::Int),
        serde_json::Value::String(s) => Some(Value::Text(s.as_str().into())),
        _ => None,
    }
}

fn request(number: usize) -> Request {
    let placement = generator::PLACEMENT;
    let basket = generator::question(number)["context"]["basket_value"].as_i64().unwrap_or_default();
    Request {
        placements: vec![PlacementAsk { id: PlacementId::of(placement), name: placement.into(), count: 0 }],
        context: vec![(AttrId::of("basket_value"), Value::Money(basket * 100))],
        ..Request::default()
    }
}

/// What reading the clock twice costs: it is part of every time below.
fn clock_ns() -> u64 {
    let mut histogram = Histogram::new();
    for _ in 0..10_000 {
        let started = Instant::now();
        histogram.record(black_box(started).elapsed().as_nanos() as u64);
    }
    histogram.quantile_ns(0.5)
}

fn share_name(span_years: u64) -> &'static str {
    if span_years == NARROW_YEARS { "1/20" } else { "1/3" }
}

fn print(case: &Case, as_json: bool) -> bool {
    let seen = &case.seen;
    let ratio = Quartiles::of(seen.speed_ratios.iter().copied());
    let decisions = seen.rank.count();
    let per_compose = seen.compose_allocations as f64 / seen.composed.max(1) as f64;
    if as_json {
        let value = serde_json::json!({
            "offers": case.offers, "share": share_name(case.span_years), "decisions": decisions, "rank_allocations": seen.rank_allocations,
            "rank_p50_ns": seen.rank.quantile_ns(0.5), "rank_p99_ns": seen.rank.quantile_ns(0.99),
            "compose_p50_ns": seen.compose.quantile_ns(0.5), "compose_p99_ns": seen.compose.quantile_ns(0.99),
            "compose_allocations": per_compose, "plain_over_rank": ratio,
        });
        println!("{value}");
    } else {
        println!(
            "  {:>6}  {:>5}  {:>9}  {:>9}  {:>11.3}  {:>12}  {:>12}  {:>13.1}  {:>8.1} ({:.1}-{:.1})",
            case.offers,
            share_name(case.span_years),
            seen.rank.quantile_ns(0.5),
            seen.rank.quantile_ns(0.99),
            seen.rank_allocations as f64 / decisions as f64,
            seen.compose.quantile_ns(0.5),
            seen.compose.quantile_ns(0.99),
            per_compose,
            ratio.median,
            ratio.low,
            ratio.high,
        );
    }
    seen.rank_allocations == 0 && seen.winners > 0
}

fn main() -> anyhow::Result<ExitCode> {
    histogram::self_check();
    let as_json = std::env::args().any(|argument| argument == "--json");
    let mut cases = CASES.into_iter().map(Case::new).collect::<anyhow::Result<Vec<Case>>>()?;
    for round in 0..ROUNDS + ROUNDS_DROPPED {
        for case in &mut cases {
            case.round(round >= ROUNDS_DROPPED)?;
        }
    }
    if !as_json {
        println!("rank and compose, ns; reading the clock costs {} ns of each", clock_ns());
        println!(
            "  {:>6}  {:>5}  {:>9}  {:>9}  {:>11}  {:>12}  {:>12}  {:>13}  {:>8}",
            "offers",
            "share",
            "rank p50",
            "rank p99",
            "allocations",
            "compose p50",
            "compose p99",
            "allocations",
            "plain/rank"
        );
    }
    let mut valid = true;
    for case in &cases {
        valid &= print(case, as_json);
    }
    if !valid {
        eprintln!("invalid: rank allocated, or nothing won");
    }
    Ok(if valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
