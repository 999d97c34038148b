//! Golden scenarios.

use std::{collections::HashMap, sync::Arc};

use crate::{
    domain::{
        Assurance, AttrId, ChannelId, OfferId, PageConsent, Permission, PlacementAsk, PlacementId, Reason, Request,
        Schema, SendWindow, SilenceReason, Timestamp, Trace, Value, View, schema::FieldDef,
    },
    rules::{
        Ruleset,
        keys_scenarios::{EXPECTATION, PAGE_CONSENT, PLACEMENT_ASK, REQUEST, SCENARIO, SEND_WINDOW},
        read::Fields,
        report::{Noun, Report},
        scenario::{Expectation, Scenario},
        source::{Kind, Mark, Node},
    },
};

use super::{
    declare::{Names, TopLevel},
    limits::PURPOSES,
    placements::SLOTS_MAX,
    profiles,
    values::{Wanted, attribute_value},
};

/// Most scenarios.
const SCENARIOS_MAX: usize = 10_000;
/// Longest text an expectation looks for, bytes.
const CONTAINS_BYTES_MAX: usize = 4 * 1024;

/// What a person said, by name.
pub const PERMISSIONS: [(&str, Permission); 2] = [("granted", Permission::Granted), ("denied", Permission::Denied)];

const ASSURANCES: [(&str, Assurance); 3] =
    [("anonymous", Assurance::Anonymous), ("claimed", Assurance::Claimed), ("verified", Assurance::Verified)];

const SILENCES: [SilenceReason; 7] = [
    SilenceReason::NoOffers,
    SilenceReason::NothingEligible,
    SilenceReason::NotReachable,
    SilenceReason::ContactPolicy,
    SilenceReason::Holdout,
    SilenceReason::NotWorthIt,
    SilenceReason::OnPageAlready,
];

/// What scenarios are compiled against.
#[derive(Debug)]
pub struct ScenarioEnv<'a> {
    /// The rules, without scenarios.
    pub ruleset: &'a Ruleset,
    /// Offers by name.
    pub offers: Names<OfferId>,
    /// Channels by name.
    pub channels: Names<ChannelId>,
    /// Placements by name.
    pub placements: Names<PlacementId>,
    /// Stored attributes by name.
    pub stored: Names<AttrId>,
    /// Context attributes by name.
    pub context: Names<AttrId>,
    /// Traits by name.
    pub traits: Names<AttrId>,
}

fn traits(schema: &Schema) -> Vec<(Arc<str>, AttrId)> {
    let defs = schema.traits.iter().map(|slot| &schema.attributes[slot.index()]);
    defs.map(|def| (def.name.clone(), def.id)).collect()
}

impl<'a> ScenarioEnv<'a> {
    /// The names of a ruleset.
    pub fn new(ruleset: &'a Ruleset) -> Self {
        let attributes = |ids: &[(AttrId, crate::domain::AttrSlot)]| -> Vec<(Arc<str>, AttrId)> {
            ids.iter().map(|(id, slot)| (ruleset.schema.attributes[slot.index()].name.clone(), *id)).collect()
        };
        Self {
            ruleset,
            offers: Names::new(Noun::Offer, ruleset.offers.iter().map(|o| (o.name_id.clone(), o.id))),
            channels: Names::new(Noun::Channel, ruleset.channels.iter().map(|c| (c.name.clone(), c.id))),
            placements: Names::new(Noun::Placement, ruleset.placements.iter().map(|p| (p.name.clone(), p.id))),
            stored: Names::new(Noun::Attribute, attributes(&ruleset.schema.stored)),
            context: Names::new(Noun::Context, attributes(&ruleset.schema.context)),
            traits: Names::new(Noun::Trait, traits(&ruleset.schema)),
        }
    }

