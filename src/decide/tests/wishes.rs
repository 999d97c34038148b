//! What the customer wishes: channel, language, quiet hours, contacts a week.

use super::build::*;
use crate::{
    decide::limits,
    domain::{
        profile::{Preference, StoredPreference},
        *,
    },
    rules::*,
};

fn wish(profile: &mut Profile, preference: Preference) {
    profile.preferences.push(StoredPreference { preference, at: NOW });
}

/// An offer by mail and text message, another one for the web.
fn mailed() -> Ruleset {
    let mut rules = rules();
    offer(&mut rules, "mail", 10.0).treatments.retain(|t| t.channel == EMAIL || t.channel == SMS);
    rules
}

fn wishing(rules: Ruleset, preference: Preference) -> Case {
    let mut profile = customer();
    wish(&mut profile, preference);
    Case::new(finish(rules), profile, ask(&[]))
}

#[test]
fn the_wished_channel_weighs_more_and_comes_first_among_equals() {
    let mut plain = mailed();
    plain.wished_channel_weight = 1.0;
    check(&Case::new(finish(mailed()), customer(), ask(&[])), &["0: mail/email"], &["mail/sms: other_channel"]);
    let sms = || Preference::Channel(Some(ChannelId::of("sms")));
    check(&wishing(plain, sms()), &["0: mail/sms"], &["mail/email: other_channel"]);

    // 1.25 times the net priority of the other
    let mut rules = mailed();
    rules.channels[SMS.index()].cost = 1.5;
    let case = wishing(rules, sms());
    check(&case, &["0: mail/sms"], &[]);
    assert_eq!(case.rank().winners[0].factors.preference, 1.25);
    let mut rules = mailed();
    rules.channels[SMS.index()].cost = 2.5;
    check(&wishing(rules, sms()), &["0: mail/email"], &[]);
    // what the stored preference says stays
    let mut case = wishing(mailed(), Preference::Channel(Some(ChannelId::of("email"))));
    set(&mut case.profile, "likes_email", Value::Double(0.5));
    check(&case, &["0: mail/sms"], &[]);
    set(&mut case.profile, "likes_email", Value::Double(2.0));
    assert_eq!(case.rank().winners[0].factors.preference, 2.5);
    check(&wishing(mailed(), Preference::Channel(None)), &["0: mail/email"], &[]);
}

#[test]
fn the_wished_language_stands_before_the_stored_one_and_after_the_requests() {
    let mut rules = rules();
    let treatments: Vec<_> = ["en", "de", "fr"].map(|language| treatment(&rules, "page", WEB, language)).into();
    offer(&mut rules, "page", 10.0).treatments = treatments;
    let mut profile = customer();
    set(&mut profile, "language", Value::Text("fr".into()));
    wish(&mut profile, Preference::Language(Some("de-at".into())));
    let mut case = Case::new(finish(rules), profile, ask(&["hero"]));
    let language = |case: &Case| {
        let winner = case.rank().winners[0];
        case.snapshot.ruleset.offer(winner.offer).treatments[usize::from(winner.treatment)].language.to_string()
    };
    assert_eq!(language(&case), "de");
    case.request.languages = vec!["en".into()];
    assert_eq!(language(&case), "en");
    case.request.languages.clear();
    case.profile.preferences.clear();
    assert_eq!(language(&case), "fr");
}

#[test]
fn the_customers_quiet_hours_narrow_those_of_the_channel() {
    // 13:00 in London
    let quiet = |from: u16, until: u16| Preference::QuietHours(Some((from * 60, until * 60)));
    let case = wishing(mailed(), quiet(12, 14));
    check(&case, &["0: mail/email"], &["mail/sms: quiet_hours"]);
    assert_eq!(case.rank().winners[0].not_before, Some(NOW.plus_us(HOUR_US)));
    // until 21:00 leads into the channel's own hours, which end at 8:00
    let case = wishing(mailed(), quiet(12, 21));
    assert_eq!(case.rank().winners[0].not_before, Some(NOW.plus_us(19 * HOUR_US)));
    // what leaves no hour is never said
    check(
        &wishing(mailed(), quiet(8, 21)),
        &["0: contact_policy"],
        &["mail/email: quiet_hours", "mail/sms: quiet_hours"],
    );
    check(&wishing(mailed(), quiet(14, 15)), &["0: mail/email"], &[]);
    // an outbound channel without hours of its own waits too
    let mut never = mailed();
    never.channels[EMAIL.index()].quiet_hours = None;
    never.channels[SMS.index()].quiet_hours = None;
    let case = wishing(never, quiet(12, 14));
    check(&case, &["0: mail/email"], &[]);
    assert_eq!(case.rank().winners[0].not_before, Some(NOW.plus_us(HOUR_US)));
    let mut soon = case;
    soon.request.send_window.until = Some(NOW.plus_us(HOUR_US / 2));
    check(&soon, &["0: contact_policy"], &["mail/email: outside_send_window"]);
    // where the customer came, nothing is quiet
    let mut rules = rules();
    offer(&mut rules, "page", 10.0);
    let mut profile = customer();
    wish(&mut profile, quiet(12, 14));
    let mut case = Case::new(finish(rules), profile, ask(&["hero", "desk"]));
    check(&case, &["0: page/web", "1: on_page_already"], &[]);
    // but nobody is called unasked
    case.request.placements.clear();
    case.request.allowed_channels = vec![ChannelId::of("call")];
    check(&case, &["0: contact_policy"], &["page/call: quiet_hours"]);
}

