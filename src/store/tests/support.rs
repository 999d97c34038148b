//! What the tests share.

use std::path::Path;
use std::sync::Arc;

use crate::domain::{time::SECOND_US, *};
use crate::store::*;

pub const NOW: Timestamp = Timestamp(1_700_000_000 * SECOND_US);
pub const OFFER: OfferId = OfferId(11);
pub const CHANNEL: ChannelId = ChannelId(5);
pub const CUSTOMER_ID: IdentityTypeId = IdentityTypeId(1);
pub const EMAIL: IdentityTypeId = IdentityTypeId(2);
pub const PHONE: IdentityTypeId = IdentityTypeId(3);

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub fn config(dir: &Path) -> StoreConfig {
    StoreConfig::new(dir)
}

pub fn identity(store: &Store, kind: IdentityTypeId, value: &str) -> Identity {
    let sharing = if kind == PHONE { Sharing::Shared } else { Sharing::Unique };
    Identity { kind, value: value.into(), hash: store.identity_hash(kind, value), sharing }
}

pub fn event(id: u128, at: Timestamp, kind: EventKind) -> Event {
    Event { id: EventId(id), at, received_at: at, identities: Vec::new(), feeds: Vec::new(), kind }
}

pub fn purchase(amount: i64) -> EventKind {
    EventKind::Customer {
        event: EventTypeId(3),
        channel: None,
        amount: Some(amount),
        items: Vec::new(),
        bought: true,
        conversion: true,
        data: "{}".into(),
    }
}

pub fn submission(target: Target, id: u128, kind: EventKind) -> Submission {
    let at = NOW.plus_us(id as i64);
    Submission { target, event: event(id, at, kind), content: id as u64, strength: Strength::Process }
}

pub fn by_name(store: &Store, name: &str) -> Target {
    Target::Identities(vec![identity(store, CUSTOMER_ID, name)])
}

/// Records a purchase of a customer by name.
pub async fn buy(store: &Store, name: &str, id: u128) -> Receipt {
    let one = submission(by_name(store, name), id, purchase(100));
    store.record(vec![one]).await.remove(0)
}

pub fn presentation(decision: DecisionId, customer: Option<CustomerKey>) -> PresentationRef {
    PresentationRef {
        record: Default::default(),
        decision,
        customer,
        offer: OFFER,
        channel: CHANNEL,
        expires_at: NOW.plus_us(3_600 * SECOND_US),
    }
}

pub fn outcome(decision: DecisionId, customer: Option<CustomerKey>, outcome: OutcomeType) -> EventKind {
    let presentation = presentation(decision, customer);
    EventKind::Outcome {
        presentation,
        outcome,
        reason: ReasonCode(0),
        value: None,
        note: "".into(),
        agent: "".into(),
        call: "".into(),
        purpose: crate::domain::Purpose::Marketing,
        link: "".into(),
    }
}

pub fn decision_id(n: u128) -> DecisionId {
    DecisionId::new(NOW.millis() as u64 + n as u64, n)
}

/// A decision with one winner.
pub fn decision(n: u128, customer: Option<Arc<HotProfile>>, model_version: u64) -> DecisionRecord {
    let now = NOW.plus_us(n as i64 * 1_000);
    let winner = WinnerRecord {
        record: Default::default(),
        placement: 0,
        offer: OFFER,
        channel: CHANNEL,
        net_priority: 1.5,
        probability: 1.0,
        counts_now: false,
        reserved_until: Some(now.plus_us(1_800 * SECOND_US)),
    };
    DecisionRecord {
        id: decision_id(n),
        now,
        request: Request { session_id: "s1".into(), ..Request::default() },
        matched: if customer.is_some() { Match::Known } else { Match::Anonymous },
        customer,
        ruleset: RulesetHash(77),
        model_version,
        signing_key: 1,
        reservations: Vec::new(),
        exhausted: Vec::new(),
        denied: Vec::new(),
        keep_order: Vec::new(),
        degraded: DegradedSet::default(),
        consistency_token: "t".into(),
        public_url: "http://127.0.0.1:7070".into(),
        digest: 99,
        winners: vec![winner],
        eligible: eligible(1),
        exposed: None,
        pauses: Default::default(),
        base_version: 0,
    }
}

/// The one pair there is, so many times.
pub fn eligible(times: usize) -> Eligible {
    let table = PairTable::new(RulesetHash(77), vec![OFFER], vec![CHANNEL]);
    Eligible { table: Arc::new(table), numbers: vec![0; times] }
}

/// The state after a crash: the files as they are, without closing.
pub fn crashed_copy(store: &Store) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    let quiet = store.shared.embedded.quiet().unwrap();
    copy(&store.shared.config.dir, to.path());
    quiet.abort().unwrap();
    to
}

/// Waits until the embedded store has everything.
pub async fn stored(store: &Store) {
    store.shared.overlay.hurry();
    while store.shared.overlay.records() > 0 {
        tokio::task::yield_now().await;
    }
}

pub fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
