//! How much time goes to answers without ranking.

/// One part in so many of a thread's time.
const TIME_PART: u64 = 20;
/// Most of it that is kept for a burst, nanoseconds of each thread.
const KEPT_NS: u64 = 2_000_000;
/// An answer without ranking is given where a turn takes so many times longer:
/// else it would save nothing.
const CHEAPER_TIMES: u64 = 8;
/// What such an answer takes until one was given, nanoseconds.
const FIRST_NS: u64 = 30_000;
/// A new duration counts for one part in so many.
const SMOOTHING: u64 = 8;

/// The time left for answers without ranking.
pub struct Allowance {
    threads: u64,
    left_ns: u64,
    counted_ns: u64,
    answer_ns: u64,
}

impl Allowance {
    /// Of so many threads, full.
    pub fn new(threads: u64) -> Self {
        Self { threads, left_ns: KEPT_NS * threads, counted_ns: 0, answer_ns: FIRST_NS }
    }

    /// Takes the time of one answer, when there is as much and a turn takes far
    /// longer.
    pub fn take(&mut self, now_ns: u64, turn_ns: u64) -> bool {
        let grown_ns = now_ns.saturating_sub(self.counted_ns) * self.threads / TIME_PART;
        self.counted_ns = now_ns;
        self.left_ns = (self.left_ns + grown_ns).min(KEPT_NS * self.threads);
        let taken = turn_ns >= CHEAPER_TIMES * self.answer_ns && self.left_ns >= self.answer_ns;
        if taken {
            self.left_ns -= self.answer_ns;
        }
        taken
    }

    /// An answer took so long.
    pub fn took(&mut self, took_ns: u64) {
        self.left_ns = self.left_ns.saturating_sub(took_ns.saturating_sub(self.answer_ns));
        self.answer_ns = (self.answer_ns * (SMOOTHING - 1) + took_ns) / SMOOTHING;
    }
}
