//! Conditions that say nothing, that nobody meets, or that say something else
//! than they seem to.

use crate::rules::{
    Condition, Number, Offer, Ruleset,
    condition::{everybody, never},
};

use super::{ALWAYS_TRUE, BARE_NEGATION, Findings, NEVER_TRUE};

/// The conditions of an offer, with their keys.
fn conditions(offer: &Offer) -> impl Iterator<Item = (&'static str, &Condition)> {
    let all = [
        ("eligibility", &offer.eligibility),
        ("applicability", &offer.applicability),
        ("suitability", &offer.suitability),
    ];
    all.into_iter().filter_map(|(key, condition)| Some((key, &**condition.as_ref()?)))
}

/// Looks at the conditions of an offer.
pub fn of_offer(findings: &mut Findings, offer: &Offer, ruleset: &Ruleset) {
    let schema = &ruleset.schema;
    let mut is_never = false;
    for (key, condition) in conditions(offer) {
        if condition.always() == Some(true) || everybody(condition, schema) {
            let message = format!("`{key}` of `{}` is true for everybody: leave it out", offer.name_id);
            findings.tell_of(offer, ALWAYS_TRUE, (&condition.position, message));
        }
        if condition.always() == Some(false) || never(&[condition], schema) {
            is_never = true;
            let message = format!("`{key}` of `{}` can never be true: nobody would get it", offer.name_id);
            findings.tell_of(offer, NEVER_TRUE, (&condition.position, message));
        }
        for (position, slot) in condition.bare_negations(&ruleset.schema) {
            let Some(attribute) = ruleset.schema.attributes.get(slot.index()) else { continue };
            if attribute.verified && attribute.default.is_some() && offer.verified {
                continue;
            }
            let name = &attribute.full_name;
            let message = format!(
                "this is unknown, not true, for customers without `{name}`: \
                 write `!has({name}) || ...` to let them in, `has({name}) && ...` to leave them out"
            );
            findings.tell_of(offer, BARE_NEGATION, (&position, message));
        }
    }
    let all: Vec<&Condition> = conditions(offer).map(|(_, condition)| condition).collect();
    if !is_never && never(&all, schema) {
        let message = format!("the conditions of `{}` contradict each other: nobody would get it", offer.name_id);
        findings.tell_of(offer, NEVER_TRUE, (&offer.position, message));
    }
}

/// Looks at the segments. One that no condition reads is not told: reports count
/// people by it.
pub fn of_segments(findings: &mut Findings, ruleset: &Ruleset) {
    for segment in &ruleset.segments {
        let (name, condition) = (&segment.name, &segment.condition);
        if condition.always() == Some(false) || never(&[condition], &ruleset.schema) {
            findings.tell(NEVER_TRUE, &condition.position, format!("nobody can ever be in the segment `{name}`"));
        }
        if condition.always() == Some(true) || everybody(condition, &ruleset.schema) {
            findings.tell(ALWAYS_TRUE, &condition.position, format!("everybody is in the segment `{name}`"));
        }
    }
}

/// The text of a number, for comparing offers.
pub fn number_text(number: &Number) -> String {
    match number {
        Number::Constant(value) => value.to_string(),
        Number::Expression(condition) => condition.text.to_string(),
    }
}
