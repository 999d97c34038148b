//! Loading of rules: from YAML text to a ruleset, cold and after an edit of one
//! offer in a hundred. `benches/README.md` says what the numbers mean.
//!
//! `cargo bench --bench load -- [OFFERS] [ROUNDS]`

use std::{hint::black_box, process::ExitCode, time::Instant};

use rapport::rules::{self, Compiler, Index, RuleErrors, Ruleset, SourceFile};

mod load_generator;

mod random {
    /// A small generator of pseudo-random numbers: SplitMix64 (Steele, Lea,
    /// Flood, "Fast splittable pseudorandom number generators", 2014).
    pub struct SplitMix64(pub u64);

    impl SplitMix64 {
        /// A number below `bound`.
        pub fn below(&mut self, bound: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) % bound
        }
    }
}

use load_generator::{Bundle, Layout};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const OFFERS: usize = 10_000;
const ROUNDS: usize = 5;

fn main() -> anyhow::Result<ExitCode> {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<usize>().ok());
    let (offers, rounds) = (numbers.next().unwrap_or(OFFERS), numbers.next().unwrap_or(ROUNDS));
    let bundle = Bundle::new(offers);
    println!("{offers} offers, {} bytes each, {rounds} rounds", bundle.bytes() / offers.max(1));
    for layout in Layout::ALL {
        measure(layout, offers, rounds)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Edits for each cold load.
const EDITS_PER_ROUND: usize = 5;

fn compiled(files: &[SourceFile]) -> anyhow::Result<Ruleset> {
    rules::compile(files).map_err(wrong)
}

fn measure(layout: Layout, offers: usize, rounds: usize) -> anyhow::Result<()> {
    let mut bundle = Bundle::new(offers);
    let mut cold = Vec::new();
    let mut index = Vec::new();
    for _ in 0..rounds {
        let files = bundle.files(layout);
        let clock = Clock::start();
        let ruleset = compiled(&files)?;
        cold.push(clock.stop());
        let clock = Clock::start();
        black_box(Index::of_offers(&ruleset.offers));
        index.push(clock.stop());
    }
    println!("{}: cold {}, of which index {}", layout.name(), median(&mut cold), median(&mut index));
    let mut compiler = Compiler::default();
    let mut served = compiler.compile(&bundle.files(layout)).map_err(wrong)?;
    let (mut edited, mut index) = (Vec::new(), Vec::new());
    for _ in 0..rounds * EDITS_PER_ROUND {
        bundle.edit(offers / 100);
        let files = bundle.files(layout);
        let clock = Clock::start();
        let next = compiler.compile(&files).map_err(wrong)?;
        edited.push(clock.stop());
        // the service drops what no longer serves on a thread of its own
        served = next;
        let clock = Clock::start();
        black_box(Index::of_offers(&served.offers));
        index.push(clock.stop());
    }
    let kept = compiler.kept();
    println!(
        "{}: after an edit of 1 % {}, of which index {}; {} offers and {} texts kept",
        layout.name(),
        median(&mut edited),
        median(&mut index),
        kept.0,
        kept.1
    );
    drop(compiler);
    let before = resident_bytes();
    let ruleset = compiled(&bundle.files(layout))?;
    let after = resident_bytes();
    let (text, held) = (bundle.bytes() / offers.max(1), after.saturating_sub(before) / offers.max(1));
    println!("{}: a ruleset holds about {held} bytes an offer, of which text {text}", layout.name());
    drop((served, ruleset));
    Ok(())
}

/// Resident memory of this process, bytes; 0 where the system does not tell.
fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<usize>().ok());
    pages.unwrap_or_default() * 4096
}

/// Time that passes, and time that this thread works: the machine may be shared.
struct Clock {
    begin: Instant,
    worked_ns: u64,
}

/// Milliseconds that passed and that were worked.
type Span = (f64, f64);

impl Clock {
    fn start() -> Self {
        Self { begin: Instant::now(), worked_ns: worked_ns() }
    }

    fn stop(&self) -> Span {
        (self.begin.elapsed().as_secs_f64() * 1e3, (worked_ns() - self.worked_ns) as f64 / 1e6)
    }
}

/// Nanoseconds this thread ran on a core; 0 where the system does not tell.
fn worked_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|ns| ns.parse().ok()).unwrap_or_default()
}

fn wrong(errors: RuleErrors) -> anyhow::Error {
    anyhow::anyhow!("the generated rules are wrong: {}", errors.errors[0])
}

fn median(spans: &mut [Span]) -> String {
    spans.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (passed, worked) = spans.get(spans.len() / 2).copied().unwrap_or_default();
    format!("{worked:.1} ms ({passed:.1} ms on the clock)")
}
