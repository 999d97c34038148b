//! The sample shop: real customers under the sample rules. Everybody is asked
//! about by PREVIEW at one moment, so that nothing asked changes an answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use rapport::proto::{
    ConsentPurpose, Customer, DecideRequest, DecideResponse, Event, GetCustomerRequest, Permission, PlacementAnswer,
    Purpose, SilenceReason, UpsertCustomerRequest, customer_service_client::CustomerServiceClient,
    decision_service_client::DecisionServiceClient,
};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::harness::{Place, Server, message, repository};

/// Lines of the sample's files.
const LINES: [(&str, usize); 3] = [("customers.ndjson", 1_000), ("events.ndjson", 4_042), ("activity.ndjson", 2_190)];
const CHANNELS: [&str; 5] = ["web", "email", "sms", "push", "call_centre"];
const OUTBOUND: [&str; 3] = ["email", "sms", "push"];
const WEEK_S: i64 = 7 * 86_400;
const DAY_S: i64 = 86_400;

/// Offers that must win something, the largest share of all wins.
const WINNERS_MIN: usize = 15;
const SHARE_MAX: f64 = 0.30;

/// Calls under way at once.
const TASKS: usize = 8;
/// How long a question waits for its customer: what is tested is the answer, not
/// how long a busy disk takes.
const PATIENCE_MS: u32 = 30_000;

/// A data directory with the sample in it, and what the demo said.
struct Imported {
    place: Arc<Place>,
    first: String,
    second: String,
}

impl Imported {
    /// Imported once for tests that run side by side.
    fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Imported>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(imported) = shared.upgrade() {
            return imported;
        }
        let place = Arc::new(Place::sample());
        let first = demo(&place);
        let second = demo(&place);
        let imported = Arc::new(Self { place, first, second });
        *shared = Arc::downgrade(&imported);
        imported
    }

    /// Mid-day of the Wednesday after the last purchase, where the demo put it.
    fn as_of(&self) -> String {
        let (_, rest) = self.first.split_once("moved by ").expect("the demo says how far");
        let weeks: i64 = rest.split_once(' ').and_then(|(weeks, _)| weeks.parse().ok()).expect("a number of weeks");
        let purchases: Vec<Event> = lines("events.ndjson");
        let last = purchases.iter().filter_map(|e| e.time.map(|t| t.seconds)).max().expect("a purchase");
        let day = (last + weeks * WEEK_S).div_euclid(DAY_S);
        // day 0 was a Thursday
        let to_wednesday = (6 - day).rem_euclid(7);
        let noon = (day + if to_wednesday == 0 { 7 } else { to_wednesday }) * DAY_S + DAY_S / 2;
        jiff::Timestamp::from_second(noon).expect("a moment").to_string()
    }
}

fn demo(place: &Place) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rapport"))
        .current_dir(repository())
        .args(["demo", "--no-serve", "--data-dir"])
        .arg(place.data())
        .arg("--rules")
        .arg(place.rules())
        .output()
        .expect("running the demo");
    let told = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    told
}

fn lines<T: serde::de::DeserializeOwned>(name: &str) -> Vec<T> {
    let text = fs::read_to_string(repository().join("examples/retail").join(name)).expect("the sample");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of the sample")).collect()
}

fn customers() -> Vec<String> {
    let customers: Vec<UpsertCustomerRequest> = lines("customers.ndjson");
    customers.into_iter().map(|c| c.identities[0].value.clone()).collect()
}

/// The questions about one customer; what the page is about differs between
/// customers.
fn questions(customer: &str, number: usize, as_of: &str) -> Vec<(String, DecideRequest)> {
    let identities = json!([{"type": "customer_id", "value": customer}]);
    let ask = |rest: Value| {
        let mut question = json!({
            "identities": identities, "intent": "INTENT_PREVIEW", "asOf": as_of, "view": "VIEW_FULL",
            "timeBudgetMs": PATIENCE_MS,
        });
        let fields = question.as_object_mut().expect("an object");
        fields.extend(rest.as_object().expect("an object").clone());
        message(question)
    };
    let mut questions = vec![("open".to_owned(), ask(json!({})))];
    for channel in CHANNELS {
        questions.push((format!("open/{channel}"), ask(json!({"allowedChannels": [channel]}))));
    }
    let category = ["kitchen", "party", "garden", "christmas", "home"][number % 5];
    let topic = ["order", "delivery", "return", "complaint", "other"][number % 5];
    for (placement, context) in [
        ("home_hero", json!({})),
        ("home_tiles", json!({})),
        ("product_page", json!({"category": category})),
        ("basket", json!({"basket_value": 12 + number * 7 % 90})),
        ("order_confirmation", json!({})),
        ("my_orders", json!({})),
        ("agent_desktop", json!({"call_topic": topic})),
    ] {
        let question = ask(json!({"placements": [{"placement": placement}], "context": context}));
        questions.push((placement.to_owned(), question));
    }
    questions
}

