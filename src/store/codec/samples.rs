//! Random nouns for tests.

use std::sync::Arc;

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::{
    domain::*,
    store::{DecisionRecord, HotProfile, WinnerRecord},
};

const CONSENT_PURPOSES: [ConsentPurpose; 3] =
    [ConsentPurpose::Marketing, ConsentPurpose::Service, ConsentPurpose::Profiling];
const PERMISSIONS: [Permission; 3] = [Permission::Unknown, Permission::Granted, Permission::Denied];

fn text() -> impl Strategy<Value = Box<str>> {
    "[a-zé€\u{1F600}]{0,6}".prop_map(Into::into)
}

/// Whole seconds, whole milliseconds, and any.
fn moment() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        (1_700_000_000_i64..1_800_000_000).prop_map(|s| Timestamp(s * 1_000_000)),
        (1_700_000_000_000_i64..1_800_000_000_000).prop_map(Timestamp::from_millis),
        any::<i64>().prop_map(Timestamp),
        select(vec![Timestamp(i64::MIN), Timestamp(i64::MAX), Timestamp(0), Timestamp(-1)]),
    ]
}

fn decision_id() -> impl Strategy<Value = DecisionId> {
    prop_oneof![
        (any::<u64>(), any::<u128>()).prop_map(|(ms, random)| DecisionId::new(ms, random)),
        any::<u128>().prop_map(DecisionId),
        select(vec![DecisionId(0), DecisionId(u128::MAX), DecisionId::new(1_750_000_000_000, 5)]),
    ]
}

pub fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        prop_oneof![any::<f64>(), (-100_i32..100).prop_map(f64::from)]
            .prop_filter("finite", |v| v.is_finite())
            .prop_map(Value::Double),
        text().prop_map(Value::Text),
        vec(text(), 0..4).prop_map(|v| Value::Set(v.into())),
        moment().prop_map(Value::Timestamp),
        any::<i32>().prop_map(|days| Value::Date(Date(days))),
        any::<i64>().prop_map(Value::Money),
    ]
}

fn consent() -> impl Strategy<Value = Consent> {
    let what = (select(&CONSENT_PURPOSES[..]), select(&PERMISSIONS[..]));
    (option::of(any::<u32>()), what, moment(), text(), text()).prop_map(|(channel, what, at, source, proof)| Consent {
        channel: channel.map(ChannelId),
        purpose: what.0,
        permission: what.1,
        at,
        source,
        proof,
    })
}

fn identity() -> impl Strategy<Value = StoredIdentity> {
    (any::<u32>(), text()).prop_map(|(kind, value)| StoredIdentity { kind: IdentityTypeId(kind), value })
}

fn attribute() -> impl Strategy<Value = StoredAttribute> {
    (any::<u32>(), option::of(value()), moment()).prop_map(|(id, value, at)| StoredAttribute {
        id: AttrId(id),
        value,
        at,
    })
}

fn stat() -> impl Strategy<Value = EventStat> {
    (any::<u32>(), any::<u64>(), any::<i64>(), moment(), moment()).prop_map(
        |(event, count, amount, first_at, last_at)| EventStat {
            event: EventTypeId(event),
            count,
            amount,
            first_at,
            last_at,
        },
    )
}

fn interaction() -> impl Strategy<Value = Interaction> {
    let names = (0_u64..4, 0_u32..3, 0_u32..3);
    (decision_id(), names, moment(), option::of(moment()), any::<u16>()).prop_map(
        |(decision, names, at, answered, outcomes)| Interaction {
            decision,
            offer: OfferId(names.0),
            channel: ChannelId(names.1),
            at,
            answered_at: answered.unwrap_or(at),
            outcomes: OutcomeSet(outcomes),
            reason: ReasonCode(names.2),
        },
    )
}

fn touch() -> impl Strategy<Value = ItemTouch> {
    (moment(), 0_u64..5, any::<bool>()).prop_map(|(at, item, bought)| ItemTouch { at, item: ItemId(item), bought })
}

