//! What keeps the connection: the one place that connects, so that however many
//! calls fail, one connection is made.

use std::time::Instant;

use tokio::time::{sleep_until, timeout};

use super::{
    address::Layout,
    breaker::BreakerState,
    client::{Client, Live},
    link::Link,
    outage::{Effect, Failure, Outage},
    sentinel,
    settings::Kind,
};

/// When the keeper looks next.
struct Rounds {
    heartbeat_at: Instant,
    sentinels_at: Instant,
}

impl Client {
    /// Connects, looks after the connection and replaces it. Never ends: run it
    /// once as a background task that is started again when it panics. Without
    /// it no call is answered.
    pub async fn keep(self) {
        let mut rounds = Rounds { heartbeat_at: Instant::now(), sentinels_at: Instant::now() };
        loop {
            self.tend(&mut rounds).await;
            let probe_due = self.0.breaker().probe_due();
            let next = probe_due.unwrap_or(rounds.heartbeat_at);
            tokio::select! {
                () = sleep_until(next.into()) => {}
                () = self.0.wake.notified() => {}
            }
        }
    }

    /// Does what there is to do now.
    async fn tend(&self, rounds: &mut Rounds) {
        let shared = &*self.0;
        let state = shared.breaker().state();
        match (shared.live.load_full(), state) {
            (None, BreakerState::Closed) => self.connect().await,
            (Some(live), BreakerState::Closed) if Instant::now() >= rounds.heartbeat_at => {
                self.look(&live).await;
                self.ask_sentinels(&live, rounds).await;
                rounds.heartbeat_at = Instant::now() + shared.settings.heartbeat_interval;
            }
            (Some(_), BreakerState::Closed) => {}
            (live, BreakerState::Open | BreakerState::HalfOpen) => {
                if shared.change(|breaker| breaker.begin_probe(Instant::now())) {
                    match live {
                        Some(live) => self.probe(&live).await,
                        None => self.connect().await,
                    }
                }
            }
        }
    }

    /// Makes a connection and puts it into service, or opens the breaker.
    async fn connect(&self) {
        let shared = &*self.0;
        shared.attempted();
        let link = Link::connect(&shared.address, shared.settings.link());
        // the sentinels have the same time again
        let most = match shared.address.layout {
            Layout::Sentinel { .. } => 2 * shared.settings.connect_timeout,
            _ => shared.settings.connect_timeout,
        };
        let connected = timeout(most, link).await.unwrap_or_else(|_| Err(Outage::Timeout.into()));
        shared.metrics.rebuilt(connected.is_ok());
        match connected {
            Ok((link, primary)) => shared.publish(link, primary),
            Err(failure) => {
                // whatever is wrong with a server that does not let us in, it is
                // asked again
                let outage = failure.outage().unwrap_or_else(|| {
                    tracing::error!(%failure, "redis answers what it should not");
                    Outage::Denied
                });
                shared.change(|breaker| breaker.probe_failed(Instant::now()));
                shared.opened(outage);
            }
        }
    }

    /// Asks over a connection that was in doubt.
    async fn probe(&self, live: &Live) {
        let shared = &*self.0;
        match self.check(live).await {
            Ok(()) => shared.recovered(),
            Err(Outage::Timeout) => {
                shared.drop_link(live.generation);
                shared.change(|breaker| breaker.open(Instant::now()));
            }
            Err(outage) => {
                shared.change(|breaker| breaker.probe_failed(Instant::now()));
                if outage.effect() == Effect::Replace {
                    shared.drop_link(live.generation);
                }
                shared.opened(outage);
            }
        }
    }

    /// Asks over a connection that works, so that one that died is noticed
    /// without calls too.
    async fn look(&self, live: &Live) {
        let failure = self.check(live).await.err().map(Failure::Outage);
        self.0.judge(live.generation, failure.as_ref());
    }

    async fn check(&self, live: &Live) -> Result<(), Outage> {
        let begun = Instant::now();
        let checked = timeout(self.0.settings.heartbeat_timeout, live.link.check()).await;
        let checked = checked.unwrap_or_else(|_| Err(Outage::Timeout.into()));
        let result = checked.as_ref().err().map_or("ok", Failure::name);
        self.0.metrics.call(Kind::Probe as usize, result, begun.elapsed());
        // a mistake is an answer all the same
        checked.or_else(|failure| failure.outage().map_or(Ok(()), Err))
    }

    /// Gives the connection up when the sentinels name another primary: the old
    /// one may still take writes that nobody will see.
    async fn ask_sentinels(&self, live: &Live, rounds: &mut Rounds) {
        let shared = &*self.0;
        let Layout::Sentinel { sentinels, primary, login } = &shared.address.layout else { return };
        if Instant::now() < rounds.sentinels_at {
            return;
        }
        rounds.sentinels_at = Instant::now() + shared.settings.sentinel_interval;
        let asked = sentinel::Asked { sentinels, primary, login, transport: shared.address.transport };
        let named = sentinel::primary_node(&asked, shared.settings.heartbeat_timeout).await;
        if let Ok(node) = named
            && live.primary.node.as_ref() != Some(&node)
        {
            shared.lose(live.generation, Outage::ReadOnly, Instant::now());
        }
    }
}
