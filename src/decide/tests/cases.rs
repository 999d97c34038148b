//! One behaviour each, by `check(case, outcome, reasons)`.

use super::build::*;
use crate::{
    decide::{Denied, Scratch, compose, failed_literals, in_holdout, rank},
    domain::*,
    rules::*,
};

fn two() -> Ruleset {
    let mut rules = rules();
    offer(&mut rules, "high", 20.0);
    offer(&mut rules, "low", 10.0);
    rules
}

#[test]
fn the_best_net_priority_wins_and_an_offer_stands_on_a_page_once() {
    let case = Case::new(finish(two()), customer(), ask(&["hero", "list", "nowhere", "hero"]));
    check(&case, &["0: high/web", "1: low/web", "3: on_page_already"], &["high/web: duplicate", "low/web: outranked"]);
    let statuses: Vec<_> = case.rank().placements.iter().map(|p| p.status).collect();
    assert_eq!(statuses[2], PlacementStatus::UnknownPlacement);
}

#[test]
fn doing_nothing_wins_over_a_loss_and_a_floor_holds() {
    let mut rules = two();
    rules.channels[0].cost = 15.0;
    rules.offers[0].floor = Some(0.6);
    let case = Case::new(finish(rules), customer(), ask(&["hero"]));
    check(&case, &["0: not_worth_it"], &["high/web: below_floor", "low/web: nothing_is_better"]);
}

#[test]
fn stage_one_names_what_it_drops() {
    let mut rules = rules();
    for name in ["a_early", "b_late", "c_service", "d_excluded", "e_paused", "f_elsewhere"] {
        offer(&mut rules, name, 1.0);
    }
    rules.offers[0].schedule = (Some(NOW.plus_us(1)), None);
    rules.offers[1].schedule = (None, Some(NOW));
    rules.offers[2].purpose = Purpose::Service;
    rules.offers[4].paused = true;
    rules.offers[5].placements = Vec::new();
    let mut case = Case::new(finish(rules), customer(), ask(&["hero"]));
    case.request.purpose = Some(Purpose::Marketing);
    case.request.exclude_offers = vec![OfferId::of("d_excluded")];
    check(
        &case,
        &["0: no_offers"],
        &[
            "a_early/-: outside_schedule",
            "b_late/-: outside_schedule",
            "c_service/-: other_purpose",
            "d_excluded/-: excluded_by_request",
            "e_paused/-: paused",
            "f_elsewhere/-: not_for_placement",
        ],
    );
}

#[test]
fn conditions_hold_only_when_true_and_explain_names_the_literal() {
    let mut rules = two();
    rules.offers[0].eligibility = Some(condition(&rules, "p.points > 5"));
    rules.offers[1].suitability = Some(condition(&rules, "p.country == 'UK'"));
    let mut profile = customer();
    set(&mut profile, "country", Value::Text("DE".into()));
    let mut case = Case::new(finish(rules), profile, ask(&["hero"]));
    check(&case, &["0: nothing_eligible"], &["high/-: not_eligible", "low/-: not_suitable"]);
    let failed = failed_literals(&case.inputs(), (OfferSlot(1), ""));
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].0, "suitability");
    assert!(failed[0].1.value_read.contains("DE"), "{:?}", failed[0]);
    set(&mut case.profile, "points", Value::Int(6));
    check(&case, &["0: high/web"], &[]);
}

#[test]
fn behaviour_is_masked_without_consent_to_profiling() {
    let mut rules = two();
    rules.offers[0].eligibility = Some(condition(&rules, "p.orders >= 0"));
    let mut case = Case::new(finish(rules), customer(), ask(&["hero"]));
    check(&case, &["0: high/web"], &[]);
    assert_eq!(case.rank().level, Level::Full);
    case.request.page_consent.profiling = Permission::Denied;
    check(&case, &["0: low/web"], &["high/-: not_eligible"]);
    assert_eq!(case.rank().level, Level::NoRecommendations);
    assert_eq!(&case.rank().dropped[..], &[DroppedInput::Behaviour]);
    let mut visitor = Case::new(case.snapshot.ruleset.clone(), Profile::default(), ask(&["hero"])).anonymous();
    check(&visitor, &["0: low/web"], &["high/-: not_eligible"]);
    visitor.request.page_consent.profiling = Permission::Granted;
    check(&visitor, &["0: high/web"], &[]);
}

