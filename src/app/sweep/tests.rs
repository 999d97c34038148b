//! A service in memory, looked over.

use std::{path::Path, sync::Arc};

use crate::{
    app::{App, EventInput, RecordedStatus, SweepError, UpsertInput},
    domain::{
        Consent, ConsentPurpose, EventId, EventKind, EventTypeId, Identity, IdentityTypeId, Permission, Timestamp,
        schema::Sharing, time::DAY_US,
    },
    rules::SourceFile,
    store::{Store, StoreConfig, Strength},
};

/// Rules with these segments.
fn files(segments: &str) -> Vec<SourceFile> {
    let text = format!(
        r#"
settings: {{ currency: GBP }}
traits: [ {{ id: orders, count: purchase }}, {{ id: views, count: page_view }} ]
segments: [ {segments} ]
channels: [ {{ id: web, kind: self_service, require: [text] }} ]
placements: [ {{ id: hero, channel: web }} ]
issues: [ {{ id: sell }} ]
groups: [ {{ id: all }} ]
offers:
  - {{ id: a, purpose: service, issue: sell, group: all, value: 5, placements: [hero], treatments: {{ web: {{ en: {{ text: "a" }} }} }} }}
"#
    );
    vec![SourceFile { path: "all.yaml".into(), text: text.into() }]
}

const BOUGHT: &str = "{ id: everybody, when: 'p.orders >= 0' }";

fn open(dir: &Path, segments: &str) -> Arc<App> {
    let store = Store::open(StoreConfig::new(dir)).unwrap();
    Arc::new(App::open(store, &Ok(files(segments)), "http://127.0.0.1:7070").unwrap())
}

/// A customer buys on a day.
async fn buy(app: &Arc<App>, customer: u32, day: i32) {
    let kind = IdentityTypeId::of("customer_id");
    let value = format!("c{customer}");
    let hash = app.store.identity_hash(kind, &value);
    let kind_of = EventKind::Customer {
        event: EventTypeId::of("purchase"),
        channel: None,
        amount: Some(i64::from(customer) * 100),
        items: Vec::new(),
        bought: true,
        conversion: true,
        data: "".into(),
    };
    let identity = Identity { kind, value: value.into(), hash, sharing: Sharing::Unique };
    let input = EventInput::Customer {
        id: EventId(u128::from(customer) << 64 | day.unsigned_abs() as u128),
        identities: vec![identity.clone()],
        at: Some(Timestamp(i64::from(day) * DAY_US)),
        kind: kind_of,
        strength: Strength::Process,
        item_names: Vec::new(),
        fields: Vec::new(),
        notes: Vec::new(),
        page: None,
    };
    let consent = Consent {
        channel: None,
        purpose: ConsentPurpose::Profiling,
        permission: Permission::Granted,
        at: Timestamp(DAY_US),
        source: "test".into(),
        proof: "".into(),
    };
    let upsert = EventKind::Upsert {
        attributes: Vec::new(),
        consents: vec![consent],
        preferences: Vec::new(),
        records: Vec::new(),
    };
    let permit = EventInput::Customer {
        id: EventId(u128::from(customer) << 64),
        identities: vec![identity],
        at: Some(Timestamp(DAY_US)),
        kind: upsert,
        strength: Strength::Process,
        item_names: Vec::new(),
        fields: Vec::new(),
        notes: Vec::new(),
        page: None,
    };
    let recorded = app.record(vec![input, permit]).await;
    assert!(recorded.iter().all(|one| !matches!(one.status, RecordedStatus::Refused(_))), "{recorded:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_counts_everybody_and_a_restart_tells_nothing_again() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path(), BOUGHT);
    for customer in 1..=40 {
        for day in 0..=customer % 4 {
            buy(&app, customer, 15_000 + customer as i32 + 30 * day as i32).await;
        }
    }
    let found = app.sweep().unwrap();
    assert_eq!((found.customers, found.buyers), (40, 40));
    assert_eq!((found.segments[0].customers, found.segments[0].entered, found.segments[0].left), (40, 40, 0));
    let rfm = found.base.rfm.unwrap();
    assert_eq!(rfm.monetary.0[3] % 100, 0);
    assert_eq!(found.base.version, 1);
    assert_eq!(app.current().base.version, 1);
    assert_eq!(app.store.base(1).unwrap().unwrap(), found.base);
    // nothing changed: the same version, nobody entered
    let again = app.sweep().unwrap();
    assert_eq!((again.base.version, again.segments[0].entered), (1, 0));
    app.store.close();
    drop(app);

    let app = open(dir.path(), BOUGHT);
    let state = app.sweep_state();
    assert_eq!(state.latest.unwrap().base, found.base);
    assert_eq!(app.current().base.version, 1);
    let after = app.sweep().unwrap();
    assert_eq!((after.segments[0].customers, after.segments[0].entered, after.segments[0].left), (40, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_enters_and_leaves_is_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let few =
        "{ id: few, when: 'p.orders <= 1' }, { id: many, when: 'p.orders >= 2' }, { id: all, when: 'p.orders >= 1' }";
    let app = open(dir.path(), few);
    for customer in 1..=10 {
        buy(&app, customer, 15_000).await;
    }
    let first = app.sweep().unwrap();
    let sizes: Vec<u64> = first.segments.iter().map(|segment| segment.customers).collect();
    let names: Vec<&str> = first.segments.iter().map(|segment| &*segment.name).collect();
    assert_eq!(names, ["all", "few", "many"], "by name");
    assert_eq!(sizes, [10, 10, 0]);
    assert_eq!((first.overlaps[0].one, first.overlaps[0].other, first.overlaps[0].customers), (0, 1, 10));
    for customer in 1..=3 {
        buy(&app, customer, 15_001).await;
    }
    let second = app.sweep().unwrap();
    assert_eq!((second.segments[1].left, second.segments[2].entered, second.segments[0].entered), (3, 3, 0));
    assert_eq!(app.sweep().unwrap().segments[2].entered, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_view_and_the_look_agree_on_who_is_in_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path(), "{ id: buyers, when: 'p.orders >= 1' }");
    buy(&app, 1, 15_000).await;
    let identity = app.identity(&app.current(), "customer_id", "c1").unwrap();
    let seen = async || {
        let view = app.customer(std::slice::from_ref(&identity), "").await.unwrap();
        (view.segments.len() as u64, view.traits.iter().any(|(name, _)| &**name == "orders"))
    };
    assert_eq!((seen().await, app.sweep().unwrap().segments[0].customers), ((1, true), 1));
    let consent = Consent {
        channel: None,
        purpose: ConsentPurpose::Profiling,
        permission: Permission::Denied,
        at: Timestamp::default(),
        source: "test".into(),
        proof: "".into(),
    };
    let denied = UpsertInput {
        identities: vec![identity.clone()],
        attributes: Vec::new(),
        consents: vec![consent],
        preferences: Vec::new(),
        records: Vec::new(),
        request_id: String::new(),
        at: None,
        validate_only: false,
    };
    app.upsert(denied).await.unwrap();
    // what is known still shows
    assert_eq!((seen().await, app.sweep().unwrap().segments[0].customers), ((0, true), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_stops_ends_the_look() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path(), BOUGHT);
    buy(&app, 1, 15_000).await;
    app.stop_sweeps();
    assert!(matches!(app.sweep(), Err(SweepError::Stopped)));
    app.wait_for_sweep();
    assert!(app.sweep_state().latest.is_none());
}
