use proptest::prelude::*;

use super::{apply, permissions, traits};
use crate::domain::{time::DAY_US, *};

const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

fn event(id: u128, at: i64, kind: EventKind) -> Event {
    let at = Timestamp(at);
    Event { id: EventId(id), at, received_at: at, identities: Vec::new(), feeds: Vec::new(), kind }
}

fn presentation(decision: u128) -> PresentationRef {
    PresentationRef {
        record: Default::default(),
        decision: DecisionId(decision),
        customer: None,
        offer: OfferId(7),
        channel: ChannelId(3),
        expires_at: NOW,
    }
}

fn outcome(decision: u128, outcome: OutcomeType, value: Option<i64>) -> EventKind {
    let reason = if outcome == OutcomeType::Decline { ReasonCode(9) } else { ReasonCode(0) };
    EventKind::Outcome {
        presentation: presentation(decision),
        outcome,
        reason,
        value,
        note: "".into(),
        agent: "".into(),
        call: "".into(),
        purpose: crate::domain::Purpose::Marketing,
        link: "".into(),
    }
}

fn purchase(amount: i64, item: u64) -> EventKind {
    EventKind::Customer {
        event: EventTypeId(1),
        channel: None,
        amount: Some(amount),
        items: vec![ItemLine { item: ItemId(item), quantity: 1, unit_price: amount }],
        bought: true,
        conversion: true,
        data: "".into(),
    }
}

fn consent(permission: Permission, at: i64) -> Consent {
    Consent {
        channel: Some(ChannelId(3)),
        purpose: ConsentPurpose::Marketing,
        permission,
        at: Timestamp(at),
        source: "form".into(),
        proof: "v1".into(),
    }
}

#[test]
fn an_outcome_takes_effect_once_per_fact() {
    let mut profile = Profile::default();
    let shown = apply(&mut profile, &event(1, 10, outcome(1, OutcomeType::Impression, None)));
    assert_eq!(shown.len(), 1);
    assert!(matches!(shown[0], Effect::Outcome { new_trial: true, new_positive: false, .. }));
    assert!(apply(&mut profile, &event(2, 11, outcome(1, OutcomeType::Impression, None))).is_empty());
    let clicked = apply(&mut profile, &event(3, 12, outcome(1, OutcomeType::Click, None)));
    assert!(matches!(clicked[0], Effect::Outcome { new_trial: false, new_positive: true, .. }));
    let accepted = apply(&mut profile, &event(4, 13, outcome(1, OutcomeType::Accept, None)));
    assert!(matches!(accepted[0], Effect::Outcome { new_positive: false, .. }));
    assert_eq!(profile.interactions.len(), 1);
    assert_eq!(profile.interactions[0].at, Timestamp(10));
    assert_eq!(profile.interactions[0].answered_at, Timestamp(13));
    assert_eq!(profile.version, 4);
}

#[test]
fn unsubscribing_from_service_denies_service_too() {
    let denied = |from: Purpose| {
        let mut profile = Profile::default();
        let mut kind = outcome(1, OutcomeType::Unsubscribe, None);
        if let EventKind::Outcome { purpose, .. } = &mut kind {
            *purpose = from;
        }
        apply(&mut profile, &event(1, 5, kind));
        let said = |purpose| profile.permission(Some(ChannelId(3)), purpose) == Permission::Denied;
        (said(ConsentPurpose::Marketing), said(ConsentPurpose::Service))
    };
    assert_eq!(denied(Purpose::Marketing), (true, false));
    assert_eq!(denied(Purpose::Service), (true, true));
}

#[test]
fn unsubscribing_denies_marketing_on_the_channel() {
    let mut profile = Profile::default();
    let kind = EventKind::Upsert {
        attributes: Vec::new(),
        consents: vec![consent(Permission::Granted, 5)],
        preferences: Vec::new(),
        records: Vec::new(),
    };
    apply(&mut profile, &event(1, 5, kind));
    let asked = |p: &Profile, page| permissions::contact(p, ChannelId(3), Purpose::Marketing, page);
    assert_eq!(asked(&profile, PageConsent::default()), Permission::Granted);
    let narrow = PageConsent { marketing: Permission::Denied, ..Default::default() };
    assert_eq!(asked(&profile, narrow), Permission::Denied);
    apply(&mut profile, &event(2, 6, outcome(1, OutcomeType::Unsubscribe, None)));
    assert_eq!(asked(&profile, PageConsent::default()), Permission::Denied);
    let wide = PageConsent { marketing: Permission::Granted, ..Default::default() };
    assert_eq!(asked(&profile, wide), Permission::Denied);
}

