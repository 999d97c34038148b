//! The rule index: time and memory per eligible set over 1,000 to 100,000
//! offers, against the `cel` interpreter and the `a-tree` crate in the same run.
//! `benches/README.md` says what the numbers mean.

use std::{hint::black_box, process::ExitCode, sync::Arc, time::Instant};

use anyhow::bail;
use rapport::{
    decide::customer_cells,
    domain::{OfferSet, OfferSlot, Request, Schema},
    rules::index::{Index, IndexBuffers, Policy, Rule},
};

#[path = "rules/book.rs"]
mod book;
mod counting;
#[allow(dead_code, reason = "its rules and customers are those of the other benchmarks")]
mod generator;
#[allow(dead_code, reason = "a smaller part is enough here")]
#[path = "loadgen/histogram.rs"]
mod histogram;
#[path = "rules/interpreter.rs"]
mod interpreter;
#[path = "rules/random.rs"]
mod random;
#[path = "loadgen/statistics.rs"]
mod statistics;
#[cfg(feature = "compare")]
#[path = "rules/tree.rs"]
mod tree;

use book::{MISSING, NOW, Offer, Person, Shape};
use counting::{Counting, allocations};
use generator::{SEED, SplitMix64};
use histogram::Histogram;
use interpreter::{Interpreter, context};
use statistics::Quartiles;

#[global_allocator]
static ALLOCATOR: Counting<std::alloc::System> = Counting(std::alloc::System);

/// Customers that ask in turn.
const CUSTOMERS: usize = 256;
/// Eligible sets that are timed per size, by so many offers together.
const TIMED_OFFERS: usize = 200_000_000;
/// Walked between decisions to evict the caches, bytes.
const EVICTED_BYTES: usize = 64 << 20;
/// Share of attributes missing where answers are compared.
const MISSING_COMPARED: f64 = 0.25;

/// Prints each number with its goal, and remembers whether all were met.
struct Report {
    as_json: bool,
    missed: usize,
}

impl Report {
    fn goal(&mut self, name: &str, value: f64, (sign, goal): (&str, f64), note: &str) {
        let met = if sign == "<=" { value <= goal } else { value >= goal };
        self.missed += usize::from(!met);
        if self.as_json {
            println!(
                "{}",
                serde_json::json!({"name": name, "value": value, "goal": format!("{sign} {goal}"), "met": met, "note": note})
            );
        } else {
            let met = if met { "met" } else { "NOT MET" };
            println!("{name:<58} {value:>12.2}  {sign} {goal:<10} {met:<8} {note}");
        }
    }
}

/// Offers, their index and who asks.
struct Case {
    attributes: Vec<(String, Shape)>,
    schema: Schema,
    offers: Vec<Offer>,
    rules: Vec<Rule>,
    index: Index,
    build_ms: f64,
    people: Vec<Person>,
}

impl Case {
    fn new(count: usize) -> anyhow::Result<Self> {
        let mut rng = SplitMix64(SEED);
        let (attributes, schema) = (book::attributes(), book::schema());
        let offers: Vec<Offer> = (0..count).map(|number| Offer::draw(&mut rng, &attributes, number)).collect();
        let rules = book::rules(&offers, &attributes, &schema)?;
        let given = rules.clone();
        let started = Instant::now();
        let index = black_box(Index::of(given));
        let build_ms = started.elapsed().as_secs_f64() * 1e3;
        let people = (0..CUSTOMERS).map(|_| Person::draw(&mut rng, &attributes, &schema, MISSING)).collect();
        Ok(Self { attributes, schema, offers, rules, index, build_ms, people })
    }

    fn eligible(&self, person: &Person, all: &OfferSet, worker: &mut Worker) {
        self.index.begin(&mut worker.buffers);
        worker.set.copy_from(all);
        self.index.keep_scheduled(NOW, &mut worker.set);
        let facts = person.facts(&self.schema, &worker.request);
        self.index.keep_true(Policy::Eligibility, &facts, &mut worker.buffers, &mut worker.set);
    }
}

/// What one worker reuses.
#[derive(Default)]
struct Worker {
    buffers: IndexBuffers,
    set: OfferSet,
    request: Request,
}

/// Times of eligible sets, warm; and allocations made by them.
fn timed(case: &Case) -> (Histogram, u64, f64) {
    let all = OfferSet::all(case.offers.len());
    let mut worker = Worker::default();
    let mut histogram = Histogram::new();
    let (mut allocated, mut found) = (0, 0);
    let rounds = (TIMED_OFFERS / case.offers.len().max(4_000) / CUSTOMERS).max(4);
    for round in 0..rounds {
        for person in &case.people {
            let before = allocations();
            let started = Instant::now();
            case.eligible(black_box(person), &all, &mut worker);
            let took = started.elapsed().as_nanos() as u64;
            black_box(&worker.set);
            // the first rounds warm up
            if round >= 2 {
                histogram.record(took);
                allocated += allocations() - before;
                found += worker.set.len();
            }
        }
    }
    let share = found as f64 / histogram.count() as f64 / case.offers.len() as f64;
    (histogram, allocated, share)
}