#[test]
fn what_is_kept_for_verified_persons_is_unknown_for_others() {
    let mut rules = two();
    let slot = rules.schema.by_name["p.points"];
    (rules.schema.attributes[slot.index()].verified, rules.schema.verified) = (true, vec![slot]);
    rules.schema.attributes[slot.index()].default = Some(Value::Int(1));
    rules.offers[0].eligibility = Some(condition(&rules, "p.points >= 0"));
    let mut case = Case::new(finish(rules), customer(), ask(&["hero"]));
    set(&mut case.profile, "points", Value::Int(6));
    for (assurance, winner, dropped) in [
        (Assurance::Anonymous, "0: low/web", &[DroppedInput::Verified][..]),
        (Assurance::Claimed, "0: low/web", &[DroppedInput::Verified]),
        (Assurance::Verified, "0: high/web", &[]),
    ] {
        case.request.assurance = assurance;
        check(&case, &[winner], &[]);
        assert_eq!(&case.rank().dropped[..], dropped);
    }
    // The default would say something too.
    case.request.assurance = Assurance::Claimed;
    case.profile.attributes.clear();
    check(&case, &["0: low/web"], &["high/-: not_eligible"]);
    let told = failed_literals(&case.inputs(), (OfferSlot(0), ""));
    assert_eq!(told[0].1.value_read, "p.points is not read: the person is not verified");
    assert_eq!(told[0].1.truth, Truth::Unknown);
    // A preview that assumes a value is asked about it.
    case.request.overrides = vec![(AttrId::of("points"), Value::Int(3))];
    check(&case, &["0: high/web"], &[]);
}

#[test]
fn an_offer_for_verified_persons_is_for_nobody_else() {
    let mut rules = two();
    rules.offers[0].verified = true;
    let mut case = Case::new(finish(rules), customer(), ask(&["hero"]));
    for assurance in [Assurance::Anonymous, Assurance::Claimed] {
        case.request.assurance = assurance;
        check(&case, &["0: low/web"], &["high/-: not_verified"]);
        assert!(case.rank().dropped.is_empty());
    }
    case.request.assurance = Assurance::Verified;
    check(&case, &["0: high/web"], &[]);
}

#[test]
fn an_open_answer_is_sent_within_the_window() {
    let mut rules = rules();
    offer(&mut rules, "mail", 10.0).treatments.retain(|t| t.channel == EMAIL);
    let mut case = Case::new(finish(rules), customer(), ask(&[]));
    let hours = |h: i64| Some(NOW.plus_us(h * HOUR_US));
    // 12:00 UTC is 13:00 in London; mail is quiet from 21:00 to 8:00 and waits
    for (from, until, not_before, send_by) in [
        (None, None, None, 8),
        (hours(-2), hours(3), None, 3),
        (hours(0), None, None, 8),
        (hours(2), hours(4), hours(2), 4),
        (hours(2), None, hours(2), 8),
        // in quiet hours: from their end
        (hours(9), None, hours(19), 32),
        (hours(9), hours(20), hours(19), 20),
    ] {
        case.request.send_window = SendWindow { from, until };
        check(&case, &["0: mail/email"], &[]);
        let decision = compose(&case.inputs(), &case.rank(), &mut Scratch::default()).decision;
        let mail = &decision.placements[0].presentations[0];
        assert_eq!((mail.not_before, mail.send_by), (not_before, hours(send_by)), "{from:?} {until:?}");
        assert!(mail.valid_until >= mail.send_by.unwrap());
    }
    for (from, until) in [(None, hours(0)), (None, hours(-1)), (hours(9), hours(19)), (hours(9), hours(12))] {
        case.request.send_window = SendWindow { from, until };
        check(&case, &["0: contact_policy"], &["mail/email: outside_send_window"]);
    }
    // A page is not sent.
    case.request = Request { send_window: SendWindow { from: hours(9), until: hours(10) }, ..ask(&["hero"]) };
    check(&case, &["0: not_reachable"], &[]);
}

#[test]
fn an_offer_that_ends_before_the_window_begins_is_not_sent() {
    let mut rules = rules();
    offer(&mut rules, "mail", 10.0).schedule.1 = Some(NOW.plus_us(HOUR_US));
    let mut case = Case::new(finish(rules), customer(), ask(&[]));
    case.request.allowed_channels = vec![ChannelId::of("email"), ChannelId::of("call"), ChannelId::of("web")];
    case.request.send_window.from = Some(NOW.plus_us(HOUR_US));
    let outside = ["mail/email: outside_send_window", "mail/call: outside_send_window"];
    check(&case, &["0: mail/web"], &outside);
}

