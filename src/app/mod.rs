//! The shell: the one clock, the swapped snapshot, and the use cases.

mod asking;
mod attribution;
mod chosen;
mod claims;
pub mod clock;
mod customer;
mod decide;
pub mod digest;
mod erase;
mod error;
mod gather;
mod gently;
mod idempotency;
mod identity;
mod links;
mod lookup;
mod mask;
mod meant;
mod merge;
mod page;
pub mod population;
mod publish;
mod reached;
mod record;
mod replay;
mod replicas;
mod respond;
pub mod signing;
mod stream;
mod subscribe;
mod sweep;
mod terms;
mod timeline;
mod token;
mod types;
mod watch;

pub use crate::learn::{Lift, lift};
pub use clock::ClockStart;
pub use erase::{DECISIONS_EXPORTED_MAX, EraseInput, Erased, ExportedCustomer, TIMELINE_EXPORTED_MAX};
pub use error::{AppError, Violation};
pub use gently::{CHANGES_MAX, LongWork, TRIALS_MAX};
pub use identity::normalise as normalised_identity;
pub use links::Click;
pub use lookup::{LookedUp, MATCHES_MAX, MaskedCustomer};
pub use mask::identity as masked_identity;
pub use merge::{MergeInput, Merged};
pub(crate) use publish::shared_directory;
pub use publish::{
    Change, FileChange, FileDiff, Finding, KeptRevision, PAUSES_MAX, Paused, PublishReport, Published, Refusal,
    ResumeInput, Resumed, RevisionDiff, RevisionInfo, Rules, Severity, Step, check, failed_scenarios,
};
pub use subscribe::{CURSOR_EVERY, SKIPPED_MAX, SubscribeInput, Subscription, Told, Types};
pub use sweep::{SweepError, SweepState};
pub use terms::{Fullness, Terms};
pub use timeline::{TimelineInput, TimelineKind, TimelinePlace, is_late};
pub use token::wanted as consistency_wanted;
pub use types::*;
pub use watch::{WATCH_MAX, Watched, Watching};

use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::{
    decide::Snapshot,
    domain::{Pauses, Profile, Tallies, Timestamp, time::SECOND_US},
    learn,
    rules::{self, Ruleset},
    store::{Linking, SharedRules, Store, StoreError},
    telemetry::{self, Class, Metrics},
};

use clock::Clock;
use idempotency::{RequestIds, Ticket, stream_ids::StreamIds};
use publish::Start;
use signing::KeyRing;

/// The service's use cases over one store and one snapshot.
pub struct App {
    /// State at rest.
    pub store: Store,
    /// Counters and histograms.
    pub metrics: &'static Metrics,
    snapshot: ArcSwap<Snapshot>,
    clock: Clock,
    keys: KeyRing,
    request_ids: RequestIds,
    /// Of streams.
    stream_ids: StreamIds,
    clicks_room: Arc<Semaphore>,
    anonymous: Profile,
    revision: Mutex<RevisionInfo>,
    compiled: Mutex<Vec<Arc<Ruleset>>>,
    /// Keeps what did not change from one compilation to the next.
    compiler: Mutex<rules::Compiler>,
    /// Held while the rules change.
    publishing: Mutex<()>,
    /// Held while a revision that served before is compiled again for a replay.
    recompiling: Mutex<()>,
    /// Held while rules are validated.
    validating: Mutex<()>,
    /// Held while the pauses change.
    pausing: Mutex<()>,
    pauses_kept: Mutex<publish::Kept>,
    directory: Mutex<publish::Directory>,
    /// Held while pauses are exchanged with other replicas.
    spreading: Mutex<()>,
    /// What is known of what the replicas share.
    shared: Mutex<publish::Shared>,
    reached: Mutex<reached::Reached>,
    /// For calls that take long.
    room: gently::Room,
    sweeps: sweep::Sweeps,
}

