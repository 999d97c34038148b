//! Events in: checked, given their idempotent id, stored, acknowledged.

use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

use crate::{
    decide::Snapshot,
    domain::{
        DecisionId, Event, EventId, EventKind, Identity, OutcomeType, PresentationRef, Purpose, ReasonCode, Timestamp,
        time::{DAY_US, SECOND_US},
    },
    store::{Receipt, ReceiptStatus, Strength, Submission, Target},
};

use super::{
    App, EventInput, OutcomeInput, Recorded, RecordedStatus,
    signing::{Presented, TokenError},
};

/// An event further in the future is clamped to now, microseconds.
const FUTURE_US_MAX: i64 = 300 * SECOND_US;
/// What is noted of one.
pub(super) const CLAMPED: &str = "the time is more than 5 minutes in the future; it was set to now";
/// Events are de-duplicated for this long, microseconds.
const DEDUPLICATED_US: i64 = 7 * DAY_US;

/// An outcome that is refused.
pub(super) struct WrongOutcome {
    /// The field that is wrong.
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// An outcome whose token and reason hold.
pub(super) struct CheckedOutcome {
    /// Its presentation.
    pub presentation: PresentationRef,
    /// Ready to store.
    pub submission: Submission,
    /// Notes on it.
    pub warnings: Vec<String>,
}

/// An event ready to store with notes on it, or what becomes of it instead.
pub(super) type Checked = Result<(Submission, Vec<String>), RecordedStatus>;

impl App {
    /// Records events in order, with a result each. Outcomes of a presentation
    /// and events with an id are recorded once, however often they come.
    pub async fn record(&self, events: Vec<EventInput>) -> Vec<Recorded> {
        let snapshot = self.current();
        let mut recorded = Vec::with_capacity(events.len());
        let mut checked = Vec::with_capacity(events.len());
        for event in events {
            match event {
                EventInput::Outcome(outcome) if outcome.meant.is_some() => {
                    // what came before it may be the presentation that it is of
                    recorded.extend(self.record_checked(std::mem::take(&mut checked)).await);
                    checked.push(self.outcome_meant(outcome).await.map(CheckedOutcome::into_event));
                }
                event => {
                    let permitted = self.permitted(&event).await;
                    checked.push(permitted.and_then(|()| self.submission(&snapshot, event)));
                }
            }
        }
        recorded.extend(self.record_checked(checked).await);
        recorded
    }

    /// Records what was checked; what was refused stays refused.
    pub(super) async fn record_checked<E: Into<RecordedStatus>>(
        &self,
        events: Vec<Result<(Submission, Vec<String>), E>>,
    ) -> Vec<Recorded> {
        let mut results: Vec<Option<Recorded>> = Vec::with_capacity(events.len());
        let mut batch = Vec::with_capacity(events.len());
        let mut noted = Vec::with_capacity(events.len());
        for event in events {
            match event {
                Ok((submission, warnings)) => {
                    noted.push((submission.strength, warnings));
                    batch.push(submission);
                    results.push(None);
                }
                Err(status) => results.push(Some(Recorded::unstored(status.into()))),
            }
        }
        let outcomes: Vec<Option<OutcomeType>> = batch.iter().map(|s| s.outcome()).collect();
        let receipts = self.store.record(batch).await;
        for (receipt, outcome) in receipts.iter().zip(outcomes) {
            if let (ReceiptStatus::Recorded, Some(outcome)) = (&receipt.status, outcome) {
                self.metrics.outcome(outcome);
            }
        }
        let told = |receipt: Receipt, mut warnings: Vec<String>, strength| {
            warnings.extend(self.told_of(&receipt.left_out));
            let token = self.token_of_receipt(&receipt);
            Recorded::of(receipt, strength, (token, warnings))
        };
        let mut stored = receipts.into_iter().zip(noted);
        results
            .into_iter()
            .map(|refused| {
                refused.unwrap_or_else(|| match stored.next() {
                    Some((receipt, (strength, warnings))) => told(receipt, warnings, strength),
                    None => {
                        let why = "the service is shutting down; send it again later";
                        Recorded::unstored(RecordedStatus::Refused(why.to_owned()))
                    }
                })
            })
            .collect()
    }