#[test]
fn profiling_needs_a_stored_grant() {
    let mut profile = Profile::default();
    let wide = PageConsent { profiling: Permission::Granted, ..Default::default() };
    assert!(!permissions::profiling(&profile, wide));
    let given = Consent {
        channel: None,
        purpose: ConsentPurpose::Profiling,
        permission: Permission::Granted,
        ..consent(Permission::Granted, 1)
    };
    apply(
        &mut profile,
        &event(
            1,
            1,
            EventKind::Upsert {
                attributes: Vec::new(),
                consents: vec![given],
                preferences: Vec::new(),
                records: Vec::new(),
            },
        ),
    );
    assert!(permissions::profiling(&profile, PageConsent::default()));
    let narrow = PageConsent { profiling: Permission::Denied, ..Default::default() };
    assert!(!permissions::profiling(&profile, narrow));
}

#[test]
fn a_purchase_counts_for_the_lift_after_the_exposure_only() {
    let mut profile = Profile::default();
    assert!(apply(&mut profile, &event(1, 10, purchase(500, 1))).is_empty());
    let exposed = apply(&mut profile, &event(2, 20, EventKind::Exposed { holdout: true }));
    assert_eq!(exposed[0], Effect::Exposed { holdout: true });
    assert!(apply(&mut profile, &event(3, 21, EventKind::Exposed { holdout: false })).is_empty());
    assert!(apply(&mut profile, &event(4, 19, purchase(500, 1))).is_empty());
    let first = apply(&mut profile, &event(5, 20, purchase(700, 2)));
    assert_eq!(first[0], Effect::Converted { holdout: true, first: true, amount: 700 });
    let second = apply(&mut profile, &event(6, 30, outcome(1, OutcomeType::Conversion, Some(40))));
    assert_eq!(second[1], Effect::Converted { holdout: true, first: false, amount: 40 });
}

#[test]
fn do_not_contact_fails_safe() {
    let dnc = |on| EventKind::DoNotContact { on, reason: "".into() };
    let mut profile = Profile::default();
    apply(&mut profile, &event(1, 10, dnc(true)));
    apply(&mut profile, &event(2, 9, dnc(false)));
    assert_eq!(profile.do_not_contact, Some(Timestamp(10)));
    apply(&mut profile, &event(3, 11, dnc(false)));
    assert_eq!(profile.do_not_contact, None);
}

#[test]
fn a_late_prohibition_does_not_come_back() {
    let dnc = |on| EventKind::DoNotContact { on, reason: "".into() };
    let mut profile = Profile::default();
    apply(&mut profile, &event(1, 20, dnc(false)));
    apply(&mut profile, &event(2, 15, dnc(true)));
    assert_eq!((profile.do_not_contact, profile.contact_allowed_at), (None, Some(Timestamp(20))));
    apply(&mut profile, &event(3, 20, dnc(true)));
    assert_eq!(profile.do_not_contact, Some(Timestamp(20)));
}

#[test]
fn a_conversion_known_before_its_exposure_counts_once() {
    let mut profile = Profile::default();
    assert!(apply(&mut profile, &event(1, 20, purchase(500, 1))).is_empty());
    assert!(!profile.converted());
    let late = apply(&mut profile, &event(2, 10, EventKind::Exposed { holdout: false }));
    let converted = |first, amount| Effect::Converted { holdout: false, first, amount };
    assert_eq!(late[..], [Effect::Exposed { holdout: false }, converted(true, 0)]);
    let next = apply(&mut profile, &event(3, 30, purchase(700, 2)));
    assert_eq!((profile.converted(), &next[..]), (true, &[converted(false, 700)][..]));
}

#[test]
fn the_latest_decline_gives_the_reason() {
    let decline = |at: i64, reason: u32| {
        let mut kind = outcome(1, OutcomeType::Decline, None);
        if let EventKind::Outcome { reason: given, .. } = &mut kind {
            *given = ReasonCode(reason);
        }
        event(u128::from(reason), at, kind)
    };
    let mut events =
        [decline(10, 9), decline(15, 8), event(3, 20, outcome(1, OutcomeType::Click, None)), decline(16, 0)];
    for _ in 0..events.len() {
        events.rotate_left(1);
        let mut profile = Profile::default();
        events.iter().for_each(|event| drop(apply(&mut profile, event)));
        let one = profile.interactions[0];
        assert_eq!((one.reason, one.reason_at, one.answered_at), (ReasonCode(8), Timestamp(15), Timestamp(20)));
    }
}

