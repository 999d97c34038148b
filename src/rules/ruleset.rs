//! The compiled ruleset: one immutable, hashed value. Everything is in dense
//! slots; vectors are sorted by id, so that the order of files never matters.

use std::{collections::HashMap, sync::Arc};

use crate::domain::{
    AttrSlot, ChannelId, ChannelSlot, Currency, GroupSlot, IssueSlot, LimitSlot, OfferId, OfferSlot, OutcomeSet,
    OutcomeType, PlacementId, PlacementSlot, Purpose, ReasonCode, RulesetHash, Schema, Timestamp, Value,
};

use super::{
    condition::{Condition, Number},
    template::Template,
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
    /// Segments by name.
    pub segments: Vec<Segment>,
    /// Offers by id.
    pub offers: Vec<Offer>,
    /// Offers whose placements include the one at the index, ascending; an
    /// open question considers every offer.
    pub offers_by_placement: Vec<Vec<OfferSlot>>,
    /// Slots by id.
    pub offer_slots: HashMap<OfferId, OfferSlot>,
    /// Slots by id.
    pub channel_slots: HashMap<ChannelId, ChannelSlot>,
    /// Slots by id.
    pub placement_slots: HashMap<PlacementId, PlacementSlot>,
    /// The files it was compiled from, sorted by path relative to the rules directory.
    pub sources: Arc<[SourceFile]>,
    /// Golden scenarios, parsed.
    pub scenarios: Vec<super::scenario::Scenario>,
}

impl Ruleset {
    /// An offer by its slot.
    pub fn offer(&self, slot: OfferSlot) -> &Offer {
        &self.offers[slot.index()]
    }

    /// A channel by its slot.
    pub fn channel(&self, slot: ChannelSlot) -> &Channel {
        &self.channels[slot.index()]
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

/// A channel.
#[derive(Debug)]
pub struct Channel {
    /// Its slot.
    pub slot: ChannelSlot,
    /// Its id at rest.
    pub id: ChannelId,
    /// Its id.
    pub name: Arc<str>,
    /// Who opens the conversation.
    pub kind: ChannelKind,
    /// What one contact costs, major units.
    pub cost: f64,
    /// Prior probability of a positive outcome.
    pub base_rate: f64,
    /// Stored attribute that must hold an address, if any.
    pub address: Option<AttrSlot>,
    /// Message parts every treatment must give.
    pub required_parts: Vec<MessagePart>,
    /// How values are escaped in `text`, `subject` and talk track; `html` is always HTML.
    pub escape: Escape,
    /// Outcomes any of which makes an interaction count as a contact.
    pub counts_on: OutcomeSet,
    /// How long a decided presentation holds its place in limits, microseconds.
    pub reserve_us: i64,
    /// How long a presentation stays valid, microseconds.
    pub valid_us: i64,
    /// How long after the decision an outbound message may be sent, microseconds.
    pub send_within_us: i64,
    /// Local hours in which nobody is contacted.
    pub quiet_hours: Option<QuietHours>,
    /// Stored attribute holding the customer's preference for this channel (double, 1 is neutral).
    pub preference: Option<AttrSlot>,
    /// Whether marketing needs an opt-in for this channel.
    pub marketing_needs: Need,
    /// What service needs.
    pub service_needs: Need,
}

/// Who opens the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelKind {
    /// The customer, with a machine.
    SelfService,
    /// The customer, with a person.
    Assisted,
    /// We.
    Outbound,
}

/// What a purpose needs on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it is shown where the customer came.
    Nothing,
    /// That the person did not opt out.
    NoOptOut,
    /// That the person opted in.
    OptIn,
}

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessagePart {
    /// Subject line.
    Subject,
    /// Plain text.
    Text,
    /// HTML.
    Html,
    /// Talk track of an agent.
    TalkTrack,
}

/// How values are escaped in a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escape {
    /// Not at all: plain text.
    None,
    /// For HTML text and attributes.
    Html,
}

/// Local hours in which nobody is contacted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuietHours {
    /// Minute of the day they begin, local time.
    pub from_minute: u16,
    /// Minute of the day they end; before `from_minute` when they span midnight.
    pub until_minute: u16,
    /// Whether an open question may wait for their end (else the candidate is dropped).
    pub wait: bool,
}