#[test]
fn a_word_that_could_not_be_read_counts_as_no() {
    let mut rules = two();
    rules.offers[1].purpose = Purpose::Service;
    offer(&mut rules, "seen", 30.0).eligibility = Some(condition(&rules, "p.orders >= 0"));
    rules.offers[2].purpose = Purpose::Service;
    let mut case = Case::new(finish(rules), Profile::default(), ask(&["hero", "desk"])).anonymous();
    case.request.page_consent = PageConsent { profiling: Permission::Granted, marketing: Permission::Granted };
    for matched in [Match::Anonymous, Match::New] {
        case.matched = matched;
        check(&case, &["0: seen/web", "1: high/call", "1: low/call"], &[]);
    }
    let mut unread = DegradedSet::default();
    unread.insert(Degraded::ProfileUnavailable);
    for (matched, degraded) in [(Match::Ambiguous, DegradedSet::default()), (Match::New, unread)] {
        (case.matched, case.degraded) = (matched, degraded);
        check(
            &case,
            &["0: low/web", "1: on_page_already"],
            &["seen/-: not_eligible", "high/web: no_permission", "high/call: no_permission"],
        );
        assert_eq!(&case.rank().dropped[..], &[DroppedInput::Behaviour]);
    }
}

#[test]
fn under_overload_nothing_is_ranked_and_nothing_is_left_of_the_question_before() {
    let mut rules = two();
    rules.placements[0].fallback = Some(Vec::new());
    let mut case = Case::new(finish(rules), customer(), ask(&["hero", "desk", "nowhere"]));
    let mut scratch = Scratch::default();
    assert!(!rank(&case.inputs(), &mut scratch).winners.is_empty());
    case.degraded.insert(Degraded::Overload);
    let ranking = rank(&case.inputs(), &mut scratch);
    assert_eq!(ranking.level, Level::Fallback);
    assert!(ranking.winners.is_empty() && ranking.counts.iter().all(|count| *count == 0));
    let said: Vec<_> = ranking.placements.iter().map(|placement| placement.status).collect();
    assert_eq!(said, [PlacementStatus::Fallback, PlacementStatus::Empty, PlacementStatus::UnknownPlacement]);
}

#[test]
fn an_open_question_calls_only_who_opted_in() {
    let mut rules = rules();
    offer(&mut rules, "sale", 10.0).treatments.retain(|t| t.channel == CALL);
    offer(&mut rules, "status", 5.0).treatments.retain(|t| t.channel == CALL);
    rules.offers[1].purpose = Purpose::Service;
    let mut case = Case::new(finish(rules), customer(), ask(&[]));
    check(&case, &["0: sale/call"], &[]);
    let granted = std::mem::take(&mut case.profile.consents);
    check(&case, &["0: status/call"], &["sale/call: no_permission"]);
    case.request = ask(&["desk"]);
    check(&case, &["0: sale/call", "0: status/call"], &[]);
    (case.profile.consents, case.profile.do_not_contact) = (granted, Some(NOW));
    check(&case, &["0: sale/call", "0: status/call"], &[]);
    case.request = ask(&[]);
    check(&case, &["0: not_reachable"], &["sale/call: do_not_contact", "status/call: do_not_contact"]);
}

#[test]
fn context_overrides_and_defaults_are_read() {
    let mut rules = two();
    rules.offers[0].eligibility = Some(condition(&rules, "ctx.basket > 3 && p.points == 9"));
    rules.offers[1].eligibility = Some(condition(&rules, "!('vip' in p.tags)"));
    let mut case = Case::new(finish(rules), customer(), ask(&["hero"]));
    check(&case, &["0: low/web"], &[]);
    case.request.context = vec![(AttrId::of("basket"), Value::Int(4))];
    case.request.overrides = vec![(AttrId::of("points"), Value::Int(9))];
    check(&case, &["0: high/web"], &[]);
}

#[test]
fn outbound_marketing_needs_an_opt_in_an_address_and_no_objection() {
    let mut rules = rules();
    offer(&mut rules, "sale", 10.0).treatments.retain(|t| t.channel == EMAIL);
    offer(&mut rules, "status", 5.0).treatments.retain(|t| t.channel == EMAIL);
    rules.offers[1].purpose = Purpose::Service;
    let ruleset = finish(rules);
    let mut case = Case::new(ruleset, customer(), ask(&[]));
    check(&case, &["0: sale/email"], &["status/email: outranked"]);
    case.profile.consents.clear();
    check(&case, &["0: status/email"], &["sale/email: no_permission"]);
    let denied = Permission::Denied;
    consents(
        &mut case.profile,
        vec![
            consent(None, ConsentPurpose::Marketing, Permission::Granted),
            consent(Some("email"), ConsentPurpose::Marketing, denied),
            consent(Some("email"), ConsentPurpose::Service, denied),
        ],
    );
    check(&case, &["0: not_reachable"], &["sale/email: opted_out", "status/email: opted_out"]);
    case.profile = customer();
    case.request.page_consent.marketing = denied;
    check(&case, &["0: status/email"], &["sale/email: opted_out"]);
    case.profile.do_not_contact = Some(NOW);
    check(&case, &["0: not_reachable"], &["sale/email: do_not_contact", "status/email: do_not_contact"]);
    case.profile = customer();
    case.profile.attributes.clear();
    check(&case, &["0: not_reachable"], &["status/email: no_address"]);
    let visitor = Case::new(case.snapshot.ruleset.clone(), Profile::default(), ask(&[])).anonymous();
    check(&visitor, &["0: not_reachable"], &["status/email: no_address"]);
}

