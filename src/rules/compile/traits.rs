//! Traits: what is computed from a profile and the time.

use crate::{
    domain::{AttrId, AttrSlot, AttributeDef, AttributeSource, AttributeType, EventTypeId, Trait},
    rules::{keys::OPEN, report::Report, source::Node},
};

use super::{
    declare::{Declared, Names},
    schema::assured,
};

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

/// What a trait needs to know of a stored attribute.
#[derive(Clone, Copy, Debug)]
pub struct Dated {
    id: AttrId,
    is_date: bool,
    verified: bool,
}

impl Dated {
    /// That of a stored attribute.
    pub fn of(def: &AttributeDef) -> Self {
        Self { id: def.id, is_date: def.kind == AttributeType::Date, verified: def.verified }
    }
}

/// Reads one trait.
pub fn read(
    report: &mut Report<'_>,
    declared: &Declared<'_>,
    events: &Names<EventTypeId>,
    stored: &Names<Dated>,
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
    let (how, of_verified) = computation(report, name, node, (events, stored))?;
    let calm = matches!(how, Trait::Open { .. } | Trait::DaysToAnniversary(_) | Trait::DaysSinceContact);
    let behavioural = report.flag(behavioural, !calm);
    let verified = fields.get("assurance").and_then(|node| assured(report, node)).unwrap_or(of_verified);
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
        verified,
    })
}

/// How it is computed, and whether it tells what only a verified person may
/// cause to be read.
fn computation(
    report: &mut Report<'_>,
    name: &str,
    node: &Node,
    (events, stored): (&Names<EventTypeId>, &Names<Dated>),
) -> Option<(Trait, bool)> {
    if name == "days_to_anniversary" {
        return match stored.read(report, node)? {
            Dated { id, is_date: true, verified } => Some((Trait::DaysToAnniversary(id), verified)),
            Dated { .. } => report.expected(node, "a stored attribute of type `date`"),
        };
    }
    let how = match name {
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
        _ => {
            if !report.boolean(node)? {
                return report.expected(node, "`true`, or leave the key out");
            }
            if name == "days_since_contact" { Trait::DaysSinceContact } else { Trait::ItemsBought }
        }
    };
    Some((how, false))
}
