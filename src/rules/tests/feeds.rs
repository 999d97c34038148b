//! What events feed, and what traits are read from.

use super::{compile_text, sample};
use crate::{
    domain::{
        AttrId, AttributeSource, AttributeType, ChannelId, Event, EventId, EventKind, EventTypeId, ItemId, ItemLine,
        Timestamp, Trait, Value,
        series::{Aggregate, Feed, FeedValue, Keep, Period, SeriesTrait, SlotWidth, Unit, Window},
    },
    rules::{FEED_TEXT_BYTES_MAX, Ruleset},
};

/// 1 July 2011, 00:30 in London.
const AT: Timestamp = Timestamp(1_309_476_600_000_000);

fn event(name: &str, amount: Option<i64>, channel: &str) -> Event {
    Event {
        id: EventId(1),
        at: AT,
        received_at: AT,
        identities: Vec::new(),
        feeds: Vec::new(),
        kind: EventKind::Customer {
            event: EventTypeId::of(name),
            channel: (!channel.is_empty()).then(|| ChannelId::of(channel)),
            amount,
            items: vec![ItemLine { item: ItemId::of("tea"), quantity: 3, unit_price: 0 }],
            bought: false,
            conversion: false,
            data: Box::default(),
        },
    }
}

fn text(name: &str, value: &str) -> (AttrId, Value) {
    (AttrId::of(name), Value::Text(value.into()))
}

fn how<'r>(rules: &'r Ruleset, name: &str) -> (&'r SeriesTrait, &'r AttributeType) {
    let def = &rules.schema.attributes[rules.schema.by_name[format!("p.{name}").as_str()].index()];
    match &def.source {
        AttributeSource::Trait(Trait::Series(of)) => (of, &def.kind),
        other => panic!("{name}: {other:?}"),
    }
}

fn fed(rules: &Ruleset, feeds: &[Feed], name: &str) -> Vec<(i32, FeedValue)> {
    let series = how(rules, name).0.series;
    feeds.iter().filter(|feed| feed.series == series).map(|feed| (feed.slot, feed.value.clone())).collect()
}

#[test]
fn traits_say_what_they_are_read_from() {
    let rules = sample();
    let (orders, kind) = how(&rules, "orders_90d");
    assert_eq!((orders.aggregate.clone(), kind), (Aggregate::Count, &AttributeType::Int));
    assert_eq!(orders.window, Window::Rolling { width: SlotWidth::Day, slots: 90 });
    assert_eq!(orders.keep, Keep::Slots { width: SlotWidth::Day, slots: 92 });
    let (smallest, kind) = how(&rules, "smallest_order");
    assert_eq!((smallest.window, smallest.unit), (Window::Calendar(Period::Year), Unit::Money));
    assert_eq!(*kind, AttributeType::Money);
    assert_eq!(how(&rules, "copies_asked").0.keep, Keep::Total);
    assert_eq!((how(&rules, "last_search").0.keep, how(&rules, "last_search").1), (Keep::Latest, &AttributeType::Text));
    assert_eq!(how(&rules, "first_search").0.keep, Keep::Earliest);
    assert_eq!(how(&rules, "brands_seen").0.keep, Keep::Names { width: SlotWidth::Hour, slots: 24 });
    let (top, kind) = how(&rules, "favourite_categories");
    assert_eq!((top.aggregate.clone(), kind), (Aggregate::Top(3), &AttributeType::Set));
    assert_eq!(top.series, how(&rules, "favourite_category").0.series, "what needs the same shares it");
    let (called, kind) = how(&rules, "called_after_order");
    assert!(matches!(called.aggregate, Aggregate::FollowedBy { within_us: 604_800_000_000, .. }));
    assert_eq!((called.keep, kind), (Keep::Moments, &AttributeType::Bool));
    assert!(matches!(how(&rules, "basket_abandoned").0.aggregate, Aggregate::Abandoned { .. }));
    let behavioural = |name: &str| rules.schema.attributes[rules.schema.by_name[name].index()].behavioural;
    assert!(behavioural("p.favourite_category") && behavioural("p.alive") && behavioural("p.basket_abandoned"));
}