/// What was answered to one customer.
struct Told {
    customer: String,
    view: Customer,
    answers: Vec<(String, PlacementAnswer)>,
}

async fn ask(channel: Channel, customer: String, questions: Vec<(String, DecideRequest)>) -> Told {
    let mut decisions = DecisionServiceClient::new(channel.clone());
    let mut answers = Vec::with_capacity(questions.len());
    for (name, question) in questions {
        let first = decisions.decide(question.clone()).await.expect("an answer").into_inner();
        let again = decisions.decide(question).await.expect("an answer").into_inner();
        assert_ne!(first.decision_id, again.decision_id);
        assert_eq!(comparable(&first), comparable(&again), "customer {customer}, {name}: asked twice");
        answers.extend(first.placements.into_iter().map(|answer| (name.clone(), answer)));
    }
    let request: GetCustomerRequest = message(json!({"identities": [{"type": "customer_id", "value": customer}]}));
    let view = CustomerServiceClient::new(channel).get_customer(request).await.expect("the customer").into_inner();
    Told { customer, view: view.customer.expect("a view"), answers }
}

/// An answer without the id of its decision and what is signed for it.
fn comparable(answer: &DecideResponse) -> DecideResponse {
    let mut answer = DecideResponse { decision_id: String::new(), ..answer.clone() };
    for presentation in answer.placements.iter_mut().flat_map(|p| &mut p.presentations) {
        presentation.presentation_token.clear();
        let links = std::mem::take(&mut presentation.links);
        let mut signed: Vec<String> = links.into_values().collect();
        signed.push(std::mem::take(&mut presentation.link));
        signed.retain(|link| !link.is_empty());
        let escaped: Vec<String> = signed.iter().map(|link| link.replace('/', "&#x2f;")).collect();
        signed.extend(escaped);
        let without = |text: &str| signed.iter().fold(text.to_owned(), |text, link| text.replace(link, ""));
        if let Some(agent) = &mut presentation.agent {
            agent.talk_track = without_token(&agent.talk_track);
        }
        if let Some(shown) = &mut presentation.message {
            shown.text = without(&shown.text);
            shown.html = without(&shown.html);
        }
        if let Some(data) = presentation.data.take() {
            let text = without(&serde_json::to_string(&data).expect("JSON"));
            presentation.data = Some(serde_json::from_str(&text).expect("JSON"));
        }
    }
    answer
}

/// A text without the token of the link that it ends with.
fn without_token(text: &str) -> String {
    text.split_once("/c/").map_or(text, |(before, _)| before).to_owned()
}

async fn ask_everybody(server: &Server, as_of: &str) -> Vec<Told> {
    let everybody: Vec<(usize, String)> = customers().into_iter().enumerate().collect();
    let mut tasks = Vec::new();
    for share in everybody.chunks(everybody.len().div_ceil(TASKS)) {
        let (share, channel, as_of) = (share.to_vec(), server.channel().await, as_of.to_owned());
        tasks.push(tokio::spawn(async move {
            let mut told = Vec::with_capacity(share.len());
            for (number, customer) in share {
                let questions = questions(&customer, number, &as_of);
                told.push(ask(channel.clone(), customer, questions).await);
            }
            told
        }));
    }
    let mut told = Vec::with_capacity(everybody.len());
    for task in tasks {
        told.extend(task.await.expect("the task ends"));
    }
    told
}

/// Wins by offer and channel.
type Wins = BTreeMap<String, BTreeMap<String, usize>>;

fn wins(told: &[Told], of: impl Fn(&str) -> bool) -> Wins {
    let mut wins = Wins::new();
    let answers = told.iter().flat_map(|t| &t.answers).filter(|(question, _)| of(question));
    for presentation in answers.flat_map(|(_, answer)| &answer.presentations).filter(|p| !p.offer.is_empty()) {
        *wins.entry(presentation.offer.clone()).or_default().entry(presentation.channel.clone()).or_default() += 1;
    }
    wins
}

