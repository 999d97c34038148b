//! Offers.

use std::sync::Arc;

use crate::{
    domain::{GroupSlot, IssueSlot, OfferId, OfferSlot, PlacementSlot, Purpose, Timestamp},
    rules::{
        Channel, Escape, Issue, Limit, Number, Offer, Placement, Suppression, Template,
        keys_offers::{LABELS, OFFER, SCHEDULE},
        read::Fields,
        report::{Noun, Report},
        source::{Kind, Node},
    },
};

use super::{
    declare::{Declared, Names, TopLevel, check_hashes},
    limits::{LimitNames, PURPOSES, budget, offer_limits, suppressions},
    texts::Texts,
    treatments,
};

/// Most offers.
pub const OFFERS_MAX: usize = 200_000;

/// What offers are compiled against.
#[derive(Debug)]
pub struct OfferEnv<'a> {
    /// Channels at their slots.
    pub channels: &'a [Channel],
    /// Placements at their slots.
    pub placements: &'a [Placement],
    /// Issues at their slots.
    pub issues: &'a [Issue],
    /// Issues by name.
    pub issue_names: Names<IssueSlot>,
    /// Placements by name.
    pub placement_names: Names<PlacementSlot>,
    /// Channels, groups, decline reasons by name.
    pub names: LimitNames<'a>,
    /// Compiles conditions and templates.
    pub texts: &'a Texts<'a>,
    /// The language every treatment needs.
    pub default_language: &'a Arc<str>,
}

/// The offers, and what they declare beside themselves.
#[derive(Debug, Default)]
pub struct Offers {
    /// The offers, at their slots.
    pub offers: Vec<Offer>,
    /// Their limits, without slots.
    pub limits: Vec<Limit>,
    /// Their suppressions.
    pub suppressions: Vec<Suppression>,
}

/// Reads the offers, by id.
pub fn read(report: &mut Report<'_>, top: &TopLevel<'_>, env: &OfferEnv<'_>) -> Offers {
    let all = top.declared(report, "offers", &OFFER, Noun::Offer);
    check_hashes(report, Noun::Offer, all.iter().map(|d| (OfferId::of(&d.id), d.id.clone(), d.id_mark)));
    if let Some(over) = all.get(OFFERS_MAX) {
        report.error(over.mark, format!("there are {} offers, at most {OFFERS_MAX} are allowed", all.len()));
    }
    let mut offers = Offers::default();
    for (at, declared) in all.iter().take(OFFERS_MAX).enumerate() {
        let slot = OfferSlot(at as u32);
        let fields = &declared.fields;
        let offer = offer(report, slot, declared, env);
        offers.offers.push(offer);
        if let Some(node) = fields.get("limits") {
            offers.limits.extend(offer_limits(report, node, (&declared.id, slot), &env.names));
        }
        if let Some(node) = fields.get("suppress") {
            offers.suppressions.extend(suppressions(report, node, Some(slot), &env.names));
        }
    }
    offers
}

fn offer(report: &mut Report<'_>, slot: OfferSlot, declared: &Declared<'_>, env: &OfferEnv<'_>) -> Offer {
    let fields = &declared.fields;
    let purpose = fields.get("purpose").and_then(|node| report.one_of(node, &PURPOSES)).unwrap_or(Purpose::Marketing);
    let issue = fields.get("issue").and_then(|node| env.issue_names.read(report, node)).unwrap_or_default();
    let group = fields.get("group").and_then(|node| env.names.groups.read(report, node));
    let placements = fields.get("placements").map(|node| placements(report, node, env)).unwrap_or_default();
    let open = report.flag(fields.get("open"), true);
    // Names that could not be read are told elsewhere.
    let none_given =
        fields.get("placements").is_none_or(|node| matches!(&node.kind, Kind::List(all) if all.is_empty()));
    if !open && none_given {
        report.error(declared.mark, "the offer can never be chosen: give it `placements` or leave out `open: false`");
    }
    let name = fields.get("name").and_then(|node| report.label(node)).unwrap_or_else(|| declared.id.clone());
    let (lever, floor) = weights(report, fields, env.issues.get(issue.index()));
    let treatments = treatments::read(report, declared, &placements, env);
    let mut condition = |name| fields.get(name).and_then(|node| env.texts.condition(report, node));
    let (eligibility, applicability) = (condition("eligibility"), condition("applicability"));
    let suitability = condition("suitability");
    let mut number = |name| fields.get(name).and_then(|node| env.texts.number(report, node));
    let (value, context_weight) = (number("value"), number("context_weight"));
    let words = [("exempt", true), ("included", false)];
    let exempt = fields.get("holdout").and_then(|node| report.one_of(node, &words)).unwrap_or(false);
    Offer {
        slot,
        id: OfferId::of(&declared.id),
        name_id: declared.id.clone(),
        name,
        purpose,
        issue,
        group: group.unwrap_or(GroupSlot(0)),
        paused: report.flag(fields.get("paused"), false),
        schedule: fields.get("schedule").map(|node| schedule(report, node)).unwrap_or_default(),
        eligibility: eligibility.map(Arc::new),
        applicability: applicability.map(Arc::new),
        suitability: suitability.map(Arc::new),
        value: value.unwrap_or(Number::Constant(0.0)),
        context_weight,
        lever,
        floor,
        limits: Vec::new(),
        budget: fields.get("budget").and_then(|node| budget(report, node)),
        placements,
        open,
        base_rate: fields.get("base_rate").and_then(|node| report.number(node, 0.0..=1.0)),
        holdout_exempt: exempt || purpose == Purpose::Service,
        treatments,
        reasons: fields.get("reason").map(|node| reasons(report, node, env.texts)).unwrap_or_default(),
        labels: fields.get("labels").map(|node| labels(report, node)).unwrap_or_default(),
        position: report.position(declared.mark),
    }
}

