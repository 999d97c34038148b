//! The service, wired: listeners, serving threads, background tasks, drain.
//!
//! A connection is accepted on the control runtime and stays on one serving
//! thread from then on, so that a decision never changes threads. Whatever may
//! take long (metrics, sampling, probes) lives on the control runtime.

pub mod background;
pub mod calls;
pub mod catch;
pub mod connected;
pub mod edge;
pub mod gate;
pub mod keys;
pub mod listener;
pub mod private;
pub mod roles;
pub mod sample;
mod sample_replicas;
pub mod signals;
pub mod supervise;
pub mod waiting;
pub mod wire;
pub mod worker;

#[cfg(test)]
mod tests;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use axum::Router;
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::watch,
    task::AbortHandle,
};
use tonic::{
    server::NamedService,
    service::{Routes, RoutesBuilder},
};

use crate::{
    app::App,
    config::ServeConfig,
    grpc::{Api, MESSAGE_BYTES_MAX, admission::Shares},
    http,
    proto::{
        DESCRIPTORS, analysis_service_server::AnalysisServiceServer, customer_service_server::CustomerServiceServer,
        decision_service_server::DecisionServiceServer, event_service_server::EventServiceServer,
        ruleset_service_server::RulesetServiceServer,
    },
};

use calls::Calls;
use edge::Edge;
use gate::{Gates, Limits};
use keys::Keys;
use supervise::Supervisor;
use worker::Served;

/// Threads of the control runtime.
const CONTROL_THREADS: usize = 2;

/// How long saying goodbye to the other replicas may take.
const LEAVE_MAX: Duration = Duration::from_millis(250);

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Other hosts could call without a key.
    #[error(
        "`{0}` can be reached from other hosts: give `--api-keys FILE`, or `--insecure` to let everybody call, or bind a loopback address"
    )]
    Exposed(SocketAddr),
    /// An address cannot be bound.
    #[error("binding `{address}`: {source}: choose another address or stop what uses it")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The file of keys is wrong.
    #[error("reading the API keys `{path}`: {why}")]
    Keys {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The descriptors cannot be reflected.
    #[error("preparing the reflection service: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// No thread or runtime.
    #[error("starting a thread: {0}")]
    Thread(io::Error),
}

/// Where the service listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// gRPC and JSON.
    pub public: SocketAddr,
    /// Metrics and probes.
    pub private: SocketAddr,
}

/// A service that runs.
pub struct Running {
    /// Where it listens.
    pub started: Started,
    app: Arc<App>,
    stop: watch::Sender<bool>,
    control: Runtime,
    workers: Vec<JoinHandle<()>>,
    private: AbortHandle,
}

/// The sockets of a service: bound before it starts, so that another may take
/// them over.
pub struct Listeners {
    public: std::net::TcpListener,
    private: std::net::TcpListener,
    /// Where they listen.
    pub started: Started,
}

impl Listeners {
    /// Binds the addresses.
    ///
    /// # Errors
    /// A bind that other hosts could reach without keys, an address in use.
    pub fn bind(config: &ServeConfig) -> Result<Self, ServeError> {
        refuse_exposed(config)?;
        let (public, public_address) = bind(config.listen)?;
        let (private, private_address) = bind(config.private_listen)?;
        Ok(Self { public, private, started: Started { public: public_address, private: private_address } })
    }

    /// The same sockets for another service.
    ///
    /// # Errors
    /// The system gives no more handles.
    pub fn try_clone(&self) -> Result<Self, ServeError> {
        let clone = |listener: &std::net::TcpListener| listener.try_clone().map_err(ServeError::Thread);
        Ok(Self { public: clone(&self.public)?, private: clone(&self.private)?, started: self.started })
    }
}

/// Tells a service to stop; may be sent to another thread.
#[derive(Clone)]
pub struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    /// Stops accepting; requests in flight are finished.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

/// How long giving leases back may take at a stop.
const CAPS_CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Serves until SIGTERM or SIGINT, or until the handle given to `started` is
/// used; then drains and closes the store. Blocking.
///
/// # Errors
/// The service cannot start.
pub fn serve(config: &ServeConfig, app: Arc<App>, started: impl FnOnce(Started, Shutdown)) -> Result<(), ServeError> {
    serve_with(config, app, Router::new(), started)
}

/// As [`serve`], with pages beside the routes of the service.
///
/// # Errors
/// The service cannot start.
pub fn serve_with(
    config: &ServeConfig,
    app: Arc<App>,
    pages: Router,
    started: impl FnOnce(Started, Shutdown),
) -> Result<(), ServeError> {
    let running = start_with(config, app, pages)?;
    let shutdown = running.shutdown();
    running.control.spawn(signals::stop(signals::told()?, shutdown.clone()));
    started(running.started, shutdown);
    running.wait();
    Ok(())
}

/// Starts the service and returns at once.
///
/// # Errors
/// A bind that other hosts could reach without keys, an address in use, a wrong
/// file of keys, no threads.
pub fn start(config: &ServeConfig, app: Arc<App>) -> Result<Running, ServeError> {
    start_with(config, app, Router::new())
}

/// As [`start`], with pages beside the routes of the service.
///
/// # Errors
/// As [`start`].
pub fn start_with(config: &ServeConfig, app: Arc<App>, pages: Router) -> Result<Running, ServeError> {
    // what is wrong with the keys is told before an address is taken
    config.api_keys.as_deref().map(Keys::read).transpose()?;
    start_on(config, app, pages, Listeners::bind(config)?)
}

