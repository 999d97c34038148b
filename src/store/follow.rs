//! Following the log: from a record on, everything that was written, in the
//! order in which it was written, through closed segments and the open one.
//!
//! Only what is on disk is told: a record that was told and then lost with the
//! power would be one that never was, and its sequence could be given again. So
//! who follows asks for a sync when nobody else does, at most every
//! [`SYNC_EVERY`]. While nobody follows, the writer pays for two stores and a
//! load per group.
//!
//! Files are read by who follows, a bounded piece at a time, off the serving
//! threads: a slow reader holds back nobody and nothing but its own piece.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::domain::CustomerKey;

use super::{
    Store, StoreError, blocking,
    follow_piece::{LogPiece, Reading},
    followed::ChangeKinds,
    history::log_dir,
    log::LogReader,
    writer::Command,
};

/// Most who follow at the same time.
pub const FOLLOWERS_MAX: usize = 32;
/// How often a sync is asked for who follows.
const SYNC_EVERY: Duration = Duration::from_millis(20);
/// How long to wait for it before it is asked for again.
const SYNC_WAIT: Duration = Duration::from_secs(1);

/// How long who begins now waits for it.
const BEGIN_WAIT: Duration = Duration::from_secs(10);

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// With what is written from now on.
    Now,
    /// With the oldest record that is kept.
    Oldest,
    /// Behind the record with this sequence.
    After(u64),
}

