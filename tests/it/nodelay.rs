//! TCP_NODELAY on every accepted stream. Without it the delayed
//! acknowledgements of the peer make half of all calls take 40 ms and more.

use std::time::{Duration, Instant};

use rapport::proto::DecideRequest;
use serde_json::json;

use crate::harness::{Server, message};

const CALLS: usize = 60;
/// Well below the 40 ms of a delayed acknowledgement, well above a slow build.
const MEDIAN_MAX: Duration = Duration::from_millis(25);

#[tokio::test]
async fn calls_in_a_row_are_not_delayed() {
    let server = Server::shared();
    let mut client = server.decisions().await;
    let request: DecideRequest = message(json!({"placements": [{"placement": "home_hero"}]}));
    let mut times = Vec::with_capacity(CALLS);
    for _ in 0..CALLS {
        let started = Instant::now();
        client.decide(request.clone()).await.expect("an answer");
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let median = times[CALLS / 2];
    assert!(median < MEDIAN_MAX, "p50 {median:?}: is TCP_NODELAY set on accepted streams?");
}
