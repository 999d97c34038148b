//! A log-linear histogram: 64 steps per power of two, so that a value read back
//! is at most 1/64 too low.

const STEPS_LOG2: u32 = 6;
const STEPS: u64 = 1 << STEPS_LOG2;
const BUCKETS: usize = ((64 - STEPS_LOG2 as usize) + 1) * STEPS as usize;

/// Counts values, in nanoseconds.
pub struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    max: u64,
}

impl Histogram {
    /// An empty one.
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), total: 0, max: 0 }
    }

    /// Adds a value.
    pub fn record(&mut self, value_ns: u64) {
        self.counts[bucket(value_ns)] += 1;
        self.total += 1;
        self.max = self.max.max(value_ns);
    }

    /// Adds all values of another one.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max = self.max.max(other.max);
    }

    /// How many values.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The largest value.
    pub fn max_ns(&self) -> u64 {
        self.max
    }

    /// The value that a share of all values does not exceed (0.5: the median).
    pub fn quantile_ns(&self, share: f64) -> u64 {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return lowest(at);
            }
        }
        0
    }
}

/// The bucket of a value: linear below [`STEPS`], then [`STEPS`] per power of two.
fn bucket(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let power = value.ilog2() - STEPS_LOG2;
    ((u64::from(power) + 1) * STEPS + (value >> power) - STEPS) as usize
}

/// The lowest value of a bucket.
fn lowest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    (bucket % STEPS + STEPS) << (bucket / STEPS - 1)
}

/// Fails when the histogram does not give back what was put in.
pub fn self_check() {
    let mut histogram = Histogram::new();
    for value in 1..=100_000_u64 {
        histogram.record(value);
        assert!(lowest(bucket(value)) <= value && value - lowest(bucket(value)) <= value / STEPS);
    }
    assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    let median = histogram.quantile_ns(0.5);
    assert!((49_000..=50_000).contains(&median), "median {median}");
    let mut twice = Histogram::new();
    twice.merge(&histogram);
    twice.merge(&histogram);
    assert_eq!((twice.count(), twice.max_ns(), twice.quantile_ns(0.5)), (200_000, 100_000, median));
}
