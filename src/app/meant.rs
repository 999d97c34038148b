//! Outcomes without a token: the latest presentation of the offer to the customer
//! is meant, as long as the offer's attribution window is open.

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    decide::Snapshot,
    domain::{
        Interaction, OutcomeSet, OutcomeType, PresentationRef, Profile, RecordRef, Reservation, Timestamp,
        time::{DAY_US, SECOND_US},
    },
    store::Resolved,
};

use super::{
    App, Meant, OutcomeInput, RecordedStatus,
    record::{CheckedOutcome, WrongOutcome},
    signing::Presented,
};

/// How long after the end of its window a presentation that stands as `no
/// response` can be answered, microseconds: later answers of slow channels correct
/// it, and what is older than this is of nothing that is remembered.
const LATE_US: i64 = 30 * DAY_US;

impl App {
    /// Checks an outcome that names customer and offer instead of a presentation.
    /// What was presented counts from when its history shows it, or while it holds
    /// a place in limits. A presentation has each outcome once, as with a token.
    ///
    /// # Errors
    /// What becomes of it instead.
    pub(super) async fn outcome_meant(&self, input: OutcomeInput) -> Result<CheckedOutcome, RecordedStatus> {
        let refused = |why: &str| Err(RecordedStatus::Refused(why.to_owned()));
        let Some(meant) = input.meant.clone() else { return refused("the outcome names no presentation") };
        let profile = match self.resolve(&meant.customer).await {
            Ok(Resolved::Known(key)) => self.store.profile(key).await,
            Ok(Resolved::Ambiguous) => {
                return refused("the identities are of more than one customer: give only those of who answered");
            }
            Ok(Resolved::Unknown | Resolved::NotLoaded) => Ok(None),
            Err(error) => Err(error),
        };
        let hot = match profile {
            Ok(Some(hot)) => hot,
            Ok(None) => return refused("no customer has these identities, so nothing was presented to them"),
            Err(error) => return refused(&format!("looking for the presentation: {error}; send it again later")),
        };
        let snapshot = self.current();
        let (at, _) = self.checked_time(input.at);
        let mut open = Vec::new();
        self.store.ledger().reservations(hot.profile.key, self.now(), &mut open);
        let presentation = match latest(&snapshot, (&hot.profile, &open), &meant, at) {
            Latest::One(presentation) => presentation,
            other => {
                let known = self.known_before(&meant, &hot.profile, input).await;
                return known.ok_or_else(|| {
                    RecordedStatus::Refused(match other {
                        Latest::OfRecords(records) => which_record(&hot.profile, &records),
                        _ => none_there(&snapshot, &meant),
                    })
                });
            }
        };
        if has_outcome(&hot.profile, &presentation, input.outcome) && !self.is_known(&meant).await {
            return Err(of_another_event(input.outcome));
        }
        let presented = Presented { presentation, visitor: None };
        self.outcome_of(presented, input).map_err(|wrong: WrongOutcome| RecordedStatus::Refused(wrong.why))
    }

    /// Whether it was recorded before. A store that cannot be read says so when it
    /// is recorded.
    async fn is_known(&self, meant: &Meant) -> bool {
        self.store.has_event(meant.id).await.unwrap_or(true)
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
            record: meant.record.unwrap_or_default(),
            expires_at: Timestamp::default(),
        };
        self.outcome_of(Presented { presentation, visitor: None }, input).ok()
    }
}

impl Meant {
    /// The hash of an outcome's content; `answer` is that of its reason and value.
    pub(super) fn content(&self, outcome: OutcomeType, answer: u64) -> u64 {
        let Self { offer, channel, record, .. } = self;
        xxh3_64(format!("{offer:?}{channel:?}{record:?}{outcome:?}{answer}").as_bytes())
    }
}

