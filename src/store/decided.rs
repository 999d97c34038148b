//! What a decision changes by itself.

use crate::domain::{CustomerKey, Event, EventId, EventKind, OutcomeType, PresentationRef};

use super::{
    DecisionRecord, StoreError,
    budgets::{Presentation, Sign},
    group::{Group, Unit},
    shared::Shared,
    timeline::Noted,
};

/// A decision and whose it was.
pub(super) struct Decided<'a> {
    pub record: &'a DecisionRecord,
    pub customer: Option<CustomerKey>,
}

impl Group {
    /// Applies what a decision changes by itself.
    pub fn apply_decision(&mut self, shared: &Shared, decision: &Decided<'_>) -> Result<(), StoreError> {
        let record = decision.record;
        if let Some(key) = decision.customer
            && let Some(live) = self.live(shared, key)?
            && let Some(noted) = Noted::decision(record)
        {
            self.timeline.entry(live).or_default().push(noted);
        }
        self.decided.extend(record.winners.iter().map(|w| (w.offer, w.channel)));
        let Some(key) = decision.customer else {
            for winner in record.winners.iter().filter(|w| w.counts_now) {
                let until = winner.reserved_until.unwrap_or(record.now);
                let of = Presentation { decision: record.id, offer: winner.offer, record: winner.record, until };
                self.units.push(Unit::Confirm(of, Sign::Decided));
            }
            return Ok(());
        };
        for event in events(record, decision.customer) {
            let exposes = matches!(event.kind, EventKind::Exposed { .. });
            if exposes && self.stage(shared, key)?.is_none_or(|staged| staged.profile.exposed_at.is_some()) {
                continue;
            }
            self.apply_quietly(shared, Some(key), &event)?;
        }
        Ok(())
    }
}

/// What a decision changes of its customer by itself, in order.
pub(super) fn events(record: &DecisionRecord, customer: Option<CustomerKey>) -> Vec<Event> {
    let counted = record.winners.iter().filter(|winner| winner.counts_now).map(|winner| {
        let presentation = PresentationRef {
            decision: record.id,
            customer,
            offer: winner.offer,
            channel: winner.channel,
            record: winner.record,
            expires_at: winner.reserved_until.unwrap_or(record.now),
        };
        decided_event(record, presentation)
    });
    let exposed = record.exposed.filter(|_| customer.is_some());
    counted.chain(exposed.map(|holdout| own_event(record, EventKind::Exposed { holdout }))).collect()
}

/// Whether an event is one that a decision stands for: it is not noted.
pub(super) fn is_of_decision(event: &Event) -> bool {
    let decided = matches!(event.kind, EventKind::Outcome { outcome: OutcomeType::Decided, .. });
    decided || matches!(event.kind, EventKind::Exposed { .. })
}

fn decided_event(record: &DecisionRecord, presentation: PresentationRef) -> Event {
    let kind = EventKind::Outcome {
        presentation,
        outcome: OutcomeType::Decided,
        reason: Default::default(),
        value: None,
        note: "".into(),
        agent: "".into(),
        call: "".into(),
        purpose: crate::domain::Purpose::Marketing,
        link: "".into(),
    };
    own_event(record, kind)
}

/// An event that a decision stands for. The decision's own record makes it
/// happen once, so it needs no id of its own.
fn own_event(record: &DecisionRecord, kind: EventKind) -> Event {
    Event {
        id: EventId(record.id.0),
        at: record.now,
        received_at: record.now,
        identities: Vec::new(),
        feeds: Vec::new(),
        kind,
    }
}
