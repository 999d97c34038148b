//! Looking up who calls, and watching a customer: a task per watch between what
//! happens and a transport that may be slow.

use std::time::Duration;

use tokio::sync::mpsc;
use tonic::Status;

use crate::{
    app::{Watched, Watching},
    domain::schema::MATCH_TYPE,
    proto,
};

use super::{
    Api, Sight,
    convert::{
        customer::{Names, record_key},
        fields::Wanted,
        timeline::Personal,
        watch,
    },
};

/// Changes that wait for the transport; what happens meanwhile waits, bounded,
/// with the watcher.
const CHANGES_WAITING_MAX: usize = 1;

/// A reader that takes nothing for this long has gone.
const STALLED_MAX: Duration = Duration::from_secs(60);

/// A customer being watched.
pub struct Watch {
    api: Api,
    watching: Watching,
    sight: Sight,
    wanted: Wanted,
}

impl Api {
    /// Who may be behind an identity.
    ///
    /// # Errors
    /// As [`crate::app::App::lookup`]; every violation.
    pub async fn lookup(&self, wire: proto::LookupRequest) -> Result<proto::LookupResponse, Status> {
        let snapshot = self.app().current();
        let identity = self.read(&snapshot, |mut reading| {
            if wire.identity.as_ref().is_some_and(|identity| identity.r#type == MATCH_TYPE) {
                let why = "names one customer already: use the token in `GetCustomer`, `WatchCustomer` and `Decide`";
                reading.wrong("identity.type", why);
            }
            let identity = reading.identity_required("identity", wire.identity);
            reading.done(identity)
        })?;
        // INVARIANT: one that is missing is a violation
        let Some(identity) = identity else { return Err(Status::invalid_argument("reading the identity")) };
        Ok(watch::write_found(self.app().lookup(&snapshot, &identity).await?))
    }

    /// Watches a customer.
    ///
    /// # Errors
    /// As [`crate::app::App::watch`]; every violation.
    pub async fn watch_customer(&self, sight: Sight, wire: proto::WatchCustomerRequest) -> Result<Watch, Status> {
        let snapshot = self.app().current();
        let (identities, wanted) = self.read(&snapshot, |mut reading| {
            let identities = reading.identities_required("", wire.identities);
            let wanted = Wanted::read(&mut reading, &wire.fields);
            reading.done((identities, wanted))
        })?;
        let watching = self.app().watch(&identities).await?;
        Ok(Watch { api: self.clone(), watching, sight, wanted })
    }
}

impl Watch {
    /// The next change; `None` once it has ended. May be given up at any time:
    /// nothing is lost.
    pub async fn next(&mut self) -> Option<Result<proto::WatchCustomerResponse, Status>> {
        loop {
            let watched = match self.watching.next().await {
                Ok(watched) => watched?,
                Err(error) => return Some(Err(error.into())),
            };
            let snapshot = self.api.app().current();
            let item = |id| self.api.app().store.item_name(id);
            let watched = Watched { view: self.sight.view(watched.view, &snapshot.ruleset), ..watched };
            let record = |record| record_key(&watched.view.profile, record);
            let names = Names { ruleset: &snapshot.ruleset, item: &item, record: &record };
            let personal = if self.sight == Sight::Whole { Personal::Shown } else { Personal::Hidden };
            let mut change = watch::write(&watched, &names, personal);
            change.customer.iter_mut().for_each(|view| self.wanted.limit(view));
            // an event that only counts for the lift changes nothing that shows
            let shows = watched.events.is_empty() || watched.missed || !change.happenings.is_empty();
            if shows {
                return Some(Ok(change));
            }
        }
    }

    /// Feeds what is written of each change to a transport, until the watch ends
    /// or the caller has gone. After every `silence` without a change `write` is
    /// asked what to say.
    pub fn feed<T: Send + 'static>(
        mut self,
        silence: Duration,
        write: impl Fn(Option<Result<proto::WatchCustomerResponse, Status>>) -> Option<T> + Send + 'static,
    ) -> mpsc::Receiver<T> {
        let (sender, receiver) = mpsc::channel(CHANGES_WAITING_MAX);
        tokio::spawn(async move {
            loop {
                let change = tokio::select! {
                    // a caller that has gone is noticed although nothing happens
                    () = sender.closed() => return,
                    change = tokio::time::timeout(silence, self.next()) => change,
                };
                let (said, ends) = match change {
                    Ok(None) => return,
                    Ok(Some(change)) => {
                        let ends = change.is_err();
                        (write(Some(change)), ends)
                    }
                    Err(_) => (write(None), false),
                };
                if let Some(said) = said
                    && sender.send_timeout(said, STALLED_MAX).await.is_err()
                {
                    return;
                }
                if ends {
                    return;
                }
            }
        });
        receiver
    }
}
