//! What followed presentations, united per presentation.

use crate::domain::{
    ChannelId, DecisionId, Effect, Interaction, OfferId, OutcomeSet, OutcomeType, PresentationRef, Profile, ReasonCode,
    RecordRef, Timestamp,
    profile::{ANSWERED_MAX, INTERACTIONS_MAX},
};

/// One outcome of one presentation.
pub(super) struct Followed {
    pub presentation: PresentationRef,
    pub outcome: OutcomeType,
    pub reason: ReasonCode,
    pub at: Timestamp,
    /// Minor units.
    pub value: Option<i64>,
}

/// Outcomes that show that the person was reached, or was handed to a channel
/// that reaches, or that nothing followed what counts as a contact when it is
/// decided: the trials of the propensity.
const TRIAL: OutcomeSet =
    OutcomeSet(OutcomeSet::REACHED.0 | 1 << OutcomeType::Handoff as u16 | 1 << OutcomeType::NoResponse as u16);

/// What suppressions, limits on contacts and the labels of models live by: kept
/// when interactions that were only shown or clicked have to go.
const ANSWERED: OutcomeSet = OutcomeSet(
    1 << OutcomeType::Accept as u16
        | 1 << OutcomeType::Decline as u16
        | 1 << OutcomeType::Conversion as u16
        | 1 << OutcomeType::Dismiss as u16
        | 1 << OutcomeType::Unsubscribe as u16
        | 1 << OutcomeType::Handoff as u16,
);

/// Unites an outcome into its presentation's interaction. Answers the effect
/// when the outcome was not known of this presentation.
///
/// Bound: an outcome of a presentation that may have been forgotten (the list
/// is full, and the decision is older than what is kept) is no trial and no
/// success, so that neither is counted twice; it may be counted never.
pub(super) fn unite(profile: &mut Profile, followed: &Followed) -> Option<Effect> {
    let wanted = &followed.presentation;
    let known = take(profile, (wanted.decision, wanted.offer, wanted.channel, wanted.record));
    let forgotten = known.is_none() && may_be_forgotten(profile, wanted);
    let alone = alone(followed);
    let before = known.map_or(OutcomeSet::default(), |i| i.outcomes);
    insert(profile, known.map_or(alone, |known| united(&known, &alone)));
    effect(before, followed, forgotten)
}

/// Unites an interaction of another customer.
pub(super) fn add(profile: &mut Profile, other: &Interaction) {
    let known = take(profile, (other.decision, other.offer, other.channel, other.record));
    insert(profile, known.map_or(*other, |known| united(&known, other)));
}

fn take(profile: &mut Profile, key: (DecisionId, OfferId, ChannelId, RecordRef)) -> Option<Interaction> {
    let at = profile.interactions.iter().position(|i| (i.decision, i.offer, i.channel, i.record) == key)?;
    Some(profile.interactions.remove(at))
}

/// Whether an interaction that is not found may have been kept once.
fn may_be_forgotten(profile: &Profile, wanted: &PresentationRef) -> bool {
    if profile.interactions.len() < INTERACTIONS_MAX {
        return false;
    }
    // it was decided before it was first seen, so this is its earliest place
    let decided_at = Timestamp::from_millis(i64::try_from(wanted.decision.unix_ms()).unwrap_or(i64::MAX));
    let oldest = |answered| profile.interactions.iter().find(|i| is_answered(i) == answered).map(|i| i.at);
    let answered = if answered_count(profile) >= ANSWERED_MAX { oldest(true) } else { None };
    oldest(false).max(answered).is_none_or(|oldest| decided_at <= oldest)
}

fn is_answered(interaction: &Interaction) -> bool {
    interaction.outcomes.intersects(ANSWERED)
}

fn answered_count(profile: &Profile) -> usize {
    profile.interactions.iter().filter(|i| is_answered(i)).count()
}

/// The interaction of one outcome.
fn alone(followed: &Followed) -> Interaction {
    let presentation = &followed.presentation;
    let has_reason = followed.outcome == OutcomeType::Decline && followed.reason.0 != 0;
    let never = Timestamp::default();
    Interaction {
        decision: presentation.decision,
        offer: presentation.offer,
        channel: presentation.channel,
        record: presentation.record,
        at: followed.at,
        answered_at: if is_answer(followed.outcome) { followed.at } else { never },
        outcomes: OutcomeSet::default().with(followed.outcome),
        reason: if has_reason { followed.reason } else { ReasonCode::default() },
        reason_at: if has_reason { followed.at } else { never },
    }
}

/// What is known of one presentation from two sides; the order does not matter.
pub(super) fn united(one: &Interaction, other: &Interaction) -> Interaction {
    let later = (one.reason_at, one.reason) < (other.reason_at, other.reason);
    // a reason, whenever it was given, stands above none
    let others = if (one.reason.0 == 0) == (other.reason.0 == 0) { later } else { one.reason.0 == 0 };
    let of = if others { other } else { one };
    Interaction {
        at: one.at.min(other.at),
        answered_at: one.answered_at.max(other.answered_at),
        outcomes: one.outcomes.union(other.outcomes),
        reason: of.reason,
        reason_at: of.reason_at,
        ..*one
    }
}

fn is_answer(outcome: OutcomeType) -> bool {
    !matches!(
        outcome,
        OutcomeType::Decided
            | OutcomeType::Impression
            | OutcomeType::Handoff
            | OutcomeType::Cancelled
            | OutcomeType::NoResponse
    )
}

/// INVARIANT: sorted by (contact time, decision, offer, channel, record) and bounded.
fn insert(profile: &mut Profile, interaction: Interaction) {
    let key = |i: &Interaction| (i.at, i.decision, i.offer, i.channel, i.record);
    let at = profile.interactions.partition_point(|i| key(i) < key(&interaction));
    profile.interactions.insert(at, interaction);
    if profile.interactions.len() > INTERACTIONS_MAX {
        forget_one(profile);
    }
}

/// Forgets the oldest that was not answered; of answered ones the oldest only
/// where they would crowd out the others.
fn forget_one(profile: &mut Profile) {
    let answered = answered_count(profile) > ANSWERED_MAX;
    if let Some(at) = profile.interactions.iter().position(|i| is_answered(i) == answered) {
        profile.interactions.remove(at);
    }
}

fn effect(before: OutcomeSet, followed: &Followed, forgotten: bool) -> Option<Effect> {
    if before.has(followed.outcome) {
        return None;
    }
    let alone = OutcomeSet::default().with(followed.outcome);
    let value = if followed.outcome == OutcomeType::Conversion { followed.value.unwrap_or(0) } else { 0 };
    Some(Effect::Outcome {
        offer: followed.presentation.offer,
        channel: followed.presentation.channel,
        outcome: followed.outcome,
        new_trial: !forgotten && alone.intersects(TRIAL) && !before.intersects(TRIAL),
        new_positive: !forgotten && followed.outcome.is_positive() && !before.intersects(OutcomeSet::POSITIVE),
        value,
    })
}
