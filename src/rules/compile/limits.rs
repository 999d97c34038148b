//! Limits, windows, suppressions.

use std::sync::Arc;

use crate::{
    domain::{ChannelSlot, GroupSlot, LimitSlot, OfferSlot, OutcomeType, Purpose, ReasonCode},
    rules::{
        Budget, Channel, Limit, Offer, Scope, Suppression, WhenUnknown, Window,
        keys::Section,
        keys_offers::{BUDGET, OFFER_LIMIT, OFFER_SUPPRESS, SUPPRESS},
        read::Fields,
        report::Report,
        source::{Kind, Node},
    },
};

use super::{channels::KINDS, declare::Names};

/// Largest `max` of a limit.
const CONTACTS_MAX: i64 = 1_000_000;
/// Largest `max` of a budget.
const BUDGET_MAX: i64 = 1_000_000_000_000;
/// Largest `count` of a suppression: interactions kept of a customer.
const COUNT_MAX: i64 = crate::domain::profile::INTERACTIONS_MAX as i64;

/// Names of the purposes.
pub const PURPOSES: [(&str, Purpose); 2] = [("marketing", Purpose::Marketing), ("service", Purpose::Service)];

/// Names of the scopes.
pub const SCOPES: [(&str, Scope); 6] = [
    ("offer", Scope::Offer),
    ("record", Scope::Record),
    ("group", Scope::Group),
    ("issue", Scope::Issue),
    ("channel", Scope::Channel),
    ("all", Scope::All),
];

/// Names that limits and suppressions may use.
#[derive(Debug)]
pub struct LimitNames<'a> {
    /// Channels.
    pub channels: &'a Names<ChannelSlot>,
    /// Groups.
    pub groups: &'a Names<GroupSlot>,
    /// Decline reasons.
    pub reasons: &'a Names<ReasonCode>,
}

/// Reads a limit of the policies or, with a slot, of an offer.
pub fn limit(
    report: &mut Report<'_>,
    fields: &Fields<'_>,
    (name, offer): (Arc<str>, Option<OfferSlot>),
    names: &LimitNames<'_>,
) -> Limit {
    let of_policies = offer.is_none();
    // An offer's own limits speak of the offer, or of its records.
    let scopes = if of_policies { &SCOPES[..] } else { &SCOPES[..2] };
    let scope = fields.get("scope").and_then(|node| report.one_of(node, scopes));
    let purpose =
        if of_policies { fields.get("purpose").and_then(|node| report.one_of(node, &PURPOSES)) } else { None };
    let group = if of_policies { fields.get("group").and_then(|node| names.groups.read(report, node)) } else { None };
    Limit {
        slot: LimitSlot(0),
        name,
        scope: scope.unwrap_or(Scope::Offer),
        channel: fields.get("channel").and_then(|node| names.channels.read(report, node)),
        channel_kind: fields.get("channel_kind").and_then(|node| report.one_of(node, &KINDS)),
        purpose,
        offer,
        group,
        max: fields.get("max").and_then(|node| report.whole(node, 1..=CONTACTS_MAX)).unwrap_or(1) as u32,
        window: fields.get("window").and_then(|node| window(report, node)).unwrap_or(Window::Day),
        exact: report.flag(fields.get("exact"), false),
        when_unknown: when_unknown(report, fields),
    }
}

/// What becomes of a claim that the store cannot answer. Only an exact limit
/// asks it.
fn when_unknown(report: &mut Report<'_>, fields: &Fields<'_>) -> Option<WhenUnknown> {
    let node = fields.get("when_unknown")?;
    if !report.flag(fields.get("exact"), false) {
        report.error(node.mark, "only what is exact asks the store: add `exact: true`, or leave `when_unknown` out");
    }
    report.one_of(node, &WhenUnknown::ALL.map(|policy| (policy.name(), policy)))
}

/// Reads the limits of an offer: `offer#1`, `offer#2`, ...
pub fn offer_limits(
    report: &mut Report<'_>,
    node: &Node,
    (id, offer): (&str, OfferSlot),
    names: &LimitNames<'_>,
) -> Vec<Limit> {
    let nodes = report.list(node).unwrap_or_default();
    let mut limits = Vec::new();
    for (at, node) in nodes.iter().enumerate() {
        if let Some(fields) = report.fields(node, &OFFER_LIMIT) {
            let name = format!("{id}#{}", at + 1).into();
            limits.push(limit(report, &fields, (name, Some(offer)), names));
        }
    }
    limits
}

