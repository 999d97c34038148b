//! The servers under load, each a process of its own.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use prost::Message;
use rapport::proto::{
    DecideRequest, DecideResponse, PlacementStatus, RecordRequest, RecordResponse, RecordStatus, UpsertCustomerRequest,
    UpsertCustomerResponse,
};
use serde_json::json;
use tempfile::TempDir;

use super::{client::Connection, process::Pinning};
use crate::generator::{self, Rules};

/// How long a server may take to print its address.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Events of one `Record` call.
const RECORD_BATCH: usize = 100;
/// How the customers' purchases are dated: as many days ago.
const PURCHASE_DAYS_AGO: u64 = 30;

/// How a server spreads connections over cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Layout {
    /// One current-thread runtime per core, sharing the port.
    PerCore,
    /// One work-stealing runtime.
    MultiThread,
}

impl Layout {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Layout::PerCore => "per-core",
            Layout::MultiThread => "multi-thread",
        }
    }
}

/// A running server. Killed when dropped.
pub struct Target {
    /// What tables call it.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it is scraped.
    pub private: SocketAddr,
    child: Child,
    dir: Option<TempDir>,
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Target {
    /// Puts other rule files in the place of those it serves, all at once.
    pub fn edit(&self, files: &[(String, String)]) -> anyhow::Result<()> {
        let dir = self.dir.as_ref().context("only a service has rules")?.path();
        write_rules(dir, "edited", files)?;
        std::os::unix::fs::symlink("edited", dir.join("next"))?;
        fs::rename(dir.join("next"), dir.join(RULES))?;
        Ok(())
    }
}

impl Target {
    /// Its directory.
    pub fn dir(&self) -> Option<&Path> {
        self.dir.as_ref().map(TempDir::path)
    }
}

/// The link to the directory of the rules.
const RULES: &str = "rules";

fn write_rules(dir: &Path, name: &str, files: &[(String, String)]) -> anyhow::Result<()> {
    let rules = dir.join(name);
    fs::create_dir(&rules)?;
    for (path, text) in files {
        fs::write(rules.join(path), text)?;
    }
    Ok(())
}

/// What is to be measured.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Number of offers.
    pub offers: usize,
    /// What they are like.
    pub rules: Rules,
    /// The service to start.
    pub program: PathBuf,
    /// Number of customers that ask in turn.
    pub customers: usize,
    /// Where servers run.
    pub pinning: Pinning,
    /// Further arguments of `rapport serve`.
    pub serve_args: Vec<String>,
}

impl Scenario {
    /// The questions, decoded.
    pub fn questions(&self) -> anyhow::Result<Vec<DecideRequest>> {
        (0..self.customers).map(|n| Ok(serde_json::from_value(generator::question(n))?)).collect()
    }

    /// Starts Rapport with generated rules and records the customers.
    pub async fn rapport(&self, layout: Layout) -> anyhow::Result<Target> {
        let dir = tempfile::Builder::new().prefix("rapport-bench-").tempdir()?;
        write_rules(dir.path(), "first", &generator::files(self.rules, self.offers, ""))?;
        let rules = dir.path().join(RULES);
        std::os::unix::fs::symlink("first", &rules)?;
        let mut command = self.pinning.command(&self.program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0"]);
        command.args(["--runtime", layout.name()]);
        command.arg("--data-dir").arg(dir.path().join("data")).arg("--rules").arg(&rules).args(&self.serve_args);
        let log = dir.path().join("stderr.log");
        let mut target = launch(command, &log, format!("rapport {}", layout.name()))?;
        target.dir = Some(dir);
        record_customers(target.address, self.rules, self.customers).await.context("recording the customers")?;
        Ok(target)
    }

    /// Starts an echo that answers what `like` answers.
    pub async fn echo(&self, layout: Layout, like: &Target) -> anyhow::Result<Target> {
        let response = self.typical_response(like).await?;
        self.echo_of(layout, &response).await
    }

    /// Starts an echo that answers this response.
    pub async fn echo_of(&self, layout: Layout, response: &DecideResponse) -> anyhow::Result<Target> {
        let dir = tempfile::Builder::new().prefix("rapport-echo-").tempdir()?;
        let path = dir.path().join("response.bin");
        fs::write(&path, response.encode_to_vec())?;
        let mut command = self.pinning.command(&std::env::current_exe()?);
        command.args(["server", "--layout", layout.name()]).arg("--response").arg(&path);
        let log = dir.path().join("stderr.log");
        let mut target = launch(command, &log, format!("echo {}", layout.name()))?;
        target.dir = Some(dir);
        Ok(target)
    }

    /// The answer of median size; fails when not every question is answered
    /// with an offer, for then the run would measure silence.
    async fn typical_response(&self, target: &Target) -> anyhow::Result<DecideResponse> {
        let connection = Connection::open(target.address).await?;
        let mut responses = Vec::with_capacity(self.customers);
        for question in self.questions()? {
            let response: DecideResponse = connection.call(super::client::DECIDE, &question).await?;
            responses.push(response);
        }
        let silent =
            responses.iter().filter(|r| r.placements.first().is_none_or(|p| p.status() != PlacementStatus::Ok)).count();
        if silent * 20 > responses.len() {
            bail!("{silent} of {} questions were not answered with an offer", responses.len());
        }
        responses.sort_by_key(Message::encoded_len);
        Ok(responses.swap_remove(responses.len() / 2))
    }
}

/// Starts a server and waits for its addresses.
pub fn launch(mut command: std::process::Command, log: &PathBuf, name: String) -> anyhow::Result<Target> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(log)?);
    let mut child = command.spawn().with_context(|| format!("starting {name}"))?;
    let stdout = child.stdout.take().context("no stdout")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(addresses) = parse_addresses(&line) {
                // only the first line is waited for; the pipe is read on so that it never fills
                let _ = sender.send(addresses);
            }
        }
    });
    let Ok((address, private)) = receiver.recv_timeout(START_TIMEOUT) else {
        let _ = child.kill();
        let _ = child.wait();
        bail!("{name} did not print its address; its stderr:\n{}", fs::read_to_string(log).unwrap_or_default());
    };
    Ok(Target { name, pid: child.id(), address, private, child, dir: None })
}

/// `listening on 127.0.0.1:PORT (private 127.0.0.1:PORT)`.
fn parse_addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (_, rest) = line.split_once("listening on ")?;
    let (address, rest) = rest.split_once(" (private ")?;
    let (private, _) = rest.split_once(')')?;
    Some((address.trim().parse().ok()?, private.trim().parse().ok()?))
}

async fn record_customers(address: SocketAddr, rules: Rules, customers: usize) -> anyhow::Result<()> {
    let connection = Connection::open(address).await?;
    for number in 0..customers {
        let request: UpsertCustomerRequest = serde_json::from_value(generator::customer_of(rules, number))?;
        let path = "/rapport.v1.CustomerService/UpsertCustomer";
        let _: UpsertCustomerResponse = connection.call(path, &request).await?;
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let then = jiff::Timestamp::from_second((now - PURCHASE_DAYS_AGO * 86_400) as i64)?.to_string();
    let events: Vec<_> = (0..customers).flat_map(|n| generator::purchases(n, &then)).collect();
    for batch in events.chunks(RECORD_BATCH) {
        let request: RecordRequest = serde_json::from_value(json!({"events": batch}))?;
        let reply: RecordResponse = connection.call("/rapport.v1.EventService/Record", &request).await?;
        if let Some(refused) = reply.results.iter().find(|r| r.status() != RecordStatus::Recorded) {
            bail!("an event was not recorded: {refused:?}");
        }
    }
    Ok(())
}
