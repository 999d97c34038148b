//! What was not answered within its window, over a real store.

use std::{path::Path, sync::Arc, time::Instant};

use super::*;
use crate::{
    app::{
        AppError, Bearer, EventInput, Meant, OutcomeInput, RecordedStatus, UpsertInput,
        meant::{Latest, latest},
    },
    domain::{
        AttrId, ChannelId, Consent, ConsentPurpose, DecisionId, EventId, Identity, Interaction, OfferId, OutcomeSet,
        Permission, PlacementAsk, PlacementId, RecordRef, Request, time::DAY_US,
    },
    rules::SourceFile,
    store::{Store, StoreConfig},
};

const RULES: &str = r#"
settings: { currency: GBP }
channels: [ { id: web, kind: self_service, require: [text], counts_on: impression } ]
placements: [ { id: hero, channel: web }, { id: side, channel: web } ]
issues: [ { id: sell } ]
groups: [ { id: all } ]
policies: { attribution: 14d }
offers:
  - { id: slow, purpose: service, issue: sell, group: all, value: 5, placements: [hero], treatments: { web: { en: { text: "a" } } } }
  - { id: quick, purpose: service, issue: sell, group: all, value: 5, attribution: 2d, placements: [side], treatments: { web: { en: { text: "b" } } } }
"#;

fn open(dir: &Path) -> Arc<App> {
    let rules = vec![SourceFile { path: "all.yaml".into(), text: RULES.into() }];
    let store = Store::open(StoreConfig::new(dir)).unwrap();
    Arc::new(App::open(store, &Ok(rules), "http://127.0.0.1:7070").unwrap_or_else(|error| panic!("{error}")))
}

fn identity(app: &App, name: &str) -> Identity {
    app.identity(&app.current(), "customer_id", name).unwrap()
}

async fn create(app: &App, name: &str) {
    let input = UpsertInput {
        identities: vec![identity(app, name)],
        attributes: Vec::new(),
        consents: Vec::new(),
        preferences: Vec::new(),
        records: Vec::new(),
        request_id: String::new(),
        at: None,
        validate_only: false,
    };
    app.upsert(input).await.unwrap();
}

fn outcome(token: &str, outcome: OutcomeType) -> OutcomeInput {
    OutcomeInput {
        token: token.to_owned(),
        meant: None,
        bearer: Bearer::Service,
        outcome,
        reason_code: String::new(),
        value: None,
        note: "".into(),
        agent: "".into(),
        call: "".into(),
        link: "".into(),
        at: None,
    }
}

async fn say(app: &App, input: OutcomeInput) -> RecordedStatus {
    app.record(vec![EventInput::Outcome(input)]).await.remove(0).status
}

/// Shows both offers to a customer; answers their tokens.
async fn show(app: &Arc<App>, name: &str) -> [String; 2] {
    let ask = |name: &str| PlacementAsk { id: PlacementId::of(name), name: name.into(), count: 0 };
    let request = Request {
        identities: vec![identity(app, name)],
        placements: vec![ask("hero"), ask("side")],
        ..Request::default()
    };
    let decision = app.decide(app.current(), request).await.unwrap();
    let tokens = [0, 1].map(|at: usize| decision.placements[at].presentations[0].token.clone());
    for token in &tokens {
        assert_eq!(say(app, outcome(token, OutcomeType::Impression)).await, RecordedStatus::Recorded);
    }
    tokens
}

/// (version, outcomes of `slow`, outcomes of `quick`).
async fn view(app: &App, name: &str) -> (u64, Vec<OutcomeType>, Vec<OutcomeType>) {
    let profile = app.customer(&[identity(app, name)], "").await.unwrap().profile;
    let of = |offer: &str| {
        let found = profile.interactions.iter().find(|i| i.offer == OfferId::of(offer));
        found.map(|i| i.outcomes.iter().collect()).unwrap_or_default()
    };
    (profile.version, of("slow"), of("quick"))
}

/// Settles until nothing more is due then, once so many rows were looked at: what
/// was written a moment ago reaches the embedded store behind the answer.
async fn settle(app: &App, now: Timestamp, rows: usize) {
    let begun = Instant::now();
    let mut looked = 0;
    while looked < rows {
        looked += app.settle_due(now).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(60), "{looked} of {rows} were due");
        tokio::task::yield_now().await;
    }
    while app.settle_due(now).await.unwrap() > 0 {}
}