/// A placement.
#[derive(Debug)]
pub struct Placement {
    /// Its slot.
    pub slot: PlacementSlot,
    /// Its id at rest.
    pub id: PlacementId,
    /// Its id.
    pub name: Arc<str>,
    /// Its channel.
    pub channel: ChannelSlot,
    /// Its number of slots.
    pub slots: u16,
    /// Fields of `data` it declares.
    pub fields: Vec<DataField>,
    /// Content when nothing wins; values of the declared fields.
    pub fallback: Option<Vec<(Arc<str>, Value)>>,
}

/// A declared data field.
#[derive(Debug)]
pub struct DataField {
    /// Its name.
    pub name: Arc<str>,
    /// What it holds.
    pub kind: DataKind,
    /// Whether a treatment must give it.
    pub required: bool,
}

/// What a data field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataKind {
    /// Text.
    Text,
    /// A number.
    Number,
    /// A truth value.
    Bool,
    /// A URL.
    Url,
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

/// A named condition.
#[derive(Debug)]
pub struct Segment {
    /// Its name.
    pub name: Arc<str>,
    /// Who is in it.
    pub condition: Condition,
}

/// An offer.
#[derive(Debug)]
pub struct Offer {
    /// Its slot.
    pub slot: OfferSlot,
    /// Its id at rest.
    pub id: OfferId,
    /// Its id.
    pub name_id: Arc<str>,
    /// Its name, for people.
    pub name: Arc<str>,
    /// What it is for.
    pub purpose: Purpose,
    /// Its issue.
    pub issue: IssueSlot,
    /// Its group.
    pub group: GroupSlot,
    /// Whether it is paused.
    pub paused: bool,
    /// From (inclusive) and until (exclusive) when it runs.
    pub schedule: (Option<Timestamp>, Option<Timestamp>),
    /// Allowed.
    pub eligibility: Option<Condition>,
    /// Relevant now.
    pub applicability: Option<Condition>,
    /// In the customer's interest.
    pub suitability: Option<Condition>,
    /// Worth of a positive outcome, major units.
    pub value: Number,
    /// Weight of the context, 1 when absent.
    pub context_weight: Option<Number>,
    /// Business lever, 1 is neutral (issue lever x offer lever).
    pub lever: f64,
    /// Least net priority (the larger of offer's and issue's).
    pub floor: Option<f64>,
    /// Limits that count it, by slot.
    pub limits: Vec<LimitSlot>,
    /// The most presentations over all customers.
    pub budget: Option<Budget>,
    /// Placements it is meant for.
    pub placements: Vec<PlacementSlot>,
    /// Whether it may answer open questions.
    pub open: bool,
    /// Prior probability of a positive outcome, instead of the channel's.
    pub base_rate: Option<f64>,
    /// Exempt from the holdout (service is always).
    pub holdout_exempt: bool,
    /// Treatments, sorted by (channel, language).
    pub treatments: Vec<Treatment>,
    /// Plain-language reason for agents, by language.
    pub reasons: Vec<(Arc<str>, Template)>,
    /// Labels by language: (language, accept, decline).
    pub labels: Vec<(Arc<str>, Arc<str>, Arc<str>)>,
    /// Where it stands.
    pub position: Position,
}

/// A volume constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// The most presentations.
    pub max: u64,
    /// In this time.
    pub window: Window,
    /// Whether it is exact over all replicas.
    pub exact: bool,
}

/// An offer rendered for one channel and language.
#[derive(Debug)]
pub struct Treatment {
    /// `offer/channel/language`.
    pub name: Arc<str>,
    /// Its channel.
    pub channel: ChannelSlot,
    /// Its language, lower case.
    pub language: Arc<str>,
    /// Subject line.
    pub subject: Option<Template>,
    /// Plain text.
    pub text: Option<Template>,
    /// HTML.
    pub html: Option<Template>,
    /// Talk track.
    pub talk_track: Option<Template>,
    /// Data fields.
    pub data: Vec<(Arc<str>, DataTemplate)>,
    /// Image URL; empty for none.
    pub image: Arc<str>,
    /// Targets of traceable links by name; the first is the main one.
    pub links: Vec<(Arc<str>, Arc<str>)>,
}

/// The value of a data field.
#[derive(Debug)]
pub enum DataTemplate {
    /// Rendered text.
    Text(Template),
    /// The same for everybody.
    Constant(Value),
    /// The traceable link of this name (index into the treatment's links).
    Link(usize),
}
