//! Offers that are proposed for each record of a list.

use super::build::*;
use crate::{
    decide::{Denied, Scratch, compose, failed_literals, limits, rank},
    domain::*,
    rules::*,
};

fn account(key: &str, balance: i64, kind: &str) -> StoredRecord {
    let mut fields = vec![(AttrId::of("balance"), Value::Int(balance)), (AttrId::of("kind"), Value::Text(kind.into()))];
    fields.sort_by_key(|field| field.0);
    let change = RecordChange { list: ACCOUNTS, key: key.into(), fields: Some(fields) };
    StoredRecord { change, at: NOW }
}

/// A customer with accounts of these keys and balances.
fn with(accounts: &[(&str, i64)]) -> Profile {
    let records = accounts.iter().map(|(key, balance)| account(key, *balance, "savings")).collect();
    Profile { records, ..customer() }
}

fn each(rules: &Ruleset, repeat: Repeat) -> Option<Each> {
    Some(Each { list: ACCOUNTS, keys: rules.schema.by_name["p.accounts"], max: 64, repeat })
}

/// `save`, for each account of more than 100: worth its balance.
fn save(repeat: Repeat) -> Ruleset {
    let mut rules = rules();
    let (eligible, value) = (condition(&rules, "r.balance > 100"), number(&rules, "r.balance"));
    let text = template(&rules, "{{ r.key }}: {{ r.balance }} on {{ r.kind | upper }}");
    let each = each(&rules, repeat);
    let offer = offer(&mut rules, "save", 0.0);
    (offer.each, offer.eligibility, offer.value) = (each, Some(eligible), value);
    offer.treatments.iter_mut().for_each(|treatment| treatment.text = Some(text.clone()));
    rules
}

/// The winners as `offer#record`.
fn won(case: &Case) -> Vec<String> {
    let ranking = case.rank();
    let name = |w: &crate::decide::Winner| {
        let key = case.profile.record_at(w.record.0).map_or("", |record| &record.key);
        format!("{}#{key}", case.snapshot.ruleset.offer(w.offer).name_id)
    };
    ranking.winners.iter().map(name).collect()
}

/// Verdicts on losers as `offer#record/channel: reason`.
fn lost(case: &Case) -> Vec<String> {
    let verdicts = case.rank().verdicts.unwrap_or_default();
    let told = verdicts.iter().filter_map(|v| {
        let channel = v.channel.as_deref().unwrap_or("-");
        Some(format!("{}#{}/{channel}: {}", v.offer, v.record_key, v.reason?.name()))
    });
    told.collect()
}

fn of(accounts: &[(&str, i64)], repeat: Repeat, placements: &[&str]) -> Case {
    Case::new(finish(save(repeat)), with(accounts), ask(placements))
}

const THREE: [(&str, i64); 4] = [("a", 500), ("b", 900), ("c", 50), ("d", 700)];

#[test]
fn the_best_record_stands_for_the_offer() {
    let case = of(&THREE, Repeat::Never, &["list"]);
    assert_eq!(won(&case), ["save#b"]);
    let lost = lost(&case);
    assert_eq!(lost, ["save#c/-: not_eligible", "save#a/web: duplicate", "save#d/web: duplicate"]);
    let ranking = case.rank();
    assert_eq!(ranking.counts[Reason::NotEligible as usize], 1);
    assert_eq!(ranking.winners[0].factors.value, 900.0);
}

#[test]
fn a_page_may_hold_the_offer_for_several_records() {
    let case = of(&THREE, Repeat::ByRecord, &["list"]);
    assert_eq!(won(&case), ["save#b", "save#d", "save#a"]);
    let case = of(&THREE, Repeat::ByRecord, &["hero", "list"]);
    assert_eq!(won(&case), ["save#b", "save#d", "save#a"]);
    assert!(lost(&case).contains(&"save#b/web: duplicate".to_owned()), "{:?}", lost(&case));
    // and once over two placements without it
    assert_eq!(won(&of(&THREE, Repeat::Never, &["hero", "list"])), ["save#b"]);
}

#[test]
fn an_open_question_names_the_best_record_on_its_best_channel() {
    let case = of(&THREE, Repeat::ByRecord, &[]);
    assert_eq!(won(&case), ["save#b"]);
    let ranking = case.rank();
    let others: Vec<_> = ranking.other_channels.iter().map(|o| (o.channel, o.reason)).collect();
    assert_eq!(others.len(), 3, "the other channels of this record alone: {others:?}");
    assert!(others.iter().all(|other| other.1 == Reason::OtherChannel));
}

#[test]
fn records_that_are_none_or_removed_are_nobody() {
    for accounts in [&[][..], &[("c", 50)][..]] {
        let case = of(accounts, Repeat::Never, &["hero"]);
        assert_eq!((won(&case).len(), case.outcome()), (0, vec!["0: nothing_eligible".to_owned()]));
        assert_eq!(lost(&case), ["save#/-: not_eligible"]);
    }
    let mut case = of(&THREE, Repeat::Never, &["hero"]);
    case.profile.records[1].change.fields = None;
    assert_eq!(won(&case), ["save#d"]);
}

