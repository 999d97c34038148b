//! What followed presentations, united per presentation.

use crate::domain::{
    Effect, Interaction, OutcomeSet, OutcomeType, PresentationRef, Profile, ReasonCode, Timestamp,
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
/// that reaches: the trials of the propensity.
const TRIAL: OutcomeSet = OutcomeSet(OutcomeSet::REACHED.0 | 1 << OutcomeType::Handoff as u16);

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
    let found = profile
        .interactions
        .iter()
        .position(|i| i.decision == wanted.decision && i.offer == wanted.offer && i.channel == wanted.channel);
    let forgotten = found.is_none() && may_be_forgotten(profile, wanted);
    let before = match found {
        Some(at) => profile.interactions.remove(at),
        None => Interaction {
            decision: wanted.decision,
            offer: wanted.offer,
            channel: wanted.channel,
            at: followed.at,
            answered_at: Timestamp::default(),
            outcomes: OutcomeSet::default(),
            reason: ReasonCode::default(),
        },
    };
    insert(profile, updated(&before, followed));
    effect(&before, followed, forgotten)
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

fn updated(before: &Interaction, followed: &Followed) -> Interaction {
    let mut after = *before;
    after.at = before.at.min(followed.at);
    after.outcomes = before.outcomes.with(followed.outcome);
    if is_answer(followed.outcome) {
        after.answered_at = before.answered_at.max(followed.at);
    }
    if followed.outcome == OutcomeType::Decline && followed.reason.0 != 0 {
        let newer = (before.answered_at, before.reason) < (followed.at, followed.reason);
        if before.reason.0 == 0 || newer {
            after.reason = followed.reason;
        }
    }
    after
}

fn is_answer(outcome: OutcomeType) -> bool {
    !matches!(outcome, OutcomeType::Decided | OutcomeType::Impression | OutcomeType::Handoff | OutcomeType::Cancelled)
}

/// INVARIANT: sorted by (contact time, decision, offer, channel) and bounded.
fn insert(profile: &mut Profile, interaction: Interaction) {
    let key = |i: &Interaction| (i.at, i.decision, i.offer, i.channel);
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

fn effect(before: &Interaction, followed: &Followed, forgotten: bool) -> Option<Effect> {
    if before.outcomes.has(followed.outcome) {
        return None;
    }
    let alone = OutcomeSet::default().with(followed.outcome);
    let value = if followed.outcome == OutcomeType::Conversion { followed.value.unwrap_or(0) } else { 0 };
    Some(Effect::Outcome {
        offer: before.offer,
        channel: before.channel,
        outcome: followed.outcome,
        new_trial: !forgotten && alone.intersects(TRIAL) && !before.outcomes.intersects(TRIAL),
        new_positive: !forgotten && followed.outcome.is_positive() && !before.outcomes.intersects(OutcomeSet::POSITIVE),
        value,
    })
}
