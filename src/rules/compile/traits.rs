//! Traits: what is computed from a profile and the time.

use crate::{
    domain::{AttrId, AttrSlot, AttributeDef, AttributeSource, AttributeType, EventTypeId, Trait},
    rules::{keys::OPEN, report::Report, source::Node},
};

use super::declare::{Declared, Names};

const COMPUTATIONS: [&str; 9] = [
    "count",
    "sum",
    "mean",
    "days_since",
    "days_since_first",
    "open",
    "days_to_anniversary",
    "days_since_contact",
    "items_bought",
];

/// Reads one trait. `stored` tells of each stored attribute whether it is a date.
pub fn read(
    report: &mut Report<'_>,
    declared: &Declared<'_>,
    events: &Names<EventTypeId>,
    stored: &Names<(AttrId, bool)>,
) -> Option<AttributeDef> {
    let fields = &declared.fields;
    let given: Vec<(&str, &Node)> =
        COMPUTATIONS.into_iter().filter_map(|name| Some((name, fields.get(name)?))).collect();
    let [(name, node)] = given[..] else {
        let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
        let found = if names.is_empty() { "none".to_owned() } else { format!("`{}`", names.join("`, `")) };
        let all = COMPUTATIONS.join(", ");
        report.error(declared.mark, format!("a trait is computed in exactly one way of {all}; found {found}"));
        return None;
    };
    let pii = report.flag(fields.get("pii"), false);
    let behavioural = fields.get("behavioural");
    let how = computation(report, name, node, (events, stored))?;
    let calm = matches!(how, Trait::Open { .. } | Trait::DaysToAnniversary(_) | Trait::DaysSinceContact);
    let behavioural = report.flag(behavioural, !calm);
    let kind = match how {
        Trait::Sum(_) | Trait::Mean(_) => AttributeType::Money,
        Trait::Open { .. } => AttributeType::Bool,
        _ => AttributeType::Int,
    };
    Some(AttributeDef {
        slot: AttrSlot(0),
        id: AttrId::of(&declared.id),
        name: declared.id.clone(),
        full_name: format!("p.{}", declared.id).into(),
        kind,
        source: AttributeSource::Trait(how),
        default: None,
        range: None,
        pii,
        behavioural,
        client: false,
        verified: false,
    })
}

fn computation(
    report: &mut Report<'_>,
    name: &str,
    node: &Node,
    (events, stored): (&Names<EventTypeId>, &Names<(AttrId, bool)>),
) -> Option<Trait> {
    Some(match name {
        "count" => Trait::Count(events.read(report, node)?),
        "sum" => Trait::Sum(events.read(report, node)?),
        "mean" => Trait::Mean(events.read(report, node)?),
        "days_since" => Trait::DaysSince(events.read(report, node)?),
        "days_since_first" => Trait::DaysSinceFirst(events.read(report, node)?),
        "open" => {
            let fields = report.fields(node, &OPEN)?;
            let opened = fields.get("opened").and_then(|node| events.read(report, node));
            let closed = fields.get("closed").and_then(|node| events.read(report, node));
            Trait::Open { opened: opened?, closed: closed? }
        }
        "days_to_anniversary" => match stored.read(report, node)? {
            (id, true) => Trait::DaysToAnniversary(id),
            (_, false) => return report.expected(node, "a stored attribute of type `date`"),
        },
        _ => {
            if !report.boolean(node)? {
                return report.expected(node, "`true`, or leave the key out");
            }
            if name == "days_since_contact" { Trait::DaysSinceContact } else { Trait::ItemsBought }
        }
    })
}
