//! What can be asked, against a real server over TCP, over a socket of this
//! host, and in a cluster of one.

use std::time::{Duration, Instant};

use rapport::{
    domain::CustomerKey,
    store::redis::{
        Client, Entry, Failure, Keys, Swapped, Trim, Version, Versioned,
        scripts::{self, COMPARE_AND_SET, Script},
    },
};

use super::{bench::Kept, server::RedisServer};

/// The deadline of calls that must succeed, on slow machines too.
const PATIENT: Duration = Duration::from_secs(10);

static SUM: Script = Script::new("sum", "return redis.call('INCRBY', KEYS[1], ARGV[1])");

fn patient() -> Instant {
    Instant::now() + PATIENT
}

async fn set(client: &Client, key: &str, value: &str) {
    client.call(redis::cmd("SET").arg(key).arg(value), patient()).await.expect("a value that was set");
}

/// Every call once; keys share a slot.
async fn answers_everything(kept: &Kept) {
    kept.works().await;
    let client = &kept.client;
    assert_eq!(client.get(b"{a}none", patient()).await, Ok(None));
    set(client, "{a}1", "one").await;
    assert_eq!(client.get(b"{a}1", patient()).await, Ok(Some(b"one".to_vec())));
    let keys = [b"{a}none".to_vec(), b"{a}1".to_vec()];
    assert_eq!(client.mget(&keys, patient()).await, Ok(vec![None, Some(b"one".to_vec())]));
    assert_eq!(client.mget(&[], patient()).await, Ok(Vec::new()));

    for sum in [5, 10] {
        assert_eq!(client.script(&SUM, &[b"{a}sum"], &[b"5"], patient()).await, Ok(redis::Value::Int(sum)));
    }
    client.call(redis::cmd("SCRIPT").arg("FLUSH"), patient()).await.expect("scripts that were forgotten");
    assert_eq!(client.script(&SUM, &[b"{a}sum"], &[b"5"], patient()).await, Ok(redis::Value::Int(15)));

    let mut commands = redis::pipe();
    commands.cmd("SET").arg("{a}2").arg("two").cmd("LPUSH").arg("{a}1").arg("x").cmd("GET").arg("{a}2");
    let answers = client.pipeline(&commands, patient()).await.expect("answers");
    assert_eq!(answers[2], Ok(redis::Value::BulkString(b"two".to_vec())));
    assert!(matches!(&answers[1], Err(Failure::Mistake { code, .. }) if code == "WRONGTYPE"), "{answers:?}");
    assert_eq!(client.pipeline(&redis::pipe(), patient()).await, Ok(Vec::new()));

    assert_eq!(client.xread(b"{a}s", "0", 10, patient()).await, Ok(Vec::new()));
    let add = |value: &'static [u8]| async move {
        client.xadd(b"{a}s", Some(Trim::MaxLen(1_000)), &[(b"i", value)], patient()).await
    };
    let first = add(b"1").await.expect("an id");
    let second = add(b"\xff2").await.expect("an id");
    let entry = |id: &str, value: &[u8]| Entry { id: id.to_owned(), fields: vec![(b"i".to_vec(), value.to_vec())] };
    let entries = vec![entry(&first, b"1"), entry(&second, b"\xff2")];
    assert_eq!(client.xread(b"{a}s", "0", 10, patient()).await, Ok(entries.clone()));
    assert_eq!(client.xread(b"{a}s", "0", 1, patient()).await, Ok(entries[..1].to_vec()));
    assert_eq!(client.xread(b"{a}s", &first, 10, patient()).await, Ok(entries[1..].to_vec()));
    assert_eq!(client.xread(b"{a}s", &second, 10, patient()).await, Ok(Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_is_answered() {
    let server = RedisServer::start();
    answers_everything(&Kept::at(&server.url())).await;
    server.say("FLUSHALL");
    answers_everything(&Kept::at(&server.unix_url())).await;
    let numbered = Kept::at(&format!("{}/3", server.url()));
    answers_everything(&numbered).await;
    assert!(server.say("INFO keyspace").contains("db3:keys="), "the database was not chosen");
    let clients = numbered.client.call(redis::cmd("CLIENT").arg("LIST"), patient()).await.expect("clients");
    let redis::Value::VerbatimString { text, .. } = clients else { panic!("not RESP3: {clients:?}") };
    assert!(text.contains("lib-name=rapport") || !text.contains("lib-name="), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_answers_every_call() {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    assert!(server.say("CLUSTER ADDSLOTSRANGE 0 16383").starts_with("+OK"));
    let kept = Kept::at(&server.url().replace("redis://", "redis+cluster://"));
    answers_everything(&kept).await;
    let keys = [b"a".to_vec(), b"b".to_vec()];
    set(&kept.client, "a", "1").await;
    assert!(kept.is_kept() && kept.client.mget(&keys, patient()).await.is_ok_and(|values| values[0].is_some()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_writers_that_race_none_is_lost() {
    const WRITERS: u64 = 16;
    const WRITES: u64 = 25;
    let server = RedisServer::start();
    let kept = Kept::at(&server.url());
    kept.works().await;
    let keys = Keys::default();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (client, key, stream) = (kept.client.clone(), keys.profile(CustomerKey(1)), keys.log());
            tokio::spawn(async move {
                for write in 0..WRITES {
                    append(&client, (&key, &stream), format!("{writer}.{write};").as_bytes()).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("a writer");
    }
    let value = kept.client.get(&keys.profile(CustomerKey(1)), patient()).await.expect("a read").expect("a value");
    let value = Versioned::decode(&value).expect("versioned");
    assert_eq!(value.version, Version(WRITERS * WRITES));
    let text = String::from_utf8(value.blob).expect("text");
    let mut words: Vec<&str> = text.split_terminator(';').collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len() as u64, WRITERS * WRITES);
    let entries = kept.client.xread(&keys.log(), "0", 10_000, patient()).await.expect("entries");
    assert_eq!(entries.len() as u64, WRITERS * WRITES, "an entry for each write that won");
}

/// Reads, adds and swaps until it wins.
async fn append(client: &Client, (key, stream): (&[u8], &[u8]), word: &[u8]) {
    let mut current = None;
    loop {
        let before = current.unwrap_or(Versioned { version: Version(0), blob: Vec::new() });
        let after = Versioned { version: before.version.next(), blob: [&before.blob[..], word].concat() };
        let arguments = [&before.version.expected()[..], &after.encode(), b"who", b"0", b"100000"];
        let answer = client.script(&COMPARE_AND_SET, &[key, stream], &arguments, patient()).await.expect("an answer");
        match Swapped::read(answer).expect("won or lost") {
            Swapped::Won => return,
            Swapped::Lost(other) => current = other,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_may_be_forgotten_and_needs_no_stream() {
    let server = RedisServer::start();
    let kept = Kept::at(&server.url());
    kept.works().await;
    let value = Versioned { version: Version(1), blob: b"x".to_vec() };
    let swap = |expected: Version, ttl_ms: &'static [u8]| {
        let (client, value) = (kept.client.clone(), value.encode());
        async move {
            let arguments = [&expected.expected()[..], &value, b"", ttl_ms, b"0"];
            let answer = client.script(&COMPARE_AND_SET, &[b"swap"], &arguments, patient()).await;
            Swapped::read(answer.expect("an answer")).expect("won or lost")
        }
    };
    assert_eq!(swap(Version(7), b"0").await, Swapped::Lost(None), "there is nothing yet");
    assert_eq!(swap(Version(0), b"60000").await, Swapped::Won);
    let ttl = server.say("PTTL swap");
    let ttl: i64 = ttl.trim_start_matches(':').trim().parse().expect("a number");
    assert!((1..=60_000).contains(&ttl), "{ttl}");
    assert_eq!(swap(Version(0), b"0").await, Swapped::Lost(Some(value.clone())));
    assert_eq!(swap(Version(1), b"0").await, Swapped::Won);
    assert!(server.say("PTTL swap").starts_with(":-1"), "the time was not taken off");
    assert_eq!(server.say("EXISTS rapport:inv").trim(), ":0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_script_is_understood_and_known_by_its_hash() {
    let server = RedisServer::start();
    let kept = Kept::at(&server.url());
    kept.works().await;
    for script in scripts::ALL {
        let loaded = kept.client.call(redis::cmd("SCRIPT").arg("LOAD").arg(script.text), patient()).await;
        let hash = redis::Value::BulkString(script.hash().as_bytes().to_vec());
        assert_eq!(loaded, Ok(hash), "{}", script.name);
    }
}
