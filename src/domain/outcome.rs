//! What followed a presentation.

/// A kind of outcome. The discriminant is its bit in [`OutcomeSet`] and its
/// number at rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum OutcomeType {
    /// It was decided and counts from then on (channels with `counts_on: decided`).
    Decided = 0,
    /// It was seen.
    Impression = 1,
    /// A link in it was followed.
    Click = 2,
    /// The person accepted.
    Accept = 3,
    /// The person declined.
    Decline = 4,
    /// The person did what the offer asks for.
    Conversion = 5,
    /// The person put it away.
    Dismiss = 6,
    /// The person asked for no more of it on this channel.
    Unsubscribe = 7,
    /// An outbound system took it over.
    Handoff = 8,
    /// It could not be delivered.
    Cancelled = 9,
    /// Nothing followed within the attribution window of the offer. The service
    /// says it, once; a positive answer that comes later stands above it.
    NoResponse = 10,
}

impl OutcomeType {
    /// Every kind, in order of its number.
    pub const ALL: [OutcomeType; 11] = [
        OutcomeType::Decided,
        OutcomeType::Impression,
        OutcomeType::Click,
        OutcomeType::Accept,
        OutcomeType::Decline,
        OutcomeType::Conversion,
        OutcomeType::Dismiss,
        OutcomeType::Unsubscribe,
        OutcomeType::Handoff,
        OutcomeType::Cancelled,
        OutcomeType::NoResponse,
    ];

    /// From its number at rest.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its name in rules, metrics and exports.
    pub fn name(self) -> &'static str {
        match self {
            OutcomeType::Decided => "decided",
            OutcomeType::Impression => "impression",
            OutcomeType::Click => "click",
            OutcomeType::Accept => "accept",
            OutcomeType::Decline => "decline",
            OutcomeType::Conversion => "conversion",
            OutcomeType::Dismiss => "dismiss",
            OutcomeType::Unsubscribe => "unsubscribe",
            OutcomeType::Handoff => "handoff",
            OutcomeType::Cancelled => "cancelled",
            OutcomeType::NoResponse => "no_response",
        }
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|o| o.name() == name)
    }

    /// Whether it is what an offer hopes for.
    pub fn is_positive(self) -> bool {
        matches!(self, OutcomeType::Click | OutcomeType::Accept | OutcomeType::Conversion)
    }
}

/// A set of outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct OutcomeSet(pub u16);

impl OutcomeSet {
    /// Clicks, accepts and conversions.
    pub const POSITIVE: OutcomeSet = OutcomeSet(0b10_1100);
    /// Everything that shows that the person was reached: all but decided,
    /// handoff and cancelled.
    pub const REACHED: OutcomeSet = OutcomeSet(0b1111_1110);

    /// The set with one more.
    #[must_use]
    pub fn with(self, outcome: OutcomeType) -> Self {
        Self(self.0 | (1 << outcome as u16))
    }

    /// Both sets together.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it is in the set.
    pub fn has(self, outcome: OutcomeType) -> bool {
        self.0 & (1 << outcome as u16) != 0
    }

    /// Whether the sets share one.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The members in order.
    pub fn iter(self) -> impl Iterator<Item = OutcomeType> {
        OutcomeType::ALL.into_iter().filter(move |o| self.has(*o))
    }
}
