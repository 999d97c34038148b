//! Without consent to profiling nothing that the customer did changes a decision;
//! what the customer said and what the rules say still does.

use super::build::*;
use crate::{
    domain::{
        profile::{SeriesState, SlotSum, StoredSeries},
        schema::ModelTrait,
        series::{Aggregate, Keep, SeriesId, SeriesTrait, Unit, Window as SeriesWindow},
        *,
    },
    rules::*,
};

const SERIES: SeriesId = SeriesId(9);

/// An offer for each kind of trait, for whom it is known and not nothing, and one
/// that goes by what the customer said.
fn by_behaviour() -> Ruleset {
    let mut rules = rules();
    let purchase = EventTypeId::of("purchase");
    let series = SeriesTrait {
        series: SERIES,
        keep: Keep::Total,
        aggregate: Aggregate::Count,
        window: SeriesWindow::Lifetime,
        unit: Unit::Int,
    };
    let traits = [
        ("count", AttributeType::Int, Trait::Count(purchase)),
        ("sum", AttributeType::Money, Trait::Sum(purchase)),
        ("mean", AttributeType::Money, Trait::Mean(purchase)),
        ("since", AttributeType::Int, Trait::DaysSince(purchase)),
        ("since_first", AttributeType::Int, Trait::DaysSinceFirst(purchase)),
        ("items", AttributeType::Int, Trait::ItemsBought),
        ("series", AttributeType::Int, Trait::Series(series)),
        ("recency", AttributeType::Int, Trait::Model(ModelTrait::RecencyScore)),
        ("alive", AttributeType::Double, Trait::Model(ModelTrait::AliveProbability)),
    ];
    for (name, kind, how) in traits {
        attribute(&mut rules.schema, name, kind.clone(), AttributeSource::Trait(how));
        let least = match kind {
            AttributeType::Money => "money('0')",
            AttributeType::Double => "0.0",
            _ => "0",
        };
        let wanted = condition(&rules, &format!("has(p.{name}) && p.{name} > {least}"));
        offer(&mut rules, name, 10.0).eligibility = Some(wanted);
    }
    let said = condition(&rules, "p.country == 'GB'");
    offer(&mut rules, "said", 1.0).eligibility = Some(said);
    rules
}

/// Who bought twice.
fn buyer() -> Profile {
    let mut profile = customer();
    set(&mut profile, "country", Value::Text("GB".into()));
    let (first_at, last_at) = (NOW.plus_us(-90 * DAY), NOW.plus_us(-30 * DAY));
    profile.stats = vec![EventStat { event: EventTypeId::of("purchase"), count: 2, amount: 5_000, first_at, last_at }];
    profile.items = vec![ItemTouch { at: last_at, item: ItemId::of("kettle"), bought: true }];
    let sums = vec![SlotSum { slot: 0, count: 2, sum: 2, min: 1, max: 1 }];
    profile.series = vec![StoredSeries { id: SERIES, keep: Keep::Total, state: SeriesState::Sums(sums) }];
    profile
}

fn without_behaviour(mut profile: Profile) -> Profile {
    profile.stats.clear();
    profile.items.clear();
    profile.series.clear();
    profile
}

#[test]
fn behaviour_changes_nothing_unless_profiling_is_granted() {
    let rules = finish(by_behaviour());
    let decided = |profile: Profile, request: Request| {
        let case = Case::new(std::sync::Arc::clone(&rules), profile, request);
        (case.rank().level, case.outcome(), case.reasons())
    };
    let permitted = decided(buyer(), ask(&["list"]));
    assert_eq!(permitted.0, Level::Full);
    assert_ne!(permitted.1, decided(without_behaviour(buyer()), ask(&["list"])).1, "behaviour counts where it may");

    for stored in [Permission::Unknown, Permission::Denied, Permission::Granted] {
        let mut request = ask(&["list"]);
        if stored == Permission::Granted {
            // what is granted is narrowed by the page
            request.page_consent.profiling = Permission::Denied;
        }
        let profile = |mut profile: Profile| {
            profile.consents.retain(|c| c.purpose != ConsentPurpose::Profiling);
            if stored != Permission::Unknown {
                profile.consents.push(consent(None, ConsentPurpose::Profiling, stored));
                profile.consents.sort_by_key(|c| (c.channel, c.purpose));
            }
            profile
        };
        let behaved = decided(profile(buyer()), request.clone());
        assert_eq!(behaved, decided(profile(without_behaviour(buyer())), request), "{stored:?}");
        assert_eq!((behaved.0, &behaved.1[..]), (Level::NoRecommendations, &["0: said/web".to_owned()][..]));
    }
}