#[test]
fn the_later_word_on_wishes_and_records_counts() {
    let said = |id: u128, at: i64, most: Option<u16>, balance: Option<i64>| {
        let fields = balance.map(|balance| vec![(AttrId(2), Value::Money(balance))]);
        let kind = EventKind::Upsert {
            attributes: Vec::new(),
            consents: Vec::new(),
            preferences: vec![Preference::ContactsPerWeek(most)],
            records: vec![RecordChange { list: AttrId(1), key: "main".into(), fields }],
        };
        event(id, at, kind)
    };
    let mut events = [said(1, 5, Some(3), Some(10)), said(2, 7, None, None), said(3, 6, Some(9), Some(20))];
    for _ in 0..events.len() {
        events.rotate_left(1);
        let mut profile = Profile::default();
        events.iter().for_each(|event| drop(apply(&mut profile, event)));
        assert_eq!((profile.preferences.len(), profile.records.len()), (1, 1));
        assert_eq!(profile.preferences[0].preference, Preference::ContactsPerWeek(None));
        assert_eq!((&profile.records[0].change.fields, profile.records[0].at), (&None, Timestamp(7)));
    }
}

#[test]
fn of_too_many_records_removed_ones_go_first() {
    let mut profile = Profile::default();
    for n in 0..200_i64 {
        let fields = (n != 150).then(Vec::new);
        let change = RecordChange { list: AttrId(1), key: n.to_string().into(), fields };
        let (attributes, consents, preferences) = Default::default();
        let kind = EventKind::Upsert { attributes, consents, preferences, records: vec![change] };
        apply(&mut profile, &event(n as u128, n, kind));
    }
    assert_eq!(profile.records.len(), profile::RECORDS_MAX);
    let key = |n: i64| profile.records.iter().any(|record| *record.change.key == *n.to_string());
    assert!(!key(70) && key(71) && !key(150) && key(199));
}

#[test]
fn lists_stay_bounded_and_keep_the_newest() {
    let mut profile = Profile::default();
    for n in 0..150 {
        apply(&mut profile, &event(n as u128, n, purchase(1, n as u64)));
        apply(&mut profile, &event(1_000 + n as u128, n, outcome(n as u128, OutcomeType::Impression, None)));
    }
    assert_eq!(profile.items.len(), profile::ITEMS_MAX);
    assert_eq!(profile.items[0].at, Timestamp(50));
    assert_eq!(profile.interactions.len(), profile::INTERACTIONS_MAX);
    assert_eq!(profile.interactions[0].at, Timestamp(50));
}

/// A decision of a moment.
fn decided(at: i64) -> u128 {
    DecisionId::new(u64::try_from(at / 1_000).unwrap(), 1).0
}

#[test]
fn answers_outlive_what_was_only_shown() {
    let mut profile = Profile::default();
    let at = |n: i64| n * 1_000_000;
    apply(&mut profile, &event(1, at(1), outcome(decided(at(1)), OutcomeType::Decline, None)));
    for n in 2..500 {
        apply(&mut profile, &event(n as u128, at(n), outcome(decided(at(n)), OutcomeType::Impression, None)));
    }
    assert_eq!(profile.interactions.len(), profile::INTERACTIONS_MAX);
    assert!(profile.interactions[0].outcomes.has(OutcomeType::Decline));
    assert_eq!(profile.interactions[1].at, Timestamp(at(401)));
    for n in 500..800 {
        apply(&mut profile, &event(n as u128, at(n), outcome(decided(at(n)), OutcomeType::Handoff, None)));
    }
    let handoffs = profile.interactions.iter().filter(|i| i.outcomes.has(OutcomeType::Handoff)).count();
    assert_eq!((profile.interactions.len(), handoffs), (profile::INTERACTIONS_MAX, profile::ANSWERED_MAX));
    let newest_shown = profile.interactions.iter().rev().find(|i| i.outcomes.has(OutcomeType::Impression));
    assert_eq!(newest_shown.map(|i| i.at), Some(Timestamp(at(499))));
}

#[test]
fn what_may_be_forgotten_is_not_counted_again() {
    let (mut profile, mut tallies) = (Profile::default(), Tallies::default());
    let mut come = |id: u128, at: i64, kind| {
        for effect in apply(&mut profile, &event(id, at, kind)) {
            tallies.fold(&effect);
        }
        let tally = tallies.offers.values().next().copied().unwrap_or_default();
        (tally.trials, tally.positives)
    };
    let at = |n: i64| n * 1_000_000;
    let mut counted = (0, 0);
    for n in 1..=200 {
        counted = come(n as u128, at(n), outcome(decided(at(n)), OutcomeType::Impression, None));
    }
    assert_eq!(counted, (200, 0));
    assert_eq!(come(1_001, at(300), outcome(decided(at(1)), OutcomeType::Click, None)), (200, 0));
    assert_eq!(come(1_002, at(301), outcome(decided(at(150)), OutcomeType::Click, None)), (200, 1));
    assert_eq!(come(1_003, at(302), outcome(decided(at(302)), OutcomeType::Click, None)), (201, 2));
}

