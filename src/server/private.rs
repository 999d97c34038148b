//! The private listener: metrics and probes, and what is sampled for them.

use std::{net::TcpListener as StdListener, sync::Arc, time::Duration};

use axum::{
    Router,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;

use crate::{
    app::App,
    grpc::traffic::Traffic,
    telemetry::{Class, metrics},
};

use super::{
    connected::Connected, gate::Limits, listener, sample::Sampled, sample_replicas::SampledReplicas,
    supervise::Supervisor, worker,
};

/// How often the store is sampled and histograms are folded.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Accepted connections that wait to be served.
const QUEUE_LEN_MAX: usize = 16;

/// The routes. `stop` turns true when the service drains.
pub fn router(app: &Arc<App>, supervisor: &Supervisor, stop: &watch::Receiver<bool>) -> Router {
    let (ready_app, supervisor, stop) = (Arc::clone(app), supervisor.clone(), stop.clone());
    let ready = move || {
        let ready = ready_app.ready() && ready_app.store.healthy() && !*stop.borrow();
        let (code, word) =
            if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
        let body = format!("{word}\n{}", detail(&ready_app, &supervisor));
        async move { (code, body) }
    };
    let alive_app = Arc::clone(app);
    let alive = move || {
        // a thread of the store cannot be started again alone: the process can
        let ended = alive_app.store.threads().iter().any(|thread| thread.ended);
        async move {
            match ended {
                true => (StatusCode::SERVICE_UNAVAILABLE, "a thread of the store ended: start the process again\n"),
                false => (StatusCode::OK, "alive\n"),
            }
        }
    };
    Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(render))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz\n") })
}

/// What people want to know when something is wrong, a line each.
fn detail(app: &App, supervisor: &Supervisor) -> String {
    let mut text = String::new();
    match Connected::of(app) {
        Some(connected) => text += &format!("store: {connected}\n"),
        None if app.store.is_waiting() => text += "store: this replica has not met the shared store yet\n",
        None => text += "store: embedded\n",
    }
    for thread in app.store.threads() {
        text += &format!("thread {}: {}\n", thread.name, if thread.ended { "ended" } else { "running" });
    }
    for task in supervisor.reports() {
        text += &format!("task {}: {}, {} restarts\n", task.name, task.state.name(), task.restarts);
    }
    text
}

async fn render() -> impl IntoResponse {
    let text = tokio::task::spawn_blocking(|| metrics().render()).await;
    let code = if text.is_ok() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    (code, [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.unwrap_or_default())
}

/// Serves until the runtime ends: probes are answered while requests drain.
pub async fn serve(listener: StdListener, router: Router) {
    let (sender, received) = tokio::sync::mpsc::channel(QUEUE_LEN_MAX);
    let accepting = async move {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            listener::prepare(&stream).ok();
            if sender.send(Ok::<_, std::io::Error>(stream)).await.is_err() {
                return Ok::<(), std::io::Error>(());
            }
        }
    };
    let serving = worker::server().add_routes(Routes::from(router)).serve_with_incoming(ReceiverStream::new(received));
    tokio::select! {
        result = accepting => if let Err(error) = result {
            tracing::error!(%error, "accepting on the private listener failed");
        },
        result = serving => if let Err(error) = result {
            tracing::error!(%error, "serving the private listener failed");
        },
    }
}

/// Whether offers reach anybody is looked at once in so many samples.
const REACHED_EVERY: u64 = 10;

/// Samples the store, the ruleset's age and the load, each second.
pub async fn sample(app: Arc<App>, limits: Arc<Limits>, traffic: Arc<Traffic>) {
    let sampled = Sampled::new(metrics());
    let replicas = SampledReplicas::new(metrics());
    let mut looks = 0_u64;
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let age_us = app.now().since_us(app.revision().activation.at);
        let age = Duration::from_micros(u64::try_from(age_us).unwrap_or_default());
        sampled.set(&app.store.stats(), age);
        replicas.set(&app.store.replica_stats());
        metrics().in_flight(Class::Interactive, limits.in_flight());
        metrics().in_flight(Class::Batch, traffic.batch());
        if looks.is_multiple_of(REACHED_EVERY) {
            metrics().offers_reaching_nobody(app.offers_reaching_nobody());
        }
        looks = looks.wrapping_add(1);
        metrics().upkeep();
    }
}
