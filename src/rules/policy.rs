//! Contact policy, compiled: limits, suppressions, decline reasons.

use std::sync::Arc;

use crate::domain::{ChannelSlot, GroupSlot, LimitSlot, OfferSlot, OutcomeType, Purpose, ReasonCode};

use super::channel::ChannelKind;

/// What a limit or suppression speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Each offer by itself.
    Offer,
    /// Each record of an offer that is proposed for each record by itself.
    Record,
    /// Each group by itself.
    Group,
    /// Each issue by itself.
    Issue,
    /// Each channel by itself.
    Channel,
    /// Everything together.
    All,
}

/// At most so many contacts in a window.
#[derive(Clone, Debug)]
pub struct Limit {
    /// Its slot.
    pub slot: LimitSlot,
    /// Its id.
    pub name: Arc<str>,
    /// What it counts by.
    pub scope: Scope,
    /// Only this channel.
    pub channel: Option<ChannelSlot>,
    /// Only channels of this kind.
    pub channel_kind: Option<ChannelKind>,
    /// Only this purpose.
    pub purpose: Option<Purpose>,
    /// Only this offer (limits declared in an offer).
    pub offer: Option<OfferSlot>,
    /// Only this group.
    pub group: Option<GroupSlot>,
    /// The most contacts.
    pub max: u32,
    /// In this time.
    pub window: Window,
    /// Whether it is exact over all replicas.
    pub exact: bool,
    /// What becomes of a claim that the store cannot answer in time; `None` for
    /// what the channel says. Only of an exact one.
    pub when_unknown: Option<WhenUnknown>,
}

/// What becomes of a claim on an exact limit or budget when the store that counts
/// it over all replicas does not answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WhenUnknown {
    /// It is refused.
    Deny,
    /// It is granted out of this replica's share of what is left, as far as it
    /// knows.
    LocalShare,
    /// It is granted by what this replica knows.
    Allow,
}

impl WhenUnknown {
    /// Every one.
    pub const ALL: [WhenUnknown; 3] = [WhenUnknown::Deny, WhenUnknown::LocalShare, WhenUnknown::Allow];

    /// Its name in rules and labels.
    pub fn name(self) -> &'static str {
        match self {
            WhenUnknown::Deny => "deny",
            WhenUnknown::LocalShare => "local_share",
            WhenUnknown::Allow => "allow",
        }
    }
}

/// A window of time that ends now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The last so many microseconds.
    Rolling(i64),
    /// The calendar day, local time of the ruleset.
    Day,
    /// The calendar week from Monday.
    Week,
    /// The calendar month.
    Month,
}

/// After such an outcome nothing of the scope for some time.
#[derive(Clone, Debug)]
pub struct Suppression {
    /// After this outcome.
    pub outcome: OutcomeType,
    /// With this decline reason; `None` for any.
    pub reason: Option<ReasonCode>,
    /// Only after an outcome of this offer.
    pub offer: Option<OfferSlot>,
    /// After this many of them (within `for_us`).
    pub count: u32,
    /// What is suppressed: the same offer, group, issue, channel, or all.
    pub scope: Scope,
    /// For how long, microseconds.
    pub for_us: i64,
}

/// How far one publish may change whom an offer reaches.
#[derive(Clone, Debug, PartialEq)]
pub struct ReachLimits {
    /// Largest share of the sampled people that an offer may gain, 0 to 1;
    /// `None` for no limit.
    pub max_gain_share: Option<f64>,
    /// Largest share of the sampled people that an offer may lose.
    pub max_loss_share: Option<f64>,
    /// With fewer sampled people nothing is judged.
    pub min_sample: usize,
    /// Whether offers that were not there before are judged by what they gain.
    pub new_offers: Judged,
    /// Whether offers that are no more are judged by what they lose.
    pub removed_offers: Judged,
    /// Limits of single offers, by slot; they stand instead of those above.
    pub offers: Vec<(OfferSlot, OfferReachLimits)>,
}

/// Whether a kind of change counts for reach limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It counts.
    Counted,
    /// It does not.
    Exempt,
}

/// Reach limits of one offer.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct OfferReachLimits {
    /// Instead of [`ReachLimits::max_gain_share`].
    pub max_gain_share: Option<f64>,
    /// Instead of [`ReachLimits::max_loss_share`].
    pub max_loss_share: Option<f64>,
}

impl Default for ReachLimits {
    fn default() -> Self {
        Self {
            max_gain_share: None,
            max_loss_share: None,
            min_sample: 100,
            new_offers: Judged::Counted,
            removed_offers: Judged::Counted,
            offers: Vec::new(),
        }
    }
}

impl ReachLimits {
    /// The most an offer may gain and lose, as shares.
    pub fn of(&self, offer: Option<OfferSlot>) -> (Option<f64>, Option<f64>) {
        let own = offer.and_then(|slot| self.offers.binary_search_by_key(&slot, |o| o.0).ok());
        let own = own.map(|at| self.offers[at].1).unwrap_or_default();
        (own.max_gain_share.or(self.max_gain_share), own.max_loss_share.or(self.max_loss_share))
    }
}

/// A declared reason to decline.
#[derive(Debug)]
pub struct DeclineReason {
    /// Stable id of the code.
    pub id: ReasonCode,
    /// Its code.
    pub code: Arc<str>,
    /// Labels by language.
    pub labels: Vec<(Arc<str>, Arc<str>)>,
}
