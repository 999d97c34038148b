//! A replica: a process of the service that may be ended in any way and started
//! again at the same address, on the same data.

use std::{
    net::SocketAddr,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    harness::{Place, Server},
    web,
};

/// How long a replica may take to be ready.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// A replica and where it keeps its data. Killed when dropped.
pub struct Replica {
    place: Arc<Place>,
    arguments: Vec<String>,
    server: Server,
    /// Where it answers, the same after every start.
    pub address: SocketAddr,
}

impl Replica {
    /// A replica with rules and a data directory of its own, backed by a store.
    pub fn start(rules: &str, store: &str) -> Self {
        Self::start_with(rules, &["--store", store])
    }

    /// A replica with further arguments.
    pub fn start_with(rules: &str, arguments: &[&str]) -> Self {
        let place = Arc::new(Place::empty());
        place.write_rule("all.yaml", rules);
        Self::start_by(rapport(), &place, arguments)
    }

    /// A replica by a command of one's own.
    pub fn start_by(command: Command, place: &Arc<Place>, arguments: &[&str]) -> Self {
        // two threads serve, however many cores there are
        let fixed = ["--workers", "2", "--sweep-every-s", "0"];
        let arguments: Vec<String> = fixed.iter().chain(arguments).map(|argument| (*argument).to_owned()).collect();
        let server = launch(command, place, any_port(), &arguments);
        Self { place: Arc::clone(place), arguments, address: server.address, server }
    }

    /// The running process.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Tells it to end (SIGTERM) and waits.
    pub fn end(&mut self) {
        self.server.terminate();
        self.server.wait();
    }

    /// Starts it again after its end, and waits until it is ready.
    pub fn start_again(&mut self) {
        self.server = launch(rapport(), &self.place, self.address, &self.arguments);
        self.wait_ready();
    }

    /// Waits until it says that it is ready.
    pub fn wait_ready(&self) {
        let until = Instant::now() + READY_TIMEOUT;
        while web::get(self.server.private, "/readyz", &[]).status != 200 {
            assert!(Instant::now() < until, "not ready after {READY_TIMEOUT:?}:\n{}", self.server.log());
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits until it has read what was there before it.
    pub fn wait_joined(&self) {
        let met = || !web::get(self.server.private, "/readyz", &[]).body.contains("has not met");
        until("it has met the shared store", READY_TIMEOUT, met);
        // the line is not there before the first look
        let joined = || web::get(self.server.private, "/metrics", &[]).body.contains("\nrapport_replica_joining 0\n");
        until("it has joined the others", READY_TIMEOUT, joined);
    }

    /// A metric's value, the sum over its series whose labels contain a text.
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let text = web::get(self.server.private, "/metrics", &[]).body;
        let value = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, rest) = series.split_once('{').unwrap_or((series, ""));
            (found == name && rest.contains(labels)).then(|| value.parse::<f64>().expect("a number"))
        };
        text.lines().filter_map(value).sum()
    }

    /// Nothing of it may have died, whatever befell it.
    pub fn check_alive(&self) {
        for metric in ["rapport_panics_total", "rapport_task_restarts_total"] {
            assert_eq!(self.metric(metric, ""), 0.0, "{metric}:\n{}", self.server.log());
        }
    }
}

/// The program under test.
pub fn rapport() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rapport"))
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn launch(command: Command, place: &Arc<Place>, address: SocketAddr, arguments: &[String]) -> Server {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Server::launch_by(command, (place, address), &arguments)
}

/// Looks until something holds; how long that took.
pub fn until(what: &str, within: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < within, "waited {within:?} in vain: {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
    begun.elapsed()
}
