//! Streams of questions, and `rapport decide --batch` over them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use prost::Message;
use rapport::proto::{
    DecideRequest, DecideResponse, DecideStreamRequest, DecideStreamResponse, ExportDecisionsRequest, PlacementStatus,
    Problem, UpsertCustomerRequest, decide_stream_response::Result as Settled,
    decision_service_client::DecisionServiceClient,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming, transport::Channel};

use crate::{
    harness::{Place, Server, eventually, message},
    web,
};

fn question(request_id: &str, rest: Value) -> DecideRequest {
    let mut question = json!({"requestId": request_id, "placements": [{"placement": "side_bar"}]});
    let fields = question.as_object_mut().expect("an object");
    fields.extend(rest.as_object().expect("an object").clone());
    message(question)
}

/// A stream that stays open while the sender lives.
async fn open(
    client: &mut DecisionServiceClient<Channel>,
) -> (mpsc::Sender<DecideStreamRequest>, Streaming<DecideStreamResponse>) {
    let (sender, questions) = mpsc::channel(16);
    let answers = client.decide_stream(ReceiverStream::new(questions)).await.expect("a stream").into_inner();
    (sender, answers)
}

async fn ask(server: &Server, questions: Vec<DecideStreamRequest>) -> Vec<DecideStreamResponse> {
    let mut client = server.decisions().await;
    let (sender, mut answers) = open(&mut client).await;
    let sending = tokio::spawn(async move {
        for question in questions {
            sender.send(question).await.expect("the stream takes a question");
        }
    });
    let mut settled = Vec::new();
    while let Some(answer) = answers.message().await.expect("the stream goes on") {
        settled.push(answer);
    }
    sending.await.expect("everything was sent");
    settled
}

fn asked(question: DecideRequest) -> DecideStreamRequest {
    DecideStreamRequest { question: Some(question) }
}

fn answer(settled: &DecideStreamResponse) -> &DecideResponse {
    match &settled.result {
        Some(Settled::Answer(answer)) => answer,
        other => panic!("{}: {other:?} is no answer", settled.request_id),
    }
}

fn problem(settled: &DecideStreamResponse) -> &Problem {
    match &settled.result {
        Some(Settled::Problem(problem)) => problem,
        other => panic!("{}: {other:?} is no problem", settled.request_id),
    }
}

/// The sum over all series of a metric with a label.
fn metric(server: &Server, name: &str, label: &str) -> f64 {
    let metrics = web::get(server.private, "/metrics", &[]).body;
    let lines = metrics.lines().filter(|line| line.starts_with(name) && line.contains(label));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test]
async fn every_question_gets_one_answer_whatever_the_order_and_the_errors() {
    let server = Server::start(&Arc::new(Place::new()));
    server.customer("batch-order", json!({})).await;
    let mut questions = Vec::new();
    for n in 0..300 {
        let who = if n % 3 == 0 { "batch-order".to_owned() } else { format!("batch-new-{n}") };
        let rest = json!({"identities": [{"type": "customer_id", "value": who}]});
        questions.push(asked(question(&format!("order-{n}"), rest)));
        if n % 50 == 7 {
            let wrong = json!({"placements": [{"placement": "nowhere"}], "strict": true, "timeBudgetMs": 999_999});
            questions.push(asked(question(&format!("bad-{n}"), wrong)));
        }
    }
    let count = questions.len();
    let settled = ask(&server, questions).await;
    assert_eq!(settled.len(), count);
    let ids: BTreeSet<&str> = settled.iter().map(|s| s.request_id.as_str()).collect();
    assert_eq!(ids.len(), count);
    for one in &settled {
        if one.request_id.starts_with("bad-") {
            let problem = problem(one);
            assert_eq!((problem.code, problem.reason.as_str()), (Code::InvalidArgument as i32, "INVALID_FIELDS"));
            let fields: Vec<&str> = problem.fields.iter().map(|wrong| wrong.field.as_str()).collect();
            assert_eq!(fields, ["placements[0].placement", "time_budget_ms"]);
        } else {
            assert_eq!(answer(one).placements[0].placement, "side_bar");
        }
    }
    let decisions: BTreeSet<&str> =
        settled.iter().filter(|s| s.request_id.starts_with("order-")).map(|s| answer(s).decision_id.as_str()).collect();
    assert_eq!(decisions.len(), 300);
}