#[test]
fn do_not_contact_leaves_what_the_customer_opened() {
    let mut case = Case::new(finish(two()), customer(), ask(&["hero", "desk"]));
    case.profile.do_not_contact = Some(NOW);
    check(&case, &["0: high/web", "1: low/call"], &[]);
}

#[test]
fn the_language_that_suits_best_is_taken() {
    let mut rules = rules();
    offer(&mut rules, "hello", 1.0);
    for language in ["de", "de-ch", "fr"] {
        let more = treatment(&rules, "hello", WEB, language);
        rules.offers[0].treatments.push(more);
    }
    let mut case = Case::new(finish(rules), customer(), ask(&["hero"]));
    let mut language = |wanted: &[&str], stored: Option<&str>| {
        case.request.languages = wanted.iter().map(|l| (*l).into()).collect();
        case.profile = customer();
        if let Some(stored) = stored {
            set(&mut case.profile, "language", Value::Text(stored.into()));
        }
        let composed = compose(&case.inputs(), &case.rank(), &mut Scratch::default());
        composed.decision.placements[0].presentations[0].language.to_string()
    };
    assert_eq!(language(&[], None), "en");
    assert_eq!(language(&[], Some("fr")), "fr");
    assert_eq!(language(&["de-at"], Some("fr")), "de");
    assert_eq!(language(&["de-ch", "fr"], None), "de-ch");
    assert_eq!(language(&["it", "fr-ca"], None), "fr");
    assert_eq!(language(&["it"], None), "en");
}

#[test]
fn an_offer_in_no_language_the_person_reads_has_no_treatment() {
    let mut rules = two();
    for treatment in &mut rules.offers[0].treatments {
        treatment.language = "fi".into();
    }
    rules.offers[1].treatments.retain(|t| t.channel == EMAIL);
    let case = Case::new(finish(rules), customer(), ask(&["hero"]));
    check(&case, &["0: not_reachable"], &["high/web: no_treatment", "low/web: no_treatment"]);
}

#[test]
fn an_open_question_takes_one_channel_and_tells_of_the_others() {
    let mut rules = two();
    rules.channels[EMAIL.index()].cost = 1.0;
    rules.channels[WEB.index()].base_rate = 0.01;
    rules.channels[CALL.index()].base_rate = 0.02;
    let mut case = Case::new(finish(rules), customer(), ask(&[]));
    set(&mut case.profile, "likes_email", Value::Double(2.0));
    case.request.allowed_channels = ["web", "email", "sms"].map(ChannelId::of).into();
    check(
        &case,
        &["0: high/email"],
        &["high/web: other_channel", "high/call: channel_not_allowed", "low/sms: outranked"],
    );
    let composed = compose(&case.inputs(), &case.rank(), &mut Scratch::default());
    let presentation = &composed.decision.placements[0].presentations[0];
    let others: Vec<_> = presentation.other_channels.iter().map(|o| (&*o.channel, o.reason)).collect();
    let other = Reason::OtherChannel;
    assert_eq!(others, [("web", other), ("call", Reason::ChannelNotAllowed), ("sms", other)]);
    assert_eq!(presentation.send_by, Some(NOW.plus_us(8 * HOUR_US)));
}

fn web_limit(scope: Scope, max: u32, window: Window) -> Ruleset {
    let mut rules = two();
    rules.offers[1].group = GroupSlot(1);
    rules.offers[1].issue = IssueSlot(1);
    limit(&mut rules, scope, max, window);
    rules
}

