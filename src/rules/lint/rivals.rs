//! Offers beside each other: the same twice, or one always behind another.

use std::collections::{BTreeSet, HashMap, hash_map::Entry};

use crate::{
    domain::OfferSlot,
    rules::{Condition, DataTemplate, Limit, Number, Offer, Ruleset, Template, Treatment},
};

use super::{Findings, SAME_OFFER, SHADOWED_OFFER, conditions::number_text};

/// Looks at all offers beside each other.
pub fn between(findings: &mut Findings, ruleset: &Ruleset) {
    let mut seen: HashMap<String, &Offer> = HashMap::new();
    // What each offer suppresses, in words that leave the offer out.
    let mut suppressed: HashMap<OfferSlot, Vec<String>> = HashMap::new();
    for one in &ruleset.suppressions {
        if let Some(slot) = one.offer {
            let text = format!("{:?}", (one.outcome, one.reason, one.count, one.scope, one.for_us));
            suppressed.entry(slot).or_default().push(text);
        }
    }
    // Rivals share their conditions or have none: looked up, not compared pairwise.
    let mut free: HashMap<String, Vec<Rival<'_>>> = HashMap::new();
    for offer in ruleset.offers.iter().filter(|offer| !offer.paused) {
        match seen.entry(whole(offer, ruleset, suppressed.get(&offer.slot))) {
            Entry::Occupied(first) => {
                let message = format!("`{}` is the same as `{}` but for its id", offer.name_id, first.get().name_id);
                findings.tell_of(offer, SAME_OFFER, (&offer.position, message));
            }
            Entry::Vacant(place) => _ = place.insert(offer),
        }
        if let Some(worth) = worth(offer).filter(|_| is_free(offer)) {
            let parts = conjuncts(offer);
            let key = parts.first().cloned().unwrap_or_default();
            free.entry(key).or_default().push(Rival { offer, worth, parts });
        }
    }
    for rivals in free.values_mut() {
        rivals.sort_by(|a, b| b.worth.total_cmp(&a.worth).then(a.offer.slot.cmp(&b.offer.slot)));
        rivals.truncate(RIVALS_MAX);
    }
    for offer in ruleset.offers.iter().filter(|offer| !offer.paused) {
        let Some(own) = worth(offer) else { continue };
        let parts = conjuncts(offer);
        let near = std::iter::once("").chain(parts.iter().map(String::as_str)).filter_map(|key| free.get(key));
        let mut before = near.flat_map(|rivals| rivals.iter().take_while(|rival| rival.worth > own));
        if let Some(Rival { offer: rival, .. }) =
            before.find(|rival| rival.parts.is_subset(&parts) && shadows(rival.offer, offer, ruleset))
        {
            let message = format!(
                "`{}` begins behind `{}` wherever it may be shown: the other is worth more under the same or wider \
                 conditions",
                offer.name_id, rival.name_id
            );
            findings.tell_of(offer, SHADOWED_OFFER, (&offer.position, message));
        }
    }
}

/// The most offers of one first condition that others are held against: those
/// worth most.
const RIVALS_MAX: usize = 32;

/// An offer that may stand before others.
struct Rival<'r> {
    offer: &'r Offer,
    worth: f64,
    parts: BTreeSet<String>,
}

/// What must be true for an offer, by the key it stands under.
fn conjuncts(offer: &Offer) -> BTreeSet<String> {
    let keys = [("e", &offer.eligibility), ("a", &offer.applicability), ("s", &offer.suitability)];
    let parts = keys.into_iter().filter_map(|(key, condition)| Some((key, condition.as_ref()?.conjuncts())));
    parts.flat_map(|(key, parts)| parts.into_iter().map(move |part| format!("{key} {part}"))).collect()
}

/// Whether an offer can be shown in every channel and language of another one,
/// whatever its customers lack.
fn speaks_for(rival: &Offer, offer: &Offer) -> bool {
    let needs_nothing = |treatment: &Treatment| {
        let texts = [&treatment.subject, &treatment.text, &treatment.html, &treatment.talk_track];
        let data = treatment.data.iter().all(|(_, data)| match data {
            DataTemplate::Text(template) => template.needs().is_empty(),
            _ => true,
        });
        data && texts.into_iter().flatten().all(|template| template.needs().is_empty())
    };
    let same = |of: &Treatment| {
        rival
            .treatments
            .iter()
            .any(|own| own.channel == of.channel && own.language == of.language && needs_nothing(own))
    };
    offer.treatments.iter().all(same)
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
        && (rival.open || !offer.open)
        && (!rival.verified || offer.verified)
        && speaks_for(rival, offer)
        && !offer.placements.is_empty()
        && offer.placements.iter().all(alone)
        && !limited
        && !suppressed
}

fn conditions(offer: &Offer) -> String {
    let text = |condition: &Option<std::sync::Arc<Condition>>| match condition {
        Some(condition) => condition.text.to_string(),
        None => "--".to_owned(),
    };
    format!("{}|{}|{}|", text(&offer.eligibility), text(&offer.applicability), text(&offer.suitability))
}

/// A limit of an offer, in words that leave the offer out where it is its own.
fn limit_text(limit: &Limit) -> String {
    match limit.offer {
        None => limit.name.to_string(),
        Some(_) => {
            let of = (limit.channel, limit.channel_kind, limit.purpose, limit.group);
            format!("{:?}", (limit.scope, of, limit.max, limit.window, limit.exact, limit.when_unknown))
        }
    }
}

/// Everything of an offer but its id, name and place in the file.
fn whole(offer: &Offer, ruleset: &Ruleset, suppressed: Option<&Vec<String>>) -> String {
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
    let rest = (&offer.placements, offer.open, offer.verified, offer.base_rate, offer.budget, offer.holdout_exempt);
    let reasons: Vec<_> = offer.reasons.iter().map(|(language, template)| (language, &template.text)).collect();
    let mut limits: Vec<String> =
        offer.limits.iter().filter_map(|slot| Some(limit_text(ruleset.limits.get(slot.index())?))).collect();
    limits.sort_unstable();
    let beside = (limits, suppressed, reasons, &offer.labels, offer.reach);
    format!("{}{head:?}{rest:?}{treatments:?}{beside:?}", conditions(offer))
}
