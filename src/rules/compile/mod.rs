//! From trees to a ruleset: first the names everything else may use, then
//! what uses them. Every step notes its mistakes and goes on, so that all of
//! them are told at once.

mod cache;
mod channels;
mod cut;
mod declare;
mod documents;
mod event_schema;
mod fields;
mod fingerprint;
mod hash;
mod identities;
mod limits;
mod offers;
mod placements;
mod policies;
mod profiles;
mod reach;
mod scenarios;
mod schema;
mod series;
mod settings;
mod texts;
mod traits;
mod treatments;
mod values;
mod vocabulary;
mod window;

pub use cache::Compiler;
#[cfg(test)]
pub(super) use documents::{offers_alone, whole_tree};
pub use hash::of as hash_of;
pub use vocabulary::Vocabulary;

use std::sync::Arc;

use crate::domain::{AttrSlot, AttributeType, GroupSlot, IssueSlot, OfferSlot, Schema};

use super::{
    Index, Offer, Placement, ReachLimits, RuleError, RuleErrors, Ruleset, SourceFile,
    report::{Noun, Report},
    source::{self, Node},
};

use channels::Stored;
use declare::{Names, TopLevel};
use documents::Documents;
use limits::LimitNames;
use offers::{Kept, OfferEnv, Offers};
use policies::Policies;
use settings::Settings;
use texts::Texts;

/// Most rule files.
pub const FILES_MAX: usize = 250_000;

/// Compiles rule files into one ruleset. The order of `files` does not matter.
///
/// # Errors
/// Every mistake in every file at once.
pub fn compile(files: &[SourceFile]) -> Result<Ruleset, RuleErrors> {
    Compiler::default().compile(files)
}

fn compile_with(compiler: &mut Compiler, files: &[SourceFile]) -> Result<Ruleset, RuleErrors> {
    let mut files = files.to_vec();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    if files.is_empty() || files.len() > FILES_MAX {
        let message = format!("there are {} rule files: expected 1 to {FILES_MAX}", files.len());
        let error = RuleError { position: Default::default(), message, snippet: String::new() };
        return Err(RuleErrors { errors: vec![error] });
    }
    let mut report = Report::new(&files);
    let Compiler { offers, rests, parsed, round } = compiler;
    let documents = Documents::read(&mut report, &files, (offers, rests, *round));
    let top = TopLevel::gather(&mut report, documents.trees.iter().map(|tree| &**tree));
    let kept = Kept { pieces: &documents.offers, known: offers, parsed, round: *round };
    let ruleset = build(&mut report, &top, &files, kept);
    report.finish().map(|()| ruleset)
}

/// The trees of the files that are YAML.
fn trees(report: &mut Report<'_>, files: &[SourceFile]) -> Vec<Node> {
    let mut trees = Vec::new();
    for (at, file) in files.iter().enumerate() {
        match source::parse(at as u32, file) {
            Ok(tree) => trees.push(tree),
            Err(error) => documents::lost(report, error),
        }
    }
    trees
}