/// What a service knows of the other replicas before it opens; nothing when it is
/// alone.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// How its clock begins.
    pub clock: ClockStart,
    /// What they serve.
    pub rules: Option<SharedRules>,
}

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The rules are refused.
    #[error("the rules are refused:\n{}", .0.0.join("\n"))]
    Rules(#[from] Refusal),
    /// The store cannot be opened.
    #[error("opening the data directory: {0}")]
    Store(#[from] StoreError),
}

impl App {
    /// Serves over an open store: the revision that was active, with the rules
    /// directory as it was found published over it when it was edited.
    /// `public_url` is what traceable links begin with. Blocking.
    ///
    /// # Errors
    /// Nothing served before and the rules are refused, or the store fails.
    pub fn open(store: Store, found: &Rules, public_url: &str) -> Result<Self, OpenError> {
        Self::open_with(store, found, public_url, Opening::default())
    }

    /// As [`App::open`], with what the other replicas told.
    ///
    /// # Errors
    /// As [`App::open`].
    pub fn open_with(store: Store, found: &Rules, public_url: &str, opening: Opening) -> Result<Self, OpenError> {
        let clock = Clock::after(store.latest_time(), opening.clock);
        let Start { ruleset, activation, control } =
            publish::start(&store, found, clock.now(), opening.rules.as_ref())?;
        let mut shared = publish::Shared::kept_in(store.remote().map(|remote| remote.dir().to_owned()));
        let mut control = control;
        if let Some(others) = &opening.rules {
            // what is not the one that serves here is looked at again
            shared.begin(
                others
                    .active
                    .as_ref()
                    .filter(|(active, _)| active.activation.hash == ruleset.hash)
                    .map(|(active, _)| active.version),
            );
            let list = shared.merged(&control.pauses, &others.pauses);
            if list != control.pauses.list {
                control.pauses = Pauses { version: control.pauses.version + 1, list };
                store.save_pauses(&control.pauses, &[])?;
            }
        }
        let ring = store.key_ring("tokens")?;
        let keys = KeyRing::new(&ring, public_url)
            .ok_or_else(|| StoreError::Corrupt("the key ring `tokens` holds no key".to_owned()))?;
        let tallies = store.tallies().borrow().clone();
        let models = Arc::new(learn::response_rates(&tallies, &ruleset));
        let pauses = Arc::new(control.pauses);
        let analysis = store.latest_analysis()?;
        let base = Arc::new(analysis.as_ref().map_or_else(Default::default, |analysis| analysis.base));
        let snapshot = Snapshot::new(Arc::clone(&ruleset), models, Arc::clone(&pauses)).with_base(base);
        let metrics = telemetry::metrics();
        metrics.revision(&activation.hash.to_string(), activation.origin);
        metrics.paused(&pauses);
        let app = Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            request_ids: RequestIds::new(metrics.request_ids_forgotten(Class::Interactive)),
            stream_ids: StreamIds::new(metrics.request_ids_forgotten(Class::Batch)),
            clicks_room: Arc::new(Semaphore::new(links::CLICKS_WAITING_MAX)),
            anonymous: Profile::default(),
            revision: Mutex::new(RevisionInfo { activation, ruleset: Arc::clone(&ruleset), refused: Vec::new() }),
            compiler: Mutex::default(),
            publishing: Mutex::default(),
            recompiling: Mutex::default(),
            validating: Mutex::default(),
            pausing: Mutex::default(),
            pauses_kept: Mutex::new(publish::Kept { version: pauses.version, ..Default::default() }),
            directory: Mutex::new(publish::Directory { taken: control.directory, ..Default::default() }),
            spreading: Mutex::default(),
            shared: Mutex::new(shared),
            compiled: Mutex::new(vec![ruleset]),
            reached: Mutex::default(),
            room: gently::Room::default(),
            sweeps: sweep::Sweeps::after(analysis),
            store,
            metrics,
            clock,
            keys,
        };
        app.store.link_by(Linking::of(&app.current().ruleset.schema));
        if let Some(caps) = app.store.caps() {
            caps.go_by(&app.current().ruleset);
        }
        app.restore_request_ids()?;
        app.release_paused(&pauses);
        app.take_first(found);
        Ok(app)
    }

    /// Remembers the request ids of the last ten minutes after a restart.
    fn restore_request_ids(&self) -> Result<(), StoreError> {
        let from = self.clock.now().plus_us(-idempotency::REMEMBERED_US - SECOND_US);
        self.store.scan_decisions(Some(from), None, &mut |stored| {
            let (now, id) = (stored.record.now, stored.record.id);
            if let Some(ticket) = Ticket::of_stored_stream(&stored.record.request) {
                self.stream_ids.restore(&ticket, now, id);
            } else if let Some(ticket) = Ticket::of_stored(&stored.record.request) {
                self.request_ids.restore(&ticket, now, id);
            }
            true
        })
    }

    /// The current snapshot. Take it once per call and pass it on.
    pub fn current(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// The service clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Where people and pages reach the service, without a slash at the end.
    pub fn public_url(&self) -> &str {
        self.keys.public_url()
    }

    /// What was counted.
    pub fn tallies(&self) -> Arc<Tallies> {
        self.store.tallies().borrow().clone()
    }

    /// Whether rules are loaded and the store is open.
    pub fn ready(&self) -> bool {
        !self.current().ruleset.offers.is_empty()
    }
}
