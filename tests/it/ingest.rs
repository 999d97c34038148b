//! Streams of events, over gRPC and as lines over HTTP: acknowledged as they are
//! stored, bad ones refused by their place, nothing lost.

use std::sync::Arc;

use rapport::proto::{
    AckStrength, Event, RecordRequest, RecordStatus, RecordStreamRequest, RecordStreamResponse, UpsertCustomerRequest,
    event_service_client::EventServiceClient,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::{
    harness::{Place, Server, eventually, message},
    web,
};

fn event(customer: &str, id: &str, kind: &str) -> Value {
    json!({"eventId": id, "source": "ingest", "time": "2026-01-01T00:00:00Z", "customer": {
        "identities": [{"type": "customer_id", "value": customer}], "type": kind,
    }})
}

fn sent(events: impl IntoIterator<Item = Value>) -> RecordStreamRequest {
    RecordStreamRequest { events: events.into_iter().map(message::<Event>).collect() }
}

/// How often a customer did something, as the view tells.
async fn count(server: &Server, customer: &str, kind: &str) -> u64 {
    let view = server.view("customer_id", customer).await;
    let total = view.and_then(|view| view.events.into_iter().find(|event| event.r#type == kind));
    total.map_or(0, |event| event.count)
}

async fn all(mut acks: tonic::Streaming<RecordStreamResponse>) -> (Vec<RecordStreamResponse>, Option<tonic::Status>) {
    let mut read = Vec::new();
    loop {
        match acks.message().await {
            Ok(Some(ack)) => read.push(ack),
            Ok(None) => return (read, None),
            Err(status) => return (read, Some(status)),
        }
    }
}

#[tokio::test]
async fn a_stream_is_acknowledged_and_bad_events_are_refused_by_their_place() {
    let server = Server::shared();
    let messages = (0..20).map(|nth| {
        sent((0..100).map(|at| {
            let id = format!("stream-{}", nth * 100 + at);
            let kind = if at == 7 { "no_such_event" } else { "page_view" };
            event("stream-1", &id, kind)
        }))
    });
    // and some of them again
    let again = sent((0..7).map(|at| event("stream-1", &format!("stream-{at}"), "page_view")));
    let other = sent([event("stream-1", "stream-0", "purchase")]);
    let messages: Vec<_> = messages.chain([again, other]).collect();
    let answered = server.events().await.record_stream(tokio_stream::iter(messages)).await.expect("a stream");
    let (acks, ended) = all(answered.into_inner()).await;
    assert!(ended.is_none(), "{ended:?}");
    let last = acks.last().expect("the last acknowledgement");
    assert_eq!((last.answered, last.recorded, last.duplicates), (2_008, 1_980, 7));
    assert_eq!(last.ack(), AckStrength::Process);
    assert!(acks.windows(2).all(|pair| pair[0].answered <= pair[1].answered));
    let refused: Vec<_> = acks.iter().flat_map(|ack| &ack.refused).collect();
    assert_eq!(refused.len(), 21);
    for (nth, one) in refused.iter().take(20).enumerate() {
        assert_eq!((one.index, one.status()), (nth as u64 * 100 + 7, RecordStatus::Refused));
        assert!(one.error.contains("customer.type"), "{}", one.error);
    }
    assert_eq!((refused[20].index, refused[20].status()), (2_007, RecordStatus::Conflict));
    assert_eq!(count(&server, "stream-1", "page_view").await, 1_980);
}

#[tokio::test]
async fn durable_events_are_acknowledged_from_the_disk() {
    let server = Server::shared();
    let messages = vec![sent((0..50).map(|at| event("stream-2", &format!("durable-{at}"), "purchase")))];
    let answered = server.events().await.record_stream(tokio_stream::iter(messages)).await.expect("a stream");
    let (acks, ended) = all(answered.into_inner()).await;
    assert!(ended.is_none(), "{ended:?}");
    assert_eq!(acks.last().map(|ack| (ack.recorded, ack.ack())), Some((50, AckStrength::Disk)));
}

#[tokio::test]
async fn a_message_that_is_none_ends_the_stream_and_what_came_before_is_told() {
    let server = Server::shared();
    let good = sent([event("stream-3", "before", "page_view")]);
    for (what, bad) in [
        ("no events", RecordStreamRequest::default()),
        ("too many", sent((0..1_001).map(|at| event("stream-3", &format!("many-{at}"), "page_view")))),
    ] {
        let messages = tokio_stream::iter(vec![good.clone(), bad, good.clone()]);
        let answered = server.events().await.record_stream(messages).await.expect("a stream");
        let (acks, ended) = all(answered.into_inner()).await;
        assert_eq!(ended.map(|status| status.code()), Some(Code::InvalidArgument), "{what}");
        assert_eq!(acks.last().map(|ack| ack.answered), Some(1), "{what}");
    }
}

/// Who reads nothing until everything is sent is served all the same.
#[tokio::test]
async fn acknowledgements_may_be_read_late() {
    let server = Server::shared();
    let (sender, messages) = mpsc::channel(1);
    let mut client = EventServiceClient::new(server.channel().await);
    let answered = client.record_stream(ReceiverStream::new(messages)).await.expect("a stream");
    for nth in 0..100 {
        let ids = (0..100).map(|at| format!("late-{}", nth * 100 + at));
        sender.send(sent(ids.map(|id| event("stream-4", &id, "page_view")))).await.expect("sending");
    }
    drop(sender);
    let (acks, ended) = all(answered.into_inner()).await;
    assert!(ended.is_none(), "{ended:?}");
    assert_eq!(acks.last().map(|ack| ack.recorded), Some(10_000));
    assert_eq!(count(&server, "stream-4", "page_view").await, 10_000);
}

#[tokio::test]
async fn a_service_that_stops_tells_what_is_stored() {
    let place = Arc::new(Place::new());
    let mut server = Server::start(&place);
    let (sender, messages) = mpsc::channel(1);
    let mut client = EventServiceClient::new(server.channel().await);
    let mut acks = client.record_stream(ReceiverStream::new(messages)).await.expect("a stream").into_inner();
    sender.send(sent((0..10).map(|at| event("stop-1", &format!("stop-{at}"), "purchase")))).await.expect("sending");
    let first = acks.message().await.expect("an acknowledgement").expect("an acknowledgement");
    assert!(first.answered > 0);
    server.terminate();
    let (rest, ended) = all(acks).await;
    assert_eq!(ended.map(|status| status.code()), Some(Code::Unavailable));
    let answered = rest.last().map_or(first.answered, |ack| ack.answered);
    server.wait();
    let server = Server::start(&place);
    assert_eq!(count(&server, "stop-1", "purchase").await, answered);
}

fn lines(server: &Server, body: &[u8]) -> web::Reply {
    web::call(server.address, "POST", "/v1/events:stream", &[("content-type", "application/x-ndjson")], body)
}

fn acks_of(reply: &web::Reply) -> Vec<RecordStreamResponse> {
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    reply.body.lines().map(|line| serde_json::from_str(line).expect("an acknowledgement")).collect()
}

#[tokio::test]
async fn lines_are_recorded_and_bad_ones_refused_by_their_number() {
    let server = Server::shared();
    let mut body = Vec::new();
    for at in 0..1_000 {
        body.extend_from_slice(event("lines-1", &format!("line-{at}"), "page_view").to_string().as_bytes());
        body.push(b'\n');
    }
    body.extend_from_slice(b"\nnot JSON\n{\"eventId\": 7}\n\xff\xfe\n");
    let long = format!("{{\"eventId\": \"{}\"}}\n", "x".repeat(2 << 20));
    body.extend_from_slice(long.as_bytes());
    body.extend_from_slice(event("lines-1", "last", "page_view").to_string().as_bytes());
    let acks = acks_of(&lines(&server, &body));
    let last = acks.last().expect("the last acknowledgement");
    assert_eq!((last.answered, last.recorded, last.duplicates), (1_005, 1_001, 0));
    assert!(last.problem.is_none(), "{last:?}");
    let refused: Vec<_> = acks.iter().flat_map(|ack| &ack.refused).collect();
    assert_eq!(refused.iter().map(|one| one.line).collect::<Vec<_>>(), [1_002, 1_003, 1_004, 1_005]);
    assert!(refused[1].error.contains("eventId"), "{}", refused[1].error);
    assert!(refused[3].error.contains("longer than"), "{}", refused[3].error);
    assert_eq!(count(&server, "lines-1", "page_view").await, 1_001);
    let other = web::post(server.address, "/v1/events:stream", &json!({"events": []}));
    assert_eq!(other.status, 415, "{}", other.body);
}

/// Who sends everything before reading anything gets every count, however much
/// is refused, and no more refusals than the service keeps.
#[tokio::test]
async fn refusals_that_nobody_reads_are_bounded_and_counted() {
    const BAD: u64 = 40_000;
    let server = Server::shared();
    let mut body = Vec::new();
    for at in 0..BAD {
        body.extend_from_slice(
            event("lines-2", &format!("bad-{at}"), &"no_such_type".repeat(20)).to_string().as_bytes(),
        );
        body.push(b'\n');
    }
    body.extend_from_slice(event("lines-2", "good", "page_view").to_string().as_bytes());
    let acks = acks_of(&lines(&server, &body));
    let last = acks.last().expect("the last acknowledgement");
    assert_eq!((last.answered, last.recorded), (BAD + 1, 1));
    let listed: u64 = acks.iter().map(|ack| ack.refused.len() as u64 + ack.refused_unlisted).sum();
    assert_eq!(listed, BAD);
    assert!(acks.iter().all(|ack| ack.refused.iter().map(|one| one.error.len()).sum::<usize>() < 2 << 20));
}

#[tokio::test]
async fn a_time_in_the_future_is_clamped_and_an_old_one_flagged_and_both_are_counted() {
    let place = Arc::new(Place::new());
    let server = Server::start(&place);
    let at = |id: &str, time: &str| {
        let mut event = event("clock-1", id, "page_view");
        event["time"] = json!(time);
        event
    };
    let request: RecordRequest =
        message(json!({"events": [at("future", "2990-01-01T00:00:00Z"), at("old", "2001-01-01T00:00:00Z")]}));
    let reply = server.events().await.record(request).await.expect("recorded").into_inner();
    assert!(reply.results[0].warnings[0].contains("future"), "{reply:?}");
    assert!(reply.results[1].warnings[0].contains("older than 7 days"), "{reply:?}");
    let metrics = eventually("the counters", async || {
        let text = web::get(server.private, "/metrics", &[]).body;
        text.contains("rapport_events_clamped_total 1").then_some(text)
    })
    .await;
    assert!(metrics.contains("rapport_events_late_total 1"), "{metrics}");
    let upsert: UpsertCustomerRequest = message(json!({
        "identities": [{"type": "cookie", "value": "clock-2"}], "attributes": {"country": "France"},
        "time": "2990-01-01T00:00:00Z"
    }));
    let reply = server.customers().await.upsert_customer(upsert).await.expect("written").into_inner();
    assert!(reply.warnings[0].contains("future"), "{reply:?}");
    // the same id with another time is other content
    let other: RecordRequest =
        message(json!({"events": [at("old", "2001-01-02T00:00:00Z"), at("future", "2990-01-01T00:00:00Z")]}));
    let reply = server.events().await.record(other).await.expect("answered").into_inner();
    let statuses: Vec<_> = reply.results.iter().map(|result| result.status()).collect();
    assert_eq!(statuses, [RecordStatus::Conflict, RecordStatus::Duplicate]);
}