#[tokio::test]
async fn silence_is_said_once_and_taken_back_by_a_late_answer() {
    use OutcomeType::{Click, Impression, NoResponse};
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path());
    create(&app, "ann").await;
    let tokens = show(&app, "ann").await;
    let shown = app.now();
    let (version, ..) = view(&app, "ann").await;

    // each offer has its own window
    settle(&app, shown.plus_us(DAY_US), 2).await;
    assert_eq!(view(&app, "ann").await.0, version, "a day later nothing is over");
    settle(&app, shown.plus_us(3 * DAY_US), 1).await;
    assert_eq!(view(&app, "ann").await, (version + 1, vec![Impression], vec![Impression, NoResponse]));

    // a restart neither loses nor repeats
    drop(app);
    let app = open(dir.path());
    settle(&app, shown.plus_us(15 * DAY_US), 1).await;
    let silent = (version + 2, vec![Impression, NoResponse], vec![Impression, NoResponse]);
    assert_eq!(view(&app, "ann").await, silent);
    drop(app);
    let app = open(dir.path());
    assert_eq!(app.settle_due(shown.plus_us(400 * DAY_US)).await.unwrap(), 0);
    assert_eq!(view(&app, "ann").await, silent);

    // the label was negative and is positive now: one trial, one success
    assert_eq!(say(&app, outcome(&tokens[0], Click)).await, RecordedStatus::Recorded);
    assert_eq!(view(&app, "ann").await.1, [Impression, Click, NoResponse]);
    drop(app);
    let tallies = open(dir.path()).tallies();
    let count = |offer: &str| {
        let tallies = tallies.offers.iter().filter(|((id, _), _)| *id == OfferId::of(offer));
        tallies.fold((0, 0), |sum, (_, t)| (sum.0 + t.trials, sum.1 + t.positives))
    };
    assert_eq!((count("slow"), count("quick")), ((1, 1), (1, 0)));
}

#[tokio::test]
async fn two_looks_at_the_same_time_say_it_once() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path());
    create(&app, "bob").await;
    show(&app, "bob").await;
    let (version, ..) = view(&app, "bob").await;
    let later = app.now().plus_us(20 * DAY_US);
    // the rows are there once the store was opened again
    drop(app);
    let app = open(dir.path());
    let (one, two) = tokio::join!(app.settle_due(later), app.settle_due(later));
    assert!(one.unwrap() > 0 && two.unwrap() > 0);
    assert_eq!(view(&app, "bob").await.0, version + 2);
}

#[tokio::test]
async fn what_was_answered_is_no_silence() {
    use OutcomeType::{Accept, Dismiss, Impression, NoResponse};
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path());
    create(&app, "cat").await;
    let tokens = show(&app, "cat").await;
    say(&app, outcome(&tokens[0], Accept)).await;
    say(&app, outcome(&tokens[1], Dismiss)).await;
    settle(&app, app.now().plus_us(20 * DAY_US), 2).await;
    let (_, slow, quick) = view(&app, "cat").await;
    assert_eq!((slow, quick), (vec![Impression, Accept], vec![Impression, Dismiss]));
    assert!(!view(&app, "cat").await.1.contains(&NoResponse));
}