#[test]
fn limits_count_by_their_scope() {
    let seen = [OutcomeType::Impression];
    let outcomes = [
        (Scope::Offer, "0: low/web"),
        (Scope::Group, "0: low/web"),
        (Scope::Issue, "0: low/web"),
        (Scope::Channel, "0: contact_policy"),
        (Scope::All, "0: contact_policy"),
    ];
    for (scope, outcome) in outcomes {
        let mut case = Case::new(finish(web_limit(scope, 2, Window::Rolling(DAY))), customer(), ask(&["hero"]));
        let at = |hours: i64| NOW.plus_us(-hours * HOUR_US);
        case.profile.interactions = vec![
            interaction("high", "web", at(24), &seen),
            interaction("high", "email", at(3), &[OutcomeType::Decided]),
            interaction("high", "web", at(2), &seen),
        ];
        check(&case, &["0: high/web"], &[]);
        case.profile.interactions.push(interaction("high", "web", at(1), &[OutcomeType::Click]));
        check(&case, &[outcome], &["high/web: limit_reached"]);
    }
}

#[test]
fn a_contact_of_a_removed_offer_still_counts_for_its_channel() {
    let mut case = Case::new(finish(web_limit(Scope::Channel, 1, Window::Day)), customer(), ask(&["hero", "desk"]));
    case.profile.interactions = vec![interaction("gone", "web", NOW, &[OutcomeType::Impression])];
    check(&case, &["0: contact_policy", "1: high/call"], &["high/web: limit_reached"]);
}

#[test]
fn limits_look_only_at_their_channels_and_purpose() {
    let mut rules = web_limit(Scope::All, 1, Window::Rolling(DAY));
    rules.limits[0].channel_kind = Some(ChannelKind::SelfService);
    rules.limits[0].purpose = Some(Purpose::Marketing);
    rules.offers[1].purpose = Purpose::Service;
    let mut case = Case::new(finish(rules), customer(), ask(&["hero"]));
    case.profile.interactions = vec![interaction("high", "call", NOW, &[OutcomeType::Impression])];
    check(&case, &["0: high/web"], &[]);
    case.profile.interactions = vec![interaction("low", "web", NOW, &[OutcomeType::Impression])];
    check(&case, &["0: high/web"], &[]);
    case.profile.interactions = vec![interaction("high", "web", NOW, &[OutcomeType::Impression])];
    check(&case, &["0: low/web"], &["high/web: limit_reached"]);
}

#[test]
fn open_reservations_count_once_until_they_lapse() {
    let mut case = Case::new(finish(web_limit(Scope::Offer, 2, Window::Rolling(DAY))), customer(), ask(&["hero"]));
    let seen = interaction("high", "web", NOW.plus_us(-HOUR_US), &[OutcomeType::Impression]);
    let held = Reservation {
        record: Default::default(),
        decision: seen.decision,
        offer: seen.offer,
        channel: seen.channel,
        at: NOW.plus_us(-HOUR_US),
        expires_at: NOW.plus_us(1),
    };
    case.profile.interactions = vec![seen];
    case.reservations = vec![held];
    check(&case, &["0: high/web"], &[]);
    case.reservations.push(Reservation { decision: DecisionId(99), ..held });
    check(&case, &["0: low/web"], &["high/web: limit_reached"]);
    case.now = NOW.plus_us(1);
    check(&case, &["0: high/web"], &[]);
}

#[test]
fn calendar_windows_begin_at_local_midnight() {
    // London is an hour ahead of UTC in June; NOW is Wednesday 1 June 13:00 there.
    let first = |window| {
        let from = |hours: i64| NOW.plus_us(-hours * HOUR_US);
        let mut case = Case::new(finish(web_limit(Scope::All, 1, window)), customer(), ask(&["hero"]));
        (0..1000)
            .take_while(|hours| {
                case.profile.interactions = vec![interaction("high", "web", from(*hours), &[OutcomeType::Impression])];
                case.outcome() == ["0: contact_policy"]
            })
            .last()
    };
    assert_eq!(first(Window::Day), Some(13));
    assert_eq!(first(Window::Week), Some(13 + 48));
    assert_eq!(first(Window::Month), Some(13));
    assert_eq!(first(Window::Rolling(5 * HOUR_US)), Some(4));
}

#[test]
fn winners_of_one_page_count_in_limits() {
    let case = Case::new(finish(web_limit(Scope::Channel, 1, Window::Day)), customer(), ask(&["list", "desk"]));
    check(&case, &["0: high/web", "1: low/call"], &["low/web: limit_reached"]);
}

fn suppression(outcome: OutcomeType, scope: Scope) -> Suppression {
    Suppression { outcome, reason: None, offer: None, count: 1, scope, for_us: 7 * DAY }
}

