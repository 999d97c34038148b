//! Conditions that say nothing, that nobody meets, or that say something else
//! than they seem to.

use crate::rules::{Condition, Number, Offer, Ruleset, condition::contradict};

use super::{ALWAYS_TRUE, BARE_NEGATION, Findings, NEVER_TRUE, UNUSED_SEGMENT};

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
    let mut never = false;
    for (key, condition) in conditions(offer) {
        if condition.always() == Some(true) {
            let message = format!("`{key}` of `{}` is true for everybody: leave it out", offer.name_id);
            findings.tell_of(offer, ALWAYS_TRUE, (&condition.position, message));
        }
        if condition.always() == Some(false) || contradict([condition]) {
            never = true;
            let message = format!("`{key}` of `{}` can never be true: nobody would get it", offer.name_id);
            findings.tell_of(offer, NEVER_TRUE, (&condition.position, message));
        }
        for (position, slot) in condition.bare_negations(&ruleset.schema) {
            let Some(attribute) = ruleset.schema.attributes.get(slot.index()) else { continue };
            let name = &attribute.full_name;
            let message = format!(
                "this is unknown, not true, for customers without `{name}`: \
                 write `!has({name}) || ...` to let them in, `has({name}) && ...` to leave them out"
            );
            findings.tell_of(offer, BARE_NEGATION, (&position, message));
        }
    }
    if !never && contradict(conditions(offer).map(|(_, condition)| condition)) {
        let message = format!("the conditions of `{}` contradict each other: nobody would get it", offer.name_id);
        findings.tell_of(offer, NEVER_TRUE, (&offer.position, message));
    }
}

/// Looks at the segments.
pub fn of_segments(findings: &mut Findings, ruleset: &Ruleset) {
    for segment in &ruleset.segments {
        let (name, condition) = (&segment.name, &segment.condition);
        if condition.always() == Some(false) || contradict([condition]) {
            findings.tell(NEVER_TRUE, &condition.position, format!("nobody can ever be in the segment `{name}`"));
        }
        if condition.always() == Some(true) {
            findings.tell(ALWAYS_TRUE, &condition.position, format!("everybody is in the segment `{name}`"));
        }
        // Read from the text of all files, so that a segment named anywhere, in
        // a macro too, counts as used.
        let full = format!("seg.{name}");
        if !ruleset.sources.iter().any(|file| names(&file.text, &full)) {
            findings.tell(UNUSED_SEGMENT, &condition.position, format!("no condition reads the segment `{name}`"));
        }
    }
}

/// Whether a text names it, and not just something that begins alike.
fn names(text: &str, full: &str) -> bool {
    let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(full).any(|(at, _)| !text[at + full.len()..].starts_with(goes_on))
}

/// The text of a number, for comparing offers.
pub fn number_text(number: &Number) -> String {
    match number {
        Number::Constant(value) => value.to_string(),
        Number::Expression(condition) => condition.text.to_string(),
    }
}