    fn submission(&self, snapshot: &Snapshot, event: EventInput) -> Checked {
        match event {
            EventInput::Outcome(outcome) => {
                let checked = self.outcome(outcome).map_err(|wrong| RecordedStatus::Refused(wrong.why));
                checked.map(CheckedOutcome::into_event)
            }
            EventInput::Customer { id, identities, at: given_at, kind, fields, strength, item_names, notes, page } => {
                let (at, mut warnings) = self.checked_time(given_at);
                warnings.extend(notes);
                // anybody can send a page's: what is bounded for all is not theirs to fill
                if !item_names.is_empty() && page.is_none() {
                    self.store.remember_items(&item_names);
                }
                let content = content_of_event(&kind, given_at, &identities);
                let received_at = self.clock.now();
                let mut event = Event { id, at, received_at, identities: Vec::new(), feeds: Vec::new(), kind };
                event.feeds = snapshot.ruleset.feeds(&event, &fields, &item_names);
                Ok((Submission { target: Target::Identities(identities), event, content, strength }, warnings))
            }
        }
    }

    /// Checks an outcome's token and reason code.
    pub(super) fn outcome(&self, input: OutcomeInput) -> Result<CheckedOutcome, WrongOutcome> {
        let presented =
            self.keys.presentation(&input.token, input.bearer, self.clock.now()).map_err(|e| WrongOutcome {
                field: "presentation_token",
                why: match e {
                    TokenError::Forged => "the presentation token is not one of ours; send it as it was returned",
                    TokenError::Expired => "the presentation token is expired; ask for a new decision",
                    TokenError::Preview => "this token is of a preview; ask with `INTENT_PRESENT`",
                }
                .to_owned(),
            })?;
        self.outcome_of(presented, input)
    }

    /// Checks the outcome of a presentation whose token holds.
    pub(super) fn outcome_of(
        &self,
        Presented { presentation, visitor }: Presented,
        input: OutcomeInput,
    ) -> Result<CheckedOutcome, WrongOutcome> {
        let now = self.clock.now();
        let reason = self.reason(&input).map_err(|why| WrongOutcome { field: "reason_code", why })?;
        let (at, early) = not_before_its_decision(input.at, presentation.decision);
        let (at, mut warnings) = self.checked_time(at);
        warnings.extend(early);
        let OutcomeInput { outcome, value, note, agent, call, link, meant, .. } = input;
        let target = match (presentation.customer, visitor) {
            (Some(customer), _) => Target::Customer(customer),
            (None, Some(visitor)) => Target::Identities(vec![self.visitor_identity(visitor)]),
            (None, None) => Target::Anonymous,
        };
        // nobody has a history that unites what followed: of nobody a click counts by its id
        let apart = if matches!(target, Target::Anonymous) { "" } else { &*link };
        // the time may differ between retries; the presentation and the answer may not
        let (id, content) = match meant {
            None => (outcome_id(&presentation, outcome, apart), content_of_outcome(reason, value)),
            Some(meant) => (meant.id, meant.content(outcome, content_of_outcome(reason, value))),
        };
        let purpose = self.purpose_of(&presentation);
        let kind = EventKind::Outcome { presentation, outcome, reason, value, note, agent, call, purpose, link };
        let event = Event { id, at, received_at: now, identities: Vec::new(), feeds: Vec::new(), kind };
        let submission = Submission { target, event, content, strength: strength_of(outcome) };
        Ok(CheckedOutcome { presentation, submission, warnings })
    }

    /// What a presentation was for; marketing when the rules no longer have it.
    pub(super) fn purpose_of(&self, presentation: &PresentationRef) -> Purpose {
        let ruleset = &self.snapshot.load().ruleset;
        let slot = ruleset.offer_slots.get(&presentation.offer);
        slot.map_or(Purpose::Marketing, |slot| ruleset.offer(*slot).purpose)
    }

    fn reason(&self, input: &OutcomeInput) -> Result<ReasonCode, String> {
        let snapshot = self.snapshot.load();
        let declared = &snapshot.ruleset.decline_reasons;
        if input.outcome != OutcomeType::Decline {
            return if input.reason_code.is_empty() {
                Ok(ReasonCode(0))
            } else {
                Err(format!("`reason_code` belongs to a decline, not to `{}`; leave it out", input.outcome.name()))
            };
        }
        declared.iter().find(|r| *r.code == *input.reason_code).map(|r| r.id).ok_or_else(|| {
            let codes: Vec<&str> = declared.iter().map(|r| &*r.code).collect();
            let codes = codes.join("`, `");
            match input.reason_code.as_str() {
                "" => format!("a decline needs a reason; use one of `{codes}`"),
                code => format!("decline reason `{code}` is not declared; use one of `{codes}`"),
            }
        })
    }

    /// What is noted of what became true at these times: those further in the
    /// future than clocks differ are set to now.
    pub fn noted_times(&self, times: impl IntoIterator<Item = Timestamp>) -> Vec<String> {
        let now = self.clock.now();
        if !times.into_iter().any(|at| at.since_us(now) > FUTURE_US_MAX) {
            return Vec::new();
        }
        self.metrics.events_clamped.increment(1);
        vec![CLAMPED.to_owned()]
    }

