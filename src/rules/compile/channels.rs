//! Channels.

use std::sync::Arc;

use crate::{
    domain::{AttrSlot, AttributeType, ChannelId, ChannelSlot, OutcomeSet, OutcomeType, Schema, time::SECOND_US},
    rules::{
        Channel, ChannelKind, Escape, MessagePart, Need, QuietHours,
        keys::{CHANNEL, PERMISSION, QUIET_HOURS},
        read::Fields,
        report::{Noun, Report},
        source::Node,
    },
};

use super::declare::{Declared, Names, TopLevel, check_hashes};

/// Most channels.
const CHANNELS_MAX: usize = 1_024;
/// Prior probability of a positive outcome where none is given.
const BASE_RATE: f64 = 0.05;
const HOUR_US: i64 = 3_600 * SECOND_US;

/// Names of the kinds of channels.
pub const KINDS: [(&str, ChannelKind); 3] = [
    ("self_service", ChannelKind::SelfService),
    ("assisted", ChannelKind::Assisted),
    ("outbound", ChannelKind::Outbound),
];

const NEEDS: [(&str, Need); 3] = [("nothing", Need::Nothing), ("no_opt_out", Need::NoOptOut), ("opt_in", Need::OptIn)];

const PARTS: [(&str, MessagePart); 4] = [
    ("subject", MessagePart::Subject),
    ("text", MessagePart::Text),
    ("html", MessagePart::Html),
    ("talk_track", MessagePart::TalkTrack),
];

/// The name of a message part in rule files.
pub fn part_name(part: MessagePart) -> &'static str {
    match part {
        MessagePart::Subject => "subject",
        MessagePart::Text => "text",
        MessagePart::Html => "html",
        MessagePart::TalkTrack => "talk_track",
    }
}

/// Stored attributes by name, with their types.
pub type Stored = Names<AttrSlot>;

/// Reads the channels, by id.
pub fn read(report: &mut Report<'_>, top: &TopLevel<'_>, schema: &Schema, stored: &Stored) -> Vec<Channel> {
    let all = top.declared(report, "channels", &CHANNEL, Noun::Channel);
    check_hashes(report, Noun::Channel, all.iter().map(|d| (ChannelId::of(&d.id), d.id.clone(), d.id_mark)));
    if let Some(declared) = all.get(CHANNELS_MAX) {
        report.error(declared.mark, format!("there are {} channels, at most {CHANNELS_MAX} are allowed", all.len()));
    }
    let kept = all.iter().take(CHANNELS_MAX).enumerate();
    kept.map(|(at, declared)| channel(report, ChannelSlot(at as u16), declared, (schema, stored))).collect()
}

fn channel(
    report: &mut Report<'_>,
    slot: ChannelSlot,
    declared: &Declared<'_>,
    (schema, stored): (&Schema, &Stored),
) -> Channel {
    let fields = &declared.fields;
    let kind = fields.get("kind").and_then(|node| report.one_of(node, &KINDS)).unwrap_or(ChannelKind::SelfService);
    let reserve_us = duration(
        report,
        fields.get("reserve_for"),
        match kind {
            ChannelKind::SelfService => HOUR_US / 2,
            ChannelKind::Assisted => 2 * HOUR_US,
            ChannelKind::Outbound => 24 * HOUR_US,
        },
    );
    let (marketing_needs, service_needs) = needs(report, fields, kind);
    let escapes = [("none", Escape::None), ("html", Escape::Html)];
    Channel {
        slot,
        id: ChannelId::of(&declared.id),
        name: declared.id.clone(),
        kind,
        cost: fields.get("cost").and_then(|node| report.number(node, 0.0..=f64::MAX)).unwrap_or(0.0),
        base_rate: fields.get("base_rate").and_then(|node| report.number(node, 0.0..=1.0)).unwrap_or(BASE_RATE),
        address: fields.get("address").and_then(|node| address(report, node, schema, stored)),
        required_parts: fields.get("require").map(|node| parts(report, node)).unwrap_or_default(),
        escape: fields.get("escape").and_then(|node| report.one_of(node, &escapes)).unwrap_or(Escape::None),
        counts_on: counts_on(report, fields, kind),
        reserve_us,
        valid_us: duration(report, fields.get("valid_for"), reserve_us),
        send_within_us: duration(report, fields.get("send_within"), 48 * HOUR_US),
        quiet_hours: fields.get("quiet_hours").and_then(|node| quiet_hours(report, node)),
        preference: fields.get("preference").and_then(|node| preference(report, node, schema, stored)),
        marketing_needs,
        service_needs,
    }
}

