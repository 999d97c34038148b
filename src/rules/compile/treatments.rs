//! Treatments: an offer's content for one channel and language.

use std::sync::Arc;

use crate::{
    domain::{ChannelSlot, PlacementSlot, Value},
    rules::{
        Channel, DataField, DataKind, DataTemplate, Escape, MessagePart, Placement, Treatment,
        keys_offers::TREATMENT,
        read::{Fields, is_absolute_url},
        report::{Noun, Report},
        source::{Key, Kind, Mark, Node},
    },
};

use super::{channels::part_name, declare::Declared, offers::OfferEnv, placements::kind_name, texts::OfferTexts};

/// Most links of a treatment.
const LINKS_MAX: usize = 32;
/// What a link in data begins with.
const LINK_PREFIX: &str = "link:";

/// Where one treatment stands.
struct Place<'a> {
    offer: &'a str,
    channel: &'a Channel,
    placements: &'a [PlacementSlot],
    texts: OfferTexts<'a>,
}

/// Reads the treatments of an offer, sorted by (channel, language).
pub fn read(
    report: &mut Report<'_>,
    declared: &Declared<'_>,
    (placements, texts): (&[PlacementSlot], OfferTexts<'_>),
    env: &OfferEnv<'_>,
) -> Vec<Treatment> {
    let mut treatments = Vec::new();
    let Some(node) = declared.fields.get("treatments") else { return treatments };
    let Some(entries) = report.entries(node) else { return treatments };
    if entries.is_empty() {
        report.error(node.mark, "the offer needs a treatment for at least one channel");
    }
    let mut channels: Vec<ChannelSlot> = Vec::new();
    for (key, value) in entries {
        let Some(slot) = env.names.channels.resolve(report, key.mark, &key.text) else { continue };
        let Some(channel) = env.channels.get(slot.index()) else { continue };
        channels.push(slot);
        let place = Place { offer: &declared.id, channel, placements, texts };
        languages(report, (key, value), &place, env, &mut treatments);
    }
    for slot in placements {
        let Some(placement) = env.placements.get(slot.index()) else { continue };
        if !channels.contains(&placement.channel)
            && let Some(channel) = env.channels.get(placement.channel.index())
        {
            let (channel, placement) = (&channel.name, &placement.name);
            let message = format!("the placement `{placement}` needs a treatment for its channel `{channel}`");
            report.error(node.mark, message);
        }
    }
    treatments.sort_by(|a, b| (a.channel, &a.language).cmp(&(b.channel, &b.language)));
    treatments
}

fn languages(
    report: &mut Report<'_>,
    (key, node): (&Key, &Node),
    place: &Place<'_>,
    env: &OfferEnv<'_>,
    treatments: &mut Vec<Treatment>,
) {
    let Some(entries) = report.entries(node) else { return };
    let mut seen: Vec<Arc<str>> = Vec::new();
    for (key, value) in entries {
        let Some(language) = report.language(key.mark, &key.text) else { continue };
        if seen.contains(&language) {
            report.error(key.mark, format!("the language `{language}` stands twice"));
            continue;
        }
        seen.push(language.clone());
        treatments.extend(treatment(report, value, (language, place), env));
    }
    if !seen.contains(env.default_language) && report.knows_all(Noun::Settings) {
        let (channel, language) = (&place.channel.name, env.default_language);
        let message = format!("the channel `{channel}` needs a treatment in the default language `{language}`");
        report.error(key.mark, message);
    }
}

fn treatment(
    report: &mut Report<'_>,
    node: &Node,
    (language, place): (Arc<str>, &Place<'_>),
    env: &OfferEnv<'_>,
) -> Option<Treatment> {
    let fields = report.fields(node, &TREATMENT)?;
    let links = fields.get("links").map(|node| links(report, node)).unwrap_or_default();
    let names: Vec<Arc<str>> = links.iter().map(|(name, _)| name.clone()).collect();
    for part in &place.channel.required_parts {
        if fields.get(part_name(*part)).is_none() {
            let (channel, part) = (&place.channel.name, part_name(*part));
            report.error(node.mark, format!("the channel `{channel}` requires `{part}` in every treatment"));
        }
    }
    let escape = place.channel.escape;
    let mut part = |part: MessagePart, escape: Escape| {
        fields.get(part_name(part)).and_then(|node| place.texts.template(report, node, (escape, &names)))
    };
    let subject = part(MessagePart::Subject, escape);
    let text = part(MessagePart::Text, escape);
    let html = part(MessagePart::Html, Escape::Html);
    let talk_track = part(MessagePart::TalkTrack, escape);
    let image = fields.get("image").and_then(|node| report.url(node)).unwrap_or_default();
    let data = data(report, &fields, (&names, place), env);
    let name = format!("{}/{}/{language}", place.offer, place.channel.name).into();
    let channel = place.channel.slot;
    Some(Treatment { name, channel, language, subject, text, html, talk_track, data, image, links })
}

/// Links in the order of the file: the first is the main one.
fn links(report: &mut Report<'_>, node: &Node) -> Vec<(Arc<str>, Arc<str>)> {
    let entries = report.entries(node).unwrap_or_default();
    if entries.len() > LINKS_MAX {
        report.error(node.mark, format!("there are {} links, at most {LINKS_MAX} are allowed", entries.len()));
    }
    let mut links: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    for (key, value) in entries.into_iter().take(LINKS_MAX) {
        let named = report.check_id(key.mark, &key.text);
        // A link with a bad target still has its name, for those who use it.
        let target = report.url(value).unwrap_or_default();
        let hash = crate::domain::stable_hash32(&key.text);
        if links.iter().any(|(name, _)| crate::domain::stable_hash32(name) == hash) {
            report.error(key.mark, "two link names are the same at rest: rename one of them");
        } else if named {
            links.push((key.text.clone(), target));
        }
    }
    links
}

fn data(
    report: &mut Report<'_>,
    fields: &Fields<'_>,
    (links, place): (&[Arc<str>], &Place<'_>),
    env: &OfferEnv<'_>,
) -> Vec<(Arc<str>, DataTemplate)> {
    let node = fields.get("data");
    let entries = node.and_then(|node| report.entries(node)).unwrap_or_default();
    required_fields(report, node.map_or(fields.mark, |node| node.mark), &entries, (place, env));
    let mut data: Vec<(Arc<str>, DataTemplate)> = Vec::new();
    for (key, value) in entries {
        let Some(field) = field(report, key, place, env) else { continue };
        if let Some(template) = data_template(report, value, (field, links), place.texts) {
            data.push((key.text.clone(), template));
        }
    }
    data.sort_by(|a, b| a.0.cmp(&b.0));
    data
}

/// Notes required fields of the offer's placements that are not given.
fn required_fields(
    report: &mut Report<'_>,
    mark: Mark,
    entries: &[(&Key, &Node)],
    (place, env): (&Place<'_>, &OfferEnv<'_>),
) {
    let mine = place.placements.iter().filter_map(|slot| env.placements.get(slot.index()));
    for placement in mine.filter(|placement| placement.channel == place.channel.slot) {
        for field in placement.fields.iter().filter(|field| field.required) {
            if !entries.iter().any(|(key, _)| key.text == field.name) {
                let (placement, field) = (&placement.name, &field.name);
                report.error(mark, format!("the placement `{placement}` requires the data field `{field}`"));
            }
        }
    }
}

/// The declaration of a data field: by the offer's placements on the channel,
/// else by any placement on it.
fn field<'a>(report: &mut Report<'_>, key: &Key, place: &Place<'_>, env: &'a OfferEnv<'_>) -> Option<&'a DataField> {
    let on_channel = || env.placements.iter().filter(|placement| placement.channel == place.channel.slot);
    let of = |placement: &'a Placement| placement.fields.iter().find(|field| field.name == key.text);
    let mine = on_channel().filter(|placement| place.placements.contains(&placement.slot)).find_map(of);
    let found = mine.or_else(|| on_channel().find_map(of));
    if found.is_none() && report.knows_all(Noun::Placement) && report.knows_all(Noun::DataField) {
        let known = on_channel().flat_map(|placement| placement.fields.iter().map(|field| &*field.name));
        let hint = report.did_you_mean(&key.text, known);
        let (shown, channel) = (key.text.escape_debug(), &place.channel.name);
        report.error(
            key.mark,
            format!("no placement of the channel `{channel}` declares the data field `{shown}`{hint}"),
        );
    }
    found
}

fn data_template(
    report: &mut Report<'_>,
    node: &Node,
    (field, links): (&DataField, &[Arc<str>]),
    texts: OfferTexts<'_>,
) -> Option<DataTemplate> {
    match (&node.kind, field.kind) {
        (Kind::Text(text), DataKind::Url) if text.starts_with(LINK_PREFIX) => {
            let name = &text[LINK_PREFIX.len()..];
            let at = links.iter().position(|link| &**link == name);
            if at.is_none() {
                let hint = report.did_you_mean(name, links.iter().map(|link| &**link));
                report.error(node.mark, format!("unknown link `{}` of the treatment{hint}", name.escape_debug()));
            }
            at.map(DataTemplate::Link)
        }
        (Kind::Text(text), DataKind::Url) if !text.contains("{{") && !text.contains("{%") => {
            report.url(node).map(|url| DataTemplate::Constant(Value::Text((*url).into())))
        }
        (Kind::Text(text), DataKind::Url) if !has_fixed_host(text) => report.expected(
            node,
            "an absolute URL whose host is fixed, like `https://shop.example/{{ .. }}`, or `link:NAME`",
        ),
        (Kind::Text(_), DataKind::Text | DataKind::Url) => {
            texts.template(report, node, (Escape::None, links)).map(DataTemplate::Text)
        }
        (Kind::Int(value), DataKind::Number) => Some(DataTemplate::Constant(Value::Int(*value))),
        (Kind::Float(value), DataKind::Number) => Some(DataTemplate::Constant(Value::Double(*value))),
        (Kind::Bool(value), DataKind::Bool) => Some(DataTemplate::Constant(Value::Bool(*value))),
        (kind, wanted) => {
            let (name, wanted, found) = (&field.name, kind_name(wanted), kind.describe());
            report.error(node.mark, format!("the data field `{name}` holds a {wanted}, found {found}"));
            None
        }
    }
}

/// Whether the host of a URL template stands before anything that is filled
/// in: data must never decide where a link leads.
fn has_fixed_host(text: &str) -> bool {
    let fixed = text.split("{{").next().and_then(|fixed| fixed.split("{%").next()).unwrap_or_default();
    let rest = fixed.strip_prefix("https://").or_else(|| fixed.strip_prefix("http://"));
    is_absolute_url(fixed) && rest.is_some_and(|rest| rest.contains(['/', '?', '#']))
}