fn build(report: &mut Report<'_>, top: &TopLevel<'_>, files: &[SourceFile], kept: Kept<'_, '_>) -> Ruleset {
    let settings = Settings::read(report, top);
    let (schema, feeds) = schema::read(report, top, (settings.currency, &settings.time_zone));
    let stored = stored_names(&schema);
    let mut spoken = |node: Option<&Node>| node.and_then(|node| spoken_attribute(report, node, (&schema, &stored)));
    let language_attribute = spoken(settings.language_attribute);
    let time_zone_attribute = spoken(settings.time_zone_attribute);
    let channels = channels::read(report, top, &schema, &stored);
    let channel_names = Names::new(Noun::Channel, channels.iter().map(|c| (c.name.clone(), c.slot)));
    let placements = placements::read(report, top, &channel_names);
    let issues = placements::issues(report, top);
    let groups = placements::groups(report, top);
    let group_names = numbered(Noun::Group, groups.iter().cloned(), GroupSlot);
    let policies = Policies::read(report, top, (&channel_names, &group_names));
    let (texts, segments) = Texts::read(report, top, (&schema, settings.currency, kept.parsed));
    let env = OfferEnv {
        channels: &channels,
        placements: &placements,
        issues: &issues,
        issue_names: numbered(Noun::Issue, issues.iter().map(|issue| issue.name.clone()), IssueSlot),
        placement_names: Names::new(Noun::Placement, placements.iter().map(|p| (p.name.clone(), p.slot))),
        names: LimitNames { channels: &channel_names, groups: &group_names, reasons: &policies.reason_names },
        texts: &texts,
        default_language: &settings.default_language,
    };
    let Offers { mut offers, limits: offer_limits, suppressions: offer_suppressions, reach } =
        offers::read(report, top, &env, kept);
    let mut limits = policies.limits;
    limits.extend(offer_limits);
    limits::arrange(report, &mut limits, &mut offers, &channels);
    let mut suppressions = policies.suppressions;
    suppressions.extend(offer_suppressions);
    Policies::check_reasons(report, (&policies.decline_reasons, &policies.reason_marks), &suppressions);
    let mut ruleset = Ruleset {
        index: Index::of_offers(&offers),
        hash: hash::of(files),
        currency: settings.currency,
        default_language: settings.default_language,
        language_attribute,
        time_zone_attribute,
        time_zone: settings.time_zone,
        offers_by_placement: offers_by_placement(&offers, &placements),
        budgeted: offers.iter().filter(|offer| offer.budget.is_some()).map(|offer| offer.slot).collect(),
        offer_slots: offers.iter().map(|offer| (offer.id, offer.slot)).collect(),
        channel_slots: channels.iter().map(|channel| (channel.id, channel.slot)).collect(),
        placement_slots: placements.iter().map(|placement| (placement.id, placement.slot)).collect(),
        channels,
        placements,
        groups,
        issues,
        limits,
        suppressions,
        decline_reasons: policies.decline_reasons,
        holdout_share: policies.holdout_share,
        holdout_salt: policies.holdout_salt,
        exploration_share: policies.exploration_share,
        prior_trials: policies.prior_trials,
        attribution_us: policies.attribution_us,
        wished_channel_weight: policies.wished_channel_weight,
        reach: ReachLimits { offers: reach, ..policies.reach },
        segments,
        offers,
        sources: files.into(),
        scenarios: Vec::new(),
        schema: schema.clone(),
        feeds,
    };
    ruleset.scenarios = scenarios::read(report, top, &ruleset);
    ruleset
}

/// Names of what stands in a list, by its place.
fn numbered<T: Copy>(noun: Noun, names: impl Iterator<Item = Arc<str>>, slot: fn(u16) -> T) -> Names<T> {
    Names::new(noun, names.enumerate().map(|(at, name)| (name, slot(at as u16))))
}

fn stored_names(schema: &Schema) -> Stored {
    let known = schema.stored.iter().map(|(_, slot)| (schema.attributes[slot.index()].name.clone(), *slot));
    Names::new(Noun::Attribute, known)
}

/// A stored attribute that holds a language or a time zone.
fn spoken_attribute(report: &mut Report<'_>, node: &Node, (schema, stored): (&Schema, &Stored)) -> Option<AttrSlot> {
    let slot = stored.read(report, node)?;
    match schema.attributes[slot.index()].kind {
        AttributeType::Text | AttributeType::Enum(_) => Some(slot),
        _ => report.expected(node, "a stored attribute of type `string` or `enum`"),
    }
}

fn offers_by_placement(offers: &[Offer], placements: &[Placement]) -> Vec<Vec<OfferSlot>> {
    let mut index = vec![Vec::new(); placements.len()];
    for offer in offers {
        for placement in &offer.placements {
            if let Some(slots) = index.get_mut(placement.index()) {
                slots.push(offer.slot);
            }
        }
    }
    index
}