    /// Values of attributes, sorted by id.
    pub fn values(&self, report: &mut Report<'_>, node: &Node, names: &Names<AttrId>) -> Vec<(AttrId, Value)> {
        let schema = &self.ruleset.schema;
        let (is_context, is_trait) = (std::ptr::eq(names, &self.context), std::ptr::eq(names, &self.traits));
        let mut values = Vec::new();
        for (key, value) in report.entries(node).unwrap_or_default() {
            let Some(id) = names.resolve(report, key.mark, &key.text) else { continue };
            let def = match (is_context, is_trait) {
                (true, _) => schema.context_by_name(&key.text),
                (_, true) => schema.traits.iter().map(|slot| &schema.attributes[slot.index()]).find(|def| def.id == id),
                _ => schema.stored_by_name(&key.text),
            };
            let Some(def) = def else { continue };
            let wanted = Wanted { kind: &def.kind, range: def.range, currency: self.ruleset.currency };
            if let Some(value) = attribute_value(report, value, wanted) {
                values.push((id, value));
            }
        }
        values.sort_by_key(|entry| entry.0);
        values
    }

    /// Values of declared fields, sorted by id.
    pub fn field_values(&self, report: &mut Report<'_>, node: &Node, fields: &[FieldDef]) -> Vec<(AttrId, Value)> {
        let known = fields.iter().enumerate().map(|(at, field)| (field.name.clone(), at));
        let names: Names<usize> = Names::new(Noun::Field, known);
        let mut values = Vec::new();
        for (key, value) in report.entries(node).unwrap_or_default() {
            let Some(field) = names.resolve(report, key.mark, &key.text).map(|at| &fields[at]) else { continue };
            let wanted = Wanted { kind: &field.kind, range: field.range, currency: self.ruleset.currency };
            values.extend(attribute_value(report, value, wanted).map(|value| (field.id, value)));
        }
        values.sort_by_key(|entry| entry.0);
        values
    }
}

/// Reads the scenarios, sorted by name.
pub fn read(report: &mut Report<'_>, top: &TopLevel<'_>, ruleset: &Ruleset) -> Vec<Scenario> {
    let env = ScenarioEnv::new(ruleset);
    let nodes = top.list(report, "scenarios", None);
    if let Some(over) = nodes.get(SCENARIOS_MAX) {
        report.error(over.mark, format!("there are {} scenarios, at most {SCENARIOS_MAX} are allowed", nodes.len()));
    }
    let mut scenarios: Vec<Scenario> = Vec::new();
    let mut names: HashMap<Arc<str>, Mark> = HashMap::new();
    for node in nodes.into_iter().take(SCENARIOS_MAX) {
        let Some(fields) = report.fields(node, &SCENARIO) else { continue };
        let name = fields.get("name").and_then(|node| Some((report.label(node)?, node.mark)));
        if let Some((name, mark)) = &name {
            if let Some(first) = names.get(name) {
                let place = report.position(*first);
                report.error(
                    *mark,
                    format!("the scenario `{}` is declared twice: first at {place}", name.escape_debug()),
                );
                continue;
            }
            names.insert(name.clone(), *mark);
        }
        let name = name.map(|(name, _)| name).unwrap_or_default();
        scenarios.extend(scenario(report, &fields, name, &env));
    }
    scenarios.sort_by(|a, b| a.name.cmp(&b.name));
    scenarios
}

fn scenario(report: &mut Report<'_>, fields: &Fields<'_>, name: Arc<str>, env: &ScenarioEnv<'_>) -> Option<Scenario> {
    let moment = fields.get("now").and_then(|node| report.moment(node));
    // Without a moment the rest is still checked, against a far one.
    let now = moment.unwrap_or(Timestamp(i64::MAX / 2));
    let who = fields.get("profile").map(|node| profiles::read(report, node, (&name, now), env));
    let known = who.is_some();
    let profiles::Who { profile, fed, holdout } = who.unwrap_or_default();
    let (mut request, asked) = fields.get("request").map(|node| request(report, node, env)).unwrap_or_default();
    request.assurance = asked.unwrap_or(if known { Assurance::Verified } else { Assurance::Anonymous });
    request.view = View::Full;
    request.trace = Trace::Full;
    let mut offers = |name| fields.get(name).map(|node| offers(report, node, env)).unwrap_or_default();
    let (exhausted, refused) = (offers("exhausted"), offers("refused"));
    let mut expect = Vec::new();
    if let Some(node) = fields.get("expect") {
        let nodes = report.list(node).unwrap_or_default();
        if nodes.is_empty() && matches!(node.kind, Kind::List(_)) {
            report.error(node.mark, "the scenario expects nothing: a test that cannot fail");
        }
        expect.extend(nodes.iter().filter_map(|node| expectation(report, node, env)));
    }
    let position = report.position(fields.mark);
    Some(Scenario { name, position, now: moment?, profile, fed, known, holdout, request, exhausted, refused, expect })
}