/// Whether a presentation has an outcome in the customer's history.
fn has_outcome(profile: &Profile, presentation: &PresentationRef, outcome: OutcomeType) -> bool {
    let PresentationRef { decision, offer, channel, record, .. } = *presentation;
    let wanted = (decision, offer, channel, record);
    let found = profile.interactions.iter().find(|i| (i.decision, i.offer, i.channel, i.record) == wanted);
    found.is_some_and(|interaction| interaction.outcomes.has(outcome))
}

/// What becomes of an outcome that its presentation has from another event: where
/// outcomes of the type are all alike it is the same again; what else it said
/// would not count.
fn of_another_event(outcome: OutcomeType) -> RecordedStatus {
    match outcome {
        OutcomeType::Conversion | OutcomeType::Decline => RecordedStatus::Conflict,
        _ => RecordedStatus::Duplicate,
    }
}

/// The latest presentation that an outcome at a moment may be of. What was
/// cancelled before anybody saw it is none. One that stands as `no response` can be
/// answered for [`LATE_US`] more.
pub(super) fn latest(
    snapshot: &Snapshot,
    (profile, open): (&Profile, &[Reservation]),
    meant: &Meant,
    at: Timestamp,
) -> Latest {
    let window_us = snapshot.ruleset.attribution_us(meant.offer);
    let fits = |(offer, channel, record), since: Timestamp, window_us: i64| {
        let passed_us = at.since_us(since);
        offer == meant.offer
            && meant.channel.is_none_or(|wanted| wanted == channel)
            && meant.record.is_none_or(|wanted| wanted == record)
            && (0..=window_us).contains(&passed_us)
    };
    let late_us = |i: &Interaction| if i.outcomes.has(OutcomeType::NoResponse) { LATE_US } else { 0 };
    let presentation = |decision, (channel, record), expires_at| PresentationRef {
        decision,
        customer: Some(profile.key),
        offer: meant.offer,
        channel,
        record,
        expires_at,
    };
    let seen = profile.interactions.iter().filter(|i| {
        let window_us = window_us.saturating_add(late_us(i));
        fits((i.offer, i.channel, i.record), i.at, window_us) && !is_cancelled(i)
    });
    let seen = seen.map(|i| (i.at, presentation(i.decision, (i.channel, i.record), i.at.plus_us(window_us))));
    let held = open.iter().filter(|r| fits((r.offer, r.channel, r.record), r.at, window_us));
    let held = held.map(|r| (r.at, presentation(r.decision, (r.channel, r.record), r.expires_at)));
    let all: Vec<(Timestamp, PresentationRef)> = seen.chain(held).collect();
    let last = all.iter().max_by_key(|(since, one)| (*since, one.decision, one.channel, one.record));
    let Some((_, last)) = last else { return Latest::None };
    let of_last = all.iter().filter(|(_, one)| one.decision == last.decision);
    let mut records: Vec<RecordRef> = of_last.map(|(_, one)| one.record).collect();
    records.sort_unstable();
    records.dedup();
    if records.len() > 1 { Latest::OfRecords(records) } else { Latest::One(*last) }
}

/// What an outcome without a token speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Latest {
    /// Nothing was presented that it could be of.
    None,
    /// This presentation.
    One(PresentationRef),
    /// One of these records, all shown by the latest decision: it does not say
    /// which.
    OfRecords(Vec<RecordRef>),
}

fn which_record(profile: &Profile, records: &[RecordRef]) -> String {
    let mut keys: Vec<&str> = records.iter().filter_map(|record| profile.key_of(*record)).collect();
    keys.sort_unstable();
    let keys: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    format!(
        "the latest decision showed the offer for more than one record, {}: say which one in `outcome.record_key`, or \
         send the token",
        keys.join(", ")
    )
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
    let of_record = if meant.record.is_some() { " for this record" } else { "" };
    let on_channel = if meant.channel.is_some() { " on this channel" } else { "" };
    format!(
        "no presentation of the offer to this customer{of_record}{on_channel} within its attribution window of {within}: record \
         what was presented first, or send the token"
    )
}
