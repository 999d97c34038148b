//! The background tasks of a service. All are supervised.

use std::{sync::Arc, time::Duration};

use crate::{app::App, config::ServeConfig};

use super::supervise::Supervisor;

/// Starts them.
pub(super) fn start(supervisor: &Supervisor, config: &ServeConfig, app: &Arc<App>) {
    start_shared(supervisor, app);
    let (watched, rules) = (Arc::clone(app), config.rules.clone());
    supervisor.spawn("rules watcher", move || Arc::clone(&watched).watch_rules(rules.clone()));
    let paused = Arc::clone(app);
    supervisor.spawn("pauses on disk", move || Arc::clone(&paused).keep_pauses_written());
    let silent = Arc::clone(app);
    supervisor.spawn("attribution windows", move || Arc::clone(&silent).follow_attribution());
    let (swept, every) = (Arc::clone(app), Duration::from_secs(config.sweep_every_s));
    let every = (!every.is_zero()).then_some(every);
    supervisor.spawn("analysis of all customers", move || Arc::clone(&swept).keep_sweeping(every));
    let followed = Arc::clone(app);
    supervisor.spawn("response rates", move || Arc::clone(&followed).follow_tallies());
}

/// Those of a replica that shares a store with others.
fn start_shared(supervisor: &Supervisor, app: &Arc<App>) {
    let Some(remote) = app.store.remote() else { return };
    let client = remote.client.clone();
    supervisor.spawn("connection to redis", move || client.clone().keep());
    let member = remote.clone();
    supervisor.spawn("members", move || member.clone().keep_member());
    let fence = remote.clone();
    supervisor.spawn("fence", move || fence.clone().keep_fence());
    let shipped = Arc::clone(app);
    supervisor.spawn("shipping to redis", move || Arc::clone(&shipped).ship());
    let taken = Arc::clone(app);
    supervisor.spawn("what other replicas write", move || Arc::clone(&taken).take_in());
    let joined = Arc::clone(app);
    supervisor.spawn("joining the other replicas", move || Arc::clone(&joined).join());
    let refilled = Arc::clone(app);
    supervisor.spawn("refilling redis", move || Arc::clone(&refilled).refill());
    let followed = Arc::clone(app);
    supervisor.spawn("clock", move || Arc::clone(&followed).follow_clock());
    let counted = Arc::clone(app);
    supervisor.spawn("caps and budgets", move || Arc::clone(&counted).keep_caps());
    let spread = Arc::clone(app);
    supervisor.spawn("rules of other replicas", move || Arc::clone(&spread).follow_shared_rules());
    let told = Arc::clone(app);
    supervisor.spawn("connection told", move || super::connected::tell(Arc::clone(&told)));
}
