//! The end of attribution windows: what reached a person and was not answered by
//! then is a `no response`, said once. An answer that comes later stands above it.

use std::{collections::HashSet, sync::Arc, time::Duration};

use crate::{
    decide::{self, Snapshot},
    domain::{Event, EventKind, OutcomeType, PresentationRef, Profile, ReasonCode, Timestamp, time::SECOND_US},
    store::{Due, Looked, ReceiptStatus, StoreError, Strength, Submission, Target},
};

use super::{
    App,
    record::{content_of_outcome, outcome_id},
};

/// Between two looks when nothing is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Most presentations looked at together.
pub const DUE_LEN_MAX: usize = 2_048;
/// When one is looked at again that could not be recorded, microseconds.
const AGAIN_US: i64 = 60 * SECOND_US;

impl App {
    /// Says `no response` where nothing followed, as long as the service runs.
    pub async fn follow_attribution(self: Arc<Self>) {
        loop {
            match self.settle_due(self.now()).await {
                Ok(DUE_LEN_MAX) => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "attribution windows wait: they are looked at again"),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Looks at what is due at a moment; answers how many were looked at.
    ///
    /// # Errors
    /// The store fails; then they are due again.
    pub async fn settle_due(&self, now: Timestamp) -> Result<usize, StoreError> {
        let rows = self.store.due(now, DUE_LEN_MAX).await?;
        let snapshot = self.current();
        let (mut looked, mut silent) = (Vec::with_capacity(rows.len()), Vec::new());
        let mut said = HashSet::new();
        for due in &rows {
            let ends_at = due.at.plus_us(snapshot.ruleset.attribution_us(due.offer));
            if ends_at > now {
                looked.push(Looked::Later(*due, ends_at));
                continue;
            }
            let hot = self.store.profile(due.customer).await?;
            match hot.and_then(|hot| self.silence(&snapshot, &hot.profile, (due, ends_at))) {
                Some(submission) if said.insert(submission.event.id) => silent.push((*due, submission)),
                _ => looked.push(Looked::Settled(*due)),
            }
        }
        let (dues, submissions): (Vec<Due>, Vec<Submission>) = silent.into_iter().unzip();
        // once these are on disk their rows may go
        let receipts = if submissions.is_empty() { Vec::new() } else { self.store.record(submissions).await };
        for (due, receipt) in dues.into_iter().zip(receipts) {
            if receipt.status == ReceiptStatus::Recorded {
                self.metrics.outcome(OutcomeType::NoResponse);
            }
            looked.push(match receipt.status {
                ReceiptStatus::Exhausted => Looked::Later(due, now.plus_us(AGAIN_US)),
                _ => Looked::Settled(due),
            });
        }
        if !looked.is_empty() {
            self.store.looked_at(looked).await?;
        }
        Ok(rows.len())
    }

    /// The outcome that says that nothing followed; `None` where something did, or
    /// the history does not hold the presentation any more.
    fn silence(&self, snapshot: &Snapshot, profile: &Profile, (due, at): (&Due, Timestamp)) -> Option<Submission> {
        let rules = &snapshot.ruleset;
        let is_it = |i: &&crate::domain::Interaction| {
            (i.decision, i.offer, i.channel) == (due.decision, due.offer, due.channel)
                && self.store.is_of_record(due, i.record)
        };
        let interaction = profile.interactions.iter().find(is_it)?;
        let channel = rules.channel_slots.get(&due.channel).map(|slot| rules.channel(*slot));
        if !decide::is_silence(interaction, channel, due.shown_by) {
            return None;
        }
        let presentation = PresentationRef {
            decision: due.decision,
            customer: Some(profile.key),
            offer: due.offer,
            channel: due.channel,
            record: interaction.record,
            expires_at: at,
        };
        let kind = EventKind::Outcome {
            presentation,
            outcome: OutcomeType::NoResponse,
            reason: ReasonCode(0),
            value: None,
            note: Box::default(),
            agent: Box::default(),
            call: Box::default(),
            purpose: self.purpose_of(&presentation),
            link: Box::default(),
        };
        let id = outcome_id(&presentation, OutcomeType::NoResponse, "");
        let event = Event { id, at, received_at: self.now(), identities: Vec::new(), feeds: Vec::new(), kind };
        let content = content_of_outcome(ReasonCode(0), None);
        Some(Submission { target: Target::Customer(profile.key), event, content, strength: Strength::Disk })
    }
}

#[cfg(test)]
mod tests;
