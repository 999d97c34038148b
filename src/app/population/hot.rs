//! Everybody in memory, for who asks whom an edit would reach; while that are
//! few, as after a start, also some of those at rest.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use crate::{
    app::{App, AppError},
    customer::permissions,
    domain::{CustomerKey, PageConsent, Request, Timestamp},
    rules::SourceFile,
    store::{HotProfile, Store},
};

use super::{
    eligible::Person,
    reach::{Crowd, Edit, Reach, part_len, reach},
    sample::SAMPLE_MAX,
    unasked,
};

/// One look at everybody at a time: each takes all cores but one.
static LOOKING: Mutex<()> = Mutex::new(());

/// What everybody is asked.
#[derive(Clone, Copy)]
struct Asked<'a> {
    store: &'a Store,
    request: &'a Request,
    now: Timestamp,
}

impl Asked<'_> {
    fn show(&self, hot: &HotProfile, see: &mut dyn FnMut(Person<'_>)) {
        let profiling = permissions::profiling(&hot.profile, PageConsent::default());
        see(Person { profile: &hot.profile, request: self.request, now: self.now, profiling, missing: &[] });
    }
}

/// A part of those in memory.
struct HotPart<'a>(Asked<'a>, &'a [CustomerKey]);

impl Crowd for HotPart<'_> {
    fn visit(&mut self, see: &mut dyn FnMut(Person<'_>)) {
        // one that was evicted since is not counted
        for hot in self.1.iter().filter_map(|key| self.0.store.look(*key)) {
            self.0.show(&hot, see);
        }
    }
}

/// A part of those read from disk.
struct ReadPart<'a>(Asked<'a>, &'a [Arc<HotProfile>]);

impl Crowd for ReadPart<'_> {
    fn visit(&mut self, see: &mut dyn FnMut(Person<'_>)) {
        self.1.iter().for_each(|read| self.0.show(read, see));
    }
}

impl App {
    /// Whom the changed offers of edited rules reach, over everybody in memory,
    /// filled up to [`SAMPLE_MAX`] from disk. Changes nothing; leaves a core to
    /// decisions. Blocking.
    ///
    /// # Errors
    /// Looking over somebody panicked. Every mistake in the files is an answer.
    pub fn evaluate_reach(&self, files: &[SourceFile]) -> Result<Result<Reach, Vec<String>>, AppError> {
        let edited = match self.compile(files) {
            Ok(edited) => edited,
            Err(mistakes) => return Ok(Err(mistakes)),
        };
        let active = self.current();
        let _looking = LOOKING.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.store.hot_keys();
        let (read, customers) = self.some_others(&keys);
        let request = unasked();
        let asked = Asked { store: &self.store, request: &request, now: self.now() };
        let threads = thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1));
        let hot = keys.chunks(keys.len().div_ceil(threads).max(1));
        let hot = hot.map(|keys| Box::new(HotPart(asked, keys)) as Box<dyn Crowd>);
        let others = read.chunks(part_len(read.len())).map(|read| Box::new(ReadPart(asked, read)) as Box<dyn Crowd>);
        let edit = Edit { before: &active.ruleset, after: &edited, base: &active.base };
        let reached = reach(edit, hot.chain(others).collect()).map_err(|lost| {
            self.metrics.panics.increment(1);
            AppError::Unavailable(lost.to_string())
        })?;
        reached.notes.iter().for_each(|note| tracing::warn!("{note}"));
        Ok(Ok(Reach { population: customers.max(reached.people), ..reached }))
    }

    /// While few are in memory: some of those who are only on disk; and how many
    /// customers there are.
    fn some_others(&self, hot: &[CustomerKey]) -> (Vec<Arc<HotProfile>>, usize) {
        let wanted = if hot.len() < SAMPLE_MAX { SAMPLE_MAX } else { 0 };
        // a store that cannot be read leaves the look to those in memory
        let at_rest = self.store.some_at_rest(wanted).unwrap_or_default();
        let known: HashSet<CustomerKey> = if wanted > 0 { hot.iter().copied().collect() } else { HashSet::new() };
        let mut others = at_rest.profiles;
        others.retain(|person| !known.contains(&person.profile.key));
        others.truncate(wanted.saturating_sub(hot.len()));
        (others, usize::try_from(at_rest.customers).unwrap_or(usize::MAX).max(hot.len()))
    }
}
