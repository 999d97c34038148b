//! What is paused, in the slots of one ruleset. A pause stands above every
//! rule: a paused offer is never retrieved, and nothing is said on a paused
//! channel.

use crate::{
    domain::{ChannelSlot, OfferId, OfferSet, OfferSlot, PauseKind, Pauses},
    rules::Ruleset,
};

use super::plan::Plan;

/// Paused offers and channels. Ids that the ruleset does not know are left out.
#[derive(Debug, Default)]
pub(super) struct Paused {
    /// Offers that are paused by themselves, by their issue or group, or in the
    /// rule file.
    pub offers: OfferSet,
    /// Per channel, whether it is paused.
    pub channels: Vec<bool>,
}

impl Paused {
    /// Puts pauses into slots. Looks at each offer once.
    pub fn of(rules: &Ruleset, plan: &Plan, pauses: &Pauses) -> Self {
        let is_paused = |kind, name: &str| pauses.get(kind, name).is_some();
        let issues: Vec<bool> = rules.issues.iter().map(|i| is_paused(PauseKind::Issue, &i.name)).collect();
        let groups: Vec<bool> = rules.groups.iter().map(|name| is_paused(PauseKind::Group, name)).collect();
        let mut offers = OfferSet::empty(rules.offers.len());
        for offer in &rules.offers {
            if offer.paused || issues[offer.issue.index()] || groups[offer.group.index()] {
                offers.insert(offer.slot);
            }
        }
        for pause in pauses.list.iter().filter(|p| p.kind == PauseKind::Offer) {
            if let Some(slot) = plan.offer(OfferId::of(&pause.id)) {
                offers.insert(slot);
            }
        }
        let channels = rules.channels.iter().map(|c| is_paused(PauseKind::Channel, &c.name)).collect();
        Self { offers, channels }
    }
}

/// Why an offer is paused, in words; empty when its rule file says so.
pub(super) fn offer_words(rules: &Ruleset, pauses: &Pauses, offer: OfferSlot) -> String {
    let offer = rules.offer(offer);
    let things = [
        (PauseKind::Offer, &offer.name_id),
        (PauseKind::Issue, &rules.issues[offer.issue.index()].name),
        (PauseKind::Group, &rules.groups[offer.group.index()]),
    ];
    things.into_iter().map(|(kind, id)| words(pauses, kind, id)).find(|words| !words.is_empty()).unwrap_or_default()
}

/// Why a channel is paused, in words.
pub(super) fn channel_words(rules: &Ruleset, pauses: &Pauses, channel: ChannelSlot) -> String {
    words(pauses, PauseKind::Channel, &rules.channel(channel).name)
}

fn words(pauses: &Pauses, kind: PauseKind, id: &str) -> String {
    match pauses.get(kind, id) {
        None => String::new(),
        Some(pause) if pause.reason.is_empty() => format!("{} `{id}` is paused", kind.name()),
        Some(pause) => format!("{} `{id}` is paused: {}", kind.name(), pause.reason),
    }
}
