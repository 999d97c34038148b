//! Everything that happens, told in the order of commit: complete over kills of
//! either side, filtered, bounded, and to a slow reader too.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rapport::proto::{
    ChangeKind, RecordRequest, RecordStatus, SubscribeRequest, SubscribeResponse, TimelineKind,
    event_service_client::EventServiceClient,
};
use serde_json::{Value, json};
use tonic::{Code, Status, Streaming, transport::Channel};
use tonic_types::StatusExt;

use crate::{
    harness::{Place, Server, eventually, message},
    web,
};

/// How long a message may take on a machine that is busy.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);
/// Events of one call.
const BATCH_LEN: usize = 100;

/// An event that its amount numbers.
fn event(number: usize, kind: &str) -> Value {
    json!({
        "eventId": format!("s-{number}"),
        "source": "subscribe",
        "customer": {
            "identities": [{"type": "customer_id", "value": format!("subscribe-{}", number % 50)}],
            "type": kind,
            "amount": {"amount": format!("{}.{:02}", number / 100, number % 100), "currency": "GBP"},
        },
    })
}

/// The number of an event that was told.
fn number(message: &SubscribeResponse) -> Option<usize> {
    let amount = message.entry.as_ref()?.amount.as_ref()?;
    amount.amount.replace('.', "").parse().ok()
}

async fn record(client: &mut EventServiceClient<Channel>, events: Vec<Value>) -> Result<(), Status> {
    let request: RecordRequest = message(json!({"events": events}));
    let results = client.record(request).await?.into_inner().results;
    let taken = |status| matches!(status, RecordStatus::Recorded | RecordStatus::Duplicate);
    assert!(results.iter().all(|result| taken(result.status())), "{results:?}");
    Ok(())
}

async fn record_all(server: &Server, numbers: std::ops::Range<usize>, kind: &str) {
    let mut client = server.events().await;
    let numbers: Vec<usize> = numbers.collect();
    for chunk in numbers.chunks(BATCH_LEN) {
        record(&mut client, chunk.iter().map(|n| event(*n, kind)).collect()).await.expect("events are taken");
    }
}

async fn subscribe(server: &Server, request: Value) -> Result<Streaming<SubscribeResponse>, Status> {
    let request: SubscribeRequest = message(request);
    Ok(server.events().await.subscribe(request).await?.into_inner())
}

/// The next message in time; `None` at the end.
async fn next(stream: &mut Streaming<SubscribeResponse>) -> Result<Option<SubscribeResponse>, Status> {
    tokio::time::timeout(MESSAGE_TIMEOUT, stream.message()).await.expect("a message in time")
}

/// Everything that is committed by now.
async fn everything(server: &Server, mut request: Value) -> Vec<SubscribeResponse> {
    request["untilNow"] = json!(true);
    let mut stream = subscribe(server, request).await.expect("subscribing");
    let mut messages = Vec::new();
    while let Some(message) = next(&mut stream).await.expect("a message") {
        messages.push(message);
    }
    messages
}

fn changes(messages: &[SubscribeResponse]) -> impl Iterator<Item = &SubscribeResponse> {
    messages.iter().filter(|message| message.kind() != ChangeKind::Unspecified)
}

fn cursor(message: &SubscribeResponse) -> u64 {
    message.cursor.parse().expect("a number")
}

fn grows(messages: &[SubscribeResponse]) -> bool {
    messages.windows(2).all(|pair| cursor(&pair[0]) < cursor(&pair[1]))
}

/// What one subscriber has taken, over all its connections.
#[derive(Default)]
struct Taken {
    cursor: String,
    messages: Vec<SubscribeResponse>,
}