fn offers(report: &mut Report<'_>, node: &Node, env: &ScenarioEnv<'_>) -> Vec<Arc<str>> {
    let nodes = report.list(node).unwrap_or_default();
    nodes.iter().filter_map(|node| name(report, node, &env.offers)).collect()
}

/// A known name, as text.
fn name<T: Copy>(report: &mut Report<'_>, node: &Node, names: &Names<T>) -> Option<Arc<str>> {
    names.read(report, node)?;
    report.text(node).cloned()
}

/// The question, and the assurance that it gives.
fn request(report: &mut Report<'_>, node: &Node, env: &ScenarioEnv<'_>) -> (Request, Option<Assurance>) {
    let mut request = Request::default();
    let Some(fields) = report.fields(node, &REQUEST) else { return (request, None) };
    if let Some(node) = fields.get("placements") {
        let nodes = report.list(node).unwrap_or_default();
        request.placements = nodes.iter().filter_map(|node| placement_ask(report, node, env)).collect();
    }
    if let Some(node) = fields.get("allowed_channels") {
        let nodes = report.list(node).unwrap_or_default();
        request.allowed_channels = nodes.iter().filter_map(|node| env.channels.read(report, node)).collect();
    }
    request.purpose = fields.get("purpose").and_then(|node| report.one_of(node, &PURPOSES));
    request.context = fields.get("context").map(|node| env.values(report, node, &env.context)).unwrap_or_default();
    request.overrides = fields.get("assume").map(|node| env.values(report, node, &env.traits)).unwrap_or_default();
    request.page_consent = fields.get("page_consent").map(|node| page_consent(report, node)).unwrap_or_default();
    if let Some(node) = fields.get("exclude_offers") {
        let nodes = report.list(node).unwrap_or_default();
        request.exclude_offers = nodes.iter().filter_map(|node| env.offers.read(report, node)).collect();
        request.exclude_offers.sort();
    }
    if let Some(node) = fields.get("languages") {
        for node in report.list(node).unwrap_or_default() {
            let Some(text) = report.text(node) else { continue };
            request.languages.extend(report.language(node.mark, text).map(|language| Box::from(&*language)));
        }
    }
    if let Some(node) = fields.get("send_window") {
        request.send_window = send_window(report, node, &request);
    }
    let assurance = fields.get("assurance").and_then(|node| report.one_of(node, &ASSURANCES));
    (request, assurance)
}

fn send_window(report: &mut Report<'_>, node: &Node, request: &Request) -> SendWindow {
    let Some(fields) = report.fields(node, &SEND_WINDOW) else { return SendWindow::default() };
    let mut moment = |name| fields.get(name).and_then(|node| report.moment(node));
    let (from, until) = (moment("from"), moment("until"));
    if let (Some(begin), Some(end)) = (from, until)
        && begin >= end
    {
        report.error(node.mark, "the send window ends before it begins: `from` must be before `until`");
    }
    if !request.placements.is_empty() {
        report.error(node.mark, "`send_window` is for open questions: leave it out, or leave `placements` out");
    }
    SendWindow { from, until }
}

fn placement_ask(report: &mut Report<'_>, node: &Node, env: &ScenarioEnv<'_>) -> Option<PlacementAsk> {
    let (node, count) = match node.kind {
        Kind::Map(_) => {
            let fields = report.fields(node, &PLACEMENT_ASK)?;
            let count = fields.get("count").and_then(|node| report.whole(node, 1..=SLOTS_MAX)).unwrap_or_default();
            (fields.get("placement")?, count as u16)
        }
        _ => (node, 0),
    };
    let id = env.placements.read(report, node)?;
    Some(PlacementAsk { id, name: (**report.text(node)?).into(), count })
}