    pub(super) fn checked_time(&self, at: Option<Timestamp>) -> (Timestamp, Vec<String>) {
        let now = self.clock.now();
        let Some(at) = at else { return (now, Vec::new()) };
        if self.is_clamped(at) {
            return (now, vec![CLAMPED.to_owned()]);
        }
        if now.since_us(at) > DEDUPLICATED_US {
            self.metrics.events_late.increment(1);
            return (at, vec!["older than 7 days: a repetition later than 7 days from now is not noticed".to_owned()]);
        }
        (at, Vec::new())
    }
}

impl App {
    /// Whether a time is so far in the future that now stands for it. Counts it.
    pub(super) fn is_clamped(&self, at: Timestamp) -> bool {
        let clamped = at.since_us(self.clock.now()) > FUTURE_US_MAX;
        if clamped {
            self.metrics.events_clamped.increment(1);
        }
        clamped
    }
}

impl CheckedOutcome {
    /// With its notes.
    pub(super) fn into_event(self) -> (Submission, Vec<String>) {
        (self.submission, self.warnings)
    }
}

impl Submission {
    /// What followed, when it is an outcome.
    pub(super) fn outcome(&self) -> Option<OutcomeType> {
        match &self.event.kind {
            EventKind::Outcome { outcome, .. } => Some(*outcome),
            _ => None,
        }
    }
}

impl Recorded {
    fn unstored(status: RecordedStatus) -> Self {
        // who repeats what is there hears that it is there
        let strength = (status == RecordedStatus::Duplicate).then_some(Strength::Process);
        Self { status, strength, consistency_token: String::new(), warnings: Vec::new() }
    }

