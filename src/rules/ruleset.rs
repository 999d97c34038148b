//! The compiled ruleset: one immutable, hashed value. Everything is in dense
//! slots; vectors are sorted by id, so that the order of files never matters.

use std::{collections::HashMap, sync::Arc};

use crate::domain::{
    AttrSlot, ChannelId, ChannelSlot, Currency, OfferId, OfferSlot, PlacementId, PlacementSlot, RulesetHash, Schema,
};

use super::{
    channel::{Channel, Placement},
    condition::Condition,
    offer::Offer,
    policy::{DeclineReason, Limit, ReachLimits, Suppression},
};

/// All rule files, compiled.
#[derive(Debug)]
pub struct Ruleset {
    /// Content hash of the files.
    pub hash: RulesetHash,
    /// The one currency.
    pub currency: Currency,
    /// The language of last resort (lower-case BCP 47).
    pub default_language: Arc<str>,
    /// Attributes, identities, event types.
    pub schema: Schema,
    /// Stored text attribute holding the customer's language, if declared.
    pub language_attribute: Option<AttrSlot>,
    /// What a channel's preference is multiplied with where the customer wishes
    /// the channel, 1 or more.
    pub wished_channel_weight: f64,
    /// Stored text attribute holding the customer's IANA time zone, if declared.
    pub time_zone_attribute: Option<AttrSlot>,
    /// Time zone of last resort.
    pub time_zone: jiff::tz::TimeZone,
    /// Channels by id.
    pub channels: Vec<Channel>,
    /// Placements by id.
    pub placements: Vec<Placement>,
    /// Groups by id.
    pub groups: Vec<Arc<str>>,
    /// Issues by id.
    pub issues: Vec<Issue>,
    /// Contact limits.
    pub limits: Vec<Limit>,
    /// Suppressions after outcomes.
    pub suppressions: Vec<Suppression>,
    /// Declared decline reasons by code.
    pub decline_reasons: Vec<DeclineReason>,
    /// Share of people held out of marketing, 0 to 1.
    pub holdout_share: f64,
    /// Salt of the holdout hash.
    pub holdout_salt: Arc<str>,
    /// Share of decisions that explore uniformly, 0 to 1; 0 is off.
    pub exploration_share: f64,
    /// Trials that the prior of a propensity counts for.
    pub prior_trials: f64,
    /// How long after a presentation something that follows is its outcome,
    /// microseconds, for offers that do not say so themselves.
    pub attribution_us: i64,
    /// How far one publish may change whom an offer reaches.
    pub reach: ReachLimits,
    /// Segments by name.
    pub segments: Vec<Segment>,
    /// Offers by id.
    pub offers: Vec<Offer>,
    /// Offers whose placements include the one at the index, ascending; an
    /// open question considers every offer.
    pub offers_by_placement: Vec<Vec<OfferSlot>>,
    /// The conditions and schedules of all offers.
    pub index: super::Index,
    /// Offers with a budget, ascending.
    pub budgeted: Vec<OfferSlot>,
    /// Slots by id.
    pub offer_slots: HashMap<OfferId, OfferSlot>,
    /// Slots by id.
    pub channel_slots: HashMap<ChannelId, ChannelSlot>,
    /// Slots by id.
    pub placement_slots: HashMap<PlacementId, PlacementSlot>,
    /// The files it was compiled from, sorted by path relative to the rules directory.
    pub sources: Arc<[SourceFile]>,
    /// What events feed the series of traits.
    pub feeds: super::Feeds,
    /// Golden scenarios, parsed.
    pub scenarios: Vec<super::scenario::Scenario>,
}

impl Ruleset {
    /// An offer by its slot.
    #[inline]
    pub fn offer(&self, slot: OfferSlot) -> &Offer {
        &self.offers[slot.index()]
    }

    /// A channel by its slot.
    #[inline]
    pub fn channel(&self, slot: ChannelSlot) -> &Channel {
        &self.channels[slot.index()]
    }

    /// How long after a presentation of an offer something that follows is its
    /// outcome, microseconds.
    pub fn attribution_us(&self, offer: OfferId) -> i64 {
        let own = self.offer_slots.get(&offer).and_then(|slot| self.offer(*slot).attribution_us);
        own.unwrap_or(self.attribution_us)
    }

    /// An offer by its id.
    pub fn offer_by_name(&self, name: &str) -> Option<&Offer> {
        self.offer_slots.get(&OfferId::of(name)).map(|slot| self.offer(*slot))
    }

    /// A channel by its id.
    pub fn channel_by_name(&self, name: &str) -> Option<&Channel> {
        self.channel_slots.get(&ChannelId::of(name)).map(|slot| self.channel(*slot))
    }
}

/// One rule file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Path for messages, for example `rules/offers/winback.yaml`.
    pub path: Arc<str>,
    /// Its text.
    pub text: Arc<str>,
}

/// A place in a rule file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Position {
    /// Path as in [`SourceFile`].
    pub path: Arc<str>,
    /// Line from 1.
    pub line: u32,
    /// Column from 1, in characters.
    pub column: u32,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.path, self.line, self.column)
    }
}

/// An issue: what offers are about.
#[derive(Debug)]
pub struct Issue {
    /// Its id.
    pub name: Arc<str>,
    /// Least net priority of its offers.
    pub floor: Option<f64>,
    /// Business lever of its offers, 1 is neutral.
    pub lever: f64,
}

/// A named condition.
#[derive(Debug)]
pub struct Segment {
    /// Its name.
    pub name: Arc<str>,
    /// Who is in it.
    pub condition: Condition,
}