pub fn profile() -> impl Strategy<Value = Profile> {
    let head = (any::<u128>(), option::of(any::<u128>()), any::<u64>(), moment());
    let lists = (vec(identity(), 0..4), vec(attribute(), 0..8), vec(stat(), 0..4));
    let history = (vec(interaction(), 0..10), vec(touch(), 0..10), vec(consent(), 0..4));
    let marks = (option::of(moment()), option::of(moment()), any::<bool>(), any::<bool>());
    (head, lists, history, marks).prop_map(|(head, lists, history, marks)| Profile {
        key: CustomerKey(head.0),
        arm_key: ArmKey(head.1.unwrap_or(head.0)),
        version: head.2,
        first_seen: head.3,
        identities: lists.0,
        attributes: lists.1,
        stats: lists.2,
        interactions: history.0,
        items: history.1,
        consents: history.2,
        do_not_contact: marks.0,
        exposed_at: marks.1,
        exposed_holdout: marks.2,
        converted: marks.3,
    })
}

fn outcome_kind() -> impl Strategy<Value = EventKind> {
    let customer = option::of(any::<u128>().prop_map(CustomerKey));
    let presentation = (decision_id(), customer, any::<u64>(), any::<u32>(), moment()).prop_map(
        |(decision, customer, offer, channel, expires_at)| PresentationRef {
            decision,
            customer,
            offer: OfferId(offer),
            channel: ChannelId(channel),
            expires_at,
        },
    );
    let rest = (select(&OutcomeType::ALL[..]), any::<u32>(), option::of(any::<i64>()));
    let texts = (text(), text(), text());
    let purpose = select(&[crate::domain::Purpose::Marketing, crate::domain::Purpose::Service][..]);
    (presentation, rest, texts, purpose).prop_map(
        |(presentation, (outcome, reason, value), (note, agent, call), purpose)| EventKind::Outcome {
            presentation,
            outcome,
            reason: ReasonCode(reason),
            value,
            note,
            agent,
            call,
            purpose,
        },
    )
}

fn customer_kind() -> impl Strategy<Value = EventKind> {
    let line = (any::<u64>(), any::<i32>(), any::<i64>()).prop_map(|(item, quantity, unit_price)| ItemLine {
        item: ItemId(item),
        quantity,
        unit_price,
    });
    let what = (any::<u32>(), option::of(any::<u32>()), option::of(any::<i64>()));
    (what, vec(line, 0..5), any::<bool>(), any::<bool>(), text()).prop_map(|(what, items, bought, conversion, data)| {
        EventKind::Customer {
            event: EventTypeId(what.0),
            channel: what.1.map(ChannelId),
            amount: what.2,
            items,
            bought,
            conversion,
            data,
        }
    })
}

