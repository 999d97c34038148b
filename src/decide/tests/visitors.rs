//! Visitors who are known by a signed id: who is remembered, and what permits it.

use super::build::*;
use crate::domain::*;

use crate::{
    decide::{Scratch, compose, rank},
    domain::schema::VISITOR_TYPE,
};

fn identity(kind: &str) -> Identity {
    Identity {
        kind: IdentityTypeId::of(kind),
        value: "v".into(),
        hash: IdentityHash(1),
        sharing: crate::domain::Sharing::Unique,
    }
}

/// A visitor who came with an id.
fn visit() -> Case {
    let mut rules = rules();
    offer(&mut rules, "high", 20.0);
    let mut case = Case::new(finish(rules), Profile::default(), ask(&["hero"])).anonymous();
    case.matched = Match::New;
    case.request.visitor = Some(VisitorId(7));
    case.request.identities = vec![identity(VISITOR_TYPE)];
    case
}

/// The token of the winner without its offer, and the signed id.
fn addressed(case: &Case) -> (String, String) {
    let (inputs, mut scratch) = (case.inputs(), Scratch::default());
    let ranking = rank(&inputs, &mut scratch);
    let decision = compose(&inputs, &ranking, &mut scratch).decision;
    let shown = &decision.placements[0].presentations[0];
    let offer = format!("t{:x}", shown.offer_id.0);
    (shown.token.strip_prefix(&offer).unwrap().to_owned(), decision.visitor_id)
}

#[test]
fn only_a_page_that_permits_it_makes_a_visitor_remembered() {
    let mut case = visit();
    let given = format!("v{}@{}", VisitorId(7), case.now.0);
    for (permission, token) in [
        (Permission::Granted, "7GivenKept"),
        (Permission::Unknown, "7GivenForgotten"),
        (Permission::Denied, "7GivenForgotten"),
    ] {
        case.request.page_consent.profiling = permission;
        assert_eq!(addressed(&case), (token.to_owned(), given.clone()));
    }
    // made with the decision
    case.request.identities.clear();
    case.request.page_consent.profiling = Permission::Granted;
    assert_eq!(addressed(&case), ("7MadeKept".to_owned(), given));
    // whom something else names is remembered by that
    case.request.identities = vec![identity("cookie"), identity(VISITOR_TYPE)];
    assert_eq!(addressed(&case).0, "7GivenForgotten");
}

#[test]
fn without_a_visitor_nothing_is_bound_and_a_look_gives_no_id() {
    let mut case = visit();
    case.request.intent = Intent::Preview;
    assert_eq!(addressed(&case).1, "");
    case.request.visitor = None;
    case.request.intent = Intent::Present;
    assert_eq!(addressed(&case), (String::new(), String::new()));
}

#[test]
fn the_page_speaks_for_a_profile_that_only_visits_made() {
    let mut case = visit();
    case.matched = Match::Known;
    case.profile.identities = vec![StoredIdentity { kind: IdentityTypeId::of(VISITOR_TYPE), value: "7".into() }];
    for (permission, level, token) in [
        (Permission::Granted, Level::Full, "known7GivenForgotten"),
        (Permission::Unknown, Level::NoRecommendations, "known7GivenForgotten"),
        (Permission::Denied, Level::NoRecommendations, "7GivenForgotten"),
    ] {
        case.request.page_consent.profiling = permission;
        assert_eq!((case.rank().level, addressed(&case).0.as_str()), (level, token));
    }
    // a customer's own word stands: silence is no yes
    case.profile.identities.push(StoredIdentity { kind: IdentityTypeId::of("customer_id"), value: "1".into() });
    for permission in [Permission::Granted, Permission::Denied] {
        case.request.page_consent.profiling = permission;
        assert_eq!(case.rank().level, Level::NoRecommendations);
        assert_eq!(addressed(&case).0, "known7GivenForgotten");
    }
}

#[test]
fn whom_only_a_visit_found_is_not_verified() {
    let mut rules = rules();
    offer(&mut rules, "high", 20.0);
    rules.offers[0].verified = true;
    let mut case = Case::new(finish(rules), Profile::default(), ask(&["hero"]));
    let shown = |case: &Case| !rank(&case.inputs(), &mut Scratch::default()).winners.is_empty();
    case.request.assurance = Assurance::Verified;
    let stored = |kind: &str| StoredIdentity { kind: IdentityTypeId::of(kind), value: "v".into() };
    let by_visit = vec![identity(VISITOR_TYPE)];
    let by_both = vec![identity("customer_id"), identity(VISITOR_TYPE)];
    for (matched, identities, known, verified) in [
        (Match::Known, &by_visit, &["customer_id", VISITOR_TYPE][..], false),
        (Match::Known, &by_visit, &[VISITOR_TYPE], false),
        (Match::Known, &by_both, &[VISITOR_TYPE], false),
        (Match::Known, &by_both, &["customer_id", VISITOR_TYPE], true),
        (Match::New, &by_both, &[], true),
    ] {
        case.matched = matched;
        case.request.identities.clone_from(identities);
        case.profile.identities = known.iter().map(|kind| stored(kind)).collect();
        assert_eq!(shown(&case), verified, "{matched:?} {known:?}");
    }
}
