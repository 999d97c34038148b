//! Random nouns for tests.

use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::domain::{
    profile::{NameSum, SeriesState, SlotSum},
    series::{Feed, FeedValue, Keep, SeriesId, SlotWidth},
    *,
};

pub use super::samples_decision::{decision, tallies};

const CONSENT_PURPOSES: [ConsentPurpose; 3] =
    [ConsentPurpose::Marketing, ConsentPurpose::Service, ConsentPurpose::Profiling];
pub const PERMISSIONS: [Permission; 3] = [Permission::Unknown, Permission::Granted, Permission::Denied];

pub fn text() -> impl Strategy<Value = Box<str>> {
    "[a-zé€\u{1F600}]{0,6}".prop_map(Into::into)
}

/// Whole seconds, whole milliseconds, and any.
pub fn moment() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        (1_700_000_000_i64..1_800_000_000).prop_map(|s| Timestamp(s * 1_000_000)),
        (1_700_000_000_000_i64..1_800_000_000_000).prop_map(Timestamp::from_millis),
        any::<i64>().prop_map(Timestamp),
        select(vec![Timestamp(i64::MIN), Timestamp(i64::MAX), Timestamp(0), Timestamp(-1)]),
    ]
}

pub fn decision_id() -> impl Strategy<Value = DecisionId> {
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
    let after = (option::of(moment()), option::of(moment()));
    (decision_id(), names, moment(), after, any::<u16>()).prop_map(
        |(decision, names, at, (answered, reason_at), outcomes)| Interaction {
            decision,
            offer: OfferId(names.0),
            channel: ChannelId(names.1),
            record: RecordRef(u64::from(names.2).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            at,
            answered_at: answered.unwrap_or_default(),
            outcomes: OutcomeSet(outcomes),
            reason: ReasonCode(names.2),
            reason_at: reason_at.unwrap_or_default(),
        },
    )
}

fn touch() -> impl Strategy<Value = ItemTouch> {
    (moment(), 0_u64..5, any::<bool>()).prop_map(|(at, item, bought)| ItemTouch { at, item: ItemId(item), bought })
}

fn preference() -> impl Strategy<Value = Preference> {
    prop_oneof![
        option::of(any::<u32>().prop_map(ChannelId)).prop_map(Preference::Channel),
        option::of(text()).prop_map(Preference::Language),
        option::of(any::<(u16, u16)>()).prop_map(Preference::QuietHours),
        option::of(any::<u16>()).prop_map(Preference::ContactsPerWeek),
    ]
}

fn record() -> impl Strategy<Value = RecordChange> {
    let field = (any::<u32>().prop_map(AttrId), value());
    (any::<u32>(), text(), option::of(vec(field, 0..4))).prop_map(|(list, key, fields)| RecordChange {
        list: AttrId(list),
        key,
        fields,
    })
}

fn keep() -> impl Strategy<Value = Keep> {
    let slots = || (select(&[SlotWidth::Hour, SlotWidth::Day][..]), any::<u16>());
    prop_oneof![
        slots().prop_map(|(width, slots)| Keep::Slots { width, slots }),
        slots().prop_map(|(width, slots)| Keep::Names { width, slots }),
        select(&[Keep::Total, Keep::Latest, Keep::Earliest, Keep::Moments][..]),
    ]
}

fn feed_value() -> impl Strategy<Value = FeedValue> {
    prop_oneof![
        Just(FeedValue::Nothing),
        any::<i64>().prop_map(FeedValue::Number),
        text().prop_map(FeedValue::Text),
        moment().prop_map(FeedValue::Moment),
    ]
}

fn feed() -> impl Strategy<Value = Feed> {
    (any::<u32>(), keep(), any::<i32>(), feed_value()).prop_map(|(series, keep, slot, value)| Feed {
        series: SeriesId(series),
        keep,
        slot,
        value,
    })
}

fn series() -> impl Strategy<Value = StoredSeries> {
    let sum = (any::<i32>(), any::<u32>(), any::<i64>(), option::of(any::<(i64, i64)>())).prop_map(
        |(slot, count, sum, ends)| {
            let (min, max) = ends.unwrap_or((sum, sum));
            SlotSum { slot, count, sum, min, max }
        },
    );
    let name = (text(), any::<i32>(), any::<u32>(), moment()).prop_map(|(name, slot, count, last)| NameSum {
        name,
        slot,
        count,
        last,
    });
    let event = || any::<u128>().prop_map(EventId);
    let state = prop_oneof![
        vec(sum, 0..5).prop_map(SeriesState::Sums),
        (moment(), event(), feed_value()).prop_map(|(at, event, value)| SeriesState::One(at, event, value)),
        vec(name, 0..5).prop_map(SeriesState::Names),
        vec((moment(), event()), 0..5).prop_map(SeriesState::Moments),
    ];
    (any::<u32>(), keep(), state).prop_map(|(id, keep, state)| StoredSeries { id: SeriesId(id), keep, state })
}

fn origin() -> impl Strategy<Value = Origin> {
    (any::<u128>(), any::<u64>(), vec(stat(), 0..3), vec(series(), 0..3))
        .prop_map(|(key, version, stats, series)| Origin { key: CustomerKey(key), version, stats, series })
}

pub fn profile() -> impl Strategy<Value = Profile> {
    let head = (any::<u128>(), option::of(any::<u128>()), any::<u64>(), moment());
    let lists = (vec(identity(), 0..4), vec(attribute(), 0..8), vec(stat(), 0..4));
    let history = (vec(interaction(), 0..10), vec(touch(), 0..10), vec(consent(), 0..4));
    let mark = || option::of(moment());
    let marks = (mark(), mark(), mark(), mark(), any::<bool>());
    let preference = (preference(), moment()).prop_map(|(preference, at)| StoredPreference { preference, at });
    let record = (record(), moment()).prop_map(|(change, at)| StoredRecord { change, at });
    let new = (vec(preference, 0..4), vec(record, 0..4), vec(series(), 0..5), vec(origin(), 0..3));
    (head, lists, history, marks, new).prop_map(|(head, lists, history, marks, new)| Profile {
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
        contact_allowed_at: marks.1,
        exposed_at: marks.2,
        converted_at: marks.3,
        exposed_holdout: marks.4,
        preferences: new.0,
        records: new.1,
        series: new.2,
        absorbed: new.3,
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
            record: RecordRef(u64::from(channel % 3)),
            expires_at,
        },
    );
    let rest = (select(&OutcomeType::ALL[..]), any::<u32>(), option::of(any::<i64>()));
    let texts = (text(), text(), text(), text());
    let purpose = select(&[crate::domain::Purpose::Marketing, crate::domain::Purpose::Service][..]);
    (presentation, rest, texts, purpose).prop_map(
        |(presentation, (outcome, reason, value), (note, agent, call, link), purpose)| EventKind::Outcome {
            presentation,
            outcome,
            reason: ReasonCode(reason),
            value,
            note,
            agent,
            call,
            purpose,
            link,
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
        (vec(attribute, 0..5), vec(consent(), 0..3), vec(preference(), 0..3), vec(record(), 0..3)).prop_map(
            |(attributes, consents, preferences, records)| EventKind::Upsert {
                attributes,
                consents,
                preferences,
                records
            }
        ),
        (any::<bool>(), text()).prop_map(|(on, reason)| EventKind::DoNotContact { on, reason }),
        any::<bool>().prop_map(|holdout| EventKind::Exposed { holdout }),
    ];
    let fed = (vec(identity(), 0..3), vec(feed(), 0..4));
    (any::<u128>(), moment(), moment(), fed, kind).prop_map(|(id, at, received_at, (identities, feeds), kind)| Event {
        id: EventId(id),
        at,
        received_at,
        identities,
        feeds,
        kind,
    })
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
            record: RecordRef::NONE,
            at,
            answered_at: if n % 3 == 0 { at.plus_us(4_321_000) } else { Timestamp::default() },
            outcomes: OutcomeSet::default().with(OutcomeType::Impression),
            reason: ReasonCode(if n % 9 == 0 { 77 } else { 0 }),
            reason_at: if n % 9 == 0 { at.plus_us(4_321_000) } else { Timestamp::default() },
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
