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

use super::{gate::Limits, listener, sample::Sampled, worker};

/// How often the store is sampled and histograms are folded.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);
/// Accepted connections that wait to be served.
const QUEUE_LEN_MAX: usize = 16;

/// The routes. `stop` turns true when the service drains.
pub fn router(app: &Arc<App>, stop: &watch::Receiver<bool>) -> Router {
    let (app, stop) = (Arc::clone(app), stop.clone());
    let ready = move || {
        let ready = app.ready() && app.store.healthy() && !*stop.borrow();
        async move { if ready { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") } }
    };
    Router::new()
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(render))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there are /metrics, /livez and /readyz\n") })
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
    let mut looks = 0_u64;
    let mut ticks = tokio::time::interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let age_us = app.now().since_us(app.revision().activation.at);
        let age = Duration::from_micros(u64::try_from(age_us).unwrap_or_default());
        sampled.set(&app.store.stats(), age);
        metrics().in_flight(Class::Interactive, limits.in_flight());
        metrics().in_flight(Class::Batch, traffic.batch());
        if looks.is_multiple_of(REACHED_EVERY) {
            metrics().offers_reaching_nobody(app.offers_reaching_nobody());
        }
        looks = looks.wrapping_add(1);
        metrics().upkeep();
    }
}