#[test]
fn an_answer_suppresses_its_scope_for_a_time() {
    let mut rules = two();
    rules.suppressions = vec![
        suppression(OutcomeType::Click, Scope::Group),
        Suppression {
            reason: Some(ReasonCode::of("not_interested")),
            ..suppression(OutcomeType::Decline, Scope::Offer)
        },
        Suppression { count: 2, ..suppression(OutcomeType::Impression, Scope::Channel) },
    ];
    let mut case = Case::new(finish(rules), customer(), ask(&["hero"]));
    let mut declined =
        interaction("high", "web", NOW.plus_us(-6 * DAY), &[OutcomeType::Impression, OutcomeType::Decline]);
    case.profile.interactions = vec![declined];
    check(&case, &["0: high/web"], &[]);
    declined.reason = ReasonCode::of("not_interested");
    case.profile.interactions = vec![declined];
    check(&case, &["0: low/web"], &["high/web: recently_declined"]);
    let ranking = case.rank();
    let detail = ranking.verdicts.iter().flat_map(|v| v.iter()).find(|v| v.reason == Some(Reason::RecentlyDeclined));
    assert_eq!(detail.expect("a decline").detail, "declined with `not_interested`: nothing for 7d");
    declined.at = NOW.plus_us(-7 * DAY);
    declined.answered_at = declined.at;
    case.profile.interactions = vec![declined];
    check(&case, &["0: high/web"], &[]);
    case.profile.interactions = vec![interaction("low", "call", NOW, &[OutcomeType::Click])];
    check(&case, &["0: contact_policy"], &["high/web: suppressed"]);
    let shown = [OutcomeType::Impression];
    case.profile.interactions = vec![interaction("low", "web", NOW, &shown), interaction("high", "call", NOW, &shown)];
    check(&case, &["0: high/web"], &[]);
    case.profile.interactions = vec![interaction("low", "web", NOW, &shown), interaction("high", "web", NOW, &shown)];
    check(&case, &["0: contact_policy"], &["high/web: suppressed"]);
}

#[test]
fn quiet_hours_wait_or_drop_in_the_customers_zone() {
    let mut rules = rules();
    offer(&mut rules, "mail", 10.0).treatments.retain(|t| t.channel == EMAIL || t.channel == SMS);
    let mut case = Case::new(finish(rules), customer(), ask(&[]));
    check(&case, &["0: mail/email"], &[]);
    // 13:00 in London is 21:00 in Tokyo; 08:00 there is eleven hours later.
    set(&mut case.profile, "time_zone", Value::Text("Asia/Tokyo".into()));
    check(&case, &["0: mail/email"], &["mail/sms: quiet_hours"]);
    let morning = NOW.plus_us(11 * HOUR_US);
    assert_eq!(case.rank().winners[0].not_before, Some(morning));
    let mut rules = rules_until(morning);
    rules.channels[SMS.index()].quiet_hours = None;
    let ended = Case { snapshot: Case::new(finish(rules), customer(), ask(&[])).snapshot, ..case };
    check(&ended, &["0: mail/sms"], &["mail/email: quiet_hours"]);
}

#[test]
fn an_open_answer_may_be_sent_between_quiet_hours() {
    let mut rules = rules();
    offer(&mut rules, "mail", 10.0).treatments.retain(|t| t.channel == EMAIL);
    let mut case = Case::new(finish(rules), customer(), ask(&[]));
    let times = |case: &Case| {
        let shown = compose(&case.inputs(), &case.rank(), &mut Scratch::default()).decision.placements[0].presentations
            [0]
        .clone();
        (shown.not_before, shown.send_by, shown.valid_until)
    };
    // Quiet from 21:00: eight hours after 13:00 in London.
    let evening = NOW.plus_us(8 * HOUR_US);
    assert_eq!(times(&case), (None, Some(evening), evening));
    // 21:00 in Tokyo: from 08:00 to 21:00 of the next day.
    set(&mut case.profile, "time_zone", Value::Text("Asia/Tokyo".into()));
    let (morning, evening) = (NOW.plus_us(11 * HOUR_US), NOW.plus_us(24 * HOUR_US));
    assert_eq!(times(&case), (Some(morning), Some(evening), evening));
}

