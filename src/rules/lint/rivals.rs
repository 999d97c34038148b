//! Offers beside each other: the same twice, or one always behind another.

use std::collections::HashMap;

use crate::rules::{Condition, DataTemplate, Number, Offer, Ruleset, Template};

use super::{Findings, SAME_OFFER, SHADOWED_OFFER, conditions::number_text};

/// Looks at all offers beside each other.
pub fn between(findings: &mut Findings, ruleset: &Ruleset) {
    let mut seen: HashMap<String, &Offer> = HashMap::new();
    // Rivals share their conditions or have none: looked up, not compared pairwise.
    let mut best: HashMap<String, &Offer> = HashMap::new();
    for offer in ruleset.offers.iter().filter(|offer| !offer.paused) {
        match seen.get(&whole(offer)) {
            Some(first) => {
                let message = format!("`{}` is the same as `{}` but for its id", offer.name_id, first.name_id);
                findings.tell_of(offer, SAME_OFFER, (&offer.position, message));
            }
            None => _ = seen.insert(whole(offer), offer),
        }
        if let Some(worth) = worth(offer).filter(|_| is_free(offer)) {
            let known = best.entry(conditions(offer)).or_insert(offer);
            if self::worth(known).is_some_and(|known| known < worth) {
                *known = offer;
            }
        }
    }
    for offer in ruleset.offers.iter().filter(|offer| !offer.paused) {
        let Some(own) = worth(offer) else { continue };
        let wider = [conditions(offer), NO_CONDITIONS.to_owned()];
        let before = wider.iter().filter_map(|key| best.get(key)).find(|rival| shadows(rival, offer, ruleset));
        if let Some(rival) = before.filter(|rival| worth(rival).is_some_and(|worth| worth > own)) {
            let message = format!(
                "`{}` begins behind `{}` wherever it may be shown: the other is worth more under the same or wider \
                 conditions",
                offer.name_id, rival.name_id
            );
            findings.tell_of(offer, SHADOWED_OFFER, (&offer.position, message));
        }
    }
}

/// Value times weight and lever, when they are the same for everybody.
fn worth(offer: &Offer) -> Option<f64> {
    let weight = match &offer.context_weight {
        None => 1.0,
        Some(Number::Constant(weight)) => *weight,
        Some(Number::Expression(_)) => return None,
    };
    match offer.value {
        Number::Constant(value) => Some(value * weight * offer.lever),
        Number::Expression(_) => None,
    }
}

/// Whether nothing of its own holds an offer back.
fn is_free(offer: &Offer) -> bool {
    offer.schedule == (None, None) && offer.budget.is_none() && offer.floor.is_none()
}

/// Whether an offer stands wherever another one stands: the only places of both
/// have room for one, and nothing but its worth tells them apart.
fn shadows(rival: &Offer, offer: &Offer, ruleset: &Ruleset) -> bool {
    let limited = rival.limits.iter().any(|slot| !offer.limits.contains(slot));
    let alone = |slot: &crate::domain::PlacementSlot| {
        rival.placements.contains(slot) && ruleset.placements.get(slot.index()).is_some_and(|place| place.slots == 1)
    };
    let suppressed = ruleset.suppressions.iter().any(|one| one.offer.is_none_or(|slot| slot == rival.slot));
    rival.slot != offer.slot
        && rival.purpose == offer.purpose
        && rival.base_rate == offer.base_rate
        && !offer.open
        && !offer.placements.is_empty()
        && offer.placements.iter().all(alone)
        && !limited
        && !suppressed
}

/// The conditions of an offer without any.
const NO_CONDITIONS: &str = "--|--|--|";

fn conditions(offer: &Offer) -> String {
    let text = |condition: &Option<std::sync::Arc<Condition>>| match condition {
        Some(condition) => condition.text.to_string(),
        None => "--".to_owned(),
    };
    format!("{}|{}|{}|", text(&offer.eligibility), text(&offer.applicability), text(&offer.suitability))
}

/// Everything of an offer but its id, name and place in the file.
fn whole(offer: &Offer) -> String {
    let text = |template: &Option<Template>| template.as_ref().map(|template| template.text.clone());
    let treatments: Vec<_> = offer
        .treatments
        .iter()
        .map(|t| {
            let data: Vec<_> = t
                .data
                .iter()
                .map(|(name, data)| match data {
                    DataTemplate::Text(template) => (name, template.text.to_string()),
                    DataTemplate::Constant(value) => (name, format!("={value:?}")),
                    DataTemplate::Link(at) => (name, format!("->{at}")),
                })
                .collect();
            let texts = (text(&t.subject), text(&t.text), text(&t.html), text(&t.talk_track));
            format!("{:?}", (t.channel, &t.language, texts, data, &t.image, &t.links))
        })
        .collect();
    let numbers = (number_text(&offer.value), offer.context_weight.as_ref().map(number_text));
    let head = (offer.purpose, offer.issue, offer.group, offer.schedule, numbers, offer.lever, offer.floor);
    let rest = (&offer.placements, offer.open, offer.base_rate, offer.budget, offer.holdout_exempt);
    format!("{}{head:?}{rest:?}{treatments:?}", conditions(offer))
}