#[tokio::test]
async fn a_question_without_an_id_is_a_problem_and_the_stream_goes_on() {
    let server = Server::shared();
    let questions = vec![
        asked(question("", json!({}))),
        DecideStreamRequest { question: None },
        asked(question("with-an-id", json!({}))),
    ];
    let settled = ask(&server, questions).await;
    assert_eq!(settled.len(), 3);
    for (nth, one) in (1..).zip(&settled[..2]) {
        let problem = problem(one);
        assert_eq!((one.request_id.as_str(), problem.code), ("", Code::InvalidArgument as i32));
        assert!(problem.message.contains(&format!("question {nth} of the stream")), "{problem:?}");
        assert_eq!(problem.fields[0].field, "request_id");
    }
    assert_eq!(answer(&settled[2]).placements.len(), 1);
}

#[tokio::test]
async fn the_same_question_gets_the_same_bytes_and_another_body_a_problem() {
    let server = Server::shared();
    server.customer("batch-same", json!({})).await;
    let who = json!({"identities": [{"type": "customer_id", "value": "batch-same"}]});
    let first = ask(&server, vec![asked(question("stream-same", who.clone()))]).await;
    let again = ask(&server, vec![asked(question("stream-same", who.clone())); 3]).await;
    for one in &again {
        assert_eq!(one.encode_to_vec(), first[0].encode_to_vec());
    }
    let other = ask(&server, vec![asked(question("stream-same", json!({})))]).await;
    assert_eq!(problem(&other[0]).code, Code::AlreadyExists as i32);
    // ids of single calls are apart
    let single = server.decisions().await.decide(question("stream-same", json!({}))).await;
    assert_ne!(single.expect("an answer").into_inner().decision_id, answer(&first[0]).decision_id);
}

/// An offer of the purpose `service` that reaches out.
const NOTICE: &str = r#"
offers:
  - id: notice
    name: Notice
    purpose: service
    issue: serve
    group: phone
    value: 1
    treatments:
      email: { en: { subject: "Your delivery", text: "It is on its way" } }
"#;

#[tokio::test]
async fn channels_and_purpose_are_kept_to() {
    let place = Arc::new(Place::new());
    place.write_rule("notice.yaml", NOTICE);
    let server = Server::start(&place);
    let consents = json!(["MARKETING", "SERVICE", "PROFILING"].map(|purpose| json!({
        "purpose": format!("CONSENT_PURPOSE_{purpose}"), "permission": "PERMISSION_GRANTED",
    })));
    let upsert: UpsertCustomerRequest = message(json!({
        "identities": [{"type": "customer_id", "value": "batch-reached"}],
        "attributes": {"email_address": "b@example.com"},
        "consents": consents,
    }));
    server.customers().await.upsert_customer(upsert).await.expect("the customer");
    let open = |rest: Value| {
        let mut fields = json!({"identities": [{"type": "customer_id", "value": "batch-reached"}], "placements": []});
        fields.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
        fields
    };
    let cases = [
        ("any", json!({})),
        ("email", json!({"allowedChannels": ["email"]})),
        ("nothing", json!({"allowedChannels": ["pigeon"]})),
        ("service", json!({"purpose": "PURPOSE_SERVICE"})),
    ];
    let questions =
        cases.iter().map(|(id, rest)| asked(question(&format!("reach-{id}"), open(rest.clone())))).collect();
    let settled = ask(&server, questions).await;
    let told: BTreeMap<&str, &DecideResponse> = settled.iter().map(|s| (s.request_id.as_str(), answer(s))).collect();
    assert_eq!(told["reach-nothing"].placements[0].status(), PlacementStatus::Empty);
    let shown = |id: &str| {
        let shown = &told[id].placements[0].presentations;
        assert!(!shown.is_empty(), "{id}: {:?}", told[id]);
        shown
    };
    assert!(shown("reach-any").iter().all(|shown| shown.purpose() == rapport::proto::Purpose::Marketing));
    assert!(shown("reach-email").iter().all(|shown| shown.channel == "email"));
    assert!(shown("reach-service").iter().all(|shown| shown.purpose() == rapport::proto::Purpose::Service));
}