/// Times of eligible sets after the caches were evicted.
fn evicted(case: &Case) -> Histogram {
    let all = OfferSet::all(case.offers.len());
    let mut worker = Worker::default();
    let mut histogram = Histogram::new();
    let mut walked = vec![1_u64; EVICTED_BYTES / size_of::<u64>()];
    case.eligible(&case.people[0], &all, &mut worker);
    for person in case.people.iter().cycle().take(2 * CUSTOMERS) {
        walked.iter_mut().step_by(8).for_each(|word| *word = word.wrapping_mul(3));
        black_box(&mut walked);
        let started = Instant::now();
        case.eligible(black_box(person), &all, &mut worker);
        histogram.record(started.elapsed().as_nanos() as u64);
    }
    histogram
}

/// Nanoseconds of one customer's eligible set, which is left in the worker:
/// the median of some, with other customers in between, so that no column is
/// left in place.
fn ours_ns(case: &Case, number: usize, worker: &mut Worker) -> f64 {
    let all = OfferSet::all(case.offers.len());
    let person = &case.people[number];
    let mut times = Vec::new();
    for _ in 0..15 {
        for other in case.people.iter().skip(number + 1).take(3) {
            case.eligible(other, &all, worker);
        }
        let started = Instant::now();
        case.eligible(black_box(person), &all, worker);
        times.push(started.elapsed().as_nanos() as f64);
    }
    Quartiles::of(times).median
}

/// The interpreter over the same rules, in turn with the index.
fn compare(case: &Case, customers: usize, report: &mut Report, goal: f64) -> anyhow::Result<()> {
    let interpreter = Interpreter::of(&case.offers, &case.attributes)?;
    let mut worker = Worker::default();
    let mut found = Vec::with_capacity(case.offers.len());
    let mut ratios = Vec::new();
    for (number, person) in case.people.iter().take(customers).enumerate() {
        let context = context(person, &case.attributes)?;
        let started = Instant::now();
        interpreter.eligible(&context, &mut found);
        let cel_ns = started.elapsed().as_nanos() as f64;
        ratios.push(cel_ns / ours_ns(case, number, &mut worker));
        if worker.set.iter().map(|slot| slot.0).ne(found.iter().copied()) {
            bail!("customer {number} of {} offers: the index and the interpreter differ", case.offers.len());
        }
    }
    let ratios = Quartiles::of(ratios);
    let name = format!("the cel interpreter over the index, {} offers", case.offers.len());
    let note = format!("quartiles {:.0}-{:.0}", ratios.low, ratios.high);
    report.goal(&name, ratios.median, (">=", goal), &note);
    Ok(())
}

/// The tree over the same rules, in turn with the index.
#[cfg(feature = "compare")]
fn compare_tree(case: &Case, customers: usize, report: &mut Report, goal: f64) -> anyhow::Result<()> {
    let interpreter = Interpreter::of(&case.offers, &case.attributes)?;
    let tree = tree::Tree::of(&case.offers, &case.attributes)?;
    let mut worker = Worker::default();
    let mut found = Vec::with_capacity(case.offers.len());
    let (mut ratios, mut differ) = (Vec::new(), 0);
    for (number, person) in case.people.iter().take(customers).enumerate() {
        interpreter.eligible(&context(person, &case.attributes)?, &mut found);
        let event = tree.event(person, &case.attributes)?;
        let mut times = Vec::new();
        for _ in 0..5 {
            let started = Instant::now();
            black_box(tree.search(&event)?);
            times.push(started.elapsed().as_nanos() as f64);
        }
        ratios.push(Quartiles::of(times).median / ours_ns(case, number, &mut worker));
        differ += usize::from(tree.eligible(&event)? != found);
    }
    let ratios = Quartiles::of(ratios);
    let note = format!("quartiles {:.0}-{:.0}; {differ} of {customers} answers differ", ratios.low, ratios.high);
    report.goal(&format!("a-tree over the index, {} offers", case.offers.len()), ratios.median, (">=", goal), &note);
    Ok(())
}

#[cfg(not(feature = "compare"))]
fn compare_tree(_: &Case, _: usize, _: &mut Report, _: f64) -> anyhow::Result<()> {
    eprintln!("a-tree is not compared: run with `--features compare`");
    Ok(())
}

