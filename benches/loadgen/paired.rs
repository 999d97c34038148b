//! Paired slices: the servers are loaded in turn, a short slice each, and each
//! slice is compared with the first server's slice of the same cycle. What
//! disturbs the machine for longer than a slice disturbs both.

use std::time::Duration;

use anyhow::ensure;

use super::{closed::Load, process::cpu_ns, statistics::Quartiles, target::Target};

/// Length of a slice.
pub const SLICE: Duration = Duration::from_millis(60);
/// Least number of cycles.
pub const CYCLES_MIN: usize = 12;
/// The first cycles warm up and are not counted.
pub const CYCLES_DROPPED: usize = 2;
/// A server is at rest when it used less CPU than this between two looks.
const REST_CPU_NS: u64 = 100_000;
const REST_LOOK: Duration = Duration::from_millis(2);
const REST_LOOKS_MAX: usize = 25;

/// One server and the load on it.
pub struct Pair {
    /// The server.
    pub target: Target,
    /// Connections to it.
    pub load: Load,
}

/// What one server's slices came to.
pub struct Sliced {
    /// The server's name.
    pub name: String,
    /// Calls per second.
    pub rate: Quartiles,
    /// CPU per call, microseconds.
    pub cpu_us: Quartiles,
    /// Calls per second over the first server's in the same cycle.
    pub rate_ratio: Quartiles,
    /// CPU per call over the first server's in the same cycle.
    pub cpu_ratio: Quartiles,
    /// CPUs in use under load. Well below the cores the server has, the
    /// generator was the bottleneck and only the CPU per call says something.
    pub cpus: Quartiles,
}

#[derive(Clone, Copy)]
struct Slice {
    rate: f64,
    cpu_us: f64,
    cpus: f64,
}

/// Loads the servers in turn, `cycles` times.
pub async fn run(pairs: &[Pair], cycles: usize) -> anyhow::Result<Vec<Sliced>> {
    ensure!(cycles >= CYCLES_MIN, "at least {CYCLES_MIN} cycles are needed");
    ensure!(!pairs.is_empty(), "no servers");
    let mut slices: Vec<Vec<Slice>> = vec![Vec::with_capacity(cycles); pairs.len()];
    for cycle in 0..cycles + CYCLES_DROPPED {
        // every other cycle backwards, so that following another server favours nobody
        let order: Vec<usize> =
            if cycle % 2 == 0 { (0..pairs.len()).collect() } else { (0..pairs.len()).rev().collect() };
        for at in order {
            let slice = one(&pairs[at]).await?;
            if cycle >= CYCLES_DROPPED {
                slices[at].push(slice);
            }
        }
    }
    Ok(pairs.iter().zip(&slices).map(|(pair, own)| summarise(&pair.target.name, own, &slices[0])).collect())
}

/// One slice. The CPU counts until the server is at rest, so that work put off
/// behind the answer is counted, and does not fall into the next server's slice.
async fn one(pair: &Pair) -> anyhow::Result<Slice> {
    let before = cpu_ns(pair.target.pid)?;
    let closed = pair.load.run(SLICE).await?;
    let mut after = cpu_ns(pair.target.pid)?;
    let cpus = (after - before) as f64 / closed.elapsed.as_nanos() as f64;
    for _ in 0..REST_LOOKS_MAX {
        tokio::time::sleep(REST_LOOK).await;
        let now = cpu_ns(pair.target.pid)?;
        let used = now.saturating_sub(after);
        after = now;
        if used < REST_CPU_NS {
            break;
        }
    }
    ensure!(closed.calls > 0, "{} answered nothing in a slice", pair.target.name);
    Ok(Slice { rate: closed.rate(), cpu_us: (after - before) as f64 / 1e3 / closed.calls as f64, cpus })
}

fn summarise(name: &str, own: &[Slice], first: &[Slice]) -> Sliced {
    Sliced {
        name: name.to_owned(),
        rate: Quartiles::of(own.iter().map(|s| s.rate)),
        cpu_us: Quartiles::of(own.iter().map(|s| s.cpu_us)),
        rate_ratio: Quartiles::of(own.iter().zip(first).map(|(a, b)| a.rate / b.rate)),
        cpu_ratio: Quartiles::of(own.iter().zip(first).map(|(a, b)| a.cpu_us / b.cpu_us)),
        cpus: Quartiles::of(own.iter().map(|s| s.cpus)),
    }
}