fn duration(report: &mut Report<'_>, node: Option<&Node>, default_us: i64) -> i64 {
    node.and_then(|node| report.duration(node)).unwrap_or(default_us)
}

fn needs(report: &mut Report<'_>, fields: &Fields<'_>, kind: ChannelKind) -> (Need, Need) {
    let defaults = match kind {
        ChannelKind::SelfService | ChannelKind::Assisted => (Need::Nothing, Need::Nothing),
        ChannelKind::Outbound => (Need::OptIn, Need::NoOptOut),
    };
    let Some(fields) = fields.get("permission").and_then(|node| report.fields(node, &PERMISSION)) else {
        return defaults;
    };
    let marketing = fields.get("marketing").and_then(|node| report.one_of(node, &NEEDS));
    let service = fields.get("service").and_then(|node| report.one_of(node, &NEEDS));
    (marketing.unwrap_or(defaults.0), service.unwrap_or(defaults.1))
}

/// The outcome that makes a contact, and all that imply it.
fn counts_on(report: &mut Report<'_>, fields: &Fields<'_>, kind: ChannelKind) -> OutcomeSet {
    let words =
        [("decided", OutcomeType::Decided), ("handoff", OutcomeType::Handoff), ("impression", OutcomeType::Impression)];
    let given = fields.get("counts_on").and_then(|node| report.one_of(node, &words));
    let default = if kind == ChannelKind::Outbound { OutcomeType::Handoff } else { OutcomeType::Impression };
    match given.unwrap_or(default) {
        OutcomeType::Decided => OutcomeSet::REACHED.with(OutcomeType::Handoff).with(OutcomeType::Decided),
        OutcomeType::Handoff => OutcomeSet::REACHED.with(OutcomeType::Handoff),
        _ => OutcomeSet::REACHED,
    }
}

fn parts(report: &mut Report<'_>, node: &Node) -> Vec<MessagePart> {
    let nodes = report.list(node).unwrap_or_default();
    let mut parts: Vec<MessagePart> = nodes.iter().filter_map(|node| report.one_of(node, &PARTS)).collect();
    parts.sort_by_key(|part| *part as u8);
    parts.dedup();
    parts
}

fn address(report: &mut Report<'_>, node: &Node, schema: &Schema, stored: &Stored) -> Option<AttrSlot> {
    let slot = stored.read(report, node)?;
    match schema.attributes[slot.index()].kind {
        AttributeType::Text => Some(slot),
        _ => report.expected(node, "a stored attribute of type `string`"),
    }
}

fn preference(report: &mut Report<'_>, node: &Node, schema: &Schema, stored: &Stored) -> Option<AttrSlot> {
    let slot = stored.read(report, node)?;
    match schema.attributes[slot.index()].kind {
        AttributeType::Double => Some(slot),
        _ => report.expected(node, "a stored attribute of type `double`"),
    }
}

fn quiet_hours(report: &mut Report<'_>, node: &Node) -> Option<QuietHours> {
    let fields = report.fields(node, &QUIET_HOURS)?;
    let from = fields.get("from").and_then(|node| minute_of_day(report, node));
    let until_node = fields.get("until");
    let until = until_node.and_then(|node| minute_of_day(report, node));
    let words = [("wait", true), ("drop", false)];
    let wait = fields.get("when").and_then(|node| report.one_of(node, &words)).unwrap_or(true);
    let (from_minute, until_minute) = (from?, until?);
    if from_minute == until_minute {
        report.error(until_node?.mark, "quiet hours begin and end at the same time: nobody could ever be contacted");
        return None;
    }
    Some(QuietHours { from_minute, until_minute, wait })
}

fn minute_of_day(report: &mut Report<'_>, node: &Node) -> Option<u16> {
    let text: Arc<str> = report.text(node)?.clone();
    let minute = text.split_once(':').and_then(|(hour, minute)| {
        let plain = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        if !plain(hour) || !plain(minute) {
            return None;
        }
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour < 24 && minute < 60).then_some(hour * 60 + minute)
    });
    match minute {
        Some(minute) => Some(minute),
        None => report.expected(node, "a time of day like `21:00`"),
    }
}
