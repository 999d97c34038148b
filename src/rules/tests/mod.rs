//! The rule language as a whole: what a good file becomes, what a bad one says.

mod feeds;
mod kept;
mod mistakes;
mod properties;
mod records;

use super::{RuleErrors, Ruleset, SourceFile, compile, keys::SECTIONS, read::used, reference::reference};

/// A file that uses every key.
const SAMPLE: &str = include_str!("sample.yaml");

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.into(), text: text.into() }
}

fn compile_text(text: &str) -> Result<Ruleset, RuleErrors> {
    compile(&[file("rules/all.yaml", text)])
}

fn sample() -> Ruleset {
    match compile_text(SAMPLE) {
        Ok(ruleset) => ruleset,
        Err(errors) => {
            let lines: Vec<String> = errors.errors.iter().map(ToString::to_string).collect();
            panic!("the sample is wrong:\n{}", lines.join("\n"));
        }
    }
}

#[test]
fn the_parser_reads_exactly_the_keys_of_the_table() {
    used::take();
    sample();
    let read = used::take();
    let table = SECTIONS.iter().flat_map(|section| section.names().map(|key| (section.name, key))).collect();
    assert_eq!(read, table);
}

#[test]
fn rules_say_which_identities_are_shared() {
    use crate::domain::Sharing::{self, Shared, Unique};
    let sharing = |declared: &str, name: &str| -> Result<Sharing, String> {
        let text = format!("settings: {{ currency: GBP }}\nidentities:\n{declared}\n");
        let rules = compile_text(&text).map_err(|errors| errors.errors[0].to_string())?;
        Ok(rules.schema.identity_by_name(name).unwrap().sharing)
    };
    for (declared, name, wanted) in [
        ("  - { id: till }", "phone", Shared),
        ("  - { id: till }", "till", Unique),
        ("  - { id: till, shared: true, format: phone }", "till", Shared),
        ("  - { id: phone, shared: false }", "phone", Unique),
        ("  - { id: email, shared: true }", "email", Shared),
    ] {
        assert_eq!(sharing(declared, name), Ok(wanted), "{declared}");
    }
    for kept in ["match", "visitor_id"] {
        let refused = sharing(&format!("  - {{ id: {kept}, shared: true }}"), kept);
        assert!(refused.is_err_and(|why| why.contains("is built in")), "{kept}");
    }
}

#[test]
fn no_key_stands_twice_in_a_section() {
    for section in SECTIONS {
        let mut names: Vec<&str> = section.names().collect();
        names.sort_unstable();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all, "{}", section.name);
    }
}

#[test]
fn the_committed_reference_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rules.md");
    if std::env::var_os("WRITE_REFERENCE").is_some() {
        std::fs::write(path, reference()).expect("the reference is written");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(committed, reference(), "run the tests with `WRITE_REFERENCE=1` to write docs/rules.md");
}

#[test]
fn days_to_a_verified_date_are_verified_too() {
    let text = |more: &str| {
        SAMPLE
            .replace("{ id: birthday, type: date, pii: true }", "{ id: birthday, type: date, assurance: verified }")
            .replace("days_to_anniversary: birthday }", &format!("days_to_anniversary: birthday{more} }}"))
    };
    let verified = |text: &str| {
        let rules = compile_text(text).unwrap_or_else(|e| panic!("{:#?}", e.errors));
        rules.schema.attributes[rules.schema.by_name["p.days_to_birthday"].index()].verified
    };
    assert!(!verified(SAMPLE));
    assert!(verified(&text("")));
    assert!(!verified(&text(", assurance: any")), "its author says so");
}

mod sample {
    use crate::{
        domain::{
            Assurance, Date, OutcomeSet, OutcomeType, Permission, Purpose, Reason, SilenceReason, Timestamp, Value,
        },
        rules::{
            ChannelKind, DataTemplate, Need, Number, Scope, Window,
            scenario::{Expectation, Scenario},
        },
    };

