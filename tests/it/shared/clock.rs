//! Replicas whose clocks are an hour apart decide by one clock.

use std::sync::Arc;

use jiff::{Timestamp, ToSpan};
use rapport::proto::DecideResponse;
use serde_json::json;

use super::{metric, until_metric};
use crate::{
    harness::{Place, Server, offers_of},
    redis::server::RedisServer,
};

const SKEW: &str = "RAPPORT_REHEARSE_CLOCK_SKEW_MS";
const HOUR_MS: i64 = 3_600_000;
/// How far two clocks may be apart on a busy machine.
const APART_MS: i64 = 60_000;

/// Offers whose schedules begin and end half an hour from now.
fn scheduled() -> String {
    let now = Timestamp::now();
    let at = |minutes: i64| now.checked_add(minutes.minutes()).expect("a time").to_string();
    let offer = |id: &str, from: i64, until: i64| {
        format!(
            "  - id: {id}\n    name: {id}\n    purpose: service\n    issue: grow\n    group: seasonal\n    value: 5\n    \
             placements: [clock_slot]\n    open: false\n    schedule: {{ from: \"{}\", until: \"{}\" }}\n    treatments:\n      \
             web: {{ en: {{ text: \"{id}\" }} }}\n",
            at(from),
            at(until)
        )
    };
    format!(
        "placements:\n  - {{ id: clock_slot, channel: web, slots: 3 }}\noffers:\n{}{}{}",
        offer("over", -300, -30),
        offer("on", -30, 30),
        offer("to_come", 30, 300)
    )
}

async fn decided(server: &Server) -> DecideResponse {
    server.decide(json!({"placements": [{"placement": "clock_slot"}]})).await.expect("an answer")
}

/// When a decision was made, by its id (RFC 9562, section 5.7).
fn decided_ms(answer: &DecideResponse) -> i64 {
    let id: uuid::Uuid = answer.decision_id.parse().expect("a decision id");
    assert_eq!(id.get_version_num(), 7);
    (id.as_u128() >> 80) as i64
}

fn scheduled_offers(answer: &DecideResponse) -> Vec<String> {
    offers_of(answer, "clock_slot")
}

fn start(arguments: &[&str], skew_ms: i64) -> Server {
    let place = Arc::new(Place::new());
    place.write_rule("scheduled.yaml", &scheduled());
    Server::start_in(&place, arguments, &[(SKEW, &skew_ms.to_string())])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_an_hour_apart_change_no_decision() {
    let redis = RedisServer::start();
    let url = redis.url();
    let shared = ["--store", url.as_str()];
    // alone, a wrong clock decides wrongly: the rehearsal is one
    let wrong = start(&[], HOUR_MS);
    assert_eq!(scheduled_offers(&decided(&wrong).await), ["to_come"]);
    let [right, ahead, behind] = [0, HOUR_MS, -HOUR_MS].map(|skew_ms| start(&shared, skew_ms));
    for (server, skew_ms) in [(&right, 0), (&ahead, HOUR_MS), (&behind, -HOUR_MS)] {
        // the first question is answered by the right clock
        let answer = decided(server).await;
        assert_eq!(scheduled_offers(&answer), ["on"], "{skew_ms}");
        let apart_ms = decided_ms(&answer) - Timestamp::now().as_millisecond();
        assert!(apart_ms.abs() < APART_MS, "{skew_ms}: {apart_ms}");
        let offset_s = until_metric(server, "rapport_clock_offset_seconds", |offset| {
            (offset + skew_ms as f64 / 1e3).abs() < APART_MS as f64 / 1e3
        });
        offset_s.await;
    }
    assert!(metric(&ahead, "rapport_clock_outliers_total").is_some());
}