#[test]
fn the_suppression_that_holds_longest_is_named() {
    let mut rules = two();
    let reason = Some(ReasonCode::of("not_interested"));
    let rule = |for_us| Suppression { reason, for_us, ..suppression(OutcomeType::Decline, Scope::Offer) };
    rules.suppressions = vec![rule(2 * DAY), rule(9 * DAY), rule(5 * DAY)];
    let mut case = Case::new(finish(rules), customer(), ask(&["hero"]));
    let mut declined = interaction("high", "web", NOW, &[OutcomeType::Decline]);
    declined.reason = ReasonCode::of("not_interested");
    case.profile.interactions = vec![declined];
    let ranking = case.rank();
    let detail = ranking.verdicts.iter().flat_map(|v| v.iter()).find(|v| v.reason == Some(Reason::RecentlyDeclined));
    assert_eq!(detail.expect("a decline").detail, "declined with `not_interested`: nothing for 9d");
}

#[test]
fn counts_do_not_depend_on_the_trace() {
    let mut rules = two();
    rules.offers[1].placements = Vec::new();
    let mut case = Case::new(finish(rules), customer(), ask(&["hero"]));
    let full = case.rank().counts;
    assert_eq!(full[Reason::NotForPlacement as usize], 1);
    case.request.trace = Trace::Summary;
    assert_eq!(case.rank().counts, full);
}

fn rules_until(end: Timestamp) -> Ruleset {
    let mut rules = rules();
    let mail = offer(&mut rules, "mail", 10.0);
    mail.treatments.retain(|t| t.channel == EMAIL || t.channel == SMS);
    mail.schedule = (None, Some(end));
    rules
}

#[test]
fn budgets_and_refused_claims_drop() {
    let mut case = Case::new(finish(two()), customer(), ask(&["hero"]));
    case.exhausted = vec![OfferSlot(0)];
    check(&case, &["0: low/web"], &["high/web: budget_exhausted"]);
    case.denied = vec![Denied { offer: OfferSlot(1), record: RecordRef::NONE, reason: Reason::ClaimRefused }];
    check(&case, &["0: contact_policy"], &["low/web: claim_refused"]);
    case.denied.push(Denied { offer: OfferSlot(0), record: RecordRef::NONE, reason: Reason::RenderFailed });
    case.exhausted.clear();
    check(&case, &["0: contact_policy"], &["high/web: render_failed"]);
}

#[test]
fn a_value_that_cannot_be_computed_drops_a_weight_that_cannot_is_neutral() {
    let mut rules = two();
    rules.offers[0].value = number(&rules, "p.points * 100");
    rules.offers[1].context_weight = Some(number(&rules, "ctx.basket * 2"));
    let mut case = Case::new(finish(rules), customer(), ask(&["hero"]));
    check(&case, &["0: low/web"], &["high/web: value_unknown"]);
    assert_eq!(case.rank().winners[0].factors.context_weight, 1.0);
    case.request.context = vec![(AttrId::of("basket"), Value::Int(2))];
    assert_eq!(case.rank().winners[0].factors.context_weight, 4.0);
    set(&mut case.profile, "points", Value::Int(1));
    check(&case, &["0: high/web"], &[]);
}

#[test]
fn the_holdout_keeps_marketing_back_but_not_service_nor_visitors() {
    let mut rules = two();
    rules.holdout_share = 1.0;
    offer(&mut rules, "service", 1.0).purpose = Purpose::Service;
    let case = Case::new(finish(rules), customer(), ask(&["hero"]));
    check(&case, &["0: service/web"], &["high/web: holdout", "low/web: holdout"]);
    assert!(case.rank().holdout_hit);
    let visitor = Case::new(case.snapshot.ruleset.clone(), Profile::default(), ask(&["hero"])).anonymous();
    check(&visitor, &["0: high/web"], &[]);
    assert!(!visitor.rank().holdout_hit);
}

#[test]
fn the_holdout_is_sticky_and_of_its_share() {
    let mut rules = rules();
    rules.holdout_share = 0.05;
    let held = |rules: &Ruleset| (0..20_000_u128).filter(|k| in_holdout(rules, ArmKey(k * k + 3))).collect::<Vec<_>>();
    let five = held(&rules);
    assert!((850..1150).contains(&five.len()), "{}", five.len());
    rules.holdout_share = 0.1;
    let ten = held(&rules);
    assert!(five.iter().all(|k| ten.contains(k)));
    rules.holdout_salt = "other".into();
    assert_ne!(held(&rules), ten);
}

#[test]
fn offers_shown_before_keep_their_order() {
    let mut rules = two();
    offer(&mut rules, "middle", 15.0);
    let mut case = Case::new(finish(rules), customer(), ask(&["list"]));
    check(&case, &["0: high/web", "0: middle/web", "0: low/web"], &[]);
    case.keep_order = vec![(OfferSlot(1), RecordRef::NONE), (OfferSlot(2), RecordRef::NONE)];
    check(&case, &["0: low/web", "0: middle/web", "0: high/web"], &[]);
}