    use super::{Ruleset, SAMPLE, compile_text, sample};

    const DAY_US: i64 = 86_400_000_000;

    #[test]
    fn settings_and_schema() {
        let rules = sample();
        assert_eq!(rules.currency.code(), "GBP");
        assert_eq!(rules.schema.identities.len(), 11);
        assert_eq!(rules.schema.events.len(), 29);
        let names: Vec<&str> = rules.schema.attributes.iter().map(|a| &*a.full_name).collect();
        assert!(names.is_sorted(), "{names:?}");
        let (fields, attributes): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.starts_with("r."));
        assert_eq!((attributes.len(), fields.len()), (34, 4), "{fields:?}");
        for (at, def) in rules.schema.attributes.iter().enumerate() {
            assert_eq!(def.slot.index(), at);
            let named = rules.schema.by_name.get(&def.full_name);
            assert_eq!(named.copied(), (!def.source.is_of_record()).then_some(def.slot), "{}", def.full_name);
        }
        let credit = rules.schema.stored_by_name("credit").map(|def| def.range);
        assert_eq!(credit, Some(Some((0.0, 9950.0))));
        let points = rules.schema.stored_by_name("points").and_then(|def| def.default.clone());
        assert_eq!(points, Some(Value::Int(5)));
        let trait_of = |name: &str| &rules.schema.attributes[rules.schema.by_name[name].index()];
        assert!(trait_of("p.orders").behavioural);
        assert!(!trait_of("p.has_open_complaint").behavioural);
        let slots = |wanted: fn(&crate::domain::AttributeDef) -> bool| -> Vec<&str> {
            rules.schema.attributes.iter().filter(|def| wanted(def)).map(|def| &*def.full_name).collect()
        };
        assert_eq!(slots(|def| def.client), ["ctx.basket_value"]);
        assert_eq!(slots(|def| def.verified), ["p.credit"]);
        assert_eq!(rules.schema.verified, [rules.schema.by_name["p.credit"]]);
    }

    #[test]
    fn pages_may_send_what_the_rules_say() {
        let more =
            "  - { id: login, client: true }\n  - { id: search, client: false }\n  - { id: quiz, client: true }\n";
        let text = SAMPLE.replacen("  - id: catalogue_request", &format!("{more}  - id: catalogue_request"), 1);
        let client = |rules: &Ruleset| -> Vec<String> {
            rules.schema.events.iter().filter(|def| def.client).map(|def| def.name.to_string()).collect()
        };
        let declared =
            ["app_opened", "basket_updated", "catalogue_request", "page_view", "product_view", "referral", "search"];
        assert_eq!(client(&sample()), declared);
        let changed = [
            "app_opened",
            "basket_updated",
            "catalogue_request",
            "login",
            "page_view",
            "product_view",
            "quiz",
            "referral",
        ];
        assert_eq!(client(&compile_text(&text).expect("rules")), changed);
    }

    #[test]
    fn channels_and_placements() {
        let rules = sample();
        let [email, web] = &rules.channels[..] else { panic!("two channels") };
        assert_eq!((&*email.name, email.kind, &*web.name), ("email", ChannelKind::Outbound, "web"));
        assert_eq!((web.marketing_needs, email.marketing_needs), (Need::Nothing, Need::OptIn));
        assert_eq!(web.counts_on, OutcomeSet::REACHED);
        assert!(email.counts_on.has(OutcomeType::Handoff) && email.counts_on.has(OutcomeType::Click));
        assert_eq!((email.reserve_us, email.valid_us, email.send_within_us), (DAY_US, 2 * DAY_US, 2 * DAY_US));
        assert_eq!((web.reserve_us, web.valid_us), (DAY_US / 48, DAY_US / 48));
        let quiet = email.quiet_hours.as_ref().map(|q| (q.from_minute, q.until_minute, q.wait));
        assert_eq!(quiet, Some((21 * 60, 8 * 60, true)));
        let hero = &rules.placements[0];
        assert_eq!((hero.channel, hero.slots), (web.slot, 2));
        assert_eq!(hero.fallback, Some(vec![("headline".into(), Value::Text("Welcome".into()))]));
    }

    #[test]
    fn policies() {
        let rules = sample();
        let names: Vec<&str> = rules.limits.iter().map(|limit| &*limit.name).collect();
        assert_eq!(names, ["all_month", "come_back#1", "come_back#2", "web_day"]);
        assert_eq!((rules.limits[0].scope, rules.limits[0].window), (Scope::All, Window::Month));
        assert_eq!(rules.limits[1].window, Window::Rolling(30 * DAY_US));
        assert_eq!(rules.suppressions.len(), 4);
        assert_eq!((rules.holdout_share, &*rules.holdout_salt), (0.05, "2011"));
        assert_eq!((rules.exploration_share, rules.prior_trials), (0.02, 40.0));
    }

    #[test]
    fn offers() {
        let rules = sample();
        let offer = &rules.offers[0];
        assert_eq!((&*offer.name_id, &*offer.name, offer.purpose), ("come_back", "Come back", Purpose::Marketing));
        assert_eq!((offer.lever, offer.floor, offer.base_rate), (3.0, Some(0.05), Some(0.06)));
        assert_eq!(offer.limits.len(), 4);
        assert!(matches!(offer.value, Number::Constant(12.5)));
        assert!(offer.eligibility.is_some() && offer.holdout_exempt && offer.open);
        assert_eq!((offer.position.line, offer.position.column), (105, 5));
        let names: Vec<&str> = offer.treatments.iter().map(|treatment| &*treatment.name).collect();
        assert_eq!(names, ["come_back/email/en", "come_back/web/en"]);
        let web = &offer.treatments[1];
        assert_eq!(&*web.links[0].0, "shop");
        assert!(matches!(&web.data[0], (name, DataTemplate::Link(0)) if &**name == "cta_url"));
        assert!(matches!(&web.data[3], (_, DataTemplate::Constant(Value::Int(3)))));
        assert_eq!(rules.offers_by_placement, vec![vec![offer.slot]]);
    }

    #[test]
    fn scenarios() {
        let rules = sample();
        let Scenario { profile, request, expect, known, holdout, now, .. } = &rules.scenarios[0];
        assert!(*known && *holdout);
        assert_eq!(profile.attributes.len(), 2);
        let birthday = profile.attribute(crate::domain::AttrId::of("birthday")).cloned();
        assert_eq!(birthday, Date::from_ymd(1980, 6, 3).map(Value::Date));
        assert_eq!((profile.stats[0].count, profile.stats[0].amount), (2, 3450));
        assert_eq!(profile.stats[0].first_at, profile.first_seen);
        assert_eq!(profile.items.len(), 2);
        assert!(profile.items[0].bought);
        assert_eq!(profile.interactions[0].at, Timestamp(now.0 - 100 * DAY_US));
        assert_eq!(profile.interactions[0].answered_at, profile.interactions[0].at);
        assert_eq!(profile.consents.len(), 2);
        assert_eq!(request.page_consent.marketing, Permission::Denied);
        assert_eq!((request.placements[0].count, request.placements[1].count), (0, 1));
        assert_eq!(request.assurance, Assurance::Verified);
        let waits = &rules.scenarios[1].request;
        assert_eq!((waits.assurance, &*rules.scenarios[1].name), (Assurance::Claimed, "the mail waits"));
        let half_a_day = waits.send_window.until.zip(waits.send_window.from).map(|(until, from)| until.0 - from.0);
        assert_eq!(half_a_day, Some(DAY_US / 2));
        assert!(matches!(&expect[1], Expectation::Dropped { reason: Reason::RecentlyDeclined, .. }));
        assert!(matches!(&expect[2], Expectation::Silent { reason: SilenceReason::ContactPolicy, .. }));
    }
}
