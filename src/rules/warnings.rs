//! What compiles but is probably not meant.

use crate::domain::{AttributeDef, AttributeSource};

use super::{DataTemplate, Offer, Ruleset, Template};

/// Templates that read a stored attribute which may be missing: their offer is
/// left out for the customers without it. A line each, by offer and content.
pub fn warnings(ruleset: &Ruleset) -> Vec<String> {
    let mut warnings = Vec::new();
    for offer in &ruleset.offers {
        for (content, template) in templates(offer) {
            for slot in template.needs() {
                let attribute = &ruleset.schema.attributes[slot.index()];
                if may_be_missing(attribute) {
                    let (place, name) = (&offer.position, &attribute.full_name);
                    warnings.push(format!(
                        "{place}: {content} reads `{name}`, which a customer may not have: it is left out then; \
                         give the attribute a `default`, or write `{{{{ {name} | default('...') }}}}`"
                    ));
                }
            }
        }
    }
    warnings.dedup();
    warnings
}

fn may_be_missing(attribute: &AttributeDef) -> bool {
    attribute.source == AttributeSource::Stored && attribute.default.is_none()
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
