//! One event applied to one profile.

use smallvec::SmallVec;

use crate::domain::{
    ChannelId, Effect, Event, EventKind, EventStat, EventTypeId, OutcomeType, Profile, StoredPreference, StoredRecord,
    Timestamp, profile::EVENT_STATS_MAX,
};

use super::{
    interactions::{self, Followed},
    knowledge, series, wishes,
};

/// The event that says that somebody reported a message as unwanted, and the
/// channel that is meant where it names none.
const COMPLAINED_EVENT: &str = "email_complained";
const COMPLAINED_CHANNEL: &str = "email";

/// Effects of one event; few, so kept inline.
pub type Effects = SmallVec<[Effect; 4]>;

/// Applies one event and answers what it changed beyond the profile.
///
/// The profile is a function of the set of its events: their order changes
/// nothing. The effects are not: the amount of a conversion counts for the lift
/// only when the exposure was known by then, whereas that there was one counts
/// in any order; which of an offer's outcomes is the first of its kind depends on
/// which came first, their number does not.
pub fn apply(profile: &mut Profile, event: &Event) -> Effects {
    let mut effects = Effects::new();
    profile.first_seen = if profile.version == 0 { event.at } else { profile.first_seen.min(event.at) };
    profile.version = profile.version.saturating_add(1);
    knowledge::add_identities(profile, &event.identities);
    series::feed(profile, event);
    match &event.kind {
        EventKind::Outcome { presentation, outcome, reason, value, note: _, agent: _, call: _, purpose, link: _ } => {
            if *outcome == OutcomeType::Unsubscribe {
                knowledge::unsubscribe(profile, (presentation.channel, *purpose), event.at);
            }
            let followed = Followed {
                presentation: *presentation,
                outcome: *outcome,
                reason: *reason,
                at: event.at,
                value: *value,
            };
            outcome_came(profile, &followed, &mut effects);
        }
        EventKind::Customer { event: kind, amount, items, bought, conversion, channel, data: _ } => {
            if *kind == EventTypeId::of(COMPLAINED_EVENT) {
                let channel = channel.unwrap_or_else(|| ChannelId::of(COMPLAINED_CHANNEL));
                knowledge::complained(profile, channel, event.at);
            }
            add_stat(
                &mut profile.stats,
                EventStat {
                    event: *kind,
                    count: 1,
                    amount: amount.unwrap_or(0),
                    first_at: event.at,
                    last_at: event.at,
                },
            );
            knowledge::touch_items(profile, event.at, items, *bought);
            if *conversion {
                converted(profile, event.at, Some(amount.unwrap_or(0)), &mut effects);
            }
        }
        EventKind::Upsert { attributes, consents, preferences, records } => {
            for (id, value) in attributes {
                knowledge::set_attribute(profile, *id, value.as_ref(), event.at);
            }
            for consent in consents {
                knowledge::set_consent(profile, consent);
            }
            for preference in preferences {
                wishes::set_preference(profile, StoredPreference { preference: preference.clone(), at: event.at });
            }
            for change in records {
                wishes::set_record(profile, StoredRecord { change: change.clone(), at: event.at });
            }
        }
        EventKind::DoNotContact { on, reason: _ } => set_do_not_contact(profile, *on, event.at),
        EventKind::Exposed { holdout } => expose(profile, *holdout, event.at, &mut effects),
    }
    effects
}

/// The amount of a conversion counts where its outcome is new to the interaction.
fn outcome_came(profile: &mut Profile, followed: &Followed, effects: &mut Effects) {
    let effect = interactions::unite(profile, followed);
    let value = effect.is_some().then(|| followed.value.unwrap_or(0));
    effects.extend(effect);
    if followed.outcome == OutcomeType::Conversion {
        converted(profile, followed.at, value, effects);
    }
}

/// INVARIANT: sorted by event, each once, at most [`EVENT_STATS_MAX`]: of more
/// those with the largest ids go, whatever order they came in.
pub(super) fn add_stat(stats: &mut Vec<EventStat>, new: EventStat) {
    match stats.binary_search_by_key(&new.event, |s| s.event) {
        Ok(at) => stats[at] = stats[at].plus(new),
        Err(at) => {
            stats.insert(at, new);
            stats.truncate(EVENT_STATS_MAX);
        }
    }
}

/// A conversion; `None` for the amount of one that was counted before.
fn converted(profile: &mut Profile, at: Timestamp, amount: Option<i64>, effects: &mut Effects) {
    let first = !profile.converted();
    profile.converted_at = profile.converted_at.max(Some(at));
    let counts = profile.exposed_at.is_some_and(|exposed| at >= exposed);
    if let Some(amount) = amount.filter(|_| counts) {
        effects.push(Effect::Converted { holdout: profile.exposed_holdout, first, amount });
    }
}

fn expose(profile: &mut Profile, holdout: bool, at: Timestamp, effects: &mut Effects) {
    let (new, before) = (profile.exposed_at.is_none(), profile.converted());
    (profile.exposed_at, profile.exposed_holdout) =
        earliest_exposure((profile.exposed_at, profile.exposed_holdout), (Some(at), holdout));
    if new {
        effects.push(Effect::Exposed { holdout });
    }
    if !before && profile.converted() {
        effects.push(Effect::Converted { holdout: profile.exposed_holdout, first: true, amount: 0 });
    }
}

/// The earlier of two exposures; at equal times the holdout stands, whichever
/// came first.
pub(super) fn earliest_exposure(
    one: (Option<Timestamp>, bool),
    other: (Option<Timestamp>, bool),
) -> (Option<Timestamp>, bool) {
    match (one.0, other.0) {
        (_, None) => one,
        (None, _) => other,
        (Some(at), Some(other_at)) if (at, !one.1) <= (other_at, !other.1) => one,
        _ => other,
    }
}

/// The later word counts, at equal times the prohibition.
fn set_do_not_contact(profile: &mut Profile, on: bool, at: Timestamp) {
    if on {
        profile.do_not_contact = profile.do_not_contact.max(Some(at));
    } else {
        profile.contact_allowed_at = profile.contact_allowed_at.max(Some(at));
    }
    if profile.do_not_contact < profile.contact_allowed_at {
        profile.do_not_contact = None;
    }
}
