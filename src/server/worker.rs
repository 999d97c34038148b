//! Serving threads.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, watch},
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{service::Routes, transport::Server};

use crate::{
    config::{RuntimeLayout, ServeConfig},
    grpc::admission::{Shares, Turns},
};

use super::{
    ServeError,
    gate::{GateLayer, Gates},
    listener::{HANDED_OVER_MAX, Inbox, Open, Stream},
};

/// The longest a call may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Most calls in flight of one connection.
const STREAMS_MAX: u32 = 1_024;
/// Most bytes of headers.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// Silence after which a connection is probed, and the wait for the answer.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// How long a probed connection may take to answer.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// What a worker serves.
#[derive(Clone)]
pub struct Served {
    /// In front of every call.
    pub gates: Gates,
    /// How many calls of each class may be under way.
    pub shares: Arc<Shares>,
    /// Every service and route.
    pub routes: Routes,
    /// Turns true when it is time to stop.
    pub stop: watch::Receiver<bool>,
    /// How long requests may still take then.
    pub drain_timeout: Duration,
    /// Looks after background tasks.
    pub supervisor: super::supervise::Supervisor,
}

/// Starts the serving threads.
///
/// # Errors
/// The system gives no thread or runtime.
pub fn start(config: &ServeConfig, served: &Served) -> Result<(Vec<Inbox>, Vec<JoinHandle<()>>), ServeError> {
    let age_max = Duration::from_millis(config.queue_age_max_ms);
    let turns = |threads| Arc::new(Turns::new(threads, age_max, Arc::clone(&served.shares)));
    let runtimes: Vec<(Runtime, Arc<Turns>)> = match config.runtime {
        RuntimeLayout::PerCore => (0..config.workers).map(|_| single(turns(1))).collect::<Result<_, _>>()?,
        RuntimeLayout::MultiThread => vec![multi(config.workers, turns(config.workers))?],
    };
    let mut inboxes = Vec::with_capacity(runtimes.len());
    let mut threads = Vec::with_capacity(runtimes.len());
    for (index, (runtime, turns)) in runtimes.into_iter().enumerate() {
        let (queue, received) = mpsc::channel(HANDED_OVER_MAX);
        inboxes.push(Inbox { queue, open: Arc::new(AtomicUsize::new(0)) });
        let served = served.clone();
        let thread = std::thread::Builder::new().name(format!("rapport-{index}")).spawn(move || {
            runtime.block_on(serve(served, turns, received));
            // A call that outlived the drain must not hold the process.
            runtime.shutdown_background();
        });
        threads.push(thread.map_err(ServeError::Thread)?);
    }
    Ok((inboxes, threads))
}

fn single(turns: Arc<Turns>) -> Result<(Runtime, Arc<Turns>), ServeError> {
    build(Builder::new_current_thread(), turns)
}

fn multi(workers: usize, turns: Arc<Turns>) -> Result<(Runtime, Arc<Turns>), ServeError> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers).thread_name("rapport-worker");
    build(builder, turns)
}

fn build(mut builder: Builder, turns: Arc<Turns>) -> Result<(Runtime, Arc<Turns>), ServeError> {
    let looking = Arc::clone(&turns);
    let runtime = builder.enable_all().on_thread_unpark(move || looking.looked()).build();
    Ok((runtime.map_err(ServeError::Thread)?, turns))
}

async fn serve(served: Served, turns: Arc<Turns>, received: mpsc::Receiver<(std::net::TcpStream, Open)>) {
    let incoming = ReceiverStream::new(received).map(|(stream, open)| Stream::new(stream, open));
    let giving = Arc::clone(&turns);
    served.supervisor.spawn_here("turns of calls", move || Arc::clone(&giving).give());
    let gate = GateLayer { gates: served.gates, turns };
    let (mut stop, mut deadline) = (served.stop.clone(), served.stop.clone());
    let serving = server().layer(gate).add_routes(served.routes).serve_with_incoming_shutdown(incoming, async move {
        stop.wait_for(|stop| *stop).await.ok();
    });
    let overdue = async move {
        deadline.wait_for(|stop| *stop).await.ok();
        tokio::time::sleep(served.drain_timeout).await;
    };
    tokio::select! {
        result = serving => if let Err(error) = result {
            tracing::error!(%error, "serving failed");
        },
        () = overdue => tracing::warn!("requests were cut off at the end of the drain timeout"),
    }
}

/// A server for gRPC and HTTP/1.1 with the limits of this service.
pub fn server() -> Server {
    Server::builder()
        .accept_http1(true)
        .timeout(REQUEST_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}
