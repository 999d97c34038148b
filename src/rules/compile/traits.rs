//! Traits: what is computed from a profile and the time.

use crate::{
    domain::{AttrId, AttrSlot, AttributeDef, AttributeSource, AttributeType, EventTypeId, ModelTrait, Trait},
    rules::{
        keys::OPEN,
        read::Fields,
        report::Report,
        source::{Kind, Node},
    },
};

use super::{
    declare::{Declared, Names},
    schema::assured,
    series::SeriesReader,
};

const COMPUTATIONS: [&str; 19] = [
    "count",
    "sum",
    "mean",
    "avg",
    "min",
    "max",
    "last",
    "first",
    "distinct",
    "top",
    "days_since",
    "days_since_first",
    "sequence",
    "abandoned",
    "model",
    "open",
    "days_to_anniversary",
    "days_since_contact",
    "items_bought",
];

/// Keys that say more of a computation, and which computations take them.
const MODIFIERS: [(&str, &[&str]); 5] = [
    ("of", &["sum", "mean", "avg", "min", "max", "last", "first", "distinct", "top"]),
    ("where", &["count", "sum", "mean", "avg", "min", "max", "last", "first", "distinct", "top", "days_since"]),
    ("window", &["count", "sum", "mean", "avg", "min", "max", "distinct", "top"]),
    ("k", &["top"]),
    ("days", &["model"]),
];

/// Most days that expected purchases look ahead.
const EXPECTED_DAYS_MAX: i64 = 730;

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

/// How a trait is computed.
struct Computed {
    how: Trait,
    kind: AttributeType,
    /// Whether it tells what only a verified person may cause to be read.
    verified: bool,
    /// Whether it tells what is personally identifying.
    pii: bool,
}

impl Computed {
    fn of(how: Trait, kind: AttributeType) -> Self {
        Self { how, kind, verified: false, pii: false }
    }
}

/// Reads one trait.
pub fn read(
    report: &mut Report<'_>,
    declared: &Declared<'_>,
    (events, stored): (&Names<EventTypeId>, &Names<Dated>),
    series: &mut SeriesReader<'_>,
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
    let pii = fields.get("pii");
    let behavioural = fields.get("behavioural");
    modifiers(report, name, fields)?;
    let computed = if of_series(name, fields) {
        let name = if name == "avg" { "mean" } else { name };
        let found = series.read(report, (name, node), (fields, events))?;
        Computed { pii: found.pii, ..Computed::of(Trait::Series(found.how), found.kind) }
    } else if name == "model" {
        model(report, node, fields)?
    } else {
        computation(report, (name, node), (events, stored))?
    };
    let calm = matches!(computed.how, Trait::Open { .. } | Trait::DaysToAnniversary(_) | Trait::DaysSinceContact);
    let behavioural = report.flag(behavioural, !calm);
    let verified = fields.get("assurance").and_then(|node| assured(report, node)).unwrap_or(computed.verified);
    Some(AttributeDef {
        slot: AttrSlot(0),
        id: AttrId::of(&declared.id),
        name: declared.id.clone(),
        full_name: format!("p.{}", declared.id).into(),
        kind: computed.kind,
        source: AttributeSource::Trait(computed.how),
        default: None,
        range: None,
        pii: report.flag(pii, computed.pii),
        behavioural,
        client: false,
        verified,
    })
}

/// Notes keys that the computation does not take.
fn modifiers(report: &mut Report<'_>, name: &str, fields: &Fields<'_>) -> Option<()> {
    let mut fine = Some(());
    for (modifier, taken_by) in MODIFIERS {
        let Some(node) = fields.get(modifier).filter(|_| !taken_by.contains(&name)) else { continue };
        let message = match (modifier, name) {
            ("where", "sequence") => "`sequence` takes `first_where` and `then_where` in its map".to_owned(),
            ("where", "abandoned") => "`abandoned` takes `where` and `unless_where` in its map".to_owned(),
            _ => format!("`{name}` takes no `{modifier}`: it goes with {}", taken_by.join(", ")),
        };
        report.error(node.mark, message);
        fine = None;
    }
    fine
}