#[tokio::test]
async fn an_outcome_without_a_token_is_of_the_latest_presentation() {
    use OutcomeType::{Accept, Impression};
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path());
    let meant = |app: &App, id, name: &str, offer: &str, value| OutcomeInput {
        meant: Some(Box::new(Meant {
            id: EventId(id),
            customer: vec![identity(app, name)],
            offer: OfferId::of(offer),
            channel: None,
            record: None,
        })),
        value,
        ..outcome("", if value.is_some() { OutcomeType::Conversion } else { Accept })
    };
    let refused = |status: &RecordedStatus, why: &str| {
        assert!(matches!(status, RecordedStatus::Refused(said) if said.contains(why)), "{status:?}");
    };
    refused(&say(&app, meant(&app, 1, "dan", "slow", None)).await, "no customer has these identities");
    create(&app, "dan").await;
    refused(&say(&app, meant(&app, 1, "dan", "slow", None)).await, "no presentation of the offer");
    show(&app, "dan").await;
    show(&app, "dan").await;
    assert_eq!(say(&app, meant(&app, 2, "dan", "slow", None)).await, RecordedStatus::Recorded);
    assert_eq!(say(&app, meant(&app, 2, "dan", "slow", None)).await, RecordedStatus::Duplicate);
    assert_eq!(say(&app, meant(&app, 2, "dan", "quick", None)).await, RecordedStatus::Conflict);
    let profile = app.customer(&[identity(&app, "dan")], "").await.unwrap().profile;
    let slow: Vec<_> = profile.interactions.iter().filter(|i| i.offer == OfferId::of("slow")).collect();
    let outcomes: Vec<Vec<_>> = slow.iter().map(|i| i.outcomes.iter().collect()).collect();
    assert_eq!(outcomes, [vec![Impression], vec![Impression, Accept]]);
    // what came before it in the same call counts
    create(&app, "eve").await;
    let ask = PlacementAsk { id: PlacementId::of("hero"), name: "hero".into(), count: 0 };
    let request = Request { identities: vec![identity(&app, "eve")], placements: vec![ask], ..Request::default() };
    let decision = app.decide(app.current(), request).await.unwrap();
    let token = &decision.placements[0].presentations[0].token;
    let both = vec![
        EventInput::Outcome(outcome(token, Impression)),
        EventInput::Outcome(meant(&app, 3, "eve", "slow", Some(500))),
    ];
    let recorded = app.record(both).await;
    assert!(recorded.iter().all(|one| one.status == RecordedStatus::Recorded), "{recorded:?}");
}

#[tokio::test]
async fn an_answer_without_a_token_may_come_after_no_response() {
    use OutcomeType::{Accept, Impression, NoResponse};
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path());
    create(&app, "gil").await;
    show(&app, "gil").await;
    let answer = |id, days: i64| OutcomeInput {
        meant: Some(Box::new(Meant {
            id: EventId(id),
            customer: vec![identity(&app, "gil")],
            offer: OfferId::of("quick"),
            channel: None,
            record: None,
        })),
        at: Some(app.now().plus_us(days * DAY_US)),
        ..outcome("", Accept)
    };
    let profile = app.customer(&[identity(&app, "gil")], "").await.unwrap().profile;
    let found = |days| latest_of(&app, &profile, &answer(1, days));
    assert_eq!((found(1), found(3)), (true, false));
    settle(&app, app.now().plus_us(20 * DAY_US), 2).await;
    assert_eq!(view(&app, "gil").await.2, [Impression, NoResponse]);
    let profile = app.customer(&[identity(&app, "gil")], "").await.unwrap().profile;
    let found = |days| latest_of(&app, &profile, &answer(1, days));
    assert_eq!((found(1), found(3), found(31), found(33)), (true, true, true, false));
}

#[tokio::test]
async fn an_outcome_of_several_records_does_not_say_which() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path());
    create(&app, "gil").await;
    let mut profile = app.customer(&[identity(&app, "gil")], "").await.unwrap().profile;
    let shown = |decision, key: &str, days: i64| Interaction {
        decision: DecisionId(decision),
        offer: OfferId::of("slow"),
        channel: ChannelId::of("web"),
        record: RecordRef::of(AttrId::of("accounts"), key),
        at: app.now().plus_us(days * DAY_US),
        answered_at: app.now().plus_us(days * DAY_US),
        outcomes: OutcomeSet::default().with(OutcomeType::Impression),
        reason: ReasonCode(0),
        reason_at: Timestamp::default(),
    };
    profile.interactions = vec![shown(1, "a", -2), shown(2, "b", -1), shown(2, "c", -1)];
    let said = |record: Option<&str>| Meant {
        id: EventId(1),
        customer: Vec::new(),
        offer: OfferId::of("slow"),
        channel: None,
        record: record.map(|key| RecordRef::of(AttrId::of("accounts"), key)),
    };
    let found = |profile: &Profile, record| latest(&app.current(), (profile, &[]), &said(record), app.now());
    let mut both = vec![RecordRef::of(AttrId::of("accounts"), "b"), RecordRef::of(AttrId::of("accounts"), "c")];
    both.sort_unstable();
    assert_eq!(found(&profile, None), Latest::OfRecords(both));
    let named = |found| if let Latest::One(one) = found { (one.decision.0, one.record) } else { (0, RecordRef::NONE) };
    assert_eq!(named(found(&profile, Some("b"))), (2, RecordRef::of(AttrId::of("accounts"), "b")));
    // the latest decision counts, not those before
    profile.interactions.pop();
    assert_eq!(named(found(&profile, None)), (2, RecordRef::of(AttrId::of("accounts"), "b")));
    assert_eq!(named(found(&profile, Some("a"))), (1, RecordRef::of(AttrId::of("accounts"), "a")));
}

