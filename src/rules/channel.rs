//! Channels and placements, compiled.

use std::sync::Arc;

use crate::domain::{AttrSlot, ChannelId, ChannelSlot, OutcomeSet, OutcomeType, PlacementId, PlacementSlot, Value};

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

impl Channel {
    /// Whether what followed a presentation makes it a contact. Later outcomes
    /// imply the contact; what was cancelled unseen is none.
    pub fn counts(&self, outcomes: OutcomeSet) -> bool {
        let decided = outcomes.intersects(self.counts_on) && !outcomes.has(OutcomeType::Cancelled);
        outcomes.intersects(OutcomeSet::REACHED) || decided
    }
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