pub fn event() -> impl Strategy<Value = Event> {
    let attribute = (any::<u32>().prop_map(AttrId), option::of(value()));
    let kind = prop_oneof![
        outcome_kind(),
        customer_kind(),
        (vec(attribute, 0..5), vec(consent(), 0..3))
            .prop_map(|(attributes, consents)| EventKind::Upsert { attributes, consents }),
        (any::<bool>(), text()).prop_map(|(on, reason)| EventKind::DoNotContact { on, reason }),
        any::<bool>().prop_map(|holdout| EventKind::Exposed { holdout }),
    ];
    (any::<u128>(), moment(), moment(), vec(identity(), 0..3), kind).prop_map(
        |(id, at, received_at, identities, kind)| Event { id: EventId(id), at, received_at, identities, kind },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let identity = (any::<u32>(), text(), any::<u128>()).prop_map(|(kind, value, hash)| Identity {
        kind: IdentityTypeId(kind),
        value,
        hash: IdentityHash(hash),
        sharing: Default::default(),
    });
    let ask = (any::<u32>(), text(), any::<u16>()).prop_map(|(id, name, count)| PlacementAsk {
        id: PlacementId(id),
        name,
        count,
    });
    let assurance = select(vec![Assurance::Anonymous, Assurance::Claimed, Assurance::Verified]);
    let purpose = option::of(select(vec![Purpose::Marketing, Purpose::Service]));
    let who = (vec(identity, 0..3), assurance, text(), vec(ask, 0..3), vec(any::<u32>().prop_map(ChannelId), 0..3));
    let context = vec((any::<u32>().prop_map(AttrId), value()), 0..4);
    let consents = (select(&PERMISSIONS[..]), select(&PERMISSIONS[..]))
        .prop_map(|(profiling, marketing)| PageConsent { profiling, marketing });
    let excluded = (vec(any::<u64>().prop_map(OfferId), 0..3), vec(any::<u64>().prop_map(ItemId), 0..3));
    let how = (
        select(vec![Intent::Present, Intent::Preview]),
        select(vec![View::Render, View::Agent, View::Full]),
        select(vec![Trace::None, Trace::Summary, Trace::Full]),
    );
    let window = (option::of(moment()), option::of(moment())).prop_map(|(from, until)| SendWindow { from, until });
    let new = (option::of(any::<u128>().prop_map(VisitorId)), window);
    let rest = (any::<u32>(), text(), text(), vec(text(), 0..3), option::of(moment()), new);
    let overrides = vec((any::<u32>().prop_map(AttrId), value()), 0..3);
    (who, purpose, context, consents, excluded, how, rest, overrides).prop_map(
        |(who, purpose, context, page_consent, excluded, how, rest, overrides)| Request {
            identities: who.0,
            assurance: who.1,
            session_id: who.2,
            placements: who.3,
            allowed_channels: who.4,
            purpose,
            context,
            page_consent,
            exclude_offers: excluded.0,
            exclude_items: excluded.1,
            time_budget_ms: rest.0,
            request_id: rest.1,
            intent: how.0,
            view: how.1,
            trace: how.2,
            consistency_token: rest.2,
            languages: rest.3,
            as_of: rest.4,
            overrides,
            visitor: rest.5.0,
            send_window: rest.5.1,
        },
    )
}

fn winner() -> impl Strategy<Value = WinnerRecord> {
    let place = (any::<u16>(), any::<u64>(), any::<u32>());
    (place, any::<f32>(), 0.0_f32..=1.0, any::<bool>(), option::of(moment())).prop_map(
        |(place, net_priority, probability, counts_now, reserved_until)| WinnerRecord {
            placement: place.0,
            offer: OfferId(place.1),
            channel: ChannelId(place.2),
            net_priority,
            probability,
            counts_now,
            reserved_until,
        },
    )
}

fn reservation() -> impl Strategy<Value = Reservation> {
    (decision_id(), any::<u64>(), any::<u32>(), moment(), moment()).prop_map(
        |(decision, offer, channel, at, expires_at)| Reservation {
            decision,
            offer: OfferId(offer),
            channel: ChannelId(channel),
            at,
            expires_at,
        },
    )
}

pub fn decision() -> impl Strategy<Value = DecisionRecord> {
    let offers = || vec(any::<u64>().prop_map(OfferId), 0..4);
    let head = (
        decision_id(),
        moment(),
        request(),
        select(vec![Match::Known, Match::Anonymous, Match::New, Match::Ambiguous]),
        option::of((any::<u128>(), any::<u128>())),
    );
    let versions = (any::<u64>(), any::<u64>(), any::<u32>());
    let denied = vec((any::<u64>().prop_map(OfferId), select(Reason::ALL)), 0..4);
    let lists = (vec(reservation(), 0..3), offers(), denied, offers(), vec(winner(), 0..4));
    let tail = (any::<u8>(), text(), any::<u64>(), option::of(any::<bool>()));
    (head, versions, lists, tail).prop_map(|(head, versions, lists, tail)| DecisionRecord {
        id: head.0,
        now: head.1,
        request: head.2,
        matched: head.3,
        customer: head.4.map(|(key, hash)| {
            let profile = Profile { key: CustomerKey(key), ..Profile::default() };
            Arc::new(HotProfile { profile, hash, data_key: crate::store::seal::DataKey([7; 32]) })
        }),
        ruleset: RulesetHash(versions.0),
        model_version: versions.1,
        signing_key: versions.2,
        reservations: lists.0,
        exhausted: lists.1,
        denied: lists.2,
        keep_order: lists.3,
        degraded: DegradedSet(tail.0),
        consistency_token: tail.1,
        public_url: "https://shop.example".into(),
        digest: tail.2,
        winners: lists.4,
        eligible: crate::store::Eligible { numbers: vec![1], ..crate::store::Eligible::default() },
        exposed: tail.3,
        pauses: Arc::new(Pauses { version: u64::from(versions.2), list: Vec::new() }),
    })
}

pub fn tallies() -> impl Strategy<Value = Tallies> {
    let counts = (any::<[u64; 4]>(), any::<[u64; 2]>(), any::<i64>()).prop_map(|(a, b, revenue)| Tally {
        eligible: a[0],
        decided: a[1],
        trials: a[2],
        positives: a[3],
        impressions: b[0],
        declines: b[1],
        revenue,
    });
    let pair = (any::<u64>().prop_map(OfferId), any::<u32>().prop_map(ChannelId));
    let offers = proptest::collection::btree_map(pair, counts, 0..8);
    (any::<u64>(), offers, any::<[u64; 2]>(), any::<[u64; 2]>(), any::<[i64; 2]>()).prop_map(
        |(version, offers, exposed, converted, revenue)| Tallies { version, offers, exposed, converted, revenue },
    )
}

/// A profile of 40 attributes, 50 interactions and 100 item touches, as a year
/// of visits would leave it.
pub fn year_of_visits() -> Profile {
    let day = |n: i64| Timestamp::from_millis(1_750_000_000_123 + n * 86_400_000);
    let attribute = |n: i64| StoredAttribute {
        id: AttrId::of(&format!("attribute_{n}")),
        value: Some(match n % 8 {
            0 => Value::Bool(n % 16 == 0),
            1 | 2 => Value::Int(n * 37),
            3 => Value::Money(n * 1_999),
            4 => Value::Text("gold".into()),
            5 => Value::Date(Date(19_000 + n as i32)),
            6 => Value::Double(n as f64 / 4.0),
            _ => Value::Timestamp(day(n)),
        }),
        at: day(n / 10),
    };
    let interaction = |n: i64| {
        let at = day(n * 7).plus_us((n * 7_919_000) % 3_600_000_000);
        Interaction {
            decision: DecisionId::new(at.millis() as u64 - 900, u128::from(stable_hash64(&n.to_string())) << 11),
            offer: OfferId::of(&format!("offer_{}", n % 12)),
            channel: ChannelId::of(&format!("channel_{}", n % 4)),
            at,
            answered_at: if n % 3 == 0 { at.plus_us(4_321_000) } else { at },
            outcomes: OutcomeSet::default().with(OutcomeType::Impression),
            reason: ReasonCode(if n % 9 == 0 { 77 } else { 0 }),
        }
    };
    let touch = |n: i64| ItemTouch {
        at: day(n / 5).plus_us((n % 5) * 45_678_000),
        item: ItemId::of(&format!("item_{}", n % 40)),
        bought: n % 11 == 0,
    };
    let mut profile = Profile {
        key: CustomerKey(u128::MAX / 3),
        arm_key: ArmKey(u128::MAX / 3),
        version: 312,
        first_seen: day(0),
        identities: vec![StoredIdentity { kind: IdentityTypeId(1), value: "c-1234567".into() }],
        attributes: (0..40).map(attribute).collect(),
        interactions: (0..50).map(interaction).collect(),
        items: (0..100).map(touch).collect(),
        ..Profile::default()
    };
    profile.attributes.sort_by_key(|a| a.id);
    profile
}