/// Why somebody cannot follow, or not any more.
#[derive(Debug, thiserror::Error)]
pub enum NoFollow {
    /// [`FOLLOWERS_MAX`] follow already.
    #[error("`{FOLLOWERS_MAX}` follow already")]
    TooMany,
    /// The service is about to stop.
    #[error("the service is shutting down")]
    Ending,
    /// What comes next is no longer kept.
    #[error("records up to `{oldest}` are no longer kept")]
    TooOld {
        /// What the oldest record that is kept comes after.
        oldest: u64,
    },
    /// There is no such record yet.
    #[error("the newest record is `{newest}`")]
    Ahead {
        /// The last sequence that was given.
        newest: u64,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Everybody who follows, and how far the log is.
pub(super) struct Followers {
    count: AtomicUsize,
    /// The last sequence in the log.
    written: AtomicU64,
    /// The last sequence on disk, as far as this process knows.
    synced: AtomicU64,
    /// The sequence in the name of the oldest segment.
    oldest: AtomicU64,
    refused: AtomicU64,
    /// Told at each change of the two, and at the end.
    moved: watch::Sender<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ended: bool,
    /// How far each is.
    places: Vec<Arc<AtomicU64>>,
}

impl Default for Followers {
    fn default() -> Self {
        Self {
            count: AtomicUsize::default(),
            written: AtomicU64::default(),
            synced: AtomicU64::default(),
            oldest: AtomicU64::default(),
            refused: AtomicU64::default(),
            moved: watch::Sender::new(()),
            state: Mutex::default(),
        }
    }
}

impl Followers {
    pub fn len(&self) -> usize {
        self.count.load(Relaxed)
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// How many sequences the slowest is behind the log.
    pub fn lag(&self) -> u64 {
        let slowest = self.lock().places.iter().map(|place| place.load(Relaxed)).min();
        slowest.map_or(0, |place| self.written.load(Relaxed).saturating_sub(place))
    }

    /// The log has everything up to here.
    pub fn wrote(&self, sequence: u64) {
        self.written.store(sequence, SeqCst);
        self.tell();
    }

    /// Everything up to here is on disk.
    pub fn synced(&self, sequence: u64) {
        self.synced.fetch_max(sequence, SeqCst);
        self.tell();
    }

    /// The oldest segment is this one, or is about to be.
    pub fn keeps_from(&self, first_sequence: u64) {
        self.oldest.store(first_sequence, SeqCst);
    }

    /// The sequence in the name of the oldest segment.
    pub fn oldest(&self) -> u64 {
        self.oldest.load(SeqCst)
    }

    /// INVARIANT: either the count shows here, or who began to follow since
    /// looks at what was stored before.
    fn tell(&self) {
        if self.count.load(SeqCst) > 0 {
            self.moved.send_replace(());
        }
    }

    /// Ends it for all, and takes no further one.
    pub fn end(&self) {
        self.lock().ended = true;
        self.moved.send_replace(());
    }

    /// The last sequence in the log.
    pub fn last_written(&self) -> u64 {
        self.written.load(SeqCst)
    }

    /// Whether nobody is to follow any more.
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// Begins to follow; what is told ends when it is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> Result<Entered, NoFollow> {
        let mut state = self.lock();
        if state.ended {
            return Err(NoFollow::Ending);
        }
        if state.places.len() >= FOLLOWERS_MAX {
            self.refused.fetch_add(1, Relaxed);
            return Err(NoFollow::TooMany);
        }
        let place = Arc::new(AtomicU64::new(u64::MAX));
        state.places.push(Arc::clone(&place));
        self.count.fetch_add(1, SeqCst);
        let moved = self.moved.subscribe();
        Ok(Entered { followers: Arc::clone(self), place, moved })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who follows, as the others see it.
pub(super) struct Entered {
    followers: Arc<Followers>,
    place: Arc<AtomicU64>,
    pub moved: watch::Receiver<()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.followers.lock().places.retain(|place| !Arc::ptr_eq(place, &self.place));
        self.followers.count.fetch_sub(1, SeqCst);
    }
}

/// Somebody who follows the log, until dropped.
pub struct Follower {
    entered: Entered,
    kinds: ChangeKinds,
    /// The last sequence that was read.
    seen: u64,
    /// `None` while a piece is being read, and when that was given up.
    reading: Option<LogReader>,
    /// The last sequence when it began.
    newest: u64,
}

impl Follower {
    /// The last sequence when it began: who wants what there is by now stops
    /// there.
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// The last sequence that was read, or what it began behind.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    fn reached(&mut self, sequence: u64) {
        self.seen = self.seen.max(sequence);
        self.entered.place.store(self.seen, Relaxed);
    }
}

impl Store {
    /// Follows the log, telling of these kinds.
    ///
    /// # Errors
    /// Too many follow, the beginning is not kept or not written yet, or the
    /// service is about to stop.
    pub async fn follow(&self, since: Since, kinds: ChangeKinds) -> Result<Follower, NoFollow> {
        let entered = self.shared.followers.enter()?;
        // what was sent before is in the log by then
        let newest = self.ask_sync().await?;
        let oldest = entered.followers.oldest().saturating_sub(1);
        let seen = match since {
            Since::Now => {
                self.wait_until_on_disk(&entered, newest).await?;
                newest
            }
            Since::Oldest => oldest,
            Since::After(sequence) if sequence > newest => return Err(NoFollow::Ahead { newest }),
            Since::After(sequence) if sequence < oldest => return Err(NoFollow::TooOld { oldest }),
            Since::After(sequence) => sequence,
        };
        entered.place.store(seen, Relaxed);
        Ok(Follower { entered, kinds, seen, reading: None, newest })
    }

    /// What stands for a customer in other systems: always the same, and it
    /// says nothing of the customer's key.
    pub fn outside_key(&self, customer: CustomerKey) -> u128 {
        self.shared.hasher.outside(customer)
    }

    /// Waits for the next piece; `None` once the service is about to stop. An
    /// empty one tells only how far everything is read. May be given up at any
    /// time: nothing is lost.
    ///
    /// # Errors
    /// What comes next is no longer kept, or the log cannot be read.
    pub async fn next_piece(&self, follower: &mut Follower) -> Result<Option<LogPiece>, NoFollow> {
        let followers = Arc::clone(&follower.entered.followers);
        loop {
            follower.entered.moved.mark_unchanged();
            if followers.lock().ended {
                return Ok(None);
            }
            let synced = followers.synced.load(SeqCst);
            if follower.seen < synced {
                return self.read_piece(follower, synced).await.map(Some);
            }
            if followers.written.load(SeqCst) > synced {
                // others' syncs do as well
                let _ = tokio::time::timeout(SYNC_EVERY, self.on_disk(follower, synced)).await;
                if followers.synced.load(SeqCst) == synced && !followers.lock().ended {
                    self.ask_sync().await?;
                    let _ = tokio::time::timeout(SYNC_WAIT, self.on_disk(follower, synced)).await;
                }
                continue;
            }
            if follower.entered.moved.changed().await.is_err() {
                return Ok(None);
            }
        }
    }

    /// Waits until more is on disk than was, or the end.
    async fn on_disk(&self, follower: &mut Follower, synced: u64) {
        let followers = Arc::clone(&follower.entered.followers);
        while followers.synced.load(SeqCst) == synced && !followers.lock().ended {
            if follower.entered.moved.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until everything up to a sequence is on disk: what is said of it
    /// must still hold when the power fails.
    async fn wait_until_on_disk(&self, entered: &Entered, sequence: u64) -> Result<(), StoreError> {
        let followers = Arc::clone(&entered.followers);
        let mut moved = entered.moved.clone();
        let synced = async {
            while followers.synced.load(SeqCst) < sequence && !followers.lock().ended {
                if moved.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(BEGIN_WAIT, synced).await.map_err(|_| StoreError::Io {
            doing: "bringing the event log to disk".to_owned(),
            source: io::ErrorKind::TimedOut.into(),
        })
    }

    /// Waits until everything that is written now is on disk; false when it is not
    /// to be had.
    pub(super) async fn on_disk_now(&self) -> bool {
        let Ok(newest) = self.ask_sync().await else { return false };
        let Ok(entered) = self.shared.followers.enter() else { return false };
        self.wait_until_on_disk(&entered, newest).await.is_ok()
    }

    /// Asks for everything that was written to be brought to disk; answers the
    /// last sequence in the log.
    async fn ask_sync(&self) -> Result<u64, StoreError> {
        let (reply, answer) = oneshot::channel();
        if !self.send(Command::Sync(reply)).await {
            return Err(StoreError::Closed);
        }
        answer.await.map_err(|_| StoreError::Closed)
    }

    async fn read_piece(&self, follower: &mut Follower, until: u64) -> Result<LogPiece, NoFollow> {
        let (shared, reader) = (Arc::clone(&self.shared), follower.reading.take());
        let (seen, kinds) = (follower.seen, follower.kinds);
        let read = blocking(move || {
            let reader = match reader {
                Some(reader) => reader,
                None => LogReader::open(&log_dir(&shared.config.dir), seen.saturating_add(1))?,
            };
            let mut reading = Reading { shared: &shared, reader, seen, kinds };
            let piece = reading.piece(until)?;
            Ok((reading.reader, piece))
        });
        let (reader, piece) = read.await?;
        follower.reading = Some(reader);
        let piece = piece?;
        follower.reached(piece.sequence);
        Ok(piece)
    }
}