#[test]
fn at_most_so_many_records_are_looked_at_by_key() {
    let many: Vec<(String, i64)> = (0..20).map(|n| (format!("k{n:02}"), 200 + n)).collect();
    let many: Vec<(&str, i64)> = many.iter().map(|(key, balance)| (&**key, *balance)).collect();
    let case = of(&many, Repeat::Never, &["hero"]);
    assert_eq!(won(&case), ["save#k15"]);
    let left: Vec<String> = (16..20).map(|n| format!("save#k{n}/-: not_looked_at")).collect();
    assert_eq!(lost(&case)[..4], left[..], "and the rest lost to the best");
}

#[test]
fn the_cut_comes_after_the_conditions() {
    let mut many: Vec<(String, i64)> = (0..40).map(|n| (format!("k{n:02}"), 1)).collect();
    many[39].1 = 500;
    let many: Vec<(&str, i64)> = many.iter().map(|(key, balance)| (&**key, *balance)).collect();
    assert_eq!(won(&of(&many, Repeat::Never, &["hero"])), ["save#k39"]);
}

#[test]
fn what_was_shown_keeps_its_order_by_record() {
    let of_accounts = |keys: &[&str]| -> Vec<(OfferSlot, RecordRef)> {
        keys.iter().map(|key| (OfferSlot(0), RecordRef::of(ACCOUNTS, key))).collect()
    };
    let accounts = [("a", 500), ("b", 900), ("d", 700)];
    let mut case = of(&accounts, Repeat::ByRecord, &["list"]);
    case.keep_order = of_accounts(&["a", "d"]);
    assert_eq!(won(&case), ["save#a", "save#d", "save#b"]);
    // one that is gone makes room for the best, not for the first by key
    case.keep_order = of_accounts(&["gone"]);
    assert_eq!(won(&case), ["save#b", "save#d", "save#a"]);
    // an offer that a page holds once stays with its record
    let mut case = of(&accounts, Repeat::Never, &["list"]);
    case.keep_order = of_accounts(&["d"]);
    assert_eq!(won(&case), ["save#d"]);
}

#[test]
fn of_an_offer_without_records_a_record_is_the_offer() {
    let mut rules = rules();
    offer(&mut rules, "plain", 600.0);
    limit(&mut rules, Scope::Record, 1, Window::Rolling(DAY));
    let mut case = Case::new(finish(rules), with(&THREE), ask(&["hero"]));
    let seen = interaction("plain", "web", NOW.plus_us(-HOUR_US), &[OutcomeType::Impression]);
    case.profile.interactions = vec![Interaction { record: RecordRef::of(ACCOUNTS, "b"), ..seen }];
    assert_eq!(won(&case), Vec::<String>::new());

    let mut rules = self::rules();
    offer(&mut rules, "plain", 600.0);
    let (outcome, scope) = (OutcomeType::Decline, Scope::Record);
    rules.suppressions.push(Suppression { outcome, reason: None, offer: None, count: 1, scope, for_us: DAY });
    let mut case = Case::new(finish(rules), with(&THREE), ask(&["hero"]));
    let no = interaction("plain", "web", NOW.plus_us(-HOUR_US), &[OutcomeType::Impression, OutcomeType::Decline]);
    case.profile.interactions = vec![Interaction { record: RecordRef::of(ACCOUNTS, "b"), ..no }];
    assert_eq!(won(&case), Vec::<String>::new());
}

#[test]
fn content_token_and_answer_name_the_record() {
    let case = of(&THREE, Repeat::ByRecord, &["list"]);
    let mut scratch = Scratch::default();
    let ranking = rank(&case.inputs(), &mut scratch);
    let decision = compose(&case.inputs(), &ranking, &mut scratch).decision;
    let shown: Vec<_> =
        decision.placements[0].presentations.iter().map(|p| (&*p.record_key, &*p.message.text)).collect();
    assert_eq!(shown, [("b", "b: 900 on SAVINGS"), ("d", "d: 700 on SAVINGS"), ("a", "a: 500 on SAVINGS")]);
    assert_eq!(ranking.winners[0].record.1, RecordRef::of(ACCOUNTS, "b"));
    let told = failed_literals(&case.inputs(), (OfferSlot(0), "c"));
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].1.value_read, "r.balance = 50");
    assert!(failed_literals(&case.inputs(), (OfferSlot(0), "a")).is_empty());
}

