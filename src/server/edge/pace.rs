//! How fast browsers may ask: a quota for requests, and a smaller one for new
//! visitors, each for a key or origin from one network.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    net::IpAddr,
    num::{NonZeroU32, NonZeroU64},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::StateStore,
};

use super::address;

/// Networks that are told apart. Memory is taken for all of them at once, 8
/// bytes each in two tables, so that nobody can make it grow; two of them share
/// a quota by a chance of one to this number.
pub const NETWORKS_MAX: usize = 1 << 17;
/// Seconds' worth of requests that may come at once.
const BURST_S: u32 = 3;
/// New visitors a minute from one network that may be people: an office or a
/// mobile network has many people behind one address.
pub const NEWCOMERS_PER_MINUTE: u32 = 60;
/// Seconds for which a network is taken for a program after it had more.
const SUSPECTED_S: u64 = 60;

/// Who asks: a key or origin from one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    asked: usize,
    /// The network alone, for links, whose callers have no key.
    network: usize,
}

/// What tells sources apart beside their network.
#[derive(Clone, Copy, Debug, Hash)]
pub enum Holder<'a> {
    /// A key, by its place in the file.
    Key(u32),
    /// An origin, where there are no keys.
    Origin(&'a [u8]),
    /// Nothing: whoever follows a link.
    Link,
}

type Limiter = RateLimiter<Source, Cells, MonotonicClock, NoOpMiddleware<Instant>>;

/// How fast browsers ask.
pub struct Pace {
    hasher: RandomState,
    requests: Limiter,
    newcomers: Limiter,
    /// Until when each source is suspected, seconds since `started`.
    suspected: Cells,
    started: Instant,
}

impl Pace {
    /// For so many requests per second; 0 counts as 1.
    pub fn new(requests_per_second: u32) -> Self {
        let rate = NonZeroU32::new(requests_per_second).unwrap_or(NonZeroU32::MIN);
        let burst = rate.saturating_mul(NonZeroU32::MIN.saturating_add(BURST_S - 1));
        let newcomers = NonZeroU32::MIN.saturating_add(NEWCOMERS_PER_MINUTE - 1);
        let quota = Quota::per_second(rate).allow_burst(burst);
        Self {
            hasher: RandomState::new(),
            requests: RateLimiter::new(quota, Cells::new(), MonotonicClock),
            newcomers: RateLimiter::new(Quota::per_minute(newcomers), Cells::new(), MonotonicClock),
            suspected: Cells::new(),
            started: Instant::now(),
        }
    }

    /// The source that a request belongs to.
    pub fn source(&self, holder: Holder<'_>, address: IpAddr) -> Source {
        let network = address::network(address);
        let cell = |holder: Holder<'_>| self.hasher.hash_one((holder, network)) as usize % NETWORKS_MAX;
        Source { asked: cell(holder), network: cell(Holder::Link) }
    }

    /// Takes one request from the quota.
    ///
    /// # Errors
    /// The quota is used up: the time after which it is not.
    pub fn request(&self, source: Source) -> Result<(), Duration> {
        self.requests.check_key(&source).map_err(|until| until.wait_time_from(self.requests.clock().now()))
    }

    /// Notes a new visitor.
    pub fn newcomer(&self, source: Source) {
        self.newcomer_at(source, self.started.elapsed().as_secs());
    }

    fn newcomer_at(&self, source: Source, now_s: u64) {
        if self.newcomers.check_key(&source).is_err() {
            for source in [source, Source { asked: source.network, ..source }] {
                self.suspected.of(source).store(now_s + SUSPECTED_S, Ordering::Relaxed);
            }
        }
    }

    /// Whether a source had more new visitors lately than people are.
    pub fn is_suspected(&self, source: Source) -> bool {
        self.is_suspected_at(source, self.started.elapsed().as_secs())
    }

    fn is_suspected_at(&self, source: Source, now_s: u64) -> bool {
        now_s < self.suspected.of(source).load(Ordering::Relaxed)
    }
}

/// A number for every source; 0 for none yet.
struct Cells(Box<[AtomicU64]>);

impl Cells {
    fn new() -> Self {
        Self((0..NETWORKS_MAX).map(|_| AtomicU64::new(0)).collect())
    }

    fn of(&self, source: Source) -> &AtomicU64 {
        // INVARIANT: a source is below NETWORKS_MAX, as many as there are cells
        &self.0[source.asked]
    }
}

impl StateStore for Cells {
    type Key = Source;

    fn measure_and_replace<T, F, E>(&self, source: &Source, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let cell = self.of(*source);
        let mut before = cell.load(Ordering::Acquire);
        loop {
            let (decided, after) = decide(NonZeroU64::new(before).map(|nanos| nanos.get().into()))?;
            match cell.compare_exchange_weak(before, after.into(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return Ok(decided),
                Err(other) => before = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(pace: &Pace, holder: Holder<'_>, address: &str) -> Source {
        pace.source(holder, address.parse().unwrap())
    }

    #[test]
    fn three_seconds_worth_may_come_at_once() {
        let pace = Pace::new(1);
        let here = source(&pace, Holder::Key(0), "198.51.100.7");
        assert!((0..3).all(|_| pace.request(here).is_ok()));
        let wait = pace.request(here).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
    }

    #[test]
    fn keys_origins_and_networks_have_quotas_of_their_own() {
        let pace = Pace::new(1);
        let here = source(&pace, Holder::Key(0), "2001:db8:1:2::1");
        assert_eq!(here, source(&pace, Holder::Key(0), "2001:db8:1:2:ffff::9"));
        let others = [
            source(&pace, Holder::Key(1), "2001:db8:1:2::1"),
            source(&pace, Holder::Key(0), "2001:db8:1:3::1"),
            source(&pace, Holder::Origin(b"https://shop.example"), "2001:db8:1:2::1"),
        ];
        // two of them share a cell once in a hundred thousand runs
        assert!(others.iter().filter(|other| **other == here).count() <= 1);
    }

    #[test]
    fn more_newcomers_than_people_are_suspected() {
        let pace = Pace::new(1_000);
        let here = source(&pace, Holder::Key(0), "198.51.100.7");
        (0..NEWCOMERS_PER_MINUTE).for_each(|_| pace.newcomer(here));
        assert!(!pace.is_suspected(here));
        pace.newcomer(here);
        // one may have come back to the quota meanwhile
        pace.newcomer(here);
        assert!(pace.is_suspected(here));
        let link = source(&pace, Holder::Link, "198.51.100.7");
        assert!(pace.is_suspected(link), "links of the same network");
        assert!(!pace.is_suspected(source(&pace, Holder::Link, "198.51.100.8")));
    }

    #[test]
    fn a_network_recovers_a_minute_after_the_last_newcomer_too_many() {
        let pace = Pace::new(1_000);
        let here = source(&pace, Holder::Key(0), "198.51.100.7");
        (0..2 * NEWCOMERS_PER_MINUTE).for_each(|_| pace.newcomer_at(here, 100));
        for (now_s, suspected) in [(100, true), (159, true), (160, false), (1_000, false)] {
            assert_eq!(pace.is_suspected_at(here, now_s), suspected, "{now_s}");
        }
    }
}
