//! An answered question.

use std::sync::Arc;

use super::{ChannelId, DecisionId, OfferId, Purpose, Reason, RulesetHash, Stage, Timestamp, Value};

/// One answered request.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// UUIDv7.
    pub id: DecisionId,
    /// What the identities matched.
    pub matched: Match,
    /// One answer per placement in request order; one for an open question.
    pub placements: Vec<PlacementAnswer>,
    /// The ruleset that decided.
    pub ruleset: RulesetHash,
    /// How full the answer is.
    pub level: Level,
    /// What was wrong.
    pub degraded: DegradedSet,
    /// What was not used for want of permission or assurance.
    pub dropped: Vec<DroppedInput>,
    /// The state of the customer it was made from; empty without one.
    pub consistency_token: String,
    /// Verdicts, as far as asked.
    pub trace: TraceReport,
    /// When.
    pub decided_at: Timestamp,
    /// The signed id of the visitor it was made for; empty for one who was
    /// named otherwise.
    pub visitor_id: String,
}

/// Input that a decision did not use. Its number is in the digest of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DroppedInput {
    /// Everything behavioural, for want of consent to profiling.
    Behaviour = 3,
    /// What is read only for a verified person.
    Verified = 4,
}

impl DroppedInput {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            DroppedInput::Behaviour => "behaviour",
            DroppedInput::Verified => "verified",
        }
    }
}

/// What the identities matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Match {
    /// One customer.
    Known = 1,
    /// No identity was given.
    #[default]
    Anonymous = 2,
    /// No customer yet.
    New = 3,
    /// More than one customer.
    Ambiguous = 4,
}

/// How full an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Everything was used.
    Full = 1,
    /// Nothing learned from behaviour.
    NoRecommendations = 2,
    /// Rules only.
    RulesOnly = 3,
    /// The placement's fallback.
    Fallback = 4,
}

impl Level {
    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Level::Full => "full",
            Level::NoRecommendations => "no_recommendations",
            Level::RulesOnly => "rules_only",
            Level::Fallback => "fallback",
        }
    }
}

/// What was wrong while deciding. The number is the one on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Degraded {
    /// Older than the consistency token.
    StaleProfile = 1,
    /// Not loaded within the time budget.
    ProfileUnavailable = 2,
    /// Not recorded.
    LogUnavailable = 3,
    /// The shared store is away.
    RedisDown = 4,
    /// Nothing was ranked, for there was too much to do.
    Overload = 5,
}

impl Degraded {
    /// Every one.
    pub const ALL: [Degraded; 5] = [
        Degraded::StaleProfile,
        Degraded::ProfileUnavailable,
        Degraded::LogUnavailable,
        Degraded::RedisDown,
        Degraded::Overload,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Degraded::StaleProfile => "stale_profile",
            Degraded::ProfileUnavailable => "profile_unavailable",
            Degraded::LogUnavailable => "log_unavailable",
            Degraded::RedisDown => "redis_down",
            Degraded::Overload => "overload",
        }
    }
}

/// A set of [`Degraded`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct DegradedSet(pub u8);

impl DegradedSet {
    /// Adds one.
    pub fn insert(&mut self, flag: Degraded) {
        self.0 |= 1 << flag as u8;
    }

    /// Whether it is in.
    pub fn has(self, flag: Degraded) -> bool {
        self.0 & (1 << flag as u8) != 0
    }

    /// The members.
    pub fn iter(self) -> impl Iterator<Item = Degraded> {
        Degraded::ALL.into_iter().filter(move |f| self.has(*f))
    }
}

/// The answer for one placement.
#[derive(Clone, Debug, PartialEq)]
pub struct PlacementAnswer {
    /// The placement's name; empty for an open question.
    pub placement: Arc<str>,
    /// What kind of answer.
    pub status: PlacementStatus,
    /// Why nothing is said.
    pub silence: Option<SilenceReason>,
    /// What to present, best first.
    pub presentations: Vec<Presentation>,
}

/// What kind of answer a placement got. The number is the one on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PlacementStatus {
    /// At least one presentation.
    Ok = 1,
    /// Rightly nothing.
    Empty = 2,
    /// The declared fallback.
    Fallback = 3,
    /// Not declared.
    UnknownPlacement = 4,
}

/// Why nothing is said. The number is the one on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum SilenceReason {
    /// No offer for this question.
    NoOffers = 1,
    /// No engagement policy holds.
    NothingEligible = 2,
    /// Cannot or must not be reached.
    NotReachable = 3,
    /// Limits, quiet hours, earlier answers.
    ContactPolicy = 4,
    /// Holdout.
    Holdout = 5,
    /// Nothing is worth more.
    NotWorthIt = 6,
    /// What is worth saying stands elsewhere on the page.
    OnPageAlready = 7,
}

