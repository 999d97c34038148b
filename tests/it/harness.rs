//! Starts the real service and gives clients to it.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak, mpsc},
    thread,
    time::{Duration, Instant},
};

use rapport::proto::{
    Customer, DecideRequest, DecideResponse, GetCustomerRequest, UpsertCustomerRequest,
    customer_service_client::CustomerServiceClient, decision_service_client::DecisionServiceClient,
    event_service_client::EventServiceClient, ruleset_service_client::RulesetServiceClient,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::{Code, Status, transport::Channel};

/// The fixture's rules.
pub const SHOP: &str = include_str!("fixtures/shop.yaml");
/// How long the service may take to print its addresses.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long [`eventually`] waits.
const WAIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long calls may wait for their turn, unless a test says.
const QUEUE_AGE_MAX_MS: &str = "0";
/// Between two looks of [`eventually`].
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A directory with the rules and the data of a service; outlives restarts.
pub struct Place {
    dir: TempDir,
    rules: PathBuf,
}

impl Place {
    /// A new place with the fixture's rules.
    pub fn new() -> Self {
        let place = Self::empty();
        place.write_rule("shop.yaml", SHOP);
        place
    }

    /// A new place without rules.
    pub fn empty() -> Self {
        let dir = tempfile::Builder::new().prefix("rapport-it-").tempdir().expect("a temporary directory");
        let rules = dir.path().join("rules");
        fs::create_dir(&rules).expect("a rules directory");
        Self { dir, rules }
    }

    /// A new place with the rules of the sample shop.
    pub fn sample() -> Self {
        Self { rules: repository().join("rules"), ..Self::empty() }
    }

    /// The directory of the rules.
    pub fn rules(&self) -> PathBuf {
        self.rules.clone()
    }

    /// The directory of the data.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Puts a rule file in place whole, as an editor that renames does.
    pub fn write_rule(&self, name: &str, text: &str) {
        let next = self.dir.path().join(format!("{name}.next"));
        fs::write(&next, text).expect("writing a rule file");
        fs::rename(&next, self.rules().join(name)).expect("renaming a rule file");
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("stderr.log")
    }
}

/// A running service. Killed when dropped.
pub struct Server {
    child: Child,
    /// The public listener.
    pub address: SocketAddr,
    /// The listener of metrics and health.
    pub private: SocketAddr,
    place: Arc<Place>,
}

impl Server {
    /// Starts the service at a place and waits for its addresses.
    pub fn start(place: &Arc<Place>) -> Self {
        Self::start_with(place, &[])
    }

    /// Starts the service with further arguments.
    pub fn start_with(place: &Arc<Place>, arguments: &[&str]) -> Self {
        Self::launch(place, SocketAddr::from(([127, 0, 0, 1], 0)), arguments)
    }

    /// Starts the service as on a disk that is full for every file that has so
    /// many KiB.
    pub fn start_on_full_disk(place: &Arc<Place>, file_kib_max: u64) -> Self {
        let mut command = Command::new("bash");
        let limited = format!("trap '' XFSZ; ulimit -f {file_kib_max}; exec \"$0\" \"$@\"");
        command.args(["-c", &limited, env!("CARGO_BIN_EXE_rapport")]);
        Self::launch_by(command, (place, SocketAddr::from(([127, 0, 0, 1], 0))), &[])
    }

    /// Starts the service at a place and an address, for who knows it from before.
    pub fn start_at(place: &Arc<Place>, address: SocketAddr) -> Self {
        Self::launch(place, address, &[])
    }

    /// Starts the service with further arguments and variables of its environment.
    pub fn start_in(place: &Arc<Place>, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
        command.envs(environment.iter().copied());
        Self::launch_by(command, (place, SocketAddr::from(([127, 0, 0, 1], 0))), arguments)
    }

    fn launch(place: &Arc<Place>, address: SocketAddr, arguments: &[&str]) -> Self {
        Self::launch_by(Command::new(env!("CARGO_BIN_EXE_rapport")), (place, address), arguments)
    }

    /// Starts the service by a command of one's own, at a place and an address.
    pub fn launch_by(mut command: Command, (place, address): (&Arc<Place>, SocketAddr), arguments: &[&str]) -> Self {
        let stderr = File::options().create(true).append(true).open(place.log_path()).expect("a file for stderr");
        let mut child = command
            .args(["serve", "--listen", &address.to_string(), "--private-listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(place.data())
            .arg("--rules")
            .arg(place.rules())
            // what a slow machine takes long for is not too much to do
            .args(
                ["--queue-age-max-ms", QUEUE_AGE_MAX_MS].iter().filter(|_| !arguments.contains(&"--queue-age-max-ms")),
            )
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("starting the service");
        let stdout = child.stdout.take().expect("a piped stdout");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(addresses) = parse_addresses(&line) {
                    // nobody listens after the first line; the pipe is read on so that it never fills
                    let _ = sender.send(addresses);
                }
            }
        });
        match receiver.recv_timeout(START_TIMEOUT) {
            Ok((address, private)) => Self { child, address, private, place: Arc::clone(place) },
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                let log = fs::read_to_string(place.log_path()).unwrap_or_default();
                panic!("the service did not print its addresses; its stderr:\n{log}");
            }
        }
    }

    /// A service that tests share; ends with its last user.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return server;
        }
        let server = Arc::new(Self::start(&Arc::new(Place::new())));
        *shared = Arc::downgrade(&server);
        server
    }

    /// Ends the service at once (SIGKILL).
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Tells the service to end (SIGTERM).
    pub fn terminate(&self) {
        let status = Command::new("kill").arg(self.child.id().to_string()).status().expect("running kill");
        assert!(status.success(), "the service is gone");
    }

    /// Waits until the service has ended.
    pub fn wait(&mut self) {
        let ended = self.child.wait().expect("the service ends");
        assert!(ended.success(), "{ended}:\n{}", self.log());
    }

    /// What the service has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.place.log_path()).unwrap_or_default()
    }

    /// A new connection.
    pub async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address))
            .expect("an address")
            .connect()
            .await
            .expect("connecting to the service")
    }

    /// A client of decisions, with a connection of its own.
    pub async fn decisions(&self) -> DecisionServiceClient<Channel> {
        DecisionServiceClient::new(self.channel().await)
    }

    /// A client of events.
    pub async fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel().await)
    }

    /// A client of customers.
    pub async fn customers(&self) -> CustomerServiceClient<Channel> {
        CustomerServiceClient::new(self.channel().await)
    }

    /// A client of rules.
    pub async fn rulesets(&self) -> RulesetServiceClient<Channel> {
        RulesetServiceClient::new(self.channel().await)
    }

    /// Creates a customer with consent to profiling and the given attributes.
    pub async fn customer(&self, id: &str, attributes: Value) {
        let request: UpsertCustomerRequest = message(json!({
            "identities": [{"type": "customer_id", "value": id}],
            "attributes": attributes,
            "consents": [{"purpose": "CONSENT_PURPOSE_PROFILING", "permission": "PERMISSION_GRANTED"}],
        }));
        self.customers().await.upsert_customer(request).await.expect("creating a customer");
    }

    /// The one view of a customer; `None` when there is no such customer.
    pub async fn view(&self, kind: &str, value: &str) -> Option<Customer> {
        let request: GetCustomerRequest = message(json!({"identities": [{"type": kind, "value": value}]}));
        match self.customers().await.get_customer(request).await {
            Ok(response) => response.into_inner().customer,
            Err(status) if status.code() == Code::NotFound => None,
            Err(status) => panic!("getting the customer: {status}"),
        }
    }

    /// Decides, with a request given as JSON.
    pub async fn decide(&self, request: Value) -> Result<DecideResponse, Status> {
        let request: DecideRequest = message(request);
        Ok(self.decisions().await.decide(request).await?.into_inner())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("the service's stderr:\n{}", self.log());
        }
    }
}

/// `listening on 127.0.0.1:PORT (private 127.0.0.1:PORT)`.
fn parse_addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (_, rest) = line.split_once("listening on ")?;
    let (address, rest) = rest.split_once(" (private ")?;
    let (private, _) = rest.split_once(')')?;
    Some((address.trim().parse().ok()?, private.trim().parse().ok()?))
}

/// A message of the API from its canonical JSON.
pub fn message<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("canonical JSON of a message")
}

/// Looks until something is there.
pub async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < WAIT_TIMEOUT, "waited {WAIT_TIMEOUT:?} in vain for {what}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The offers presented at a placement of an answer, best first.
pub fn offers_of(response: &DecideResponse, placement: &str) -> Vec<String> {
    let answer = response.placements.iter().find(|p| p.placement == placement).expect("the placement is answered");
    answer.presentations.iter().map(|p| p.offer.clone()).collect()
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