/// A caller that does not read is not answered, and not taken questions from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_not_answered() {
    const QUESTIONS: usize = 3_000;
    const STILL_LOOKS: u32 = 25;
    let server = Server::start(&Arc::new(Place::new()));
    // a small window for answers, and questions that fill that of the service soon
    let endpoint = Channel::from_shared(format!("http://{}", server.address)).expect("an address");
    let channel = endpoint.initial_stream_window_size(65_535).connect().await.expect("connecting to the service");
    let mut client = DecisionServiceClient::new(channel);
    let long: Vec<String> = (0..64).map(|n| format!("{n:0100}")).collect();
    let rest = json!({"intent": "INTENT_PREVIEW", "excludeOffers": long});
    let (sender, mut answers) = open(&mut client).await;
    let sent = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        for n in 0..QUESTIONS {
            if sender.send(asked(question(&format!("unread-{n}"), rest.clone()))).await.is_err() {
                return;
            }
            counted.store(n + 1, std::sync::atomic::Ordering::Relaxed);
        }
    });
    // it stands still once the windows of the transport are full
    let mut looks = (0, 0);
    let stands = eventually("the stream to stand still", || {
        let now = sent.load(std::sync::atomic::Ordering::Relaxed);
        let same = now == looks.0 && now > 0;
        looks = (now, if same { looks.1 + 1 } else { 0 });
        // a stream that moves answers a question within far fewer looks
        std::future::ready((looks.1 >= STILL_LOOKS).then_some(now))
    })
    .await;
    assert!(stands < QUESTIONS && !sending.is_finished(), "{stands}: everything was taken");
    // nobody else notices
    server.decide(json!({"placements": [{"placement": "side_bar"}]})).await.expect("an answer");
    // who reads on gets everything
    let mut received = 0;
    while answers.message().await.expect("an answer").is_some() {
        received += 1;
    }
    assert_eq!(received, QUESTIONS);
    sending.await.expect("everything is sent");
    eventually("the stream to end", || {
        let open = metric(&server, "rapport_streams_open", "");
        async move { (open == 0.0).then_some(()) }
    })
    .await;
}

#[tokio::test]
async fn a_stop_ends_streams_after_what_is_in_flight() {
    let mut server = Server::start(&Arc::new(Place::new()));
    let mut client = server.decisions().await;
    let (sender, mut answers) = open(&mut client).await;
    for n in 0..10 {
        sender.send(asked(question(&format!("drain-{n}"), json!({})))).await.expect("the stream takes a question");
    }
    for _ in 0..10 {
        answer(&answers.message().await.expect("the stream goes on").expect("an answer"));
    }
    server.terminate();
    let ended = answers.message().await.expect_err("the stream ends");
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    drop((sender, answers, client));
    server.wait();
}

/// Files of a batch.
struct Files {
    dir: TempDir,
}

impl Files {
    fn new(lines: &[String]) -> Self {
        let dir = tempfile::Builder::new().prefix("rapport-batch-").tempdir().expect("a temporary directory");
        let files = Self { dir };
        fs::write(files.questions(), lines.join("\n") + "\n").expect("writing the questions");
        files
    }

    fn questions(&self) -> PathBuf {
        self.dir.path().join("in.ndjson")
    }

    fn answers(&self) -> PathBuf {
        self.dir.path().join("out.ndjson")
    }

    fn command(&self, server: &Server, options: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
        command.args(["decide", "--batch"]).arg(self.questions()).arg("--out").arg(self.answers());
        command.args(["--address", &format!("http://{}", server.address)]).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, server: &Server, options: &[&str]) -> Output {
        self.command(server, options).output().expect("running the batch")
    }