/// A window: a duration, or a calendar unit.
pub fn window(report: &mut Report<'_>, node: &Node) -> Option<Window> {
    match &node.kind {
        Kind::Text(text) if &**text == "day" => Some(Window::Day),
        Kind::Text(text) if &**text == "week" => Some(Window::Week),
        Kind::Text(text) if &**text == "month" => Some(Window::Month),
        Kind::Text(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
            report.duration(node).map(Window::Rolling)
        }
        _ => report.expected(node, "a duration like `30d`, or `day`, `week`, `month`"),
    }
}

/// Reads the budget of an offer.
pub fn budget(report: &mut Report<'_>, node: &Node) -> Option<Budget> {
    let fields = report.fields(node, &BUDGET)?;
    let max = fields.get("max").and_then(|node| report.whole(node, 1..=BUDGET_MAX));
    let window = fields.get("window").and_then(|node| window(report, node));
    let exact = report.flag(fields.get("exact"), false);
    let when_unknown = when_unknown(report, &fields).unwrap_or(WhenUnknown::Deny);
    Some(Budget { max: max?.unsigned_abs(), window: window?, exact, when_unknown })
}

/// Reads suppressions, of the policies or of an offer.
pub fn suppressions(
    report: &mut Report<'_>,
    node: &Node,
    offer: Option<OfferSlot>,
    names: &LimitNames<'_>,
) -> Vec<Suppression> {
    let section: &'static Section = if offer.is_some() { &OFFER_SUPPRESS } else { &SUPPRESS };
    let nodes = report.list(node).unwrap_or_default();
    nodes.iter().filter_map(|node| suppression(report, node, (section, offer), names)).collect()
}

fn suppression(
    report: &mut Report<'_>,
    node: &Node,
    (section, offer): (&'static Section, Option<OfferSlot>),
    names: &LimitNames<'_>,
) -> Option<Suppression> {
    let fields = report.fields(node, section)?;
    let outcome = fields.get("after").and_then(|node| outcome(report, node));
    let reason = fields.get("reason").and_then(|node| {
        if outcome.is_some_and(|outcome| outcome != OutcomeType::Decline) {
            report.error(node.mark, "only a decline has a reason: use `after: decline`, or leave `reason` out");
        }
        names.reasons.read(report, node)
    });
    let count = fields.get("count").and_then(|node| report.whole(node, 1..=COUNT_MAX)).unwrap_or(1) as u32;
    let scope = fields.get("scope").and_then(|node| report.one_of(node, &SCOPES)).unwrap_or(Scope::Offer);
    let for_us = fields.get("for").and_then(|node| report.duration(node));
    Some(Suppression { outcome: outcome?, reason, offer, count, scope, for_us: for_us? })
}

/// An outcome by its name.
pub fn outcome(report: &mut Report<'_>, node: &Node) -> Option<OutcomeType> {
    let words = OutcomeType::ALL.map(|outcome| (outcome.name(), outcome));
    report.one_of(node, &words)
}

/// Gives the limits their slots, in order of their ids, and every offer the
/// limits that count it.
pub fn arrange(report: &mut Report<'_>, limits: &mut Vec<Limit>, offers: &mut [Offer], channels: &[Channel]) {
    if limits.len() > usize::from(u16::MAX) {
        let message = format!("there are {} limits, at most {} are allowed", limits.len(), u16::MAX);
        report.error(Default::default(), message);
        limits.truncate(usize::from(u16::MAX));
    }
    limits.sort_by(|a, b| a.name.cmp(&b.name));
    for (at, limit) in limits.iter_mut().enumerate() {
        limit.slot = LimitSlot(at as u16);
        if let Some(offer) = limit.offer
            && let Some(offer) = offers.get_mut(offer.index())
        {
            offer.limits.push(limit.slot);
        }
    }
    let general: Vec<&Limit> = limits.iter().filter(|limit| limit.offer.is_none()).collect();
    for offer in offers {
        let counting = general.iter().filter(|limit| counts(limit, offer, channels)).map(|limit| limit.slot);
        let counting: Vec<LimitSlot> = counting.collect();
        offer.limits.extend(counting);
        offer.limits.sort();
    }
}

fn counts(limit: &Limit, offer: &Offer, channels: &[Channel]) -> bool {
    let on_channel = |channel: &Channel| {
        limit.channel.is_none_or(|slot| slot == channel.slot)
            && limit.channel_kind.is_none_or(|kind| kind == channel.kind)
    };
    limit.purpose.is_none_or(|purpose| purpose == offer.purpose)
        && limit.group.is_none_or(|group| group == offer.group)
        && offer.treatments.iter().any(|t| channels.get(t.channel.index()).is_some_and(on_channel))
}