/// As [`start_with`], on sockets that are bound.
///
/// # Errors
/// A wrong file of keys, no threads.
pub fn start_on(
    config: &ServeConfig,
    app: Arc<App>,
    pages: Router,
    listeners: Listeners,
) -> Result<Running, ServeError> {
    let keys = config.api_keys.as_deref().map(Keys::read).transpose()?;
    let Listeners { public, private, started } = listeners;
    let control = control_runtime()?;
    let (stop, stopped) = watch::channel(false);

    let api = Api::new(Arc::clone(&app));
    let limits = Arc::new(Limits::new(config.max_in_flight));
    let gates = Gates {
        limits: Arc::clone(&limits),
        edge: Arc::new(Edge::new(config, keys)),
        calls: Calls::new(&api),
        api: api.clone(),
    };
    let routes = control.block_on(routes(&api, pages, stopped.clone()))?;
    let drain_timeout = Duration::from_millis(config.drain_timeout_ms);
    let supervisor = Supervisor::new(control.handle(), stopped.clone());
    let served = Served {
        supervisor: supervisor.clone(),
        gates,
        shares: Arc::new(Shares::new(config.max_in_flight)),
        routes,
        stop: stopped.clone(),
        drain_timeout,
    };
    let (inboxes, workers) = worker::start(config, &served)?;

    control.spawn(listener::accept(public, inboxes, stopped.clone()));
    let private = control.spawn(private::serve(private, private::router(&app, &supervisor, &stopped))).abort_handle();
    let (sampled, traffic) = (Arc::clone(&app), Arc::clone(api.traffic()));
    supervisor
        .spawn("metrics", move || private::sample(Arc::clone(&sampled), Arc::clone(&limits), Arc::clone(&traffic)));
    control.spawn(stop_streams(api, stopped.clone()));
    background::start(&supervisor, config, &app);
    let (watched, mut draining) = (Arc::clone(&app), stopped.clone());
    control.spawn(async move {
        draining.wait_for(|stop| *stop).await.ok();
        watched.store.end_watches();
        watched.stop_sweeps();
    });
    Ok(Running { started, app, stop, control, workers, private })
}

fn refuse_exposed(config: &ServeConfig) -> Result<(), ServeError> {
    let exposed = |address: &SocketAddr| !address.ip().is_loopback();
    let guarded = config.api_keys.is_some() || config.insecure;
    match [config.listen, config.private_listen].into_iter().find(exposed) {
        Some(address) if !guarded => Err(ServeError::Exposed(address)),
        _ => Ok(()),
    }
}

impl Running {
    /// Tells it to stop, from anywhere.
    pub fn shutdown(&self) -> Shutdown {
        Shutdown(self.stop.clone())
    }

    /// What is served.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// The runtime for background tasks.
    pub fn control(&self) -> &Handle {
        self.control.handle()
    }

    /// Leaves the sockets to another service: what runs here is finished.
    pub fn hand_over(&self) {
        self.private.abort();
        self.stop.send_replace(true);
    }

    /// Waits for the stop, drains, and closes the store. Blocking.
    pub fn wait(self) {
        for worker in self.workers {
            if worker.join().is_err() {
                tracing::error!("a serving thread panicked");
            }
        }
        self.app.stop_sweeps();
        if let Some(caps) = self.app.store.caps() {
            self.control.block_on(caps.close(CAPS_CLOSE_TIMEOUT));
        }
        if let Some(remote) = self.app.store.remote().filter(|remote| remote.is_up()) {
            // without it the others wait until this replica counts as gone
            let _ = self.control.block_on(remote.leave(Instant::now() + LEAVE_MAX));
        }
        self.control.shutdown_background();
        // its thread holds the data directory
        self.app.wait_for_sweep();
        self.app.store.close();
    }

    /// Stops, drains, and closes the store. Blocking.
    pub fn stop(self) {
        self.shutdown().stop();
        self.wait();
    }
}

fn bind(address: SocketAddr) -> Result<(std::net::TcpListener, SocketAddr), ServeError> {
    let bound = listener::bind(address).and_then(|listener| {
        let real = listener.local_addr()?;
        Ok((listener, real))
    });
    bound.map_err(|source| ServeError::Bind { address, source })
}

fn control_runtime() -> Result<Runtime, ServeError> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(CONTROL_THREADS).thread_name("rapport-control").enable_all();
    builder.build().map_err(ServeError::Thread)
}

/// Every gRPC service and every HTTP route.
async fn routes(api: &Api, pages: Router, stop: watch::Receiver<bool>) -> Result<Routes, ServeError> {
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<DecisionServiceServer<Api>>().await;
    reporter.set_serving::<EventServiceServer<Api>>().await;
    reporter.set_serving::<AnalysisServiceServer<Api>>().await;
    reporter.set_serving::<CustomerServiceServer<Api>>().await;
    reporter.set_serving::<RulesetServiceServer<Api>>().await;
    tokio::spawn(report_drain(reporter, stop));

    let mut builder: RoutesBuilder = http::router(api).merge(pages).into();
    builder
        .add_service(DecisionServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(EventServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(AnalysisServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(CustomerServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(RulesetServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(health);
    Ok(builder.routes())
}

/// Streams of questions would outlast the drain.
async fn stop_streams(api: Api, mut stop: watch::Receiver<bool>) {
    stop.wait_for(|stop| *stop).await.ok();
    api.traffic().stop();
}

async fn report_drain(reporter: tonic_health::server::HealthReporter, mut stop: watch::Receiver<bool>) {
    stop.wait_for(|stop| *stop).await.ok();
    let services = [
        "",
        DecisionServiceServer::<Api>::NAME,
        EventServiceServer::<Api>::NAME,
        AnalysisServiceServer::<Api>::NAME,
        CustomerServiceServer::<Api>::NAME,
        RulesetServiceServer::<Api>::NAME,
    ];
    for service in services {
        reporter.set_service_status(service, tonic_health::ServingStatus::NotServing).await;
    }
}
