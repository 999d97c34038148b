//! Watching a customer: the view at once, then what happens and the view after
//! it, as soon as it is applied.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    domain::{CustomerKey, Event, Identity},
    store::{Happened, NoWatch, WATCHERS_MAX, WATCHERS_OF_ONE_MAX, Watcher},
};

use super::{App, AppError, CustomerView};

/// The longest a watch lasts; who wants to see more watches again.
pub const WATCH_MAX: Duration = Duration::from_secs(3_600);

/// Times a watch begins anew because the customer was merged meanwhile.
const BEGINNINGS_MAX: usize = 8;

/// A change of a customer, and the view after it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The view now.
    pub view: CustomerView,
    /// What happened, oldest first.
    pub events: Vec<Arc<Event>>,
    /// Whether changes before these were missed.
    pub missed: bool,
}

/// A customer being watched, until dropped.
pub struct Watching {
    app: Arc<App>,
    key: CustomerKey,
    watcher: Watcher,
    until: Instant,
    /// What is to be told next; the view at once, to begin with.
    next: Option<Happened>,
}

impl App {
    /// Watches a customer.
    ///
    /// # Errors
    /// As [`App::customer`]; too many watch; the service is about to stop.
    pub async fn watch(self: &Arc<Self>, identities: &[Identity]) -> Result<Watching, AppError> {
        let key = self.known(identities).await?.profile.key;
        self.watch_from(key, identities).await
    }

    /// Watches who lives on for a customer that these identities named.
    async fn watch_from(self: &Arc<Self>, mut key: CustomerKey, identities: &[Identity]) -> Result<Watching, AppError> {
        for _ in 0..BEGINNINGS_MAX {
            let watcher = self.store.watch(key).map_err(refused)?;
            // INVARIANT: looked up after the watch began: a merge or an erasure from
            // here on is told to it, one before shows in what is found
            match self.live(identities, key).await? {
                live if live == key => {
                    let until = Instant::now() + WATCH_MAX;
                    return Ok(Watching {
                        app: Arc::clone(self),
                        key,
                        watcher,
                        until,
                        next: Some(Happened::default()),
                    });
                }
                live => key = live,
            }
        }
        Err(AppError::Unavailable("the customer is being merged again and again; watch again later".to_owned()))
    }

    /// Who lives on for a customer; where there is none any more, whom the
    /// identities name now.
    async fn live(&self, identities: &[Identity], key: CustomerKey) -> Result<CustomerKey, AppError> {
        match self.store.profile(key).await? {
            Some(hot) => Ok(hot.profile.key),
            None => Ok(self.known(identities).await?.profile.key),
        }
    }
}

fn refused(why: NoWatch) -> AppError {
    match why {
        NoWatch::TooMany => AppError::Exhausted(format!("`{WATCHERS_MAX}` watch already: try again later")),
        NoWatch::TooManyOfOne => AppError::Exhausted(format!(
            "`{WATCHERS_OF_ONE_MAX}` watch this customer already: end one of them, or try again later"
        )),
        NoWatch::Ending => AppError::Unavailable("the service is shutting down; watch again later".to_owned()),
    }
}

impl Watching {
    /// Waits for the next change; the first answer is the view at once. `None`
    /// once it has ended: after [`WATCH_MAX`], when the service stops, or when
    /// there is no such customer any more. May be given up at any time: nothing
    /// is lost.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn next(&mut self) -> Result<Option<Watched>, AppError> {
        if self.next.is_none() {
            let told = tokio::time::timeout_at(self.until, self.watcher.next()).await;
            self.next = told.ok().flatten();
        }
        if self.next.is_none() {
            return Ok(None);
        }
        let Some(hot) = self.app.store.profile(self.key).await? else { return Ok(None) };
        let Happened { events, missed } = self.next.take().unwrap_or_default();
        let view = self.app.view(&self.app.current(), &hot.profile);
        Ok(Some(Watched { view, events, missed }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{EventId, EventKind, IdentityTypeId, MergeId, Sharing, Timestamp},
        rules::SourceFile,
        store::{Receipt, Store, StoreConfig, Strength, Submission, Target},
    };

    fn mail(app: &App, value: &str) -> Identity {
        let kind = IdentityTypeId::of("email");
        let hash = app.store.identity_hash(kind, value);
        Identity { kind, value: value.into(), hash, sharing: Sharing::Unique }
    }

    async fn blocked(app: &App, value: &str, n: u64) -> Receipt {
        let kind = EventKind::DoNotContact { on: true, reason: "".into() };
        let (id, at) = (EventId(n.into()), Timestamp(1_700_000_000_000_000 + n as i64));
        let event = Event { id, at, received_at: at, identities: Vec::new(), feeds: Vec::new(), kind };
        let target = Target::Identities(vec![mail(app, value)]);
        let one = Submission { target, event, content: n, strength: Strength::Process };
        app.store.record(vec![one]).await.remove(0)
    }

    /// The merge comes between looking somebody up and beginning to watch.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_watch_that_begins_during_a_merge_is_of_who_lives_on() {
        let dir = tempfile::tempdir().unwrap();
        let text = "settings: { currency: GBP }\nchannels: [ { id: web, kind: self_service, require: [text] } ]\n";
        let rules = vec![SourceFile { path: "all.yaml".into(), text: text.into() }];
        let store = Store::open(StoreConfig::new(dir.path())).unwrap();
        let app = App::open(store, &Ok(rules), "http://127.0.0.1:7070").unwrap_or_else(|error| panic!("{error}"));
        let app = Arc::new(app);
        let ann = blocked(&app, "ann@example.org", 1).await.customer.unwrap();
        let bob = blocked(&app, "bob@example.org", 2).await.customer.unwrap();
        let merge = (MergeId(3), Timestamp(1_700_000_000_000_100));
        assert_eq!(app.store.merge((ann, bob), merge, "the same").await.customer, Some(ann));

        let mut watching =
            app.watch_from(bob, &[mail(&app, "bob@example.org")]).await.unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(watching.key, ann);
        assert!(watching.next().await.unwrap().unwrap().events.is_empty(), "the view at once");
        blocked(&app, "ann@example.org", 4).await;
        let told = tokio::time::timeout(Duration::from_secs(60), watching.next()).await;
        let told = told.expect("it is told").unwrap().unwrap();
        assert_eq!(told.events.iter().map(|event| event.id.0).collect::<Vec<_>>(), [4]);
    }
}
