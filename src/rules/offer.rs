//! Offers and their treatments, compiled.

use std::sync::Arc;

use crate::domain::{
    ChannelSlot, GroupSlot, IssueSlot, LimitSlot, OfferId, OfferSlot, PlacementSlot, Purpose, Timestamp, Value,
};

use super::{
    condition::{Condition, Number},
    each::Each,
    policy::{OfferReachLimits, WhenUnknown, Window},
    ruleset::Position,
    template::Template,
};

/// An offer.
#[derive(Clone, Debug)]
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
    /// For the records of which list it is proposed, if it is.
    pub each: Option<Each>,
    /// Whether it is paused.
    pub paused: bool,
    /// From (inclusive) and until (exclusive) when it runs.
    pub schedule: (Option<Timestamp>, Option<Timestamp>),
    /// Allowed.
    pub eligibility: Option<Arc<Condition>>,
    /// Relevant now.
    pub applicability: Option<Arc<Condition>>,
    /// In the customer's interest.
    pub suitability: Option<Arc<Condition>>,
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
    /// Whether it is for verified persons only.
    pub verified: bool,
    /// Prior probability of a positive outcome, instead of the channel's.
    pub base_rate: Option<f64>,
    /// How long after a presentation something that follows is its outcome,
    /// microseconds; `None` for as long as the policies say.
    pub attribution_us: Option<i64>,
    /// Exempt from the holdout (service is always).
    pub holdout_exempt: bool,
    /// Treatments, sorted by (channel, language).
    pub treatments: Vec<Treatment>,
    /// Plain-language reason for agents, by language.
    pub reasons: Vec<(Arc<str>, Template)>,
    /// Labels by language: (language, accept, decline).
    pub labels: Vec<(Arc<str>, Arc<str>, Arc<str>)>,
    /// Its own reach limits.
    pub reach: Option<OfferReachLimits>,
    /// Codes of findings that its author means as they are.
    pub allowed_lints: Vec<&'static str>,
    /// Where it stands.
    pub position: Position,
}

impl Offer {
    /// The conditions of engagement policy that it has.
    pub fn conditions(&self) -> impl Iterator<Item = &Condition> {
        [&self.eligibility, &self.applicability, &self.suitability].into_iter().filter_map(|c| c.as_deref())
    }
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
    /// What becomes of a claim that the store cannot answer in time.
    pub when_unknown: WhenUnknown,
}

/// An offer rendered for one channel and language.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
pub enum DataTemplate {
    /// Rendered text.
    Text(Template),
    /// The same for everybody.
    Constant(Value),
    /// The traceable link of this name (index into the treatment's links).
    Link(usize),
}
