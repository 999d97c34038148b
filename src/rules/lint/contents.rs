//! Contents that some customers could not be shown.

use crate::{
    domain::{AttributeDef, AttributeSource},
    rules::{DataTemplate, Offer, Ruleset, Template},
};

use super::{Findings, MISSING_VALUE};

/// Looks at the templates of an offer.
pub fn of_offer(findings: &mut Findings, offer: &Offer, ruleset: &Ruleset) {
    for (content, template) in templates(offer) {
        for slot in template.needs() {
            let Some(attribute) = ruleset.schema.attributes.get(slot.index()) else { continue };
            if may_be_hidden(attribute, offer) && !asked_for(offer, slot) {
                let name = &attribute.full_name;
                let message = format!(
                    "{content} reads `{name}`, which only a verified person has: the offer is left out for others; \
                     write `assurance: verified`, or `{{{{ {name} | default('...') }}}}`"
                );
                findings.tell_of(offer, MISSING_VALUE, (&offer.position, message));
            } else if may_be_missing(attribute) && !asked_for(offer, slot) {
                let name = &attribute.full_name;
                let message = format!(
                    "{content} reads `{name}`, which a customer may not have: it is left out then; \
                     give the attribute a `default`, or write `{{{{ {name} | default('...') }}}}`"
                );
                findings.tell_of(offer, MISSING_VALUE, (&offer.position, message));
            }
        }
    }
}

fn may_be_missing(attribute: &AttributeDef) -> bool {
    attribute.source == AttributeSource::Stored && attribute.default.is_none()
}

/// Whether it is not read for some whom the offer is shown to.
fn may_be_hidden(attribute: &AttributeDef, offer: &Offer) -> bool {
    attribute.verified && !offer.verified
}

/// Whether a condition of the offer reads the attribute: its author knows that
/// it may be missing.
fn asked_for(offer: &Offer, slot: crate::domain::AttrSlot) -> bool {
    let all = [&offer.eligibility, &offer.applicability, &offer.suitability];
    all.into_iter().flatten().any(|condition| condition.reads().contains(&slot))
}

/// The templates of an offer, with the name of what they are for.
fn templates(offer: &Offer) -> Vec<(String, &Template)> {
    let mut all = Vec::new();
    for treatment in &offer.treatments {
        let parts = [&treatment.subject, &treatment.text, &treatment.html, &treatment.talk_track];
        let data = treatment.data.iter().filter_map(|(_, data)| match data {
            DataTemplate::Text(template) => Some(template),
            DataTemplate::Constant(_) | DataTemplate::Link(_) => None,
        });
        let content = format!("treatment `{}`", treatment.name);
        all.extend(parts.into_iter().flatten().chain(data).map(|template| (content.clone(), template)));
    }
    let content = format!("the reason of `{}`", offer.name_id);
    all.extend(offer.reasons.iter().map(|(_, template)| (content.clone(), template)));
    all
}