fn page_consent(report: &mut Report<'_>, node: &Node) -> PageConsent {
    let Some(fields) = report.fields(node, &PAGE_CONSENT) else { return PageConsent::default() };
    let mut read = |name| fields.get(name).and_then(|node| report.one_of(node, &PERMISSIONS)).unwrap_or_default();
    PageConsent { profiling: read("profiling"), marketing: read("marketing") }
}

fn expectation(report: &mut Report<'_>, node: &Node, env: &ScenarioEnv<'_>) -> Option<Expectation> {
    let fields = report.fields(node, &EXPECTATION)?;
    let given: Vec<(&str, &Node)> = ["winners", "dropped", "silent", "contains"]
        .into_iter()
        .filter_map(|name| Some((name, fields.get(name)?)))
        .collect();
    let [(what, value)] = given[..] else {
        report.error(node.mark, "an expectation has exactly one of `winners`, `dropped`, `silent`, `contains`");
        return None;
    };
    let allowed: &[&str] = match what {
        "winners" | "silent" => &["placement"],
        "dropped" => &["channel", "reason"],
        _ => &["offer"],
    };
    for key in ["placement", "channel", "reason", "offer"] {
        if let Some(node) = fields.get(key)
            && !allowed.contains(&key)
        {
            report.error(node.mark, format!("`{key}` has no meaning beside `{what}`: leave it out"));
        }
    }
    let placement = || fields.get("placement");
    match what {
        "winners" => {
            let nodes = report.list(value)?;
            let offers = nodes.iter().filter_map(|node| winner(report, node, env)).collect();
            Some(Expectation::Winners { placement: where_of(report, placement(), env), offers })
        }
        "silent" => {
            let words = SILENCES.map(|reason| (reason.name(), reason));
            let reason = report.one_of(value, &words);
            Some(Expectation::Silent { placement: where_of(report, placement(), env), reason: reason? })
        }
        "dropped" => dropped(report, &fields, value, env),
        _ => contains(report, &fields, value, env),
    }
}

/// The placement of an expectation; empty for the open question.
fn where_of(report: &mut Report<'_>, node: Option<&Node>, env: &ScenarioEnv<'_>) -> Arc<str> {
    let named = node.filter(|node| node.kind != Kind::Text("".into()));
    named.and_then(|node| name(report, node, &env.placements)).unwrap_or_default()
}

fn dropped(report: &mut Report<'_>, fields: &Fields<'_>, value: &Node, env: &ScenarioEnv<'_>) -> Option<Expectation> {
    let offer = name(report, value, &env.offers);
    let channel = fields.get("channel").and_then(|node| name(report, node, &env.channels));
    let Some(reason) = fields.get("reason") else {
        report.error(fields.mark, "`dropped` needs the key `reason`: why it is dropped");
        return None;
    };
    let words: Vec<(&str, Reason)> = Reason::ALL.iter().map(|reason| (reason.name(), *reason)).collect();
    let reason = report.one_of(reason, &words);
    Some(Expectation::Dropped { offer: offer?, channel, reason: reason? })
}

fn contains(report: &mut Report<'_>, fields: &Fields<'_>, value: &Node, env: &ScenarioEnv<'_>) -> Option<Expectation> {
    let text = report.text(value)?.clone();
    if text.is_empty() || text.len() > CONTAINS_BYTES_MAX {
        report.error(value.mark, format!("expected a text of 1 to {CONTAINS_BYTES_MAX} bytes"));
    }
    let Some(offer) = fields.get("offer") else {
        report.error(fields.mark, "`contains` needs the key `offer`: the winner");
        return None;
    };
    Some(Expectation::Contains { offer: name(report, offer, &env.offers)?, text })
}

/// `offer` or `offer/channel`.
fn winner(report: &mut Report<'_>, node: &Node, env: &ScenarioEnv<'_>) -> Option<Arc<str>> {
    let text = report.text(node)?.clone();
    match text.split_once('/') {
        Some((offer, channel)) => {
            let offer = env.offers.resolve(report, node.mark, offer);
            env.channels.resolve(report, node.mark, channel)?;
            offer?;
        }
        None => {
            env.offers.resolve(report, node.mark, &text)?;
        }
    }
    Some(text)
}
