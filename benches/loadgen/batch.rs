//! `rapport decide --batch` over the sample shop, and the pure pipeline (`rank`
//! and `compose`, answers signed) over the same questions.

use std::{
    fs::{self, File},
    hint::black_box,
    io::{BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use rapport::{
    app::{
        App,
        signing::{KeyRing, Purpose},
    },
    decide::{Inputs, Scratch, Snapshot, compose, rank},
    domain::{Assurance, DecisionId, DegradedSet, Intent, Match, Request, Timestamp},
    proto::DecideRequest,
    rules,
    store::{HotProfile, Resolved, Store, StoreConfig},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    client::{self, Connection},
    histogram::Histogram,
    process::{Pinning, cores, cpu_ns, rss_kib},
    target::{self, Target},
};
use crate::generator::SplitMix64;

/// What links begin with; the service is told the same.
const PUBLIC_URL: &str = "http://shop.example";
/// How often a process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Between an answer to a single call and the next call.
const SINGLE_EVERY: Duration = Duration::from_millis(4);
/// A token of the length that the service gives.
const CONSISTENCY_TOKEN: &str = "v1.000000000000";

/// The sample shop in a directory of its own.
pub struct Shop {
    dir: TempDir,
    program: PathBuf,
    snapshot: Arc<Snapshot>,
    keys: KeyRing,
    people: Vec<Person>,
}

/// A customer of the sample, with the open question about it.
struct Person {
    id: String,
    profile: Arc<HotProfile>,
    request: Request,
}

impl Person {
    fn single(&self) -> anyhow::Result<Bytes> {
        let question: DecideRequest = serde_json::from_value(json!({
            "identities": [{"type": "customer_id", "value": self.id}],
            "intent": "INTENT_PREVIEW",
        }))?;
        Ok(client::frame(&question))
    }
}

/// What the pure pipeline did.
pub struct Pure {
    /// Questions per second, over all threads.
    pub rate: f64,
    /// Questions with something to say.
    pub answered: u64,
}

/// What one batch did.
pub struct Ran {
    /// Questions per second, from the start of the command to its end.
    pub rate: f64,
    /// Questions with something to say, and with nothing.
    pub answered: [u64; 2],
    /// The most memory of the command, KiB.
    pub client_rss_kib: u64,
    /// CPU time of the command per question, microseconds.
    pub client_cpu_us: f64,
    /// CPU time of the service per question, microseconds.
    pub service_cpu_us: f64,
    /// Bytes of the answers.
    pub answer_bytes: u64,
}

impl Shop {
    /// Imports the sample and reads its people.
    pub async fn import(program: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("rapport-batch-").tempdir()?;
        let data = dir.path().join("data");
        let imported = Command::new(program)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["demo", "--no-serve", "--data-dir"])
            .arg(&data)
            .output()
            .context("importing the sample")?;
        ensure!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
        // one process at a time may have a data directory
        let copy = dir.path().join("copy");
        let copied = Command::new("cp").arg("-r").arg(&data).arg(&copy).status().context("copying the data")?;
        ensure!(copied.success(), "the data was not copied");
        let store = Store::open(StoreConfig::new(&copy))?;
        let keys = KeyRing::new(&store.key_ring("tokens")?, PUBLIC_URL).context("no key")?;
        let found = rules::read_dir(&rules_dir()).map_err(Into::into);
        let app = App::open(store, &found, PUBLIC_URL)?;
        let snapshot = app.current();
        let mut people = Vec::new();
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/retail/customers.ndjson"))?;
        for line in text.lines() {
            let line: Value = serde_json::from_str(line)?;
            let id = line["identities"][0]["value"].as_str().context("a customer without an id")?.to_owned();
            people.push(person(&app, &snapshot, id).await?);
        }
        app.store.close();
        Ok(Self { dir, program: program.to_owned(), snapshot, keys, people })
    }

    /// Serves the shop on all cores.
    pub fn serve(&self) -> anyhow::Result<Target> {
        let mut command = Pinning::NONE.command(&self.program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0"]);
        command.args(["--public-url", PUBLIC_URL, "--data-dir"]).arg(self.dir.path().join("data"));
        command.arg("--rules").arg(rules_dir());
        target::launch(command, &self.dir.path().join("stderr.log"), "rapport".to_owned())
    }

    /// Writes the file of a run: so many open questions, about everybody in turn.
    /// Each run begins with another person: request ids are derived from the
    /// content, so that no run is answered from what another one left.
    pub fn questions(&self, run: usize, count: usize) -> anyhow::Result<PathBuf> {
        let path = self.dir.path().join("in.ndjson");
        let mut out = BufWriter::new(File::create(&path)?);
        for person in self.people.iter().cycle().skip(run).take(count) {
            writeln!(out, "{}", json!({"identities": [{"type": "customer_id", "value": person.id}]}))?;
        }
        out.flush()?;
        Ok(path)
    }

    /// Ranks and composes the same questions, on as many threads as there are
    /// cores.
    pub fn pure(&self, count: usize, intent: Intent) -> anyhow::Result<Pure> {
        let threads = cores()?.len();
        let now = now()?;
        let requests: Vec<Request> =
            self.people.iter().map(|person| Request { intent, ..person.request.clone() }).collect();
        let requests = &requests;
        let started = Instant::now();
        let answered = thread::scope(|scope| {
            let work = |first: usize| move || self.share((first..count).step_by(threads), (now, requests, intent));
            let running: Vec<_> = (0..threads).map(|first| scope.spawn(work(first))).collect();
            running.into_iter().map(|one| one.join().unwrap_or_default()).sum()
        });
        Ok(Pure { rate: count as f64 / started.elapsed().as_secs_f64(), answered })
    }

    fn share(
        &self,
        numbers: impl Iterator<Item = usize>,
        (now, requests, intent): (Timestamp, &[Request], Intent),
    ) -> u64 {
        let (mut scratch, mut answered) = (Scratch::default(), 0);
        let signer = self.keys.newest(match intent {
            Intent::Present => Purpose::Present,
            Intent::Preview => Purpose::Preview,
        });
        let mut random = SplitMix64(now.0.unsigned_abs());
        for number in numbers {
            let person = &self.people[number % self.people.len()];
            let random = u128::from(random.next()) << 64 | number as u128;
            let inputs = Inputs {
                snapshot: &self.snapshot,
                profile: &person.profile.profile,
                matched: Match::Known,
                request: &requests[number % requests.len()],
                now,
                decision_id: DecisionId::new(now.0.unsigned_abs() / 1_000, random),
                reservations: &[],
                exhausted: &[],
                denied: &[],
                keep_order: &[],
                degraded: DegradedSet::default(),
                consistency_token: CONSISTENCY_TOKEN,
                signer: &signer,
            };
            let ranking = rank(&inputs, &mut scratch);
            let composed = black_box(compose(&inputs, &ranking, &mut scratch));
            answered += u64::from(composed.decision.placements.iter().any(|p| !p.presentations.is_empty()));
        }
        answered
    }

    /// Single calls, one every few milliseconds, until it is time to end.
    pub async fn single(&self, service: &Target, ends: impl Fn(Duration) -> bool) -> anyhow::Result<Histogram> {
        let connection = Connection::open(service.address).await?;
        let frames: Vec<_> = self.people.iter().map(Person::single).collect::<anyhow::Result<_>>()?;
        let (mut latency, started) = (Histogram::new(), Instant::now());
        for frame in frames.iter().cycle() {
            if ends(started.elapsed()) {
                break;
            }
            tokio::time::sleep(SINGLE_EVERY).await;
            let sent = Instant::now();
            connection.decide(frame.clone()).await?;
            latency.record(sent.elapsed().as_nanos() as u64);
        }
        Ok(latency)
    }

    /// Asks a file of questions.
    pub fn ask(&self, service: &Target, questions: &Path, options: &[&str]) -> anyhow::Result<Ran> {
        let out = self.dir.path().join("out.ndjson");
        for written in [&out, &self.dir.path().join("out.ndjson.run")] {
            if written.exists() {
                fs::remove_file(written)?;
            }
        }
        let before_ns = cpu_ns(service.pid)?;
        let started = Instant::now();
        let mut child = Command::new(&self.program)
            .args(["decide", "--batch"])
            .arg(questions)
            .arg("--out")
            .arg(&out)
            .args(["--address", &format!("http://{}", service.address)])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting the batch")?;
        let (mut client_rss_kib, mut client_ns) = (0, 0);
        while child.try_wait()?.is_none() {
            client_rss_kib = client_rss_kib.max(rss_kib(child.id()).unwrap_or_default());
            client_ns = cpu_ns(child.id()).unwrap_or_default().max(client_ns);
            thread::sleep(LOOK_EVERY);
        }
        let seconds = started.elapsed().as_secs_f64();
        let service_ns = cpu_ns(service.pid)? - before_ns;
        let (mut said, mut wrong) = (String::new(), String::new());
        child.stdout.take().context("no stdout")?.read_to_string(&mut said)?;
        child.stderr.take().context("no stderr")?.read_to_string(&mut wrong)?;
        ensure!(child.wait()?.success(), "the batch failed: {said}{wrong}");
        let asked = number_before(&said, " questions")?;
        let answered = [number_before(&said, " answered,")?, number_before(&said, " silent")?];
        Ok(Ran {
            rate: asked as f64 / seconds,
            answered,
            client_rss_kib,
            client_cpu_us: client_ns as f64 / 1e3 / asked as f64,
            service_cpu_us: service_ns as f64 / 1e3 / asked as f64,
            answer_bytes: fs::metadata(&out)?.len(),
        })
    }
}

fn rules_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rules")
}

fn now() -> anyhow::Result<Timestamp> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(Timestamp(i64::try_from(since.as_micros())?))
}

async fn person(app: &App, snapshot: &Snapshot, id: String) -> anyhow::Result<Person> {
    let identity = app.identity(snapshot, "customer_id", &id).map_err(anyhow::Error::msg)?;
    let Resolved::Known(key) = app.store.resolve(std::slice::from_ref(&identity)).await? else {
        anyhow::bail!("customer `{id}` of the sample is not known");
    };
    let profile = app.store.profile(key).await?.context("a customer without a profile")?;
    // what the service makes of the same question
    let request = Request {
        identities: vec![identity],
        assurance: Assurance::Claimed,
        intent: Intent::Preview,
        time_budget_ms: 10_000,
        ..Request::default()
    };
    Ok(Person { id, profile, request })
}

fn number_before(text: &str, word: &str) -> anyhow::Result<u64> {
    let before = text.split(word).next().filter(|before| before.len() < text.len());
    let before = before.with_context(|| format!("no `{word}` in `{text}`"))?;
    let number = before.rsplit(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    number.parse().with_context(|| format!("no number before `{word}` in `{text}`"))
}