/// Answers compared with the interpreter's, by (profile, rule).
fn agree(evaluations: usize, report: &mut Report) -> anyhow::Result<()> {
    const RULES: usize = 2_000;
    let (attributes, schema) = (book::attributes(), book::schema());
    let mut rng = SplitMix64(SEED.rotate_left(9));
    let (mut tried, mut held, mut different) = (0, 0, 0);
    let request = Request::default();
    let mut buffers = IndexBuffers::default();
    while tried < evaluations {
        let (mut rules, mut programs) = (Vec::new(), Vec::new());
        for _ in 0..RULES {
            let (condition, text) = random::condition(&mut rng, &attributes, &schema)?;
            rules.push(Rule { conditions: [Some(Arc::new(condition)), None, None], ..Rule::default() });
            programs.push(cel::Program::compile(&text).map_err(|e| anyhow::anyhow!("{text}: {e}"))?);
        }
        let index = Index::of(rules);
        for _ in 0..100 {
            let person = Person::draw(&mut rng, &attributes, &schema, MISSING_COMPARED);
            let context = context(&person, &attributes)?;
            let mut set = OfferSet::all(RULES);
            index.begin(&mut buffers);
            index.keep_true(Policy::Eligibility, &person.facts(&schema, &request), &mut buffers, &mut set);
            for (slot, program) in (0..).map(OfferSlot).zip(&programs) {
                let wanted = program.execute(&context) == Ok(cel::Value::Bool(true));
                different += usize::from(wanted != set.contains(slot));
                held += usize::from(wanted);
            }
            tried += RULES;
        }
    }
    let note = format!("of {tried} (profile, rule), {held} true");
    report.goal("answers that differ from the cel interpreter", different as f64, ("<=", 0.0), &note);
    Ok(())
}

/// What filling the cells of a customer costs, and explaining an offer.
fn beside(case: &Case, report: &mut Report) {
    let (mut filling, mut explaining) = (Histogram::new(), Histogram::new());
    let request = Request::default();
    for person in &case.people {
        let started = Instant::now();
        black_box(customer_cells(
            &case.schema,
            black_box(&person.profile),
            NOW,
            &rapport::predict::BaseModel::default(),
        ));
        filling.record(started.elapsed().as_nanos() as u64);
        let facts = person.facts(&case.schema, &request);
        for condition in case.rules.iter().take(400).filter_map(|rule| rule.conditions[0].as_ref()) {
            let started = Instant::now();
            black_box(condition.failed(black_box(&facts)));
            explaining.record(started.elapsed().as_nanos() as u64);
        }
    }
    let us = |ns: u64| ns as f64 / 1e3;
    let note = format!("p50 {:.2} us; literals in words", us(explaining.quantile_ns(0.5)));
    report.goal("explaining one offer, p99, us", us(explaining.quantile_ns(0.99)), ("<=", 50.0), &note);
    let note = "not part of the times above; allocates its cells here";
    report.goal("filling the cells of 50 attributes, p50, us", us(filling.quantile_ns(0.5)), ("<=", 12.0), note);
}

fn sizes(report: &mut Report, quick: bool) -> anyhow::Result<()> {
    let us = |ns: u64| ns as f64 / 1e3;
    let all = [(1_000, 12.0, None), (10_000, 35.0, Some(150.0)), (100_000, 450.0, Some(2_000.0))];
    for (offers, p50_us, build_ms) in all.into_iter().take(if quick { 2 } else { 3 }) {
        let case = Case::new(offers)?;
        let (histogram, allocated, share) = timed(&case);
        let note = format!(
            "{:.1} % eligible, {} sets, p99 {:.1} us",
            share * 100.0,
            histogram.count(),
            us(histogram.quantile_ns(0.99))
        );
        report.goal(
            &format!("eligible set of {offers} offers, p50, us"),
            us(histogram.quantile_ns(0.5)),
            ("<=", p50_us),
            &note,
        );
        report.goal(&format!("allocations, {offers} offers"), allocated as f64, ("<=", 0.0), "");
        if offers == 10_000 {
            report.goal(
                "eligible set of 10000 offers, p99, us",
                us(histogram.quantile_ns(0.99)),
                ("<=", 100.0),
                "warm",
            );
            let cold = evicted(&case);
            let note = format!("caches evicted; p50 {:.1} us", us(cold.quantile_ns(0.5)));
            report.goal("eligible set of 10000 offers, p99, us", us(cold.quantile_ns(0.99)), ("<=", 200.0), &note);
            beside(&case, report);
        }
        let bytes = case.index.bytes() as f64 / offers as f64;
        report.goal(&format!("memory per offer, {offers} offers, bytes"), bytes, ("<=", 600.0), "");
        if let Some(goal) = build_ms {
            report.goal(&format!("building from parsed rules, {offers} offers, ms"), case.build_ms, ("<=", goal), "");
        }
        match offers {
            1_000 => compare(&case, 64, report, 150.0)?,
            10_000 => {
                let customers = if quick { 8 } else { 32 };
                compare(&case, customers, report, 500.0)?;
                compare_tree(&case, customers, report, 70.0)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn main() -> anyhow::Result<ExitCode> {
    histogram::self_check();
    let asked = |name: &str| std::env::args().any(|argument| argument == name);
    let quick = asked("--quick");
    let mut report = Report { as_json: asked("--json"), missed: 0 };
    sizes(&mut report, quick)?;
    agree(if quick { 200_000 } else { 1_000_000 }, &mut report)?;
    if report.missed > 0 {
        eprintln!("{} goals were not met", report.missed);
    }
    Ok(if report.missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
