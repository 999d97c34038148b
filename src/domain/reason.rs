//! Why a candidate was dropped, and where.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $stage:ident, $text:literal;)*) => {
        /// Why a candidate was dropped. Closed; the number is the one on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $name = $number,)* }

        impl Reason {
            /// Every reason, in order of its number.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// The stage that gives it.
            pub fn stage(self) -> Stage {
                match self { $(Reason::$name => Stage::$stage,)* }
            }

            /// Its name in metrics, scenarios and exports.
            pub fn name(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }
        }
    };
}

reasons! {
    /// The offer is not meant for this placement.
    NotForPlacement = 1, Retrieve, "not_for_placement";
    /// Now is outside its schedule.
    OutsideSchedule = 2, Retrieve, "outside_schedule";
    /// The request asked for another purpose.
    OtherPurpose = 3, Retrieve, "other_purpose";
    /// The request excludes it.
    ExcludedByRequest = 4, Retrieve, "excluded_by_request";
    /// It is paused.
    Paused = 5, Retrieve, "paused";
    /// Eligibility is not true.
    NotEligible = 6, Engagement, "not_eligible";
    /// Applicability is not true.
    NotApplicable = 7, Engagement, "not_applicable";
    /// Suitability is not true.
    NotSuitable = 8, Engagement, "not_suitable";
    /// The request does not allow the channel.
    ChannelNotAllowed = 9, Reach, "channel_not_allowed";
    /// No treatment for the channel.
    NoTreatment = 10, Reach, "no_treatment";
    /// Permission was never given.
    NoPermission = 11, Reach, "no_permission";
    /// The person opted out.
    OptedOut = 12, Reach, "opted_out";
    /// Every contact is forbidden.
    DoNotContact = 13, Reach, "do_not_contact";
    /// No address for the channel.
    NoAddress = 14, Reach, "no_address";
    /// A limit is reached.
    LimitReached = 15, Contact, "limit_reached";
    /// Quiet hours.
    QuietHours = 16, Contact, "quiet_hours";
    /// Declined recently.
    RecentlyDeclined = 17, Contact, "recently_declined";
    /// Suppressed by an earlier outcome.
    Suppressed = 18, Contact, "suppressed";
    /// The budget over all customers is spent.
    BudgetExhausted = 19, Contact, "budget_exhausted";
    /// A claim was refused.
    ClaimRefused = 20, Contact, "claim_refused";
    /// The person is in the holdout.
    Holdout = 21, Score, "holdout";
    /// Too few items.
    NoItems = 22, Score, "no_items";
    /// Under the floor.
    BelowFloor = 23, Arbitrate, "below_floor";
    /// Saying nothing is worth more.
    NothingIsBetter = 24, Arbitrate, "nothing_is_better";
    /// A better candidate took the slot.
    Outranked = 25, Arbitrate, "outranked";
    /// The offer is on the page already.
    Duplicate = 26, Arbitrate, "duplicate";
    /// The offer wins through another channel.
    OtherChannel = 27, Arbitrate, "other_channel";
    /// Its value cannot be computed.
    ValueUnknown = 28, Score, "value_unknown";
    /// Its content cannot be rendered.
    RenderFailed = 29, Compose, "render_failed";
    /// It needs a verified person.
    NotVerified = 30, Retrieve, "not_verified";
    /// It cannot be sent within the request's send window.
    OutsideSendWindow = 31, Contact, "outside_send_window";
    /// The record was not looked at: enough before it pass.
    NotLookedAt = 32, Engagement, "not_looked_at";
    /// Whether its claim has room could not be asked in time.
    ClaimUnknown = 33, Contact, "claim_unknown";
}

impl Reason {
    /// One more than the largest number; the length of a table by reason.
    pub const TABLE_LEN: usize = 34;

    /// From its number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }

    /// From its name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|r| r.name() == name)
    }
}

/// A stage of the pipeline, in order. The number is the one on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Stage {
    /// Offers for the placement.
    Retrieve = 1,
    /// Eligibility, applicability, suitability.
    Engagement = 2,
    /// Channel, permission, address, language.
    Reach = 3,
    /// Limits, quiet hours, earlier answers, budgets.
    Contact = 4,
    /// Value, propensity, holdout.
    Score = 5,
    /// Order, floor, exploration, slots.
    Arbitrate = 6,
    /// Rendering.
    Compose = 7,
}