/// Whether a computation looks at a series; what every profile counts of an
/// event type needs none.
fn of_series(name: &str, fields: &Fields<'_>) -> bool {
    let text = |key| match fields.get(key).map(|node| &node.kind) {
        Some(Kind::Text(text)) => Some(&**text),
        Some(_) => Some(""),
        None => None,
    };
    let everything = text("where").is_none()
        && matches!(text("window"), None | Some("lifetime"))
        && matches!(text("of"), None | Some("amount"));
    match name {
        "count" | "sum" | "mean" | "avg" | "days_since" => !everything,
        "min" | "max" | "last" | "first" | "distinct" | "top" | "sequence" | "abandoned" => true,
        _ => false,
    }
}

fn model(report: &mut Report<'_>, node: &Node, fields: &Fields<'_>) -> Option<Computed> {
    let how = report.one_of(
        node,
        &[
            ("recency_score", ModelTrait::RecencyScore),
            ("frequency_score", ModelTrait::FrequencyScore),
            ("monetary_score", ModelTrait::MonetaryScore),
            ("alive_probability", ModelTrait::AliveProbability),
            ("expected_purchases", ModelTrait::ExpectedPurchases { days: 0 }),
        ],
    )?;
    let days = fields.get("days");
    let how = match (how, days) {
        (ModelTrait::ExpectedPurchases { .. }, Some(days)) => {
            let days = report.whole(days, 1..=EXPECTED_DAYS_MAX)?;
            ModelTrait::ExpectedPurchases { days: u16::try_from(days).ok()? }
        }
        (ModelTrait::ExpectedPurchases { .. }, None) => {
            report.error(node.mark, "`expected_purchases` needs `days`: how far it looks ahead");
            return None;
        }
        (_, Some(days)) => {
            report.error(days.mark, "`days` goes with `expected_purchases`");
            return None;
        }
        (how, None) => how,
    };
    let kind = match how {
        ModelTrait::AliveProbability | ModelTrait::ExpectedPurchases { .. } => AttributeType::Double,
        _ => AttributeType::Int,
    };
    Some(Computed::of(Trait::Model(how), kind))
}

/// How it is computed, of what every profile counts.
fn computation(
    report: &mut Report<'_>,
    (name, node): (&str, &Node),
    (events, stored): (&Names<EventTypeId>, &Names<Dated>),
) -> Option<Computed> {
    let mut of = |how: fn(EventTypeId) -> Trait, kind| Some(Computed::of(how(events.read(report, node)?), kind));
    match name {
        "count" => of(Trait::Count, AttributeType::Int),
        "sum" => of(Trait::Sum, AttributeType::Money),
        "mean" | "avg" => of(Trait::Mean, AttributeType::Money),
        "days_since" => of(Trait::DaysSince, AttributeType::Int),
        "days_since_first" => of(Trait::DaysSinceFirst, AttributeType::Int),
        "days_to_anniversary" => match stored.read(report, node)? {
            Dated { id, is_date: true, verified } => {
                Some(Computed { verified, ..Computed::of(Trait::DaysToAnniversary(id), AttributeType::Int) })
            }
            Dated { .. } => report.expected(node, "a stored attribute of type `date`"),
        },
        "open" => {
            let fields = report.fields(node, &OPEN)?;
            let opened = fields.get("opened").and_then(|node| events.read(report, node));
            let closed = fields.get("closed").and_then(|node| events.read(report, node));
            Some(Computed::of(Trait::Open { opened: opened?, closed: closed? }, AttributeType::Bool))
        }
        _ => {
            if !report.boolean(node)? {
                return report.expected(node, "`true`, or leave the key out");
            }
            let how = if name == "days_since_contact" { Trait::DaysSinceContact } else { Trait::ItemsBought };
            Some(Computed::of(how, AttributeType::Int))
        }
    }
}
