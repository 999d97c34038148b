//! All replicas have the same secrets, and nothing is kept without them.

use std::{
    fs,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use tonic::Code;

use super::{decided, is_flagged, metric, readiness, replica, secret, until_flagged, until_metric, upsert};
use crate::{
    harness::{Place, Server, eventually},
    redis::server::RedisServer,
};

const SHARED: [&str; 3] = ["identity", "store", "tokens"];

/// How a replica that must not start explains itself.
fn refused(place: &Place, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_rapport"))
        .args(["serve", "--listen", "127.0.0.1:0", "--private-listen", "127.0.0.1:0", "--data-dir"])
        .arg(place.data())
        .arg("--rules")
        .arg(place.rules())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("running the service");
    assert!(!output.status.success(), "it must not start");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_have_the_same_secrets_and_know_each_other() {
    let redis = RedisServer::start();
    let places = [(); 2].map(|()| Arc::new(Place::new()));
    let one = replica(&places[0], &redis.url());
    let mut other = replica(&places[1], &redis.url());
    for purpose in SHARED {
        assert_eq!(secret(&places[0], purpose), secret(&places[1], purpose), "{purpose}");
    }
    assert_ne!(secret(&places[0], "replica"), secret(&places[1], "replica"));
    for server in [&one, &other] {
        until_metric(server, "rapport_replicas", |members| members == 2.0).await;
        until_flagged(server, false).await;
        let told = readiness(server);
        assert!(told.starts_with("ready\n") && told.contains("members 2") && told.contains("run id"), "{told}");
        assert!(told.contains("task members: running, 0 restarts"), "{told}");
    }
    // one that leaves says goodbye
    other.terminate();
    other.wait();
    until_metric(&one, "rapport_replicas", |members| members == 1.0).await;
    // nothing of the secrets is told anywhere
    let hex = secret(&places[0], "identity").split(' ').nth(1).expect("a key").to_owned();
    assert!(!one.log().contains(&hex) && !readiness(&one).contains(&hex));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_never_met_the_others_answers_and_keeps_nothing() {
    let mut redis = RedisServer::start();
    redis.kill();
    let place = Arc::new(Place::new());
    let begun = Instant::now();
    let server = replica(&place, &redis.url());
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    let answer = decided(&server, "ann").await;
    assert!(is_flagged(&answer) && !answer.placements[0].presentations.is_empty());
    let status = upsert(&server, "ann").await.expect_err("nothing is kept");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("this replica has not met the shared store yet"), "{status}");
    assert!(readiness(&server).contains("has not met the shared store yet"));
    assert!(!place.data().join("rapport.redb").exists(), "nothing is made under secrets that may not last");

    redis.start_again();
    eventually("it joins", || async { upsert(&server, "ann").await.ok() }).await;
    until_flagged(&server, false).await;
    assert!(server.view("customer_id", "ann").await.is_some());
    assert!(redis.say("EXISTS rapport:{secrets}:identity").starts_with(":1"));
    eventually("what it answered from is gone", || async { (!place.data().join("waiting").exists()).then_some(()) })
        .await;
    drop(server);

    // joined: from now on it starts without redis, and knows whom it knew
    redis.kill();
    let server = replica(&place, &redis.url());
    assert!(server.log().contains("no `--store-secret`"), "{}", server.log());
    assert!(is_flagged(&decided(&server, "ann").await));
    assert!(server.view("customer_id", "ann").await.is_some());
    upsert(&server, "bob").await.expect("it is kept in the log");
    redis.start_again();
    until_flagged(&server, false).await;
    let kept = secret(&place, "identity");
    eventually("the secrets are put back where they were lost", || async {
        redis.say("GET rapport:{secrets}:identity").contains(kept.trim()).then_some(())
    })
    .await;
}

#[test]
fn one_with_data_of_its_own_is_refused() {
    let redis = RedisServer::start();
    let (first, alone) = (Arc::new(Place::new()), Arc::new(Place::new()));
    drop(replica(&first, &redis.url()));
    drop(Server::start(&alone));
    let said = refused(&alone, &["--store", &redis.url()]);
    assert!(said.contains("under the secrets of its own") && said.contains("--store-namespace"), "{said}");
    // in a namespace of its own its secrets are the ones
    drop(Server::start_with(&alone, &["--store", &redis.url(), "--store-namespace", "other"]));
    let said = refused(&first, &["--store", &redis.url(), "--store-namespace", "other"]);
    assert!(said.contains("under the secrets of another store"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealed_secrets_tell_redis_nothing() {
    let redis = RedisServer::start();
    let (one, other) = (Arc::new(Place::new()), Arc::new(Place::new()));
    let files = tempfile::tempdir().expect("a directory");
    let file = |name: &str, byte: &str| {
        let path = files.path().join(name);
        fs::write(&path, byte.repeat(40)).expect("writing a secret");
        path.to_string_lossy().into_owned()
    };
    let (right, wrong) = (file("right", "r"), file("wrong", "w"));
    let url = redis.url();
    let with =
        |secret: &'_ str| vec!["--store".to_owned(), url.clone(), "--store-secret".to_owned(), secret.to_owned()];
    let arguments = with(&right);
    let server = Server::start_with(&one, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    for purpose in SHARED {
        let lies = redis.say(&format!("GET rapport:{{secrets}}:{purpose}"));
        let hex = secret(&one, purpose).split(' ').nth(1).expect("a key").to_owned();
        assert!(lies.contains("sealed:") && !lies.contains(&hex), "{lies}");
    }
    assert!(!server.log().contains("no `--store-secret`"), "{}", server.log());
    let wrong = with(&wrong);
    let said = refused(&other, &wrong.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("another `--store-secret`"), "{said}");
    let said = refused(&other, &["--store", &url]);
    assert!(said.contains("it is sealed: give the `--store-secret`"), "{said}");
    let second = Server::start_with(&other, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(secret(&one, "identity"), secret(&other, "identity"));
    until_metric(&second, "rapport_replicas", |members| members == 2.0).await;
    assert!(metric(&server, "rapport_store_failovers_total").is_none_or(|count| count == 0.0));
}
