//! What happens, in the order in which it was committed: a task per subscriber
//! between the log and a transport that may be slow.

use std::time::Duration;

use tokio::sync::mpsc;
use tonic::Status;

use crate::{app::Told, domain::CustomerKey, proto, telemetry::metrics};

use super::{
    Api,
    convert::{
        customer::Names,
        subscribe::{self, Outside},
    },
};

/// Messages that wait for the transport; what comes behind them waits in the
/// log.
const MESSAGES_WAITING_MAX: usize = 64;

/// A reader that takes nothing for this long has gone.
const STALLED_MAX: Duration = Duration::from_secs(60);

/// Somebody who is told what happens.
pub struct Subscription {
    api: Api,
    subscription: crate::app::Subscription,
}

impl Api {
    /// Tells what happens, from a cursor on.
    ///
    /// # Errors
    /// As [`crate::app::App::subscribe`]; every violation.
    pub async fn subscribe(&self, wire: proto::SubscribeRequest) -> Result<Subscription, Status> {
        let snapshot = self.app().current();
        let input = self.read(&snapshot, |reading| subscribe::read(reading, wire))?;
        let subscription = self.app().subscribe(input).await?;
        Ok(Subscription { api: self.clone(), subscription })
    }
}

impl Subscription {
    /// The next message; `None` once it has ended. May be given up at any time:
    /// nothing is lost.
    pub async fn next(&mut self) -> Option<Result<proto::SubscribeResponse, Status>> {
        match self.subscription.next().await {
            Ok(told) => Some(Ok(self.write(told?))),
            Err(error) => Some(Err(error.into())),
        }
    }

    fn write(&self, told: Told) -> proto::SubscribeResponse {
        let app = self.api.app();
        let snapshot = app.current();
        let item = |id| app.store.item_name(id);
        let customer = |key: CustomerKey| app.outside_name(key);
        let keys = match &told {
            Told::Change(followed) => followed.record_keys.clone(),
            Told::Cursor { .. } => Vec::new(),
        };
        let record =
            |record| keys.iter().find(|(one, _)| *one == record).map_or_else(String::new, |(_, key)| key.to_string());
        let names = Names { ruleset: &snapshot.ruleset, item: &item, record: &record };
        subscribe::write(told, &Outside { names, customer: &customer })
    }

    /// Feeds what is written of each message to a transport, until it ends or
    /// the caller has gone. After every `silence` without a message `write` is
    /// asked what to say.
    pub fn feed<T: Send + 'static>(
        mut self,
        silence: Duration,
        write: impl Fn(Option<Result<proto::SubscribeResponse, Status>>) -> Option<T> + Send + 'static,
    ) -> mpsc::Receiver<T> {
        let (sender, receiver) = mpsc::channel(MESSAGES_WAITING_MAX);
        tokio::spawn(async move {
            loop {
                let message = tokio::select! {
                    // a caller that has gone is noticed although nothing happens
                    () = sender.closed() => return,
                    message = tokio::time::timeout(silence, self.next()) => message,
                };
                let (said, ends) = match message {
                    Ok(None) => return,
                    Ok(Some(message)) => {
                        let ends = message.is_err();
                        (write(Some(message)), ends)
                    }
                    Err(_) => (write(None), false),
                };
                if let Some(said) = said
                    && let Err(error) = sender.send_timeout(said, STALLED_MAX).await
                {
                    if matches!(error, mpsc::error::SendTimeoutError::Timeout(_)) {
                        metrics().subscribers_stalled.increment(1);
                    }
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
