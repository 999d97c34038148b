//! What can be said without a server.

use std::{
    collections::HashSet,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use redis::{ErrorKind, RedisError, Value};

use super::{
    address::{AddressError, Layout, NODES_MAX, Node, Secret, Transport},
    breaker::{Breaker, BreakerLimits},
    *,
};
use crate::domain::{CustomerKey, IdentityHash, RulesetHash};

fn node(host: &str, port: u16) -> Node {
    Node { host: host.to_owned(), port }
}

fn parsed(text: &str) -> Address {
    Address::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn addresses_are_read() {
    let plain = parsed("redis://shop.internal");
    assert_eq!(plain.layout, Layout::Single(node("shop.internal", 6379)));
    assert_eq!((plain.transport, plain.db), (Transport::Plain, 0));
    assert_eq!(plain.login, address::Login::default());

    let full = parsed("rediss://app:p%40ss%3A%2F@[::1]:7000/3");
    assert_eq!(full.layout, Layout::Single(node("::1", 7000)));
    assert_eq!((full.transport, full.db), (Transport::Tls, 3));
    assert_eq!(full.login.username.as_deref(), Some("app"));
    assert_eq!(full.login.password, Some(Secret::new("p@ss:/".to_owned())));

    let unix = parsed("redis+unix:///run/redis.sock?db=2");
    assert_eq!((unix.layout, unix.db), (Layout::Unix(PathBuf::from("/run/redis.sock")), 2));

    let sentinel = parsed("redis+sentinel://:pw@a:1,b/main?db=4&sentinel_username=watch&sentinel_password=s%26t");
    let login = address::Login { username: Some("watch".to_owned()), password: Some(Secret::new("s&t".to_owned())) };
    let sentinels = vec![node("a", 1), node("b", 26379)];
    assert_eq!(sentinel.layout, Layout::Sentinel { sentinels, primary: "main".to_owned(), login });
    assert_eq!((sentinel.db, sentinel.login.username), (4, None));

    let cluster = parsed("rediss+cluster://a,b:7001,c?db=0");
    assert_eq!(cluster.layout, Layout::Cluster(vec![node("a", 6379), node("b", 7001), node("c", 6379)]));
    assert!(cluster.is_cluster() && cluster.transport == Transport::Tls);
}

#[test]
fn addresses_that_are_wrong_say_what_to_write() {
    for (text, hint) in [
        ("localhost:6379", "write `redis://host:6379`"),
        ("http://a", "`http` is no scheme"),
        ("redis+magic://a", "`redis+magic` is no scheme"),
        ("redis+://a", "`redis+` is no scheme"),
        ("rediss+unix:///a", "`rediss+unix` is no scheme"),
        ("redis://", "a host is missing: write `redis://host:port`"),
        ("redis://:1", "a host is missing"),
        ("redis://a,b", "takes at most 1 hosts, not 2"),
        ("redis+cluster://a,,b", "a host is missing"),
        ("redis://a:0", "`0` is no port"),
        ("redis://a:x", "`x` is no port"),
        ("redis://a/x", "`x` is no database"),
        ("redis://a/65536", "`65536` is no database"),
        ("redis://a/-1", "`-1` is no database"),
        ("redis://a?timeout=1", "the option `timeout` is not known for `redis`: the options are `db`"),
        ("redis+unix://a/b", "three slashes"),
        ("redis+sentinel://a", "needs the name that the sentinels give the primary"),
        ("redis+sentinel://a/b/c", "needs the name"),
        ("redis+cluster://a/1", "leave the path out"),
        ("redis+cluster://a?db=1", "database 0 only"),
        ("redis://u:p/w@a", "write `/`, `?`, `@`"),
        ("redis://u:%zz@a", "the password has a `%`"),
        ("redis://u:%f@a", "the password has a `%`"),
        ("redis://u:%ff@a", "the password has a `%`"),
    ] {
        let error = Address::parse(text).expect_err(text).to_string();
        assert!(error.starts_with("reading the address of the store: ") && error.contains(hint), "{text}: {error}");
    }
    let many = format!("redis+cluster://{}", vec!["a"; NODES_MAX + 1].join(","));
    assert!(matches!(Address::parse(&many), Err(AddressError::Hosts { .. })));
}

#[test]
fn passwords_are_never_shown() {
    for text in [
        "redis://app:hunter2@a/1",
        "redis+sentinel://app:hunter2@a/main?sentinel_password=hunter2",
        "rediss+cluster://:hunter2@a,b",
        "redis+unix://x:hunter2@/a",
    ] {
        let address = parsed(text);
        let shown = format!("{address} {address:?} {:#?}", Client::new(address.clone(), Settings::default()).address());
        assert!(!shown.contains("hunter2") && shown.contains("***"), "{shown}");
    }
    assert_eq!(parsed("redis://app:x@a/1").to_string(), "redis://app:***@a:6379/1");
    assert_eq!(parsed("rediss+sentinel://a,[::1]:5/m?db=2").to_string(), "rediss+sentinel://a:26379,[::1]:5/m?db=2");
    for text in [
        "hunter2",
        "redis://u:hunter2@",
        "redis://u:hunter2@a:x",
        "http://u:hunter2@a",
        "redis://u:hunter2%@a",
        "redis://u:hunter2/3@a",
        "redis://u:hunter2?3@a",
    ] {
        let error = Address::parse(text).expect_err(text);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
}

/// Error lines of servers and what they are.
const REPLIES: [(&str, Option<Outage>); 24] = [
    ("READONLY You can't write against a read only replica.", Some(Outage::ReadOnly)),
    ("READONLY You can't write against a read only replica. script: 4ca1, on @user_script:1.", Some(Outage::ReadOnly)),
    ("UNBLOCKED force unblock from blocking operation", Some(Outage::ReadOnly)),
    ("LOADING Redis is loading the dataset in memory", Some(Outage::Loading)),
    ("OOM command not allowed when used memory > 'maxmemory'.", Some(Outage::OutOfMemory)),
    ("MISCONF Redis is configured to save RDB snapshots", Some(Outage::Unsaved)),
    ("NOSCRIPT No matching script.", Some(Outage::NoScript)),
    ("BUSY Redis is busy running a script.", Some(Outage::ScriptBusy)),
    ("MASTERDOWN Link with MASTER is down", Some(Outage::MasterDown)),
    ("CLUSTERDOWN Hash slot not served", Some(Outage::ClusterDown)),
    ("MOVED 3999 127.0.0.1:6381", Some(Outage::Moved)),
    ("ASK 3999 127.0.0.1:6381", Some(Outage::Moved)),
    ("TRYAGAIN Multiple keys request during rehashing of slot", Some(Outage::TryAgain)),
    ("NOREPLICAS Not enough good replicas to write.", Some(Outage::NoReplicas)),
    ("NOAUTH Authentication required.", Some(Outage::Denied)),
    ("WRONGPASS invalid username-password pair", Some(Outage::Denied)),
    ("NOPERM this user has no permissions", Some(Outage::Denied)),
    ("ERR max number of clients reached", Some(Outage::Refused)),
    ("ERR Error running script (call to f_1): @user_script:1: -OOM command not allowed", Some(Outage::OutOfMemory)),
    ("ERR Error running script (call to f_1): @user_script:1: -WRONGTYPE Operation", None),
    ("WRONGTYPE Operation against a key holding the wrong kind of value", None),
    ("ERR syntax error", None),
    ("CROSSSLOT Keys in request don't hash to the same slot", None),
    ("EXECABORT Transaction discarded because of: READONLY before", None),
];

#[test]
fn error_replies_are_outages_or_mistakes() {
    for (line, expected) in REPLIES {
        let (code, text) = line.split_once(' ').expect("a code and a text");
        assert_eq!(Failure::of_reply(code, text).outage(), expected, "{line}");
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an error reply");
        let Value::ServerError(server) = value else { panic!("{line}: {value:?}") };
        assert_eq!(Failure::of_server(&server).outage(), expected, "{line}");
        assert_eq!(Failure::of(&RedisError::from(server)).outage(), expected, "{line}");
    }
}

#[test]
fn errors_of_the_network_are_outages() {
    use std::io;
    for (kind, expected) in [
        (io::ErrorKind::TimedOut, Outage::Timeout),
        (io::ErrorKind::ConnectionRefused, Outage::Refused),
        (io::ErrorKind::NotFound, Outage::Refused),
        (io::ErrorKind::ConnectionReset, Outage::Broken),
        (io::ErrorKind::BrokenPipe, Outage::Broken),
        (io::ErrorKind::UnexpectedEof, Outage::Broken),
        (io::ErrorKind::HostUnreachable, Outage::Unresolved),
    ] {
        assert_eq!(Failure::of(&io::Error::from(kind).into()), Failure::Outage(expected), "{kind:?}");
    }
    let unknown = io::Error::other("failed to lookup address information: Name or service not known");
    assert_eq!(Failure::of(&unknown.into()).outage(), Some(Outage::Unresolved));
    let nonsense = redis::parse_redis_value(b"what?\r\n").expect_err("no reply");
    assert_eq!(Failure::of(&nonsense).outage(), Some(Outage::Broken));
    let auth = RedisError::from((ErrorKind::AuthenticationFailed, "no"));
    assert_eq!(Failure::of(&auth).outage(), Some(Outage::Denied));
    let mistake = RedisError::from((ErrorKind::UnexpectedReturnType, "no"));
    assert_eq!(Failure::of(&mistake).outage(), None);
}

#[test]
fn outages_have_names_and_only_some_are_ambiguous() {
    let names: HashSet<&str> = Outage::ALL.into_iter().map(Outage::name).collect();
    assert_eq!(names.len(), Outage::ALL.len());
    assert!(!names.contains(Failure::MISTAKE) && !names.contains("ok"));
    for (place, outage) in Outage::ALL.into_iter().enumerate() {
        assert_eq!(outage as usize, place, "{outage:?}");
        let ambiguous = matches!(outage, Outage::Timeout | Outage::Broken);
        assert_eq!(outage.may_have_run(), ambiguous, "{outage:?}");
    }
    assert_eq!(Kind::ALL.map(|kind| kind as usize), [0, 1, 2, 3, 4, 5, 6, 7]);
}

const LIMITS: BreakerLimits = BreakerLimits {
    failures_max: 3,
    probe_interval: Duration::from_millis(250),
    probe_max: Duration::from_millis(900),
};

#[test]
fn the_breaker_opens_after_failures_in_a_row() {
    let (mut breaker, now) = (Breaker::new(LIMITS), Instant::now());
    for _ in 0..10 {
        assert!(!breaker.failed(now) && !breaker.failed(now) && !breaker.is_quiet());
        breaker.succeeded();
        assert!(breaker.is_quiet());
    }
    assert!(!breaker.failed(now) && !breaker.failed(now) && breaker.failed(now));
    assert_eq!((breaker.state(), breaker.probe_due()), (BreakerState::Open, Some(now)));
    breaker.succeeded();
    assert_eq!(breaker.state(), BreakerState::Open, "a late success does not close it");
    assert!(!breaker.failed(now), "it opens once");
}

#[test]
fn the_breaker_makes_one_probe_at_a_time() {
    let (mut breaker, now) = (Breaker::new(LIMITS), Instant::now());
    assert!(!breaker.begin_probe(now), "nothing to probe");
    breaker.open(now + LIMITS.probe_interval);
    assert!(!breaker.begin_probe(now));
    let due = now + LIMITS.probe_interval;
    assert!(breaker.begin_probe(due));
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    assert!(!breaker.begin_probe(due), "one is on its way");
    breaker.probe_failed(due);
    assert_eq!(breaker.probe_due(), Some(due + LIMITS.probe_interval));
    let again = due + LIMITS.probe_interval;
    assert!(breaker.begin_probe(again));
    assert!(!breaker.begin_probe(again + LIMITS.probe_max - Duration::from_millis(1)));
    assert!(breaker.begin_probe(again + LIMITS.probe_max), "a lost probe does not block for ever");
    breaker.probe_succeeded();
    assert!(breaker.is_quiet() && breaker.probe_due().is_none());
}

/// A key of every kind, in the order of the table.
fn one_of_each(keys: &Keys) -> Vec<String> {
    let (customer, identity) = (CustomerKey(7), IdentityHash(9));
    let keys = [
        keys.profile(customer),
        keys.held_events(customer),
        keys.before_merges(customer),
        keys.caps(customer),
        keys.cap(customer, 0xc0ffee),
        keys.open_claims(customer, 0xc0ffee),
        keys.alias(identity),
        keys.budget(0xb),
        keys.budget_minutes(0xb),
        keys.open_units(0xb),
        keys.seen_units(0xb),
        keys.leases(0xb),
        keys.log(),
        keys.active_ruleset(),
        keys.revision(RulesetHash(5)),
        keys.replicas(),
        keys.fence(3),
        keys.secret("identity"),
        keys.pauses(),
    ];
    keys.into_iter().map(|key| String::from_utf8(key).expect("text")).collect()
}

/// The part between braces.
fn tag(key: &str) -> Option<&str> {
    key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag)
}

#[test]
fn every_key_is_of_a_kind_in_the_table() {
    let keys = one_of_each(&Keys::default());
    assert_eq!(keys.len(), keys::TABLE.len());
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
    for (key, row) in keys.iter().zip(keys::TABLE) {
        let holes = row.pattern.replace("<ns>", "rapport");
        // literal, hole, literal, ...: the last is a literal, maybe empty
        let pieces: Vec<&str> = holes.split(['<', '>']).collect();
        let mut rest = key.as_str();
        for (place, piece) in pieces.iter().enumerate() {
            if place % 2 == 0 {
                let at = rest.find(piece).unwrap_or_else(|| panic!("{key} is not {}", row.pattern));
                assert!(place > 0 || at == 0, "{key} is not {}", row.pattern);
                rest = &rest[at + piece.len()..];
            }
        }
        assert!(rest.is_empty() || pieces.last() == Some(&""), "{key}: {rest} is left");
        assert_eq!(tag(key).is_some(), row.pattern.contains('{'), "{key}");
    }
    let customers: HashSet<Option<&str>> = keys[..6].iter().map(|key| tag(key)).collect();
    assert_eq!(customers.len(), 1, "keys of a customer lie in one slot: {customers:?}");
    assert_eq!(keys[0], "rapport:{AAAAAAAAAAAAAAAAAAAABw}:p");
    assert_eq!(keys[4], "rapport:{AAAAAAAAAAAAAAAAAAAABw}:c:c0ffee");
    let budget: HashSet<Option<&str>> = keys[7..12].iter().map(|key| tag(key)).collect();
    assert_eq!(budget.len(), 1, "keys of a budget lie in one slot: {budget:?}");
}

#[test]
fn namespaces_are_checked() {
    let keys = Keys::new("shop-1.test_2").expect("a namespace");
    assert!(one_of_each(&keys).iter().all(|key| key.starts_with("shop-1.test_2:")));
    for wrong in ["", "a:b", "a{b", "a b", "ä", &"a".repeat(keys::NAMESPACE_BYTES_MAX + 1)] {
        let error = Keys::new(wrong).expect_err(wrong).to_string();
        assert!(error.contains("may hold letters"), "{error}");
    }
}

/// The table as it must stand in the documents.
fn written_table() -> String {
    let mut text = String::from("| key | holds | value | owner | goes away |\n|---|---|---|---|---|\n");
    for row in keys::TABLE {
        text += &format!("| `{}` | {} | {} | {} | {} |\n", row.pattern, row.holds, row.value, row.owner, row.goes);
    }
    text
}

#[test]
fn the_table_of_keys_is_documented() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/redis.md");
    let text = fs::read_to_string(&path).expect("docs/redis.md");
    assert!(text.contains(&written_table()), "put this into docs/redis.md:\n{}", written_table());
    for outage in Outage::ALL {
        assert!(text.contains(&format!("| `{}` |", outage.name())), "docs/redis.md lacks `{}`", outage.name());
    }
}

#[test]
fn versioned_values_are_read_as_they_were_written() {
    let value = Versioned { version: Version(u64::MAX - 1), blob: b"blob".to_vec() };
    assert_eq!(Versioned::decode(&value.encode()), Ok(value.clone()));
    assert_eq!(&value.encode()[..8], value.version.expected());
    assert_eq!(Version(0).expected(), Vec::<u8>::new());
    assert!(Versioned::decode(b"1234567").is_err());
    assert_eq!(Swapped::read(Value::Int(1)), Ok(Swapped::Won));
    assert_eq!(Swapped::read(Value::Array(vec![Value::Nil])), Ok(Swapped::Lost(None)));
    let lost = Swapped::read(Value::Array(vec![Value::BulkString(value.encode())]));
    assert_eq!(lost, Ok(Swapped::Lost(Some(value))));
    assert!(Swapped::read(Value::Int(2)).is_err());
    assert!(Swapped::read(Value::Array(vec![Value::BulkString(b"short".to_vec())])).is_err());
}

#[tokio::test]
async fn a_client_nobody_keeps_answers_by_the_deadline() {
    let client = Client::new(parsed("redis://127.0.0.1:1"), Settings::default());
    let begun = Instant::now();
    let answer = client.get(b"a", begun + Duration::from_millis(30)).await;
    assert_eq!(answer, Err(Failure::Outage(Outage::Timeout)));
    assert!(begun.elapsed() >= Duration::from_millis(30) && begun.elapsed() < Duration::from_secs(3));
    assert_eq!((client.connection_attempts(), client.generation()), (0, Generation(0)), "it touched the network");
    let past = client.get(b"a", begun).await;
    assert_eq!(past, Err(Failure::Outage(Outage::Timeout)));
}