impl SilenceReason {
    /// Its name in metrics and scenarios.
    pub fn name(self) -> &'static str {
        match self {
            SilenceReason::NoOffers => "no_offers",
            SilenceReason::NothingEligible => "nothing_eligible",
            SilenceReason::NotReachable => "not_reachable",
            SilenceReason::ContactPolicy => "contact_policy",
            SilenceReason::Holdout => "holdout",
            SilenceReason::NotWorthIt => "not_worth_it",
            SilenceReason::OnPageAlready => "on_page_already",
        }
    }
}

/// One offer returned in a decision.
#[derive(Clone, Debug, PartialEq)]
pub struct Presentation {
    /// The offer at rest.
    pub offer_id: OfferId,
    /// The channel at rest.
    pub channel_id: ChannelId,
    /// The offer's id.
    pub offer: Arc<str>,
    /// The key of the record it speaks of; empty for none.
    pub record_key: Arc<str>,
    /// `offer/channel/language`.
    pub treatment: Arc<str>,
    /// The channel's id.
    pub channel: Arc<str>,
    /// The content's language.
    pub language: Arc<str>,
    /// The rendered message.
    pub message: Message,
    /// Typed fields the placement declares.
    pub data: Vec<(Arc<str>, Value)>,
    /// An image URL; empty for none.
    pub image: Arc<str>,
    /// Traceable links by name, the main one first.
    pub links: Vec<(Arc<str>, String)>,
    /// Signed token.
    pub token: String,
    /// Do not present after.
    pub valid_until: Timestamp,
    /// Open questions: not before.
    pub not_before: Option<Timestamp>,
    /// Open questions: not after.
    pub send_by: Option<Timestamp>,
    /// What it is for.
    pub purpose: Purpose,
    /// The offer's issue.
    pub issue: Arc<str>,
    /// The offer's group.
    pub group: Arc<str>,
    /// The offer's name.
    pub name: Arc<str>,
    /// Help for an agent, when the view asks.
    pub agent: Option<AgentView>,
    /// How it was arbitrated.
    pub factors: Factors,
    /// Open questions: the other channels of the offer.
    pub other_channels: Vec<ChannelVerdict>,
}

/// A rendered message; unused parts are empty.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Message {
    /// Subject line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// HTML.
    pub html: String,
}

/// Help for an agent.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AgentView {
    /// What to say.
    pub talk_track: String,
    /// Why, in plain words.
    pub reason: String,
    /// Label of the accepting button.
    pub accept_label: String,
    /// Label of the declining button.
    pub decline_label: String,
    /// (code, label) of the reasons to decline.
    pub decline_reasons: Vec<(Arc<str>, Arc<str>)>,
}

/// How one candidate was arbitrated. Money in major units.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Factors {
    /// P(positive outcome).
    pub propensity: f64,
    /// Trials behind it.
    pub evidence: f64,
    /// Worth of a positive outcome.
    pub value: f64,
    /// Cost of a contact.
    pub channel_cost: f64,
    /// Weight of the context.
    pub context_weight: f64,
    /// Preference of the customer.
    pub preference: f64,
    /// Business lever.
    pub lever: f64,
    /// P x (value - cost) x weight x preference x lever.
    pub net_priority: f64,
    /// Probability with which it was chosen; 0 for losers.
    pub choice_probability: f64,
}

/// The verdict on one channel of an offer.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelVerdict {
    /// The channel.
    pub channel: Arc<str>,
    /// Why not.
    pub reason: Reason,
    /// Its net priority, where it got that far.
    pub net_priority: f64,
}

/// Verdicts of one decision.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TraceReport {
    /// Candidates dropped per reason, most first.
    pub counts: Vec<(Reason, u32)>,
    /// Every candidate, when asked.
    pub candidates: Vec<Verdict>,
}

/// The verdict on one candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The offer.
    pub offer: Arc<str>,
    /// The key of the record it speaks of; empty for none.
    pub record_key: Arc<str>,
    /// The channel; `None` when dropped before channels count.
    pub channel: Option<Arc<str>>,
    /// The placement; empty for an open question.
    pub placement: Arc<str>,
    /// Last stage that spoke.
    pub stage: Stage,
    /// Why dropped; `None` for a winner.
    pub reason: Option<Reason>,
    /// What precisely; may be empty.
    pub detail: String,
    /// Its factors, where scored.
    pub factors: Option<Factors>,
}
