//! One mistake at a time in a good file: exactly one error, at its place.

use super::{SAMPLE, compile_text, file};
use crate::rules::{RuleError, compile};

/// One mistake.
struct Mistake {
    name: &'static str,
    /// What stands in the sample, and what is put there instead.
    edit: (&'static str, &'static str),
    /// What stands where the error points; empty when only the line counts.
    at: &'static str,
    /// A part of the message.
    says: &'static str,
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "unknown_top_level_key",
        edit: (
            r#"groups:
"#,
            r#"gruops:
"#,
        ),
        at: "gruops",
        says: "unknown key `gruops` in `top level`; did you mean `groups`?",
    },
    Mistake {
        name: "unknown_key",
        edit: ("    paused: false", "    pausd: false"),
        at: "pausd",
        says: "unknown key `pausd` in `offers[]`; did you mean `paused`?",
    },
    Mistake {
        name: "unknown_nested_key",
        edit: ("when: wait", "whne: wait"),
        at: "whne",
        says: "did you mean `when`?",
    },
    Mistake {
        name: "repeated_key",
        edit: ("    paused: false", "    name: Twice"),
        at: "name: Twice",
        says: "the key `name` is already in line 106",
    },
    Mistake {
        name: "missing_key",
        edit: (
            r#"    purpose: marketing
    issue"#,
            "    issue",
        ),
        at: "id: come_back",
        says: "needs the key `purpose`",
    },
    Mistake {
        name: "bad_id",
        edit: ("{ id: winback }", "{ id: Win-Back }"),
        at: "Win-Back",
        says: "`Win-Back` is not an id",
    },
    Mistake {
        name: "long_id",
        edit: ("{ id: winback }", "{ id: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa }"),
        at: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        says: "is not an id",
    },
    Mistake {
        name: "number_for_text",
        edit: ("name: Come back", "name: 12"),
        at: r#"12
    purpose"#,
        says: "expected text (quote it), found the number `12`",
    },
    Mistake {
        name: "text_for_bool",
        edit: ("paused: false", "paused: never"),
        at: "never",
        says: "expected `true` or `false`, found the text `never`",
    },
    Mistake { name: "text_for_number", edit: ("cost: 0.02", "cost: cheap"), at: "cheap", says: "expected a number" },
    Mistake {
        name: "negative_cost",
        edit: ("cost: 0.02", "cost: -1"),
        at: "-1",
        says: "`-1` is out of range: at least 0 is allowed",
    },
    Mistake {
        name: "share_over_one",
        edit: ("holdout: { share: 0.05", "holdout: { share: 1.5"),
        at: "1.5, salt",
        says: "`1.5` is out of range: 0 to 1 is allowed",
    },
    Mistake {
        name: "zero_max",
        edit: ("budget: { max: 1000", "budget: { max: 0"),
        at: "0, window: day",
        says: "`0` is out of range",
    },
    Mistake {
        name: "bad_duration",
        edit: ("send_within: 48h", "send_within: 48 hours"),
        at: "48 hours",
        says: "expected a duration",
    },
    Mistake {
        name: "zero_duration",
        edit: ("send_within: 48h", "send_within: 0h"),
        at: "0h",
        says: "expected a duration",
    },
    Mistake {
        name: "when_unknown_of_what_asks_nobody",
        edit: (
            "budget: { max: 1000, window: day, exact: true }",
            "budget: { max: 1000, window: day, when_unknown: deny }",
        ),
        at: "deny }",
        says: "only what is exact asks the store: add `exact: true`",
    },
    Mistake {
        name: "unknown_when_unknown",
        edit: (
            "budget: { max: 1000, window: day, exact: true }",
            "budget: { max: 1000, window: day, exact: true, when_unknown: local_shre }",
        ),
        at: "local_shre }",
        says: "local_share",
    },
    Mistake {
        name: "bad_window",
        edit: ("window: day", "window: fortnight"),
        at: "fortnight",
        says: "expected a duration like `30d`, or `day`",
    },
    Mistake {
        name: "schedule_backwards",
        edit: ("schedule: { from: 2010-01-01", "schedule: { from: 2036-01-01"),
        at: "{ from: 2036",
        says: "`from` must be before `until`",
    },
    Mistake {
        name: "bad_time",
        edit: ("schedule: { from: 2010-01-01", "schedule: { from: 2010-13-01"),
        at: "2010-13-01",
        says: "expected a time",
    },
    Mistake {
        name: "bad_time_of_day",
        edit: (r#"from: "21:00""#, r#"from: "25:00""#),
        at: r#""25:00""#,
        says: "expected a time of day like `21:00`",
    },
    Mistake {
        name: "quiet_all_day",
        edit: (r#"until: "08:00""#, r#"until: "21:00""#),
        at: r#""21:00", when"#,
        says: "quiet hours begin and end at the same time",
    },
    Mistake {
        name: "bad_currency",
        edit: ("currency: GBP", "currency: pounds"),
        at: "pounds",
        says: "an ISO 4217 code",
    },
    Mistake {
        name: "bad_time_zone",
        edit: ("time_zone: Europe/London", "time_zone: Europe/Londinium"),
        at: "Europe/Londinium",
        says: "an IANA time zone",
    },
    Mistake {
        name: "bad_language",
        edit: ("default_language: en", "default_language: English!"),
        at: "English!",
        says: "is not a language tag",
    },
    Mistake {
        name: "unknown_kind",
        edit: ("kind: outbound", "kind: outbond"),
        at: "outbond",
        says: "did you mean `outbound`?",
    },
    Mistake {
        name: "unknown_channel",
        edit: (
            r#"    channel: web
    slots"#,
            r#"    channel: wbe
    slots"#,
        ),
        at: "wbe",
        says: "unknown channel `wbe`; did you mean `web`?",
    },
    Mistake {
        name: "unknown_treatment_channel",
        edit: (
            r#"      email:
        en:"#,
            r#"      emial:
        en:"#,
        ),
        at: "emial",
        says: "unknown channel `emial`; did you mean `email`?",
    },
    Mistake {
        name: "unknown_placement",
        edit: (
            r#"placements: [home_hero]
    open"#,
            r#"placements: [home_heroe]
    open"#,
        ),
        at: "home_heroe",
        says: "unknown placement `home_heroe`; did you mean `home_hero`?",
    },
    Mistake {
        name: "unknown_group",
        edit: (
            r#"    group: winback
    paused"#,
            r#"    group: winbak
    paused"#,
        ),
        at: r#"winbak
"#,
        says: "unknown group `winbak`; did you mean `winback`?",
    },
    Mistake {
        name: "unknown_issue",
        edit: ("issue: grow", "issue: growth"),
        at: "growth",
        says: "unknown issue `growth`; did you mean `grow`?",
    },
    Mistake {
        name: "unknown_event",
        edit: ("count: purchase", "count: purchases"),
        at: "purchases, pii",
        says: "unknown event `purchases`; did you mean `purchase`?",
    },
    Mistake {
        name: "unknown_anniversary",
        edit: ("days_to_anniversary: birthday", "days_to_anniversary: birthdate"),
        at: "birthdate",
        says: "unknown stored attribute `birthdate`",
    },
    Mistake {
        name: "anniversary_of_text",
        edit: ("days_to_anniversary: birthday", "days_to_anniversary: country"),
        at: r#"country }
  - { id: days_quiet"#,
        says: "a stored attribute of type `date`",
    },
    Mistake {
        name: "two_computations",
        edit: ("{ id: spend, sum: purchase }", "{ id: spend, sum: purchase, mean: purchase }"),
        at: "{ id: spend",
        says: "exactly one way",
    },
    Mistake {
        name: "trait_named_as_attribute",
        edit: ("{ id: spend,", "{ id: country,"),
        at: "country, sum",
        says: "`p.country` is already a stored attribute",
    },
    Mistake {
        name: "built_in_event",
        edit: ("  - id: catalogue_request", "  - { id: login, durable: true }\n  - id: catalogue_request"),
        at: "login",
        says: "is built in: leave it out, or add only `fields` or `client` to it",
    },
    Mistake {
        name: "a_page_buys",
        edit: ("  - id: catalogue_request", "  - { id: order, bought: true, client: true }\n  - id: catalogue_request"),
        at: "true }\n  - id: catalogue_request",
        says: "the event `order` is bought or a conversion: a browser may not send it, leave out `client`",
    },
    Mistake {
        name: "a_page_purchases",
        edit: ("  - id: catalogue_request", "  - { id: purchase, client: true }\n  - id: catalogue_request"),
        at: "true }\n  - id: catalogue_request",
        says: "the event `purchase` is bought or a conversion",
    },
    Mistake {
        name: "window_too_long",
        edit: ("window: 90d, where", "window: 500d, where"),
        at: "500d",
        says: "a window of `500d` is out of range: 1 to 400 days are kept, use `lifetime`",
    },
    Mistake {
        name: "unknown_window",
        edit: ("window: this_year", "window: this_yaer"),
        at: "this_yaer",
        says: "did you mean `this_year`?",
    },
    Mistake {
        name: "unknown_field_of_an_event",
        edit: ("of: copies", "of: copeis"),
        at: "copeis",
        says: "the event has no field `copeis`; did you mean `copies`?",
    },
    Mistake {
        name: "sum_of_text",
        edit: ("of: copies", "of: edition"),
        at: "edition }",
        says: "`sum` takes a field that holds a number or money, `edition` is enum",
    },
    Mistake {
        name: "filter_with_an_unknown_field",
        edit: ("e.quantity > 0", "e.quantty > 0"),
        at: "e.quantty",
        says: "the event has no field `quantty`; did you mean `e.quantity`?",
    },
    Mistake {
        name: "filter_that_reads_the_person",
        edit: ("e.amount > money('100')", "p.points > 3"),
        at: "p.points > 3",
        says: "unknown name `p.points`: a filter reads the event alone, as `e.NAME`",
    },
    Mistake {
        name: "filter_with_an_unknown_channel",
        edit: ("avg: purchase, where: \"e.channel == 'web'\"", "avg: purchase, where: \"e.channel == 'wbe'\""),
        at: "'wbe'",
        says: "`wbe` is not a value of `e.channel`; did you mean `web`?",
    },
    Mistake {
        name: "last_of_nothing",
        edit: ("last: search, of: words", "last: search"),
        at: "search }",
        says: "`last` needs `of`: the field of the event that it looks at",
    },
    Mistake {
        name: "modifier_of_another_computation",
        edit: ("max: purchase }", "max: purchase, k: 2 }"),
        at: "2 }\n  - { id: last_search",
        says: "`max` takes no `k`: it goes with top",
    },
    Mistake {
        name: "expected_purchases_without_days",
        edit: ("expected_purchases, days: 90", "expected_purchases"),
        at: "expected_purchases",
        says: "`expected_purchases` needs `days`",
    },
    Mistake {
        name: "field_that_every_event_has",
        edit: ("{ id: weight, type: double }", "{ id: amount, type: double }"),
        at: "amount, type",
        says: "`amount` is given with every event: name the field otherwise",
    },
    Mistake {
        name: "single_device",
        edit: ("bearer: person", "bearer: device"),
        at: "partner_id",
        says: "`single` is for what names one person",
    },
    Mistake {
        name: "records_named_as_an_attribute",
        edit: ("{ id: tags, type: set }", "{ id: accounts, type: set }"),
        at: "accounts\n    max",
        says: "`p.accounts` is already an attribute or a trait: rename the list",
    },
    Mistake {
        name: "built_in_identity",
        edit: ("{ id: partner_id", "{ id: email"),
        at: "email, format",
        says: "is built in",
    },
    Mistake {
        name: "unknown_address",
        edit: ("address: email", "address: mail"),
        at: r#"mail
    require"#,
        says: "unknown stored attribute `mail`",
    },
    Mistake {
        name: "address_of_wrong_type",
        edit: ("address: email", "address: birthday"),
        at: r#"birthday
    require"#,
        says: "of type `string`",
    },
    Mistake {
        name: "preference_of_wrong_type",
        edit: ("preference: prefers_email", "preference: points"),
        at: r#"points
    permission"#,
        says: "of type `double`",
    },
    Mistake {
        name: "language_attribute_of_wrong_type",
        edit: ("language_attribute: language", "language_attribute: points"),
        at: r#"points
"#,
        says: "of type `string` or `enum`",
    },
    Mistake {
        name: "unknown_decline_reason",
        edit: ("reason: not_interested, scope: group", "reason: not_intrested, scope: group"),
        at: "not_intrested",
        says: "unknown decline reason `not_intrested`; did you mean `not_interested`?",
    },
    Mistake {
        name: "reason_without_suppression",
        edit: (
            r#"- { id: not_interested, label: { en: "Not interested" } }"#,
            r#"- { id: not_interested, label: { en: "Not interested" } }
    - { id: moved_away, label: { en: "Moved away" } }"#,
        ),
        at: "moved_away",
        says: "nothing is suppressed after a decline with `moved_away`",
    },
    Mistake {
        name: "reason_without_decline",
        edit: ("after: decline, reason: not_interested, scope", "after: accept, reason: not_interested, scope"),
        at: "not_interested, scope",
        says: "only a decline has a reason",
    },
    Mistake { name: "unknown_scope", edit: ("scope: group", "scope: grup"), at: "grup", says: "did you mean `group`?" },
    Mistake {
        name: "unknown_outcome",
        edit: ("after: impression", "after: impresion"),
        at: "impresion",
        says: "did you mean `impression`?",
    },
    Mistake {
        name: "no_treatment_for_placement",
        edit: (
            r#"      web:
        en:
          text: "Come back"
          data: { headline: "Hello", rank: 3, loud: true, cta_url: "link:shop" }
          image: "https://shop.example/a.png"
          links: { shop: "https://shop.example/winback", blog: "https://shop.example/blog" }
"#,
            "",
        ),
        at: r#"email:
        en:"#,
        says: "the placement `home_hero` needs a treatment for its channel `web`",
    },
    Mistake {
        name: "no_default_language",
        edit: (
            r#"      email:
        en:"#,
            r#"      email:
        de:"#,
        ),
        at: r#"email:
        de:"#,
        says: "needs a treatment in the default language `en`",
    },
    Mistake {
        name: "required_part",
        edit: (
            r#"          subject: "We miss you"
"#,
            "",
        ),
        at: r#"text: "Come back"
          html"#,
        says: "the channel `email` requires `subject`",
    },
    Mistake {
        name: "required_field",
        edit: (r#"data: { headline: "Hello", rank"#, "data: { rank"),
        at: "{ rank: 3",
        says: "the placement `home_hero` requires the data field `headline`",
    },
    Mistake {
        name: "undeclared_field",
        edit: ("loud: true, cta_url", "lout: true, cta_url"),
        at: "lout",
        says: "declares the data field `lout`; did you mean `loud`?",
    },
    Mistake {
        name: "wrong_field_kind",
        edit: ("rank: 3, loud", r#"rank: "three", loud"#),
        at: r#""three""#,
        says: "the data field `rank` holds a number, found the text `three`",
    },
    Mistake {
        name: "unknown_link",
        edit: ("link:shop", "link:shp"),
        at: r#""link:shp""#,
        says: "unknown link `shp` of the treatment; did you mean `shop`?",
    },
    Mistake {
        name: "relative_url",
        edit: (r#"blog: "https://shop.example/blog""#, r#"blog: "/blog""#),
        at: r#""/blog""#,
        says: "an absolute URL",
    },
    Mistake {
        name: "script_url",
        edit: (r#"image: "https://shop.example/a.png""#, r#"image: "javascript:alert(1)""#),
        at: r#""javascript:alert(1)""#,
        says: "an absolute URL",
    },
    Mistake {
        name: "host_from_data",
        edit: (r#"cta_url: "link:shop""#, r#"cta_url: "https://{{ p.country }}/""#),
        at: r#""https://{{"#,
        says: "whose host is fixed",
    },
    Mistake {
        name: "field_kind_in_fallback",
        edit: (r#"fallback: { headline: "Welcome" }"#, r#"fallback: { headline: "Welcome", rank: high }"#),
        at: "high",
        says: "expected a number",
    },
    Mistake {
        name: "fallback_without_required",
        edit: (r#"fallback: { headline: "Welcome" }"#, "fallback: { rank: 1 }"),
        at: "{ rank: 1 }",
        says: "the fallback needs the data field `headline`",
    },
    Mistake {
        name: "undeclared_in_fallback",
        edit: (r#"fallback: { headline: "Welcome" }"#, r#"fallback: { headline: "Welcome", hedline: x }"#),
        at: "hedline",
        says: "declares no data field `hedline`; did you mean `headline`?",
    },
    Mistake {
        name: "enum_default",
        edit: ("default: en }", "default: fr }"),
        at: "fr }",
        says: "is not one of the attribute's values",
    },
    Mistake {
        name: "default_out_of_range",
        edit: ("default: 5 }", "default: 5000 }"),
        at: "5000",
        says: "outside the attribute's range",
    },
    Mistake {
        name: "range_backwards",
        edit: ("range: [0, 1000], default: 5 }", "range: [9, 1] }"),
        at: "[9, 1]",
        says: "smallest value of the range is larger",
    },
    Mistake {
        name: "range_of_text",
        edit: ("{ id: zone, type: string }", "{ id: zone, type: string, range: [0, 1] }"),
        at: "[0, 1]",
        says: "`range` is for int, double and money",
    },
    Mistake {
        name: "enum_without_values",
        edit: ("type: enum, values: [en, de], default: en }", "type: enum }"),
        at: "{ id: language",
        says: "an enum needs `values`",
    },
    Mistake {
        name: "unknown_type",
        edit: ("{ id: tags, type: set }", "{ id: tags, type: sett }"),
        at: "sett }",
        says: "did you mean `set`?",
    },
    Mistake {
        name: "money_with_three_decimals",
        edit: ("range: [0, 99.5]", "range: [0, 99.555]"),
        at: "99.555",
        says: "at most 2 decimals",
    },
    Mistake {
        name: "never_chosen",
        edit: (
            r#"    placements: [home_hero]
    open: true"#,
            "    open: false",
        ),
        at: r#"id: come_back
    name"#,
        says: "the offer can never be chosen",
    },
    Mistake {
        name: "empty_condition",
        edit: (r#"eligibility: "seg.silent""#, r#"eligibility: """#),
        at: r#"""
    applicability"#,
        says: "the text is empty",
    },
    Mistake {
        name: "broken_condition",
        edit: (r#"eligibility: "seg.silent""#, r#"eligibility: "p.orders >""#),
        at: "",
        says: "",
    },
    Mistake {
        name: "unknown_attribute_in_condition",
        edit: (r#"applicability: "p.days_since_order < 720""#, r#"applicability: "p.days_since_oder < 720""#),
        at: "p.days_since_oder < 720",
        says: "days_since_oder",
    },
    Mistake {
        name: "unknown_attribute_in_template",
        edit: ("{{ p.days_since_order }}", "{{ p.days_since_oder }}"),
        at: "",
        says: "days_since_oder",
    },
    Mistake {
        name: "negative_value",
        edit: ("value: 12.5", "value: -2"),
        at: r#"-2
"#,
        says: "out of range",
    },
    Mistake {
        name: "scenario_unknown_offer",
        edit: ("exhausted: [come_back]", "exhausted: [come_bck]"),
        at: r#"come_bck]
    refused"#,
        says: "unknown offer `come_bck`; did you mean `come_back`?",
    },
    Mistake {
        name: "scenario_unknown_reason",
        edit: ("reason: recently_declined", "reason: recently_decline"),
        at: "recently_decline ",
        says: "did you mean `recently_declined`?",
    },
    Mistake {
        name: "scenario_unknown_silence",
        edit: ("silent: contact_policy", "silent: contact_polcy"),
        at: "contact_polcy",
        says: "did you mean `contact_policy`?",
    },
    Mistake {
        name: "scenario_bad_time",
        edit: ("now: 2011-06-01T10:00:00Z", "now: tomorrow"),
        at: "tomorrow",
        says: "expected a time",
    },
    Mistake {
        name: "scenario_future_event",
        edit: ("time: 2010-06-01", "time: 2012-06-01"),
        at: "2012-06-01",
        says: "it is after the scenario's `now`",
    },
    Mistake {
        name: "scenario_time_and_ago",
        edit: ("time: 2010-06-01", "time: 2010-06-01, ago: 1d"),
        at: "{ type: purchase, time",
        says: "exactly one of `time` and `ago`",
    },
    Mistake {
        name: "scenario_wrong_attribute_type",
        edit: ("basket_value: 30", "basket_value: lots"),
        at: "lots }",
        says: "expected an amount in GBP",
    },
    Mistake {
        name: "scenario_unknown_winner_channel",
        edit: ("come_back/web", "come_back/wep"),
        at: "come_back/wep",
        says: "unknown channel `wep`; did you mean `web`?",
    },
    Mistake {
        name: "client_of_a_stored_attribute",
        edit: ("{ id: zone, type: string }", "{ id: zone, type: string, client: true }"),
        at: "client: true }
  - { id: email",
        says: "unknown key `client` in `attributes[]`",
    },
    Mistake {
        name: "assurance_of_context",
        edit: ("type: money, client: true }", "type: money, assurance: verified }"),
        at: "assurance: verified }
traits",
        says: "unknown key `assurance` in `context[]`",
    },
    Mistake {
        name: "client_without_a_truth_value",
        edit: ("client: true", "client: browser"),
        at: "browser",
        says: "expected `true` or `false`, found the text `browser`",
    },
    Mistake {
        name: "unknown_assurance_of_an_attribute",
        edit: ("assurance: verified }", "assurance: verifed }"),
        at: "verifed",
        says: "expected one of `any`, `verified`",
    },
    Mistake {
        name: "unknown_assurance_of_an_offer",
        edit: ("    assurance: any", "    assurance: claimed"),
        at: "claimed
    holdout",
        says: "expected one of `any`, `verified`",
    },
    Mistake {
        name: "scenario_unknown_assurance",
        edit: ("assurance: claimed", "assurance: verfied"),
        at: "verfied",
        says: "did you mean `verified`",
    },
    Mistake {
        name: "scenario_window_that_ends_before_it_begins",
        edit: ("until: 2012-02-03T20:00:00Z", "until: 2012-02-03T07:00:00Z"),
        at: "{ from: 2012-02-03T08:00:00Z",
        says: "the send window ends before it begins",
    },
    Mistake {
        name: "scenario_window_of_a_placement",
        edit: ("send_window: {", "placements: [home_hero], send_window: {"),
        at: "{ from: 2012-02-03T08:00:00Z",
        says: "`send_window` is for open questions",
    },
    Mistake {
        name: "scenario_two_expectations",
        edit: ("silent: contact_policy }", "silent: contact_policy, winners: [] }"),
        at: "{ placement: home_hero, silent",
        says: "exactly one of `winners`",
    },
    Mistake {
        name: "scenario_senseless_key",
        edit: (r#"contains: "Come back" }"#, r#"contains: "Come back", channel: "web" }"#),
        at: r#""web" }"#,
        says: "`channel` has no meaning beside `contains`",
    },
];

fn errors_of(text: &str) -> Vec<RuleError> {
    compile_text(text).map(|_| ()).err().map(|errors| errors.errors).unwrap_or_default()
}

/// Line and column of the one place where a text stands.
fn place_of(text: &str, wanted: &str) -> (u32, u32) {
    let found: Vec<usize> = text.match_indices(wanted).map(|(at, _)| at).collect();
    let [at] = found[..] else { panic!("`{wanted}` stands {} times", found.len()) };
    let before = &text[..at];
    let column = before.chars().rev().take_while(|c| *c != '\n').count();
    (before.matches('\n').count() as u32 + 1, column as u32 + 1)
}

#[test]
fn each_mistake_is_one_error_at_its_place() {
    let mut wrong = Vec::new();
    for mistake in MISTAKES {
        let (from, to) = mistake.edit;
        assert!(SAMPLE.contains(from), "{}: `{from}`", mistake.name);
        let text = SAMPLE.replacen(from, to, 1);
        let errors = errors_of(&text);
        let [error] = &errors[..] else {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            wrong.push(format!("{}: {} errors\n{}", mistake.name, errors.len(), all.join("\n")));
            continue;
        };
        let at = (error.position.line, error.position.column);
        let wanted = if mistake.at.is_empty() { to } else { mistake.at };
        if text.matches(wanted).count() != 1 {
            wrong.push(format!("{}: `{wanted}` stands {} times", mistake.name, text.matches(wanted).count()));
            continue;
        }
        let (line, column) = place_of(&text, wanted);
        let placed = if mistake.at.is_empty() { at.0 == line } else { at == (line, column) };
        if !placed || !error.message.contains(mistake.says) {
            wrong.push(format!("{}: expected {line}:{column} `{}`, found {error}", mistake.name, mistake.says));
        }
        let caret = error.snippet.lines().nth(1).map_or(0, |l| l.chars().count());
        let gutter = error.position.line.to_string().len() + 3;
        if caret != gutter + at.1 as usize {
            wrong.push(format!("{}: the caret is not under the column:\n{error}", mistake.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn mistakes_of_all_files_are_told_at_once() {
    let files = [
        file("a.yaml", SAMPLE),
        file("b.yaml", "groups: [{ id: Bad }]\nissues: [{ id: grow }]\nzzz: 1\n"),
        file("c.yaml", "offers: [\n"),
    ];
    let errors = compile(&files).map(|_| ()).expect_err("wrong").errors;
    let told: Vec<String> = errors.iter().map(|e| format!("{}: {}", e.position, e.message)).collect();
    assert_eq!(told.len(), 4, "{told:#?}");
    assert!(told[0].starts_with("b.yaml:1:16: `Bad` is not an id"), "{told:#?}");
    assert!(told[1].starts_with("b.yaml:2:16: the issue `grow` is declared twice: first at a.yaml:88:11"), "{told:#?}");
    assert!(told[2].starts_with("b.yaml:3:1: unknown key `zzz`"), "{told:#?}");
    assert!(told[3].starts_with("c.yaml:") && told[3].contains("not valid YAML"), "{told:#?}");
}

#[test]
fn a_broken_file_hides_only_what_it_may_declare() {
    let offer =
        "offers: [{ id: x, purpose: sell, issue: nowhere, group: g, value: 1, treatments: { web: { en: {} } } }]\n";
    let files = [file("a.yaml", offer), file("b.yaml", "issues: [")];
    let errors = compile(&files).map(|_| ()).expect_err("wrong").errors;
    let told: Vec<&str> = errors.iter().map(|e| e.message.split(':').next().unwrap_or_default()).collect();
    assert_eq!(told.len(), 2, "{errors:#?}");
    assert!(told[0].starts_with("expected one of `marketing`"), "{told:?}");
}

#[test]
fn a_broken_file_hides_no_mistake_of_syntax() {
    let broken = SAMPLE.replace("p.days_since_order < 720", "p.days_since_order << 720 && p.nothing");
    for lost in ["attributes: [{ id: Bad-Id, type: int }]\n", "zzz: 1\n", "offers: [\n"] {
        let files = [file("a.yaml", &broken), file("b.yaml", lost)];
        let errors = compile(&files).map(|_| ()).expect_err("wrong").errors;
        assert_eq!(errors.len(), 2, "{errors:#?}");
        assert!(errors[0].message.contains("a value is missing before `<`"), "{errors:#?}");
    }
}

#[test]
fn limits_of_the_parser_are_told_in_plain_words() {
    let deep = format!("groups: {}{}", "[".repeat(30), "]".repeat(30));
    let mut aliases = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..6 {
        let inner = vec![format!("*a{}", level - 1); 10].join(", ");
        aliases.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
    }
    for (text, says) in [
        (deep.as_str(), "nested more than 24 deep"),
        (aliases.as_str(), "its aliases repeat more than 20000 values"),
        ("groups: &a [ *a ]\n", "an alias stands inside what it stands for"),
    ] {
        let errors = errors_of(text);
        assert!(errors.iter().any(|error| error.message.contains(says)), "{says}: {errors:#?}");
    }
}

#[test]
fn settings_are_needed_once() {
    let missing = errors_of("groups: [{ id: g }]\n");
    assert!(missing[0].message.contains("no file has `settings`"), "{missing:?}");
    let twice = [file("a.yaml", "settings: { currency: EUR }\n"), file("b.yaml", "settings: { currency: EUR }\n")];
    let errors = compile(&twice).map(|_| ()).expect_err("wrong").errors;
    assert_eq!(errors[0].position.to_string(), "b.yaml:1:11");
    assert!(errors[0].message.contains("it is already at a.yaml:1:11"), "{errors:?}");
}

#[test]
fn conditions_point_into_every_kind_of_scalar() {
    for (written, line, column) in [
        ("\"p.nothing > 1\"", 0, 1),
        ("'p.nothing > 1'", 0, 1),
        ("p.nothing > 1", 0, 0),
        ("|\n      p.nothing > 1", 1, -6),
        (">-\n      p.nothing > 1", 1, -6),
    ] {
        let from = "\"p.days_since_order < 720\"";
        let start = place_of(SAMPLE, from);
        let errors = errors_of(&SAMPLE.replace(from, written));
        assert_eq!(errors.len(), 1, "{written} {errors:?}");
        let wanted_column = if column < 0 { 7 } else { start.1 + column as u32 };
        let at = (errors[0].position.line, errors[0].position.column);
        assert_eq!(at, (start.0 + line, wanted_column), "{written}\n{}", errors[0]);
    }
}

#[test]
fn a_mistake_in_a_segment_is_told_once() {
    let errors = errors_of(&SAMPLE.replace("p.orders >= 1", "p.oders >= 1"));
    assert_eq!(errors.len(), 1, "{errors:?}");
    let errors = errors_of(&SAMPLE.replace("p.orders >= 1", "seg.silent"));
    assert_eq!(errors.len(), 1, "{errors:?}");
}

#[test]
fn line_ends_and_byte_order_marks_do_not_matter() {
    assert!(errors_of(&SAMPLE.replace('\n', "\r\n")).is_empty());
    assert!(errors_of(&format!("\u{feff}{SAMPLE}")).is_empty());
}

#[test]
fn yaml_that_rules_do_not_use_is_refused() {
    for (from, to, says) in [
        ("value: 12.5", "value: .inf", "non-finite"),
        ("value: 12.5", "value: !secret 12.5", "tag"),
        ("scenarios:", "---\nscenarios:", "one document"),
    ] {
        let errors = errors_of(&SAMPLE.replace(from, to));
        assert_eq!(errors.len(), 1, "{to} {errors:?}");
        assert!(errors[0].message.contains(says), "{to} {errors:?}");
    }
}