#[test]
fn an_answer_is_sent_before_the_customers_quiet_hours_begin() {
    let case = wishing(mailed(), Preference::QuietHours(Some((18 * 60, 9 * 60))));
    let ranking = case.rank();
    let composed = crate::decide::compose(&case.inputs(), &ranking, &mut crate::decide::Scratch::default());
    let send_by = composed.decision.placements[0].presentations[0].send_by;
    assert_eq!(send_by, Some(NOW.plus_us(5 * HOUR_US)));
}

fn seen(profile: &mut Profile, channel: &str, days_ago: i64) {
    let outcomes = [OutcomeType::Handoff];
    profile.interactions.push(interaction("mail", channel, NOW.plus_us(-days_ago * DAY), &outcomes));
    profile.interactions.sort_by_key(|i| i.at);
}

#[test]
fn no_more_marketing_than_wished_reaches_out_in_seven_days() {
    let most = |max| Preference::ContactsPerWeek(Some(max));
    let service = |rules: &mut Ruleset| {
        let status = offer(rules, "status", 1.0);
        status.purpose = Purpose::Service;
        status.treatments.retain(|t| t.channel == EMAIL);
    };
    let mut rules = mailed();
    service(&mut rules);
    let mut case = wishing(rules, most(2));
    seen(&mut case.profile, "email", 8);
    seen(&mut case.profile, "email", 6);
    check(&case, &["0: mail/email"], &[]);
    // all outbound channels count together
    seen(&mut case.profile, "sms", 1);
    check(&case, &["0: status/email"], &["mail/email: limit_reached", "mail/sms: limit_reached"]);
    let words = case.rank().verdicts.unwrap_or_default();
    assert!(words.iter().any(|v| v.detail == "the customer's wish: 2 of 2 in 7d"), "{words:?}");
    // what the customer came for is no contact
    case.profile.interactions.iter_mut().for_each(|i| i.channel = ChannelId::of("web"));
    check(&case, &["0: mail/email"], &[]);
    // what is decided and not seen yet holds its place
    let held = |decision| Reservation {
        record: Default::default(),
        decision: DecisionId(decision),
        offer: OfferId::of("mail"),
        channel: ChannelId::of("email"),
        at: NOW.plus_us(-1),
        expires_at: NOW.plus_us(1),
    };
    case.reservations = vec![held(8), held(9)];
    check(&case, &["0: status/email"], &["mail/email: limit_reached"]);
    // two offers of one decision are one contact
    case.reservations = vec![held(8), held(8)];
    check(&case, &["0: mail/email"], &[]);
    // none at all
    check(&wishing(mailed(), most(0)), &["0: contact_policy"], &["mail/email: limit_reached"]);
    check(&wishing(mailed(), Preference::ContactsPerWeek(None)), &["0: mail/email"], &[]);
}

#[test]
fn a_claim_counts_the_wish_too() {
    let case = wishing(mailed(), Preference::ContactsPerWeek(Some(1)));
    let rules = &case.snapshot.ruleset;
    let (mail, email, web) = (rules.offer(OfferSlot(0)), rules.channel(EMAIL), rules.channel(WEB));
    assert!(limits::is_limited(&case.profile, mail, email) && !limits::is_limited(&case.profile, mail, web));
    assert!(!limits::is_limited(&customer(), mail, email));
    let held = Reservation {
        record: Default::default(),
        decision: DecisionId(5),
        offer: mail.id,
        channel: email.id,
        at: NOW,
        expires_at: NOW.plus_us(HOUR_US),
    };
    let room = |decision, held: &[Reservation]| {
        limits::has_room(rules, &case.profile, held, (mail, email, RecordRef::NONE), (DecisionId(decision), NOW))
    };
    assert!(room(6, &[]) && !room(6, &[held]) && room(5, &[held]));
}