#[test]
fn an_event_feeds_what_its_filter_lets_through() {
    let rules = sample();
    // 30 June in UTC, 1 July in London.
    let day = 15_156;
    let feeds = rules.feeds(&event("purchase", Some(1_000), "web"), &[], &["tea".into()]);
    assert_eq!(fed(&rules, &feeds, "orders_90d"), [(day, FeedValue::Nothing)]);
    assert_eq!(fed(&rules, &feeds, "smallest_order"), [(day, FeedValue::Number(1_000))]);
    assert_eq!(fed(&rules, &feeds, "largest_order"), [(0, FeedValue::Number(1_000))]);
    assert!(fed(&rules, &feeds, "called_after_order").is_empty(), "100 is not reached");
    for (amount, channel) in [(Some(999), "web"), (Some(1_000), "email"), (Some(1_000), ""), (None, "web")] {
        let feeds = rules.feeds(&event("purchase", amount, channel), &[], &[]);
        assert!(fed(&rules, &feeds, "orders_90d").is_empty(), "{amount:?} {channel}");
    }
    let no_amount = rules.feeds(&event("purchase", None, "web"), &[], &[]);
    assert!(fed(&rules, &no_amount, "largest_order").is_empty(), "there is nothing to feed");
}

#[test]
fn declared_fields_and_items_are_fed() {
    let rules = sample();
    let asked = [(AttrId::of("copies"), Value::Int(4)), text("edition", "spring")];
    let mut asked = asked.to_vec();
    asked.sort_by_key(|field| field.0);
    let feeds = rules.feeds(&event("catalogue_request", None, ""), &asked, &[]);
    assert_eq!(fed(&rules, &feeds, "copies_asked"), [(0, FeedValue::Number(4))]);
    let long = "\u{fc}".repeat(FEED_TEXT_BYTES_MAX);
    let feeds = rules.feeds(&event("search", None, "web"), &[text("words", &long)], &[]);
    let [(0, FeedValue::Text(words))] = &fed(&rules, &feeds, "last_search")[..] else { panic!("{feeds:?}") };
    assert_eq!(words.len(), FEED_TEXT_BYTES_MAX);
    assert!(rules.feeds(&event("search", None, "web"), &[text("words", "  ")], &[]).is_empty());
    let basket = rules.feeds(&event("basket_updated", None, "web"), &[], &["tea".into()]);
    assert_eq!(fed(&rules, &basket, "basket_abandoned").len(), 1);
    assert!(rules.feeds(&event("page_view", None, "web"), &[], &[]).is_empty(), "nothing looks at it");
}

#[test]
fn every_item_is_a_name() {
    let rules = compile_text(
        "settings: { currency: GBP }\ntraits:\n  - { id: liked, top: product_view, of: items, k: 2 }\n  \
         - { id: pieces, sum: purchase, of: quantity }\n",
    )
    .unwrap();
    let feeds = rules.feeds(&event("product_view", None, ""), &[], &["tea".into(), "rum".into(), "tea".into()]);
    let names = ["rum", "tea"].map(|name| (0, FeedValue::Text(name.into())));
    assert_eq!(fed(&rules, &feeds, "liked"), names);
    let feeds = rules.feeds(&event("purchase", None, ""), &[], &["tea".into()]);
    assert_eq!(fed(&rules, &feeds, "pieces"), [(0, FeedValue::Number(3))]);
}

#[test]
fn what_is_counted_outlives_a_new_edition_of_the_rules() {
    let series = |traits: &str| {
        let rules = compile_text(&format!("settings: {{ currency: GBP }}\ntraits:\n{traits}\n")).unwrap();
        how(&rules, "t").0.series
    };
    let before = series("  - { id: t, count: purchase, window: 60d, where: \"e.amount > money('5')\" }");
    let same = series(
        "  - { id: a, last: search, of: words }\n  - { id: t, sum: purchase, window: 7d }\n  \
         - { id: u, max: purchase }\n"
            .replace("sum: purchase, window: 7d", "count: purchase, window: 90d, where: \"e.amount  >  money('5')\"")
            .as_str(),
    );
    assert_eq!(before, same, "a longer window of the same size kept, other traits beside it");
    let other = series("  - { id: t, count: purchase, window: 60d, where: \"e.amount > money('6')\" }");
    assert_ne!(before, other);
}

#[test]
fn old_forms_need_no_series() {
    let rules = compile_text(
        "settings: { currency: GBP }\ntraits:\n  - { id: a, count: purchase }\n  - { id: b, sum: purchase, of: amount }\n  \
         - { id: c, avg: purchase, window: lifetime }\n  - { id: d, days_since: purchase }\n",
    )
    .unwrap();
    assert_eq!(rules.feeds.series_len(), 0);
    assert!(!rules.schema.reads_slots);
}