/// The lever multiplied with the issue's; the larger of both floors.
fn weights(report: &mut Report<'_>, fields: &Fields<'_>, issue: Option<&Issue>) -> (f64, Option<f64>) {
    let lever = fields.get("lever").and_then(|node| report.number(node, 0.0..=f64::MAX)).unwrap_or(1.0);
    let floor = fields.get("floor").and_then(|node| report.number(node, f64::MIN..=f64::MAX));
    let lever = (lever * issue.map_or(1.0, |issue| issue.lever)).min(f64::MAX);
    let floor = match (floor, issue.and_then(|issue| issue.floor)) {
        (Some(own), Some(of_issue)) => Some(own.max(of_issue)),
        (own, of_issue) => own.or(of_issue),
    };
    (lever, floor)
}

fn placements(report: &mut Report<'_>, node: &Node, env: &OfferEnv<'_>) -> Vec<PlacementSlot> {
    let nodes = report.list(node).unwrap_or_default();
    let mut slots = Vec::new();
    for node in nodes {
        let Some(slot) = env.placement_names.read(report, node) else { continue };
        if slots.contains(&slot) {
            report.error(node.mark, "the placement stands twice");
        } else {
            slots.push(slot);
        }
    }
    slots.sort();
    slots
}

fn schedule(report: &mut Report<'_>, node: &Node) -> (Option<Timestamp>, Option<Timestamp>) {
    let Some(fields) = report.fields(node, &SCHEDULE) else { return (None, None) };
    let from = fields.get("from").and_then(|node| report.moment(node));
    let until = fields.get("until").and_then(|node| report.moment(node));
    if let (Some(begin), Some(end)) = (from, until)
        && begin >= end
    {
        report.error(node.mark, "the schedule ends before it begins: `from` must be before `until`");
    }
    (from, until)
}

fn reasons(report: &mut Report<'_>, node: &Node, texts: &Texts<'_>) -> Vec<(Arc<str>, Template)> {
    let mut reasons = Vec::new();
    for (key, value) in report.entries(node).unwrap_or_default() {
        let language = report.language(key.mark, &key.text);
        let template = texts.template(report, value, (Escape::None, &[]));
        if let (Some(language), Some(template)) = (language, template) {
            reasons.push((language, template));
        }
    }
    reasons.sort_by(|a, b| a.0.cmp(&b.0));
    reasons
}

fn labels(report: &mut Report<'_>, node: &Node) -> Vec<(Arc<str>, Arc<str>, Arc<str>)> {
    let mut labels = Vec::new();
    for (key, value) in report.entries(node).unwrap_or_default() {
        let language = report.language(key.mark, &key.text);
        let Some(fields) = report.fields(value, &LABELS) else { continue };
        let mut label = |name| fields.get(name).and_then(|node| report.label(node)).unwrap_or_default();
        let (accept, decline) = (label("accept"), label("decline"));
        if let Some(language) = language {
            labels.push((language, accept, decline));
        }
    }
    labels.sort();
    labels
}
