//! One event applied to one profile.

use smallvec::SmallVec;

use crate::domain::{Effect, Event, EventKind, EventStat, OutcomeType, Profile, Timestamp, profile::EVENT_STATS_MAX};

use super::{
    interactions::{self, Followed},
    knowledge,
};

/// Effects of one event; few, so kept inline.
pub type Effects = SmallVec<[Effect; 4]>;

/// Applies one event and answers what it changed beyond the profile.
///
/// Bounds of convergence: a conversion counts for the lift when its customer is
/// already known to be exposed, and lifting "do not contact" is not remembered,
/// so that a late older prohibition stands (the safe side).
pub fn apply(profile: &mut Profile, event: &Event) -> Effects {
    let mut effects = Effects::new();
    profile.first_seen = if profile.version == 0 { event.at } else { profile.first_seen.min(event.at) };
    profile.version += 1;
    knowledge::add_identities(profile, &event.identities);
    match &event.kind {
        EventKind::Outcome { presentation, outcome, reason, value, note: _, agent: _, call: _, purpose } => {
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
        EventKind::Customer { event: kind, amount, items, bought, conversion, channel: _, data: _ } => {
            add_stat(
                profile,
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
                converted(profile, event.at, amount.unwrap_or(0), &mut effects);
            }
        }
        EventKind::Upsert { attributes, consents } => {
            for (id, value) in attributes {
                knowledge::set_attribute(profile, *id, value.as_ref(), event.at);
            }
            for consent in consents {
                knowledge::set_consent(profile, consent);
            }
        }
        EventKind::DoNotContact { on, reason: _ } => set_do_not_contact(profile, *on, event.at),
        EventKind::Exposed { holdout } => expose(profile, *holdout, event.at, &mut effects),
    }
    effects
}

fn outcome_came(profile: &mut Profile, followed: &Followed, effects: &mut Effects) {
    let Some(effect) = interactions::unite(profile, followed) else { return };
    effects.push(effect);
    if followed.outcome == OutcomeType::Conversion {
        converted(profile, followed.at, followed.value.unwrap_or(0), effects);
    }
}

fn add_stat(profile: &mut Profile, new: EventStat) {
    match profile.stats.binary_search_by_key(&new.event, |s| s.event) {
        Ok(at) => {
            let stat = &mut profile.stats[at];
            stat.count = stat.count.saturating_add(new.count);
            stat.amount = stat.amount.saturating_add(new.amount);
            stat.first_at = stat.first_at.min(new.first_at);
            stat.last_at = stat.last_at.max(new.last_at);
        }
        Err(at) if profile.stats.len() < EVENT_STATS_MAX => profile.stats.insert(at, new),
        Err(_) => {}
    }
}

fn converted(profile: &mut Profile, at: Timestamp, amount: i64, effects: &mut Effects) {
    if profile.exposed_at.is_none_or(|exposed| at < exposed) {
        return;
    }
    let first = !profile.converted;
    profile.converted = true;
    effects.push(Effect::Converted { holdout: profile.exposed_holdout, first, amount });
}

fn expose(profile: &mut Profile, holdout: bool, at: Timestamp, effects: &mut Effects) {
    match profile.exposed_at {
        None => effects.push(Effect::Exposed { holdout }),
        // at equal times the holdout stands, whichever came first
        Some(known) if known < at || (known == at && !holdout) => return,
        Some(_) => {}
    }
    profile.exposed_at = Some(at);
    profile.exposed_holdout = holdout;
}

fn set_do_not_contact(profile: &mut Profile, on: bool, at: Timestamp) {
    profile.do_not_contact = match (profile.do_not_contact, on) {
        (Some(since), true) => Some(since.max(at)),
        (None, true) => Some(at),
        (Some(since), false) if since >= at => Some(since),
        (_, false) => None,
    };
}