    /// Answers by request id; fails when one is there twice.
    fn settled(&self) -> BTreeMap<String, Value> {
        let text = fs::read_to_string(self.answers()).expect("the answers");
        let mut settled = BTreeMap::new();
        for line in text.lines() {
            let one: Value = serde_json::from_str(line).expect("an answer a line");
            let id = one["requestId"].as_str().expect("an id").to_owned();
            assert!(settled.insert(id.clone(), one).is_none(), "{id} is answered twice");
        }
        settled
    }

    fn answered_lines(&self) -> usize {
        fs::read(self.answers()).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count())
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn people(count: usize) -> Vec<String> {
    let line = |n: usize| {
        let who = json!([{"type": "customer_id", "value": format!("mailed-{n}")}]);
        json!({"identities": who, "placements": [{"placement": "side_bar"}]}).to_string()
    };
    (0..count).map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_is_answered_and_bad_ones_are_told() {
    let server = Server::start(&Arc::new(Place::new()));
    let mut lines = people(50);
    lines[10] = "{\"placements\": [{\"placement\": 7}]}".to_owned();
    lines[20] = "not JSON".to_owned();
    lines[30] = json!({"requestId": "own", "timeBudgetMs": 999_999}).to_string();
    lines[40] = json!({"requestId": "own"}).to_string();
    lines[45] = String::new();
    let files = Files::new(&lines);
    let first = files.run(&server, &["--channel", "web", "--streams", "2"]);
    let told = said(&first);
    assert!(!first.status.success(), "{told}");
    for wanted in ["line 11: ", "line 21: ", "line 31: ", "line 41: repeats the request id `own`", "4 problems"] {
        assert!(told.contains(wanted), "no `{wanted}` in:\n{told}");
    }
    let settled = files.settled();
    assert_eq!(settled.len(), 49);
    assert_eq!(settled.values().filter(|one| one["problem"].is_object()).count(), 4);
    assert_eq!(settled["own"]["problem"]["fields"][0]["field"], "time_budget_ms");
    // a look records nothing
    assert!(decided(&server).await.is_empty());
    let again = files.run(&server, &["--channel", "web"]);
    assert!(!again.status.success() && said(&again).contains("4 problems of earlier runs"), "{}", said(&again));
    assert!(said(&again).contains("0 questions") && said(&again).contains("49 answered before"), "{}", said(&again));
    assert_eq!(files.settled(), settled);
}

/// The ids of the decisions in the log.
async fn decided(server: &Server) -> BTreeSet<String> {
    let request = ExportDecisionsRequest::default();
    let mut rows = server.decisions().await.export_decisions(request).await.expect("an export").into_inner();
    let mut decided = BTreeSet::new();
    while let Some(row) = rows.message().await.expect("a row") {
        assert!(row.identical, "{row:?}");
        assert!(decided.insert(row.decision_id));
    }
    decided
}

/// The ids of the decisions that were answered.
fn answered_by(settled: &BTreeMap<String, Value>) -> BTreeSet<String> {
    settled.values().map(|one| one["answer"]["decisionId"].as_str().expect("an answer").to_owned()).collect()
}

/// Waits until so many answers stand in the file; fails when the run ended.
async fn until_answered(files: &Files, running: &mut Child, wanted: usize) {
    while files.answered_lines() < wanted {
        assert!(running.try_wait().expect("a status").is_none(), "the run ended before it was killed");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_run_goes_on_and_nothing_is_decided_twice() {
    const PEOPLE: usize = 6_000;
    let server = Server::start(&Arc::new(Place::new()));
    let files = Files::new(&people(PEOPLE));
    for kill in 1..=3 {
        let mut running = files.command(&server, &["--present"]).spawn().expect("starting the batch");
        until_answered(&files, &mut running, kill * 600).await;
        running.kill().expect("killing the batch");
        let ended = running.wait().expect("the batch ends");
        assert!(ended.code().is_none() && files.answered_lines() < PEOPLE, "{ended}: the kill came too late");
        // a line that the kill tore
        let torn = fs::read(files.answers()).expect("the answers");
        fs::write(files.answers(), [torn.as_slice(), b"{\"requestId\":\"torn"].concat()).expect("tearing the answers");
    }
    let last = files.run(&server, &["--present"]);
    assert!(last.status.success(), "{}", said(&last));
    let settled = files.settled();
    assert_eq!(settled.len(), PEOPLE);
    assert_eq!(decided(&server).await, answered_by(&settled));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_service_is_asked_again_and_nothing_is_decided_twice() {
    const PEOPLE: usize = 6_000;
    let place = Arc::new(Place::new());
    let mut server = Server::start(&place);
    let files = Files::new(&people(PEOPLE));
    let mut running = files.command(&server, &["--present"]).spawn().expect("starting the batch");
    for kill in 1..=2 {
        until_answered(&files, &mut running, kill * 1_500).await;
        server.kill();
        server = Server::start_at(&place, server.address);
    }
    let ended = tokio::task::spawn_blocking(move || running.wait_with_output()).await.expect("waiting");
    let ended = ended.expect("the batch ends");
    assert!(ended.status.success(), "{}", said(&ended));
    assert!(said(&ended).contains("a stream is opened again"), "{}", said(&ended));
    let settled = files.settled();
    assert_eq!(settled.len(), PEOPLE);
    // an answer may be out before its record is written, and a kill may come in between; a
    // question that was decided twice would be in the log without being answered
    let (decided, answered) = (decided(&server).await, answered_by(&settled));
    assert!(decided.is_subset(&answered), "{} decided twice", decided.difference(&answered).count());
    // who came after the second kill is there whatever the first two took with them
    assert!(decided.len() > PEOPLE / 3, "{} of {PEOPLE} are in the log", decided.len());
}

#[test]
fn a_batch_that_cannot_be_asked_says_why() {
    let files = Files::new(&people(1));
    let run = |out: &Path, address: &str| {
        Command::new(env!("CARGO_BIN_EXE_rapport"))
            .args(["decide", "--batch"])
            .arg(files.questions())
            .arg("--out")
            .arg(out)
            .args(["--address", address])
            .output()
            .expect("running the batch")
    };
    let nobody = run(&files.answers(), "http://127.0.0.1:1");
    assert!(!nobody.status.success() && said(&nobody).contains("is `rapport serve` running"), "{}", said(&nobody));
    let server = Server::shared();
    let address = format!("http://{}", server.address);
    let questions = fs::read(files.questions()).expect("the questions");
    let itself = run(&files.questions(), &address);
    assert!(!itself.status.success() && said(&itself).contains("holds the questions"), "{}", said(&itself));
    assert_eq!(fs::read(files.questions()).expect("the questions"), questions);
    fs::write(files.answers(), "a text without an end").expect("writing a text");
    let foreign = run(&files.answers(), &address);
    assert!(!foreign.status.success() && said(&foreign).contains("give another `--out`"), "{}", said(&foreign));
    assert_eq!(fs::read_to_string(files.answers()).expect("the text"), "a text without an end");
}

#[test]
fn the_answers_of_another_run_are_left_alone() {
    let server = Server::shared();
    let own = |id: &str| json!({"requestId": id, "placements": [{"placement": "side_bar"}]}).to_string();
    let files = Files::new(&[own("other-1")]);
    let first = files.run(&server, &[]);
    assert!(first.status.success(), "{}", said(&first));
    let before = files.settled();
    let refused = |options: &[&str]| {
        let output = files.run(&server, options);
        assert!(!output.status.success() && said(&output).contains("`--force`"), "{}", said(&output));
        assert_eq!(files.settled(), before);
    };
    refused(&["--present"]);
    refused(&["--channel", "email"]);
    fs::write(files.questions(), format!("{}\n{}\n", own("other-1"), own("other-2"))).expect("editing");
    refused(&[]);
    let forced = files.run(&server, &["--force"]);
    assert!(forced.status.success(), "{}", said(&forced));
    let after = files.settled();
    assert_eq!(after.keys().collect::<Vec<_>>(), ["other-1", "other-2"]);
    assert_eq!(after["other-1"], before["other-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_window_is_kept_to() {
    let server = Server::shared();
    let consents = json!(["MARKETING", "PROFILING"].map(|purpose| json!({
        "purpose": format!("CONSENT_PURPOSE_{purpose}"), "permission": "PERMISSION_GRANTED",
    })));
    let upsert: UpsertCustomerRequest = message(json!({
        "identities": [{"type": "customer_id", "value": "batch-sent"}],
        "attributes": {"email_address": "s@example.com"},
        "consents": consents,
    }));
    server.customers().await.upsert_customer(upsert).await.expect("the customer");
    let files = Files::new(&[
        json!({"requestId": "sent", "identities": [{"type": "customer_id", "value": "batch-sent"}]}).to_string(),
        json!({"requestId": "placed", "placements": [{"placement": "side_bar"}]}).to_string(),
    ]);
    let hours = |count: i64| jiff::Timestamp::now() + jiff::SignedDuration::from_hours(count);
    let (from, until) = (hours(1), hours(3));
    let (from_text, until_text) = (from.to_string(), until.to_string());
    let window =
        ["--send-from", &from_text, "--send-until", &until_text, "--channel", "email", "--assurance", "verified"];
    let output = tokio::task::block_in_place(|| files.run(&server, &window));
    assert!(output.status.success(), "{}", said(&output));
    let settled = files.settled();
    let shown = settled["sent"]["answer"]["placements"][0]["presentations"].as_array().expect("something to say");
    let mail = shown.iter().find(|shown| shown["channel"] == "email").expect("a mail");
    let moment = |name: &str| -> jiff::Timestamp { mail[name].as_str().expect(name).parse().expect("a moment") };
    assert_eq!(moment("notBefore").as_second(), from.as_second());
    assert!(moment("sendBy") <= until, "{mail}");
    // a question that names placements has no window
    assert_eq!(settled["placed"]["answer"]["placements"][0]["placement"], "side_bar");
    let wrong = tokio::task::block_in_place(|| {
        files.run(&server, &["--send-until", &until.to_string(), "--placement", "side_bar"])
    });
    assert!(!wrong.status.success() && said(&wrong).contains("without `--placement`"), "{}", said(&wrong));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_ends_a_run_that_goes_on_later() {
    const PEOPLE: usize = 6_000;
    // room for the empty store, not for the log of so many questions
    const FILE_KIB_MAX: u64 = 1_100;
    let place = Arc::new(Place::new());
    let mut server = Server::start_on_full_disk(&place, FILE_KIB_MAX);
    let line = |n: usize| {
        let who = json!([{"type": "customer_id", "value": format!("full-{n}")}]);
        let page = format!("{n:08}").repeat(30);
        json!({"identities": who, "placements": [{"placement": "side_bar"}], "context": {"page": page}}).to_string()
    };
    let files = Files::new(&(0..PEOPLE).map(line).collect::<Vec<_>>());
    let full = tokio::task::block_in_place(|| files.run(&server, &["--present"]));
    assert!(!full.status.success() && said(&full).contains("the event log takes no decisions"), "{}", said(&full));
    let answered = files.settled();
    assert!((1..PEOPLE).contains(&answered.len()), "{} are answered", answered.len());
    assert!(answered.values().all(|one| one["answer"]["degraded"].is_null()));
    server.kill();
    server = Server::start_at(&place, server.address);
    let last = tokio::task::block_in_place(|| files.run(&server, &["--present"]));
    assert!(last.status.success(), "{}", said(&last));
    let settled = files.settled();
    assert_eq!(settled.len(), PEOPLE);
    // answers leave before their records are written: what was on its way then has none
    let (decided, answered) = (decided(&server).await, answered_by(&settled));
    assert!(decided.is_subset(&answered), "{} decided twice", decided.difference(&answered).count());
    assert!(!decided.is_empty());
}