#[test]
fn a_fallback_is_content_without_an_offer() {
    let mut rules = rules();
    rules.placements[0].fallback = Some(vec![("headline".into(), Value::Text("Welcome".into()))]);
    let case = Case::new(finish(rules), customer(), ask(&["hero", "list"]));
    let composed = compose(&case.inputs(), &case.rank(), &mut Scratch::default());
    let [hero, list] = &composed.decision.placements[..] else { panic!("two answers") };
    assert_eq!((hero.status, hero.silence), (PlacementStatus::Fallback, Some(SilenceReason::NoOffers)));
    let shown = &hero.presentations[0];
    assert_eq!((&*shown.offer, &*shown.token), ("", ""));
    assert_eq!(shown.data, [("headline".into(), Value::Text("Welcome".into()))]);
    assert_eq!((list.status, list.presentations.len()), (PlacementStatus::Empty, 0));
}

#[test]
fn content_follows_placement_view_and_schedule() {
    let mut rules = two();
    let field = |name: &str| DataField { name: name.into(), kind: DataKind::Text, required: false };
    rules.placements[2].fields = vec![field("headline"), field("url")];
    let data = vec![
        ("headline".into(), DataTemplate::Constant(Value::Text("Hi".into()))),
        ("secret".into(), DataTemplate::Constant(Value::Int(1))),
        ("url".into(), DataTemplate::Link(0)),
    ];
    let talk = template(&rules, "Say hello");
    let call = rules.offers[0].treatments.iter_mut().find(|t| t.channel == CALL).expect("a call treatment");
    (call.data, call.talk_track) = (data, Some(talk));
    rules.offers[0].labels = vec![("en".into(), "Yes".into(), "No".into())];
    rules.offers[0].schedule = (None, Some(NOW.plus_us(5)));
    let mut case = Case::new(finish(rules), customer(), ask(&["desk"]));
    let plain =
        compose(&case.inputs(), &case.rank(), &mut Scratch::default()).decision.placements[0].presentations[0].clone();
    assert_eq!((&*plain.treatment, &*plain.message.text), ("high/call/en", "high in en"));
    let url = plain.links[0].1.clone();
    let wanted = [("headline".into(), Value::Text("Hi".into())), ("url".into(), Value::Text(url.into()))];
    assert_eq!(plain.data, wanted);
    assert_eq!((plain.valid_until, plain.agent), (NOW.plus_us(5), None));
    case.request.view = View::Agent;
    let agent = compose(&case.inputs(), &case.rank(), &mut Scratch::default()).decision.placements[0].presentations[0]
        .agent
        .clone();
    let agent = agent.expect("help for the agent");
    assert_eq!((&*agent.talk_track, &*agent.accept_label, &*agent.decline_label), ("Say hello", "Yes", "No"));
    assert_eq!(agent.decline_reasons, [("not_interested".into(), "Not interested".into())]);
}

#[test]
fn a_trace_is_as_full_as_asked() {
    let mut case = Case::new(finish(two()), customer(), ask(&["hero"]));
    let mut report = |trace| {
        case.request.trace = trace;
        compose(&case.inputs(), &case.rank(), &mut Scratch::default()).decision.trace
    };
    assert_eq!(report(Trace::None), TraceReport::default());
    assert_eq!(report(Trace::Summary), TraceReport { counts: vec![(Reason::Outranked, 1)], candidates: vec![] });
    assert_eq!(report(Trace::Full).candidates.len(), 2);
}

#[test]
fn eligible_pairs_are_those_asked_for_that_passed_engagement() {
    let mut rules = two();
    rules.offers[1].eligibility = Some(condition(&rules, "p.points > 5"));
    let case = Case::new(finish(rules), customer(), ask(&["hero", "desk"]));
    let pairs: Vec<_> = case.rank().eligible.iter().collect();
    assert_eq!(pairs, [(OfferSlot(0), WEB), (OfferSlot(0), CALL)]);
}

#[test]
fn one_scratch_serves_many_rulesets() {
    let mut scratch = Scratch::default();
    let small = Case::new(finish(two()), customer(), ask(&["hero"]));
    let mut many = rules();
    for at in 0..70 {
        offer(&mut many, &format!("o{at:02}"), 1.0 + f64::from(at));
    }
    let large = Case::new(finish(many), customer(), ask(&["list"]));
    for _ in 0..3 {
        assert_eq!(rank(&small.inputs(), &mut scratch), small.rank());
        assert_eq!(rank(&large.inputs(), &mut scratch), large.rank());
    }
}