#[test]
fn the_later_of_two_words_counts_whether_for_one_channel_or_all() {
    let all = |permission, at| Consent { channel: None, ..consent(permission, at) };
    let said = |consents: Vec<Consent>| {
        let mut profile = Profile::default();
        apply(
            &mut profile,
            &event(
                1,
                9,
                EventKind::Upsert { attributes: Vec::new(), consents, preferences: Vec::new(), records: Vec::new() },
            ),
        );
        permissions::contact(&profile, ChannelId(3), Purpose::Marketing, PageConsent::default())
    };
    let (granted, denied) = (Permission::Granted, Permission::Denied);
    assert_eq!(said(vec![consent(granted, 5), all(denied, 6)]), denied);
    assert_eq!(said(vec![consent(granted, 6), all(denied, 5)]), granted);
    assert_eq!(said(vec![consent(denied, 5), all(granted, 6)]), granted);
    assert_eq!(said(vec![consent(denied, 6), all(granted, 5)]), denied);
    assert_eq!(said(vec![consent(granted, 5), all(denied, 5)]), denied);
    assert_eq!(said(vec![consent(denied, 5), all(granted, 5)]), denied);
    assert_eq!(said(vec![consent(granted, 5)]), granted);
    assert_eq!(said(vec![all(denied, 5)]), denied);
}

#[test]
fn whoever_complains_of_mail_is_sent_no_more_marketing_by_it() {
    let complained = |channel| EventKind::Customer {
        event: EventTypeId::of("email_complained"),
        channel,
        amount: None,
        items: Vec::new(),
        bought: false,
        conversion: false,
        data: "".into(),
    };
    for (given, denied) in [(None, "email"), (Some(ChannelId::of("news")), "news")] {
        let mut profile = Profile::default();
        apply(&mut profile, &event(1, 5, complained(given)));
        let on = |purpose| profile.permission(Some(ChannelId::of(denied)), purpose);
        assert_eq!(on(ConsentPurpose::Marketing), Permission::Denied, "{denied}");
        assert_eq!(on(ConsentPurpose::Service), Permission::Unknown);
        assert_eq!(profile.permission(Some(ChannelId::of("sms")), ConsentPurpose::Marketing), Permission::Unknown);
    }
}

#[test]
fn closing_twice_hides_nothing_that_is_opened_later() {
    let (opened, closed) = (EventTypeId::of("complaint_opened"), EventTypeId::of("complaint_closed"));
    let is_open = |events: &[(EventTypeId, i64)]| {
        let mut profile = Profile::default();
        for (id, (kind, at)) in events.iter().enumerate() {
            let kind = EventKind::Customer {
                event: *kind,
                channel: None,
                amount: None,
                items: Vec::new(),
                bought: false,
                conversion: false,
                data: "".into(),
            };
            apply(&mut profile, &event(id as u128, *at, kind));
        }
        traits::read(&Trait::Open { opened, closed }, &profile, Timestamp(100))
    };
    assert_eq!(is_open(&[(opened, 1)]), Cell::Bool(true));
    assert_eq!(is_open(&[(opened, 1), (closed, 2)]), Cell::Bool(false));
    assert_eq!(is_open(&[(opened, 1), (closed, 2), (closed, 3), (opened, 4)]), Cell::Bool(true));
    assert_eq!(is_open(&[(opened, 1), (opened, 2), (closed, 3)]), Cell::Bool(true));
    assert_eq!(is_open(&[(closed, 1)]), Cell::Bool(false));
}

fn with_date(date: &str) -> Profile {
    let value = Date::parse(date).map(Value::Date);
    let attributes = vec![StoredAttribute { id: AttrId(1), value, at: NOW }];
    Profile { attributes, ..Profile::default() }
}

fn noon(date: &str) -> Timestamp {
    let days = Date::parse(date).map_or(0, |d| i64::from(d.0));
    Timestamp(days * DAY_US + DAY_US / 2)
}

