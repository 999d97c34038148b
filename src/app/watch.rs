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
        let watcher = self.store.watch(key).map_err(|why| match why {
            NoWatch::TooMany => AppError::Exhausted(format!("`{WATCHERS_MAX}` watch already: try again later")),
            NoWatch::TooManyOfOne => AppError::Exhausted(format!(
                "`{WATCHERS_OF_ONE_MAX}` watch this customer already: end one of them, or try again later"
            )),
            NoWatch::Ending => AppError::Unavailable("the service is shutting down; watch again later".to_owned()),
        })?;
        let until = Instant::now() + WATCH_MAX;
        Ok(Watching { app: Arc::clone(self), key, watcher, until, next: Some(Happened::default()) })
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