    fn of(receipt: Receipt, strength: Strength, (consistency_token, warnings): (String, Vec<String>)) -> Self {
        let stored = matches!(receipt.status, ReceiptStatus::Recorded | ReceiptStatus::Duplicate);
        Self {
            status: match receipt.status {
                ReceiptStatus::Recorded => RecordedStatus::Recorded,
                ReceiptStatus::Duplicate => RecordedStatus::Duplicate,
                ReceiptStatus::Conflict => RecordedStatus::Conflict,
                ReceiptStatus::Refused(why) => RecordedStatus::Refused(why),
                ReceiptStatus::Exhausted => RecordedStatus::Exhausted,
            },
            strength: stored.then_some(strength),
            consistency_token,
            warnings,
        }
    }
}

/// An outcome cannot come before its decision: an earlier time would take the
/// contact out of the windows of limits.
fn not_before_its_decision(at: Option<Timestamp>, decision: DecisionId) -> (Option<Timestamp>, Option<String>) {
    let decided_at = Timestamp::from_millis(i64::try_from(decision.unix_ms()).unwrap_or(0));
    match at {
        Some(early) if early < decided_at => {
            let warning = "the time is before the decision; it was set to the decision's time";
            (Some(decided_at), Some(warning.to_owned()))
        }
        other => (other, None),
    }
}

/// How strong the acknowledgement of an outcome is.
fn strength_of(outcome: OutcomeType) -> Strength {
    match outcome {
        OutcomeType::Decided
        | OutcomeType::Impression
        | OutcomeType::Click
        | OutcomeType::Dismiss
        | OutcomeType::Handoff
        | OutcomeType::NoResponse => Strength::Process,
        OutcomeType::Accept
        | OutcomeType::Decline
        | OutcomeType::Conversion
        | OutcomeType::Unsubscribe
        | OutcomeType::Cancelled => Strength::Disk,
    }
}

/// The idempotent id of an outcome: its presentation, its type, its record if it
/// speaks of one, and the link that was followed, empty for none.
pub(super) fn outcome_id(presentation: &PresentationRef, outcome: OutcomeType, link: &str) -> EventId {
    let mut bytes = Vec::with_capacity(38 + link.len());
    bytes.extend_from_slice(&presentation.decision.0.to_le_bytes());
    bytes.extend_from_slice(&presentation.offer.0.to_le_bytes());
    bytes.extend_from_slice(&presentation.channel.0.to_le_bytes());
    bytes.push(outcome as u8);
    if presentation.record.is_some() {
        // no link begins with this byte
        bytes.push(u8::MAX);
        bytes.extend_from_slice(&presentation.record.0.to_le_bytes());
    }
    bytes.extend_from_slice(link.as_bytes());
    EventId(xxh3_128(&bytes))
}

/// The hash of an answer's content. One without a value has the hash it always had.
pub(super) fn content_of_outcome(reason: ReasonCode, value: Option<i64>) -> u64 {
    match value {
        None => xxh3_64(&reason.0.to_le_bytes()),
        Some(value) => xxh3_64(format!("{}:{value}", reason.0).as_bytes()),
    }
}

/// The hash of what a caller says of an event: the same id with anything else is
/// a conflict. What the service fills in (the time when none is given, when it
/// came in) is no part of it.
fn content_of_event(kind: &EventKind, given_at: Option<Timestamp>, identities: &[Identity]) -> u64 {
    let mut hasher = Xxh3::new();
    let mut number = |number: i64| hasher.update(&number.to_le_bytes());
    number(given_at.map_or(i64::MIN, |at| at.0));
    let mut who: Vec<u128> = identities.iter().map(|identity| identity.hash.0).collect();
    who.sort_unstable();
    who.dedup();
    number(who.len() as i64);
    if let EventKind::Customer { event, channel, amount, items, data, .. } = kind {
        number(i64::from(event.0));
        number(channel.map_or(-1, |channel| i64::from(channel.0)));
        number(amount.unwrap_or(i64::MIN));
        number(items.len() as i64);
        for item in items {
            number(item.item.0 as i64);
            number(i64::from(item.quantity));
            number(item.unit_price);
        }
        number(data.len() as i64);
        hasher.update(data.as_bytes());
    }
    who.iter().for_each(|hash| hasher.update(&hash.to_le_bytes()));
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_a_caller_says_is_part_of_the_content() {
        let kind = |amount, quantity, data: &str| EventKind::Customer {
            event: crate::domain::EventTypeId::of("purchase"),
            channel: None,
            amount,
            items: vec![crate::domain::ItemLine { item: crate::domain::ItemId(7), quantity, unit_price: 5 }],
            bought: true,
            conversion: true,
            data: data.into(),
        };
        let at = Some(Timestamp(5));
        let first = content_of_event(&kind(Some(1), 1, "{}"), at, &[]);
        assert_eq!(first, content_of_event(&kind(Some(1), 1, "{}"), at, &[]));
        let others = [
            content_of_event(&kind(None, 1, "{}"), at, &[]),
            content_of_event(&kind(Some(1), 2, "{}"), at, &[]),
            content_of_event(&kind(Some(1), 1, ""), at, &[]),
            content_of_event(&kind(Some(1), 1, "{}"), None, &[]),
            content_of_event(&kind(Some(1), 1, "{}"), Some(Timestamp(6)), &[]),
        ];
        assert!(others.iter().all(|other| *other != first), "{first} {others:?}");
    }

    #[test]
    fn every_link_of_a_presentation_has_its_own_click() {
        let presentation = |decision| PresentationRef {
            decision: DecisionId(decision),
            customer: None,
            offer: crate::domain::OfferId(7),
            channel: crate::domain::ChannelId(3),
            record: crate::domain::RecordRef::default(),
            expires_at: Timestamp(9),
        };
        let (one, other) = (presentation(1), presentation(2));
        let id = |outcome, link| outcome_id(&one, outcome, link);
        // without a link the id is that of 29 bytes: presentation and type
        let mut bytes = [0; 29];
        (bytes[0], bytes[16], bytes[24], bytes[28]) = (1, 7, 3, OutcomeType::Click as u8);
        assert_eq!(id(OutcomeType::Click, ""), EventId(xxh3_128(&bytes)));
        let later = PresentationRef { customer: Some(crate::domain::CustomerKey(1)), expires_at: Timestamp(10), ..one };
        assert_eq!(id(OutcomeType::Click, "shop"), outcome_id(&later, OutcomeType::Click, "shop"));
        let of_record = PresentationRef { record: crate::domain::RecordRef(5), ..one };
        assert_ne!(id(OutcomeType::Click, "shop"), outcome_id(&of_record, OutcomeType::Click, "shop"));
        let ids = [
            id(OutcomeType::Click, ""),
            id(OutcomeType::Click, "shop"),
            id(OutcomeType::Click, "more"),
            id(OutcomeType::Impression, ""),
            outcome_id(&other, OutcomeType::Click, "shop"),
        ];
        let apart: std::collections::HashSet<u128> = ids.iter().map(|id| id.0).collect();
        assert_eq!(apart.len(), ids.len());
    }

    #[test]
    fn no_outcome_stands_before_its_decision() {
        let decision = DecisionId::new(1_000, 7);
        let early = not_before_its_decision(Some(Timestamp(5)), decision);
        assert_eq!(early.0, Some(Timestamp::from_millis(1_000)));
        assert!(early.1.is_some());
        for at in [None, Some(Timestamp(1_000_400))] {
            assert_eq!(not_before_its_decision(at, decision), (at, None));
        }
    }
}
