//! More calls than can be answered, over loopback: much is answered all the same,
//! an agent's desk nearly always, everybody else hears soon and when to try again.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use rapport::proto::{
    DecideRequest, DecideResponse, Degraded, ExplainRequest, Level, PlacementStatus,
    decision_service_client::DecisionServiceClient,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tonic::{Code, Status, transport::Channel};
use tonic_types::StatusExt;

use crate::{
    harness::{Place, Server, eventually, message},
    web,
};

/// Offers and words that each of them looks through: a decision takes
/// milliseconds, in any build.
const OFFERS: usize = 150;
const WORDS: usize = 40;
const TURN_MIN: Duration = Duration::from_millis(2);
/// How long too much is asked for, and how many times of what can be answered.
const OVERLOAD: Duration = Duration::from_secs(4);
const TIMES: f64 = 6.0;
/// The desk's part of what can be answered.
const DESK_SHARE: f64 = 0.2;
/// What is measured beside other tests says little: these are far from what is
/// reached on a machine of its own.
const GOODPUT_MIN: f64 = 0.3;
const DESK_MIN: f64 = 0.95;
const RECOVERY_MAX: Duration = Duration::from_secs(5);
/// Calls under way at most.
const UNDER_WAY_MAX: usize = 1_024;

/// Rules of which no index knows the answer.
fn heavy_rules() -> String {
    let mut text = String::from("attributes: [ { id: words, type: set } ]\noffers:\n");
    for number in 0..OFFERS {
        let _ = write!(
            text,
            "  - id: heavy_{number}
    name: Heavy {number}
    purpose: service
    issue: serve
    group: phone
    eligibility: \"!p.words.exists(w, w.matches('^[a-f]+.*z{number}$'))\"
    value: {value}
    placements: [home_hero, agent_desktop]
    open: false
    treatments:
      web: {{ en: {{ text: \"Offer {number}\", data: {{ headline: \"Offer {number}\" }} }} }}
      call_centre: {{ en: {{ talk_track: \"Offer {number}.\" }} }}
",
            value = 100 + number,
        );
    }
    text
}

fn question(placement: &str) -> Value {
    json!({
        "identities": [{"type": "customer_id", "value": "busy"}],
        "placements": [{"placement": placement}],
    })
}

/// What became of a call.
struct Settled {
    from_desk: bool,
    answer: Result<DecideResponse, Status>,
}

impl Settled {
    fn is_whole(&self) -> bool {
        self.answer.as_ref().is_ok_and(|answer| !is_short(answer))
    }
}

fn is_short(answer: &DecideResponse) -> bool {
    answer.degraded.contains(&(Degraded::Overload as i32))
}

async fn start() -> Server {
    let place = Arc::new(Place::new());
    place.write_rule("heavy.yaml", &heavy_rules());
    let server = Server::start_with(&place, &["--workers", "1", "--queue-age-max-ms", "50"]);
    let words: Vec<String> = (0..WORDS).map(|word| format!("abcdef{word}")).collect();
    server.customer("busy", json!({"words": words})).await;
    server
}

/// What a decision takes when nothing else is asked for.
async fn turn_time(client: &mut DecisionServiceClient<Channel>) -> Duration {
    let mut took = Vec::new();
    for _ in 0..11 {
        let started = Instant::now();
        let answer = client.decide(message::<DecideRequest>(question("home_hero"))).await.expect("an answer");
        assert_eq!(answer.into_inner().placements[0].status(), PlacementStatus::Ok);
        took.push(started.elapsed());
    }
    took.sort_unstable();
    took[took.len() / 2]
}

/// Asks at so many times what can be answered, whether or not answers come.
async fn ask_too_much(server: &Server, turn: Duration) -> (Vec<Settled>, Duration) {
    let channels = [server.channel().await, server.channel().await, server.channel().await, server.channel().await];
    let every = turn.div_f64(TIMES);
    let desk_every = (TIMES / DESK_SHARE) as usize;
    let (started, mut calls, mut settled) = (Instant::now(), JoinSet::new(), Vec::new());
    let mut number = 0_usize;
    while started.elapsed() < OVERLOAD {
        while every.mul_f64(number as f64) <= started.elapsed() {
            let from_desk = number.is_multiple_of(desk_every);
            let request: DecideRequest = message(question(if from_desk { "agent_desktop" } else { "home_hero" }));
            let mut client = DecisionServiceClient::new(channels[number % channels.len()].clone());
            if calls.len() < UNDER_WAY_MAX {
                calls.spawn(async move {
                    let answer = client.decide(request).await.map(tonic::Response::into_inner);
                    Settled { from_desk, answer }
                });
            }
            number += 1;
        }
        // the pace of what is asked, not a wait for something
        tokio::time::sleep(Duration::from_millis(1)).await;
        while let Some(done) = calls.try_join_next() {
            settled.push(done.expect("a call ends"));
        }
    }
    while let Some(done) = calls.join_next().await {
        settled.push(done.expect("a call ends"));
    }
    (settled, started.elapsed())
}

/// Asks as a page does until it is told to come again.
fn refused_as_page(server: &Server) -> Option<web::Reply> {
    let started = Instant::now();
    let mut asked = || web::post(server.address, "/v1/decide", &question("home_hero"));
    std::iter::from_fn(|| (started.elapsed() < OVERLOAD).then(&mut asked)).find(|reply| reply.status == 429)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_is_told_soon_and_the_desk_is_answered() {
    let server = Arc::new(start().await);
    let mut client = server.decisions().await;
    let turn = turn_time(&mut client).await;
    assert!(turn >= TURN_MIN, "a decision takes {turn:?}: give more offers");

    let as_page = Arc::clone(&server);
    let as_page = tokio::task::spawn_blocking(move || refused_as_page(&as_page));
    let (settled, elapsed) = ask_too_much(&server, turn).await;
    let whole = settled.iter().filter(|one| one.is_whole()).count();
    let goodput = whole as f64 * turn.as_secs_f64() / elapsed.as_secs_f64();
    let desk: Vec<&Settled> = settled.iter().filter(|one| one.from_desk).collect();
    let answered = desk.iter().filter(|one| one.is_whole()).count() as f64 / desk.len() as f64;
    let refused: Vec<&Status> = settled.iter().filter_map(|one| one.answer.as_ref().err()).collect();
    let short: Vec<&DecideResponse> =
        settled.iter().filter_map(|one| one.answer.as_ref().ok()).filter(|answer| is_short(answer)).collect();
    let told = format!(
        "turn {turn:?}, {} asked, {whole} whole, {} short, {} refused, goodput {goodput:.2}, desk {answered:.4}",
        settled.len(),
        short.len(),
        refused.len()
    );
    println!("{told}");
    assert!(goodput >= GOODPUT_MIN && answered >= DESK_MIN, "{told}");
    assert!(refused.len() > whole && !short.is_empty(), "{told}");
    refused.iter().for_each(|status| check_refusal(status));
    short.iter().for_each(|answer| check_short(answer));
    assert!(settled.iter().filter(|one| one.from_desk).all(|one| !one.answer.as_ref().is_ok_and(is_short)));

    let reply = as_page.await.expect("the page asks").expect("a page was refused");
    let seconds: u64 = reply.header("retry-after").and_then(|seconds| seconds.parse().ok()).expect("seconds");
    assert!((1..=5).contains(&seconds) && reply.body.contains("google.rpc.RetryInfo"), "{reply:?}");

    // all is well again
    let ended = Instant::now();
    for _ in 0..20 {
        let answer = client.decide(message::<DecideRequest>(question("home_hero"))).await.expect("an answer");
        assert!(!is_short(answer.get_ref()));
    }
    assert!(ended.elapsed() < RECOVERY_MAX.max(40 * turn), "{:?}", ended.elapsed());
    check_metrics(&server).await;
    check_explained(&server, &short[0].decision_id).await;
}

/// An answer without ranking is kept as it was given.
async fn check_explained(server: &Server, decision_id: &str) {
    let mut client = server.decisions().await;
    let asked = ExplainRequest { decision_id: decision_id.to_owned(), offer: String::new() };
    let explained = client.explain(asked).await.expect("an explanation").into_inner();
    assert!(explained.identical && is_short(explained.decision.as_ref().expect("the decision")), "{explained:?}");
}

fn check_refusal(status: &Status) {
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    let details = status.get_error_details();
    assert_eq!(details.error_info().map(|info| info.reason.as_str()), Some("OVERLOADED"));
    let delay = details.retry_info().and_then(|info| info.retry_delay).expect("when to try again");
    assert!(delay > Duration::ZERO && delay <= Duration::from_secs(5), "{delay:?}");
}

fn check_short(answer: &DecideResponse) {
    assert_eq!(answer.level(), Level::Fallback);
    let placement = &answer.placements[0];
    assert_eq!(placement.status(), PlacementStatus::Fallback, "{answer:?}");
    assert!(placement.presentations[0].presentation_token.is_empty());
}

async fn check_metrics(server: &Server) {
    let wanted = [
        "rapport_admissions_total{class=\"web\",outcome=\"refused\"}",
        "rapport_admissions_total{class=\"web\",outcome=\"degraded\"}",
        "rapport_admissions_total{class=\"call_centre\",outcome=\"waited\"}",
        "rapport_admission_wait_seconds_count{class=\"web\"}",
    ];
    eventually("the counters of admission", || async {
        let metrics = web::get(server.private, "/metrics", &[]).body;
        let counted = |name: &&str| {
            let line = metrics.lines().find(|line| line.starts_with(*name));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).is_some_and(|count| count > 0.0)
        };
        wanted.iter().all(counted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_has_stopped_waiting_is_not_answered() {
    let server = Arc::new(start().await);
    let turn = turn_time(&mut server.decisions().await).await;
    let mut calls = JoinSet::new();
    let channel = server.channel().await;
    for _ in 0..32 {
        let mut client = DecisionServiceClient::new(channel.clone());
        let mut asked = question("agent_desktop");
        asked["timeBudgetMs"] = json!(1 + turn.as_millis() as u64);
        calls.spawn(async move { client.decide(message::<DecideRequest>(asked)).await.map(|_| ()) });
    }
    let mut late = 0;
    while let Some(answer) = calls.join_next().await {
        let Err(status) = answer.expect("a call ends") else { continue };
        let late_one = status.code() == Code::DeadlineExceeded;
        assert!(late_one || status.code() == Code::ResourceExhausted, "{status}");
        late += usize::from(late_one);
    }
    assert!(late > 0, "all were answered in the time of one");
}
