//! Everybody in memory, for who asks whom an edit would reach.

use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use crate::{
    app::App,
    customer::permissions,
    domain::{CustomerKey, PageConsent, Request, Timestamp},
    rules::SourceFile,
    store::Store,
};

use super::{
    eligible::Person,
    reach::{Crowd, Edit, Reach, reach},
};

/// One look at everybody at a time: each takes all cores but one.
static LOOKING: Mutex<()> = Mutex::new(());

/// A part of those in memory.
struct HotPart<'a> {
    store: &'a Store,
    keys: &'a [CustomerKey],
    request: &'a Request,
    now: Timestamp,
}

impl Crowd for HotPart<'_> {
    fn visit(&mut self, see: &mut dyn FnMut(Person<'_>)) {
        // one that was evicted since is not counted
        for hot in self.keys.iter().filter_map(|key| self.store.look(*key)) {
            let profiling = permissions::profiling(&hot.profile, PageConsent::default());
            see(Person { profile: &hot.profile, request: self.request, now: self.now, profiling, missing: &[] });
        }
    }
}

impl App {
    /// Whom the changed offers of edited rules reach, over everybody in
    /// memory. Changes nothing; leaves a core to decisions. Blocking.
    ///
    /// # Errors
    /// Every mistake in the files.
    pub fn evaluate_reach(&self, files: &[SourceFile]) -> Result<Reach, Vec<String>> {
        let edited = self.compile(files)?;
        let active = self.current();
        let _looking = LOOKING.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = self.store.hot_keys();
        let request = Request::default();
        let threads = thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).max(1));
        let parts = keys.chunks(keys.len().div_ceil(threads).max(1));
        let part = |keys| HotPart { store: &self.store, keys, request: &request, now: self.now() };
        let crowds = parts.map(|keys| Box::new(part(keys)) as Box<dyn Crowd>).collect();
        Ok(reach(Edit { before: &active.ruleset, after: &edited }, crowds))
    }
}