fn print(title: &str, wins: &Wins) {
    let total: usize = wins.values().flat_map(BTreeMap::values).sum();
    println!("{title}: {total} wins of {} offers", wins.len());
    println!("{:<26}{}{:>12}{:>8}", "offer", CHANNELS.map(|c| format!("{c:>12}")).concat(), "all", "%");
    for (offer, by_channel) in wins {
        let all: usize = by_channel.values().sum();
        let each = CHANNELS.map(|c| format!("{:>12}", by_channel.get(c).copied().unwrap_or(0))).concat();
        println!("{offer:<26}{each}{all:>12}{:>8.1}", 100.0 * all as f64 / total as f64);
    }
}

#[test]
fn every_line_of_the_sample_is_recorded_once() {
    let imported = Imported::shared();
    for (name, count) in LINES {
        let text = fs::read_to_string(repository().join("examples/retail").join(name)).expect("the sample");
        assert_eq!(text.lines().count(), count, "{name}");
        let said = format!("{name}: {count} rows = {count} imported + 0 known before + 0 rejected");
        assert!(imported.first.contains(&said), "no `{said}` in:\n{}", imported.first);
        assert!(!imported.second.contains(name), "{}", imported.second);
    }
    assert!(imported.second.contains("is in"), "{}", imported.second);
    assert!(!imported.second.contains("importing"), "{}", imported.second);
    for channel in CHANNELS {
        assert!(imported.first.contains(&format!("\n{channel}: customer ")), "{channel}:\n{}", imported.first);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sample_is_answered_well() {
    let imported = Imported::shared();
    let server = Server::start(&imported.place);
    let as_of = imported.as_of();
    println!("as of {as_of}");
    let told = ask_everybody(&server, &as_of).await;
    assert_eq!(told.len(), 1_000);
    many_offers_win(&told);
    every_channel_wins(&told);
    some_are_told_nothing(&told);
    nobody_is_written_to_unasked(&told);
}

fn many_offers_win(told: &[Told]) {
    let all = wins(told, |_| true);
    print("everything asked", &all);
    assert!(all.len() >= WINNERS_MIN, "only {} offers win", all.len());
    let total: usize = all.values().flat_map(BTreeMap::values).sum();
    for (offer, by_channel) in &all {
        let share = by_channel.values().sum::<usize>() as f64 / total as f64;
        assert!(share <= SHARE_MAX, "`{offer}` wins {:.1} % of everything", share * 100.0);
    }
}

fn every_channel_wins(told: &[Told]) {
    let open = wins(told, |question| question == "open");
    print("open questions", &open);
    let won: BTreeSet<&str> = open.values().flat_map(BTreeMap::keys).map(String::as_str).collect();
    assert_eq!(won, BTreeSet::from(CHANNELS), "channels that win an open question");
}

fn some_are_told_nothing(told: &[Told]) {
    let mut silent: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, answer) in told.iter().flat_map(|t| &t.answers).filter(|(question, _)| question == "open") {
        if answer.presentations.is_empty() {
            let reason = answer.silence_reason();
            assert!(!matches!(reason, SilenceReason::Unspecified | SilenceReason::NoOffers), "{reason:?}");
            *silent.entry(reason.as_str_name()).or_default() += 1;
        }
    }
    println!("told nothing by an open question: {silent:?}");
    assert!(!silent.is_empty());
}

fn nobody_is_written_to_unasked(told: &[Told]) {
    let mut checked = 0;
    for Told { customer, view, answers } in told {
        for (question, presentation) in answers.iter().flat_map(|(q, a)| a.presentations.iter().map(move |p| (q, p))) {
            let calls = question.starts_with("open") && presentation.channel == "call_centre";
            let contacts = OUTBOUND.contains(&presentation.channel.as_str()) || calls;
            if presentation.purpose() == Purpose::Marketing && contacts {
                let (offer, channel) = (&presentation.offer, &presentation.channel);
                assert!(opted_in(view, channel), "customer {customer}: `{offer}` through {channel} without an opt-in");
                assert!(!view.do_not_contact, "customer {customer} forbade every contact");
                checked += 1;
            }
        }
    }
    println!("marketing contacts with an opt-in: {checked}");
    assert!(checked > 0);
}

/// What is said of the channel counts before what is said of all.
fn opted_in(view: &Customer, channel: &str) -> bool {
    let said = |of: &str| {
        let marketing = view.consents.iter().filter(|c| c.purpose() == ConsentPurpose::Marketing);
        marketing.filter(|c| c.channel == of).map(|c| c.permission()).next_back()
    };
    said(channel).or_else(|| said("")) == Some(Permission::Granted)
}