#[test]
fn anniversaries_go_by_the_calendar() {
    let birthday = Trait::DaysToAnniversary(AttrId(1));
    let days = |born, today| traits::read(&birthday, &with_date(born), noon(today));
    assert_eq!(days("1980-05-10", "2023-05-10"), Cell::Int(0));
    assert_eq!(days("1980-05-10", "2023-05-09"), Cell::Int(1));
    assert_eq!(days("1980-05-10", "2023-05-11"), Cell::Int(365));
    assert_eq!(days("1980-02-29", "2023-02-28"), Cell::Int(1));
    assert_eq!(days("1980-02-29", "2024-02-28"), Cell::Int(1));
    assert_eq!(days("1980-02-29", "2023-03-01"), Cell::Int(0));
    assert_eq!(traits::read(&birthday, &Profile::default(), NOW), Cell::Missing);
}

#[test]
fn traits_read_totals() {
    let mut profile = Profile::default();
    let (event_type, never) = (EventTypeId(1), EventTypeId(2));
    apply(&mut profile, &event(1, NOW.0 - 3 * DAY_US, purchase(100, 1)));
    apply(&mut profile, &event(2, NOW.0 - 2 * DAY_US + 1, purchase(101, 1)));
    apply(&mut profile, &event(3, NOW.0 - DAY_US, outcome(1, OutcomeType::Cancelled, None)));
    let read = |wanted| traits::read(&wanted, &profile, NOW);
    assert_eq!(read(Trait::Count(event_type)), Cell::Int(2));
    assert_eq!(read(Trait::Count(never)), Cell::Int(0));
    assert_eq!(read(Trait::Sum(event_type)), Cell::Money(201));
    assert_eq!(read(Trait::Mean(event_type)), Cell::Money(101));
    assert_eq!(read(Trait::Mean(never)), Cell::Missing);
    assert_eq!(read(Trait::DaysSince(event_type)), Cell::Int(1));
    assert_eq!(read(Trait::DaysSinceFirst(event_type)), Cell::Int(3));
    assert_eq!(read(Trait::DaysSince(never)), Cell::Missing);
    assert_eq!(read(Trait::Open { opened: event_type, closed: never }), Cell::Bool(true));
    assert_eq!(read(Trait::Open { opened: never, closed: event_type }), Cell::Bool(false));
    assert_eq!(read(Trait::DaysSinceContact), Cell::Missing);
    assert_eq!(read(Trait::ItemsBought), Cell::Int(1));
}

fn any_kind() -> impl Strategy<Value = EventKind> {
    let outcomes = (0..4_u128, 0..10_u8)
        .prop_map(|(decision, number)| outcome(decision, OutcomeType::from_number(number).unwrap(), Some(5)));
    let attribute = (0..3_u32, proptest::option::of(0..3_i64)).prop_map(|(id, value)| EventKind::Upsert {
        attributes: vec![(AttrId(id), value.map(Value::Int))],
        consents: Vec::new(),
        preferences: Vec::new(),
        records: Vec::new(),
    });
    let permissions = (0..3_usize, 0..4_i64).prop_map(|(permission, at)| {
        let permission = [Permission::Unknown, Permission::Granted, Permission::Denied][permission];
        EventKind::Upsert {
            attributes: Vec::new(),
            consents: vec![consent(permission, at)],
            preferences: Vec::new(),
            records: Vec::new(),
        }
    });
    let bought = (0..9_i64, 0..3_u64).prop_map(|(amount, item)| purchase(amount, item));
    prop_oneof![outcomes, attribute, permissions, bought, Just(EventKind::DoNotContact { on: true, reason: "".into() })]
}

fn any_events() -> impl Strategy<Value = (Vec<Event>, Vec<usize>)> {
    proptest::collection::vec((any_kind(), 0..20_i64), 1..20).prop_flat_map(|kinds| {
        let events: Vec<Event> =
            kinds.into_iter().enumerate().map(|(n, (kind, at))| event(n as u128, at, kind)).collect();
        let count = events.len();
        let order = Just((0..count).chain(0..count).collect::<Vec<_>>()).prop_shuffle();
        (Just(events), order)
    })
}

/// The caller's duty: each event id once.
fn applied<'a>(events: impl Iterator<Item = &'a Event>) -> (Profile, Tallies) {
    let (mut profile, mut tallies) = (Profile::default(), Tallies::default());
    let mut seen = std::collections::HashSet::new();
    for event in events {
        if seen.insert(event.id) {
            for effect in apply(&mut profile, event) {
                tallies.fold(&effect);
            }
        }
    }
    (profile, tallies)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_and_repeats_never_matter((events, order) in any_events()) {
        let straight = applied(events.iter());
        let shuffled = applied(order.iter().map(|at| &events[*at]));
        prop_assert_eq!(straight, shuffled);
    }
}