/// Whether an outcome is of a presentation at its time.
fn latest_of(app: &App, profile: &Profile, input: &OutcomeInput) -> bool {
    let meant = input.meant.as_deref().unwrap();
    matches!(latest(&app.current(), (profile, &[]), meant, input.at.unwrap()), Latest::One(_))
}

#[tokio::test]
async fn a_presentation_has_each_outcome_once_on_either_way() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path());
    create(&app, "hal").await;
    show(&app, "hal").await;
    let said = |id, kind, value| OutcomeInput {
        meant: Some(Box::new(Meant {
            id: EventId(id),
            customer: vec![identity(&app, "hal")],
            offer: OfferId::of("slow"),
            channel: None,
            record: None,
        })),
        value,
        ..outcome("", kind)
    };
    use OutcomeType::{Click, Conversion};
    for (id, kind, value, wanted) in [
        (1, Conversion, Some(500), RecordedStatus::Recorded),
        (1, Conversion, Some(500), RecordedStatus::Duplicate),
        (2, Conversion, Some(700), RecordedStatus::Conflict),
        (3, Click, None, RecordedStatus::Recorded),
        (4, Click, None, RecordedStatus::Duplicate),
    ] {
        assert_eq!(say(&app, said(id, kind, value)).await, wanted, "{id}");
    }
}

#[tokio::test]
async fn a_request_id_is_of_one_customer_and_one_content() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path());
    let given_at = Some(Timestamp(1_300_000_000_000_000));
    let input = |name: &str, at: Option<Timestamp>| UpsertInput {
        identities: vec![identity(&app, name)],
        attributes: Vec::new(),
        consents: vec![Consent {
            channel: None,
            purpose: ConsentPurpose::Marketing,
            permission: Permission::Denied,
            at: at.unwrap_or_default(),
            source: "form".into(),
            proof: "".into(),
        }],
        preferences: Vec::new(),
        records: Vec::new(),
        request_id: "r1".to_owned(),
        at: None,
        validate_only: false,
    };
    app.upsert(input("ida", None)).await.unwrap();
    app.upsert(input("ida", None)).await.unwrap();
    for other in [input("jon", None), input("ida", given_at)] {
        assert!(matches!(app.upsert(other).await, Err(AppError::AlreadyExists(_))));
    }
    // a time far in the future becomes now, and that is told
    let later = UpsertInput { request_id: String::new(), ..input("ida", Some(app.now().plus_us(DAY_US))) };
    let told = app.upsert(UpsertInput { at: Some(app.now().plus_us(DAY_US)), ..later }).await.unwrap();
    assert_eq!(told.warnings.len(), 2, "{:?}", told.warnings);
}

#[tokio::test]
async fn a_withdrawal_is_on_disk_when_it_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let app = open(dir.path());
    create(&app, "fay").await;
    let consent = Consent {
        channel: None,
        purpose: ConsentPurpose::Marketing,
        permission: Permission::Denied,
        at: Timestamp::default(),
        source: "form".into(),
        proof: "v2".into(),
    };
    let input = |consents, preferences| UpsertInput {
        identities: vec![identity(&app, "fay")],
        attributes: Vec::new(),
        consents,
        preferences,
        records: Vec::new(),
        request_id: String::new(),
        at: None,
        validate_only: false,
    };
    let before = app.store.stats().fsyncs;
    let said = app.upsert(input(vec![consent], Vec::new())).await.unwrap();
    assert_eq!(said.strength, Strength::Disk);
    assert!(app.store.stats().fsyncs > before, "it was synced before it was acknowledged");
    let known = app.customer(&[identity(&app, "fay")], &said.consistency_token).await.unwrap().profile;
    assert_eq!(known.permission(None, ConsentPurpose::Marketing), Permission::Denied);
    let wish = crate::domain::profile::Preference::ContactsPerWeek(Some(0));
    assert_eq!(app.upsert(input(Vec::new(), vec![wish])).await.unwrap().strength, Strength::Disk);
    let forbidden = app.do_not_contact(vec![identity(&app, "fay")], true, "".into()).await.unwrap();
    assert_eq!(forbidden.strength, Strength::Disk);
}