#[test]
fn limits_count_each_record_by_itself() {
    let limited = |scope| {
        let mut rules = save(Repeat::Never);
        limit(&mut rules, scope, 1, Window::Rolling(DAY));
        let mut case = Case::new(finish(rules), with(&THREE), ask(&["hero"]));
        let seen = interaction("save", "web", NOW.plus_us(-HOUR_US), &[OutcomeType::Impression]);
        case.profile.interactions = vec![Interaction { record: RecordRef::of(ACCOUNTS, "b"), ..seen }];
        case
    };
    assert_eq!(won(&limited(Scope::Record)), ["save#d"]);
    assert_eq!(won(&limited(Scope::Offer)), Vec::<String>::new());
    assert!(lost(&limited(Scope::Record)).contains(&"save#b/web: limit_reached".to_owned()));

    // so do claims and what is reserved
    let case = limited(Scope::Record);
    let rules = &case.snapshot.ruleset;
    let (offer, web) = (rules.offer(OfferSlot(0)), rules.channel(WEB));
    let held = |key| Reservation {
        decision: DecisionId(9),
        offer: offer.id,
        channel: web.id,
        record: RecordRef::of(ACCOUNTS, key),
        at: NOW,
        expires_at: NOW.plus_us(HOUR_US),
    };
    let room = |key, held: &[Reservation]| {
        let wanted = (offer, web, RecordRef::of(ACCOUNTS, key));
        limits::has_room(rules, &case.profile, held, wanted, (DecisionId(6), NOW))
    };
    assert!(!room("b", &[]) && room("d", &[]) && room("d", &[held("a")]) && !room("d", &[held("d")]));
    let mut case = limited(Scope::Record);
    case.reservations = vec![held("d")];
    assert_eq!(won(&case), ["save#a"]);
}

#[test]
fn a_limit_of_records_holds_within_the_page() {
    let mut rules = save(Repeat::ByRecord);
    limit(&mut rules, Scope::Offer, 2, Window::Rolling(DAY));
    let case = Case::new(finish(rules), with(&THREE), ask(&["list"]));
    assert_eq!(won(&case), ["save#b", "save#d"]);
}

#[test]
fn a_decline_may_speak_of_the_record_or_of_the_offer() {
    let declined = |scope, count| {
        let mut rules = save(Repeat::Never);
        let (outcome, offer) = (OutcomeType::Decline, None);
        rules.suppressions.push(Suppression { outcome, reason: None, offer, count, scope, for_us: DAY });
        let mut case = Case::new(finish(rules), with(&THREE), ask(&["hero"]));
        let no = interaction("save", "web", NOW.plus_us(-HOUR_US), &[OutcomeType::Impression, OutcomeType::Decline]);
        case.profile.interactions = vec![Interaction { record: RecordRef::of(ACCOUNTS, "b"), ..no }];
        case
    };
    assert_eq!(won(&declined(Scope::Record, 1)), ["save#d"]);
    assert!(lost(&declined(Scope::Record, 1)).contains(&"save#b/web: recently_declined".to_owned()));
    assert_eq!(won(&declined(Scope::Record, 2)), ["save#b"]);
    assert_eq!(won(&declined(Scope::Offer, 1)), Vec::<String>::new());
}

#[test]
fn what_is_denied_for_one_record_leaves_the_others() {
    let mut case = of(&THREE, Repeat::Never, &["hero"]);
    let (offer, reason) = (OfferSlot(0), Reason::ClaimRefused);
    case.denied = vec![Denied { offer, record: RecordRef::of(ACCOUNTS, "b"), reason }];
    assert_eq!(won(&case), ["save#d"]);
    case.denied.push(Denied { offer, record: RecordRef::NONE, reason });
    assert_eq!(won(&case), Vec::<String>::new());
}

#[test]
fn content_that_fails_for_one_record_is_denied_for_it_alone() {
    let mut rules = save(Repeat::Never);
    let text = template(&rules, "{{ r.kind }}");
    rules.offers[0].treatments.iter_mut().for_each(|treatment| treatment.text = Some(text.clone()));
    let mut case = Case::new(finish(rules), with(&THREE), ask(&["hero"]));
    let fields = case.profile.records[1].change.fields.as_mut().expect("fields");
    fields.retain(|field| field.0 != AttrId::of("kind"));
    let mut scratch = Scratch::default();
    let ranking = rank(&case.inputs(), &mut scratch);
    let failed = compose(&case.inputs(), &ranking, &mut scratch).failed;
    assert_eq!(
        failed,
        [Denied { offer: OfferSlot(0), record: RecordRef::of(ACCOUNTS, "b"), reason: Reason::RenderFailed }]
    );
    case.denied = failed;
    assert_eq!(won(&case), ["save#d"]);
}

#[test]
fn conditions_together_speak_of_one_record() {
    let mut rules = save(Repeat::Never);
    let suitable = condition(&rules, "r.kind == 'loan'");
    rules.offers[0].suitability = Some(suitable);
    let mut case = Case::new(finish(rules), with(&[("a", 500)]), ask(&["hero"]));
    case.profile.records.push(account("b", 10, "loan"));
    assert_eq!(won(&case), Vec::<String>::new(), "one is rich, the other a loan");
    case.profile.records.push(account("c", 300, "loan"));
    assert_eq!(won(&case), ["save#c"]);
    assert_eq!(lost(&case), ["save#a/-: not_suitable", "save#b/-: not_eligible"]);
}

#[test]
fn other_offers_stand_beside_it() {
    let mut rules = save(Repeat::ByRecord);
    offer(&mut rules, "plain", 600.0);
    let case = Case::new(finish(rules), with(&THREE), ask(&["list"]));
    assert_eq!(won(&case), ["save#b", "save#d", "plain#"]);
}
