//! Outcomes without a token: the latest presentation of the offer to the customer
//! is meant, as long as the offer's attribution window is open.

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    decide::Snapshot,
    domain::{Interaction, OutcomeSet, OutcomeType, PresentationRef, Profile, Reservation, Timestamp, time::SECOND_US},
    store::Resolved,
};

use super::{
    App, Meant, OutcomeInput,
    record::{CheckedOutcome, WrongOutcome},
    signing::Presented,
};

impl App {
    /// Checks an outcome that names customer and offer instead of a presentation.
    /// What was presented counts from when its history shows it, or while it holds
    /// a place in limits.
    ///
    /// # Errors
    /// Why it is refused, as text.
    pub(super) async fn outcome_meant(&self, input: OutcomeInput) -> Result<CheckedOutcome, String> {
        let Some(meant) = input.meant.clone() else { return Err("the outcome names no presentation".to_owned()) };
        let profile = match self.resolve(&meant.customer).await {
            Ok(Resolved::Known(key)) => self.store.profile(key).await,
            Ok(Resolved::Ambiguous) => {
                return Err("the identities are of more than one customer: give only those of who answered".to_owned());
            }
            Ok(Resolved::Unknown | Resolved::NotLoaded) => Ok(None),
            Err(error) => Err(error),
        };
        let profile = profile.map_err(|error| format!("looking for the presentation: {error}; send it again later"))?;
        let Some(hot) = profile else {
            return Err("no customer has these identities, so nothing was presented to them".to_owned());
        };
        let snapshot = self.current();
        let (at, _) = self.checked_time(input.at);
        let mut open = Vec::new();
        self.store.ledger().reservations(hot.profile.key, self.now(), &mut open);
        match latest(&snapshot, (&hot.profile, &open), &meant, at) {
            Some(presentation) => {
                let presented = Presented { presentation, visitor: None };
                self.outcome_of(presented, input).map_err(|wrong: WrongOutcome| wrong.why)
            }
            None => self.known_before(&meant, &hot.profile, input).await.ok_or_else(|| none_there(&snapshot, &meant)),
        }
    }

    /// A repetition that comes when the window is over: the store knows its id and
    /// answers that it is one.
    async fn known_before(&self, meant: &Meant, profile: &Profile, input: OutcomeInput) -> Option<CheckedOutcome> {
        if !self.store.has_event(meant.id).await.ok()? {
            return None;
        }
        let presentation = PresentationRef {
            decision: Default::default(),
            customer: Some(profile.key),
            offer: meant.offer,
            channel: meant.channel.unwrap_or_default(),
            expires_at: Timestamp::default(),
        };
        self.outcome_of(Presented { presentation, visitor: None }, input).ok()
    }
}

impl Meant {
    /// The hash of an outcome's content; `answer` is that of its reason and value.
    pub(super) fn content(&self, outcome: OutcomeType, answer: u64) -> u64 {
        xxh3_64(format!("{:?}{:?}{outcome:?}{answer}", self.offer, self.channel).as_bytes())
    }
}

/// The latest presentation that an outcome at a moment may be of. What was
/// cancelled before anybody saw it is none.
fn latest(
    snapshot: &Snapshot,
    (profile, open): (&Profile, &[Reservation]),
    meant: &Meant,
    at: Timestamp,
) -> Option<PresentationRef> {
    let window_us = snapshot.ruleset.attribution_us(meant.offer);
    let fits = |offer, channel, since: Timestamp| {
        let passed_us = at.since_us(since);
        offer == meant.offer
            && meant.channel.is_none_or(|wanted| wanted == channel)
            && (0..=window_us).contains(&passed_us)
    };
    let presentation = |decision, channel, expires_at| PresentationRef {
        decision,
        customer: Some(profile.key),
        offer: meant.offer,
        channel,
        expires_at,
    };
    let seen = profile.interactions.iter().filter(|i| fits(i.offer, i.channel, i.at) && !is_cancelled(i));
    let seen = seen.map(|i| (i.at, presentation(i.decision, i.channel, i.at.plus_us(window_us))));
    let held = open.iter().filter(|r| fits(r.offer, r.channel, r.at));
    let held = held.map(|r| (r.at, presentation(r.decision, r.channel, r.expires_at)));
    seen.chain(held).max_by_key(|(since, one)| (*since, one.decision, one.channel)).map(|(_, one)| one)
}

fn is_cancelled(interaction: &Interaction) -> bool {
    interaction.outcomes.has(OutcomeType::Cancelled) && !interaction.outcomes.intersects(OutcomeSet::REACHED)
}

fn none_there(snapshot: &Snapshot, meant: &Meant) -> String {
    let seconds = snapshot.ruleset.attribution_us(meant.offer) / SECOND_US;
    let within = match seconds {
        s if s % 86_400 == 0 => format!("{} days", s / 86_400),
        s if s % 3_600 == 0 => format!("{} hours", s / 3_600),
        s => format!("{s} seconds"),
    };
    let on_channel = if meant.channel.is_some() { " on this channel" } else { "" };
    format!(
        "no presentation of the offer to this customer{on_channel} within its attribution window of {within}: record \
         what was presented first, or send the token"
    )
}