/// Takes messages until so many events are there or the stream breaks.
async fn take(server: &Server, taken: &mut Taken, events: usize) {
    let request = json!({"cursor": taken.cursor, "kinds": ["CHANGE_KIND_EVENT"]});
    let mut stream = subscribe(server, request).await.expect("subscribing");
    while taken.messages.len() < events {
        match next(&mut stream).await {
            Ok(Some(message)) => {
                taken.cursor.clone_from(&message.cursor);
                taken.messages.extend(number(&message).is_some().then_some(message));
            }
            Ok(None) => panic!("it ends only by an error"),
            Err(_) => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_missed_or_told_twice_over_a_kill_under_load() {
    const EVENTS: usize = 10_000;
    const KILLED_AFTER: usize = 4_000;
    let place = Arc::new(Place::new());
    let mut server = Server::start(&place);
    let mut taken = Taken { cursor: "0".to_owned(), ..Taken::default() };

    let mut client = server.events().await;
    let sender = tokio::spawn(async move {
        for first in (0..EVENTS).step_by(BATCH_LEN) {
            let events = (first..first + BATCH_LEN).map(|n| event(n, "page_view")).collect();
            if record(&mut client, events).await.is_err() {
                return first;
            }
        }
        EVENTS
    });
    take(&server, &mut taken, KILLED_AFTER).await;
    server.kill();
    let unanswered = sender.await.expect("the sender ends");
    let before = taken.messages.len();
    assert!((KILLED_AFTER..EVENTS).contains(&before), "{before} events were told before the kill");

    server = Server::start(&place);
    let resent = async {
        // what was not answered may have been recorded: it is told once all the same
        record_all(&server, unanswered..EVENTS, "page_view").await;
    };
    tokio::join!(resent, take(&server, &mut taken, EVENTS));
    assert!(grows(&taken.messages));
    let mut numbers: Vec<usize> = taken.messages.iter().filter_map(number).collect();
    // one connection sent them in order
    assert!(numbers.is_sorted());
    numbers.dedup();
    assert_eq!(numbers, (0..EVENTS).collect::<Vec<_>>());

    // a subscriber that forgot its last messages gets the same again
    let middle = &taken.messages[EVENTS / 2];
    let again = everything(&server, json!({"cursor": middle.cursor, "kinds": ["CHANGE_KIND_EVENT"]})).await;
    let again: Vec<&SubscribeResponse> = changes(&again).collect();
    assert_eq!(again, taken.messages[EVENTS / 2 + 1..].iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn every_kind_is_told_and_filters_keep_their_place() {
    let server = Server::start(&Arc::new(Place::new()));
    server.customer("subscribe-0", json!({"first_name": "Ann"})).await;
    let question = json!({
        "identities": [{"type": "customer_id", "value": "subscribe-0"}],
        "placements": [{"placement": "agent_desktop"}],
    });
    let decision = server.decide(question).await.expect("a decision");
    let presented = &decision.placements[0].presentations[0];
    let outcome = json!({"outcome": {
        "presentationToken": presented.presentation_token,
        "type": "OUTCOME_TYPE_DECLINE",
        "reasonCode": "too_expensive",
    }});
    record(&mut server.events().await, vec![outcome]).await.expect("an outcome");
    record_all(&server, 0..3, "page_view").await;
    record_all(&server, 3..5, "purchase").await;

    let messages = everything(&server, json!({"cursor": "0"})).await;
    assert!(grows(&messages));
    let told: Vec<&SubscribeResponse> = changes(&messages).collect();
    let kinds: Vec<ChangeKind> = told.iter().map(|message| message.kind()).collect();
    let (event, decided) = (ChangeKind::Event, ChangeKind::Decision);
    assert_eq!(kinds, [ChangeKind::Customer, decided, ChangeKind::Outcome, event, event, event, event, event]);
    let who = |message: &SubscribeResponse| message.customer.clone();
    assert!(!who(told[0]).is_empty() && !who(told[0]).contains("subscribe"));
    assert!(told[1..4].iter().all(|message| who(message) == who(told[0])), "one customer has one name");
    assert_ne!(who(told[4]), who(told[0]));
    let entry = |at: usize| told[at].entry.clone().expect("an entry");
    assert_eq!((told[0].identities[0].value.as_str(), entry(0).r#type.as_str()), ("subscribe-0", "upserted"));
    assert!(serde_json::to_string(&entry(0).data).expect("JSON").contains("\"first_name\":\"Ann\""));
    assert_eq!((entry(1).kind(), entry(1).decision_id), (TimelineKind::Decision, decision.decision_id.clone()));
    assert_eq!(told[1].decided[0].offer, presented.offer);
    let declined = entry(2);
    let words = [declined.r#type, declined.offer, declined.reason_code, declined.decision_id];
    assert_eq!(words, ["decline", &presented.offer, "too_expensive", &decision.decision_id]);

    let only = |filter: Value| async {
        let messages = everything(&server, filter).await;
        // the last message says how far it is, though nothing of it was wanted
        assert!(grows(&messages) && cursor(&messages[messages.len() - 1]) >= cursor(told[7]));
        changes(&messages).map(|message| (message.kind(), number(message))).collect::<Vec<_>>()
    };
    let of_kind = json!({"cursor": "0", "kinds": ["CHANGE_KIND_DECISION", "CHANGE_KIND_OUTCOME"]});
    assert_eq!(only(of_kind).await, [(decided, None), (ChangeKind::Outcome, None)]);
    let of_type = json!({"cursor": "0", "types": ["purchase", "decline"]});
    assert_eq!(only(of_type).await, [(ChangeKind::Outcome, None), (event, Some(3)), (event, Some(4))]);
    let both = json!({"cursor": "0", "types": ["purchase"], "kinds": ["CHANGE_KIND_EVENT", "CHANGE_KIND_CUSTOMER"]});
    assert_eq!(only(both).await, [(ChangeKind::Customer, None), (event, Some(3)), (event, Some(4))]);
    assert_eq!(only(json!({"cursor": "0", "kinds": ["CHANGE_KIND_ERASURE"]})).await, []);

    let lines = web::post(server.address, "/v1/events:subscribe", &json!({"cursor": "0", "untilNow": true}));
    assert_eq!((lines.status, lines.header("content-type")), (200, Some("application/x-ndjson")));
    let lines: Vec<SubscribeResponse> = lines
        .body
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    // the cursor alone may move meanwhile
    assert!(grows(&lines) && changes(&lines).eq(told.iter().copied()));
}

#[tokio::test]
async fn who_begins_now_is_told_where_that_is_and_what_comes() {
    let server = Server::start(&Arc::new(Place::new()));
    record_all(&server, 0..10, "page_view").await;
    let mut stream = subscribe(&server, json!({})).await.expect("subscribing");
    let first = next(&mut stream).await.expect("a message").expect("no end");
    assert_eq!(first.kind(), ChangeKind::Unspecified);
    record_all(&server, 10..12, "page_view").await;
    for expected in [10, 11] {
        let message = next(&mut stream).await.expect("a message").expect("no end");
        assert_eq!(number(&message), Some(expected));
        assert!(cursor(&message) > cursor(&first));
    }
    // a filter that takes nothing keeps its place by the number of records alone
    let mut filtered = subscribe(&server, json!({"kinds": ["CHANGE_KIND_ERASURE"]})).await.expect("subscribing");
    let begun = next(&mut filtered).await.expect("a message").expect("no end");
    record_all(&server, 100..100 + 2 * rapport::app::SKIPPED_MAX as usize, "page_view").await;
    let moved = next(&mut filtered).await.expect("a message").expect("no end");
    assert_eq!((moved.kind(), moved.entry), (ChangeKind::Unspecified, None));
    assert!(moved.cursor.parse::<u64>().expect("a number") > cursor(&begun));
}

#[tokio::test]
async fn wrong_cursors_and_filters_are_refused() {
    let server = Server::start(&Arc::new(Place::new()));
    record_all(&server, 0..1, "page_view").await;
    let wrong = [
        (json!({"cursor": "yesterday"}), "`cursor` is not a cursor"),
        (json!({"cursor": "-1"}), "`cursor` is not a cursor"),
        (json!({"cursor": "+1"}), "`cursor` is not a cursor"),
        (json!({"cursor": "99999999999999999999999"}), "`cursor` is not a cursor"),
        (json!({"cursor": "999999"}), "`cursor` is of nothing that happened"),
        (json!({"types": ["purchas"]}), "did you mean `purchase`"),
        (json!({"kinds": [0]}), "`kinds[0]` is missing"),
        (json!({"types": vec!["purchase"; 101]}), "`types`"),
    ];
    for (request, why) in wrong {
        let refused = subscribe(&server, request.clone()).await.expect_err("refused");
        assert_eq!(refused.code(), Code::InvalidArgument, "{request}");
        let details = refused.get_error_details();
        let violations = details.bad_request().expect("violations").field_violations.as_slice();
        let told: Vec<String> =
            violations.iter().map(|wrong| format!("`{}` {}", wrong.field, wrong.description)).collect();
        assert!(told.len() == 1 && told[0].contains(why), "{request}: {told:?}");
    }
    let unknown = SubscribeRequest { kinds: vec![77], ..SubscribeRequest::default() };
    let refused = server.events().await.subscribe(unknown).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn what_is_no_longer_kept_is_said_with_the_oldest_cursor() {
    let server = Server::start_with(&Arc::new(Place::new()), &["--log-bytes-max", "1048576"]);
    record_all(&server, 0..1, "page_view").await;
    let first = everything(&server, json!({"cursor": "0"})).await;
    let first = changes(&first).next().expect("an event").cursor.clone();
    let note = "x".repeat(2_000);
    let mut client = server.events().await;
    let mut sent = 0;
    let refused = loop {
        // the log takes more once the store has what it held
        let mut events: Vec<Value> = (sent..sent + 50).map(|n| event(n + 1, "page_view")).collect();
        events.iter_mut().for_each(|event| event["customer"]["data"] = json!({"text": note}));
        let request: RecordRequest = message(json!({"events": events}));
        client.record(request).await.expect("an answer");
        sent += 50;
        match subscribe(&server, json!({"cursor": first})).await {
            Err(status) => break status,
            Ok(_) => assert!(sent < 20_000, "the log was never trimmed"),
        }
    };
    assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
    let oldest = refused.message().split('`').nth(1).expect("a cursor").to_owned();
    let kept = everything(&server, json!({"cursor": oldest})).await;
    assert!(
        changes(&kept).count() > 0 && kept.iter().all(|message| cursor(message) > oldest.parse().expect("a number"))
    );
    // more may go meanwhile
    let oldest = everything(&server, json!({"cursor": "0"})).await;
    assert!((1..=changes(&kept).count()).contains(&changes(&oldest).count()));
}

fn metric(server: &Server, name: &str) -> Option<f64> {
    let text = web::get(server.private, "/metrics", &[]).body;
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_nobody_back_and_misses_nothing() {
    const EVENTS: usize = 5_000;
    const WINDOW_BYTES: u32 = 65_535;
    let server = Server::start(&Arc::new(Place::new()));
    let slow = Channel::from_shared(format!("http://{}", server.address))
        .expect("an address")
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .connect()
        .await
        .expect("connecting");
    let request: SubscribeRequest = message(json!({"cursor": "0", "kinds": ["CHANGE_KIND_EVENT"]}));
    let mut slow = EventServiceClient::new(slow).subscribe(request).await.expect("subscribing").into_inner();
    record_all(&server, 0..EVENTS, "page_view").await;

    let quick = everything(&server, json!({"cursor": "0", "kinds": ["CHANGE_KIND_EVENT"]})).await;
    let quick: Vec<&SubscribeResponse> = changes(&quick).collect();
    assert_eq!(quick.iter().filter_map(|message| number(message)).collect::<Vec<_>>(), (0..EVENTS).collect::<Vec<_>>());
    let lags = || async { metric(&server, "rapport_subscriber_lag_records").filter(|lag| *lag > 0.0) };
    eventually("the lag of the slow reader", lags).await;
    for expected in quick {
        let mut message = next(&mut slow).await.expect("a message").expect("no end");
        while message.kind() == ChangeKind::Unspecified {
            message = next(&mut slow).await.expect("a message").expect("no end");
        }
        assert_eq!(&message, expected);
    }
    drop(slow);
    let gone = || async { metric(&server, "rapport_subscribers").filter(|subscribers| *subscribers == 0.0) };
    eventually("subscribers that went to be forgotten", gone).await;
}

#[tokio::test]
async fn subscribers_are_bounded_and_end_with_the_service() {
    let mut server = Server::start(&Arc::new(Place::new()));
    let mut all = Vec::new();
    for _ in 0..rapport::store::FOLLOWERS_MAX {
        all.push(subscribe(&server, json!({})).await.expect("subscribing"));
    }
    let refused = subscribe(&server, json!({})).await.expect_err("too many");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("`32` subscribe already"), "{refused}");
    all.pop();
    eventually("room for one more", || async { subscribe(&server, json!({})).await.ok() }).await;
    server.terminate();
    for mut stream in all {
        // what was told before the end, then that it is one
        let ended = loop {
            match next(&mut stream).await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("an end that looks like everything"),
                Err(status) => break status,
            }
        };
        assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    }
    server.wait();
}

#[tokio::test]
async fn customers_have_the_same_name_after_a_restart() {
    let place = Arc::new(Place::new());
    let mut server = Server::start(&place);
    record_all(&server, 0..100, "page_view").await;
    let names = |messages: Vec<SubscribeResponse>| -> BTreeMap<usize, String> {
        changes(&messages).filter_map(|message| Some((number(message)?, message.customer.clone()))).collect()
    };
    let before = names(everything(&server, json!({"cursor": "0"})).await);
    server.kill();
    server = Server::start(&place);
    assert_eq!(names(everything(&server, json!({"cursor": "0"})).await), before);
    assert_eq!(before.values().collect::<std::collections::BTreeSet<_>>().len(), 50);
}
