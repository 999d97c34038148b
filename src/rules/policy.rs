//! Contact policy, compiled: limits, suppressions, decline reasons.

use std::sync::Arc;

use crate::domain::{ChannelSlot, GroupSlot, LimitSlot, OfferSlot, OutcomeType, Purpose, ReasonCode};

use super::channel::ChannelKind;

/// What a limit or suppression speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Each offer by itself.
    Offer,
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
#[derive(Debug)]
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
#[derive(Debug)]
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
