//! Traceable links: where a token leads, and that it was followed.

use std::{sync::Arc, time::Duration};

use crate::{
    domain::{LinkRef, OutcomeType, stable_hash32},
    telemetry::metrics,
};

use super::{
    App, Bearer, Followed, OutcomeInput,
    record::CheckedOutcome,
    signing::{Presented, Purpose, TokenError},
};

/// The longest a person on the way to a page waits for the click to be stored.
const COUNTED_WITHIN: Duration = Duration::from_millis(50);
/// The most clicks that wait to be stored; more are not counted.
pub(super) const CLICKS_WAITING_MAX: usize = 1_024;

/// What a click on a link counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Click {
    /// One of whom the link was made for.
    Counted,
    /// One of nobody: where it comes from are more visitors than people.
    OfNobody,
    /// Nothing.
    #[default]
    Ignored,
}

impl App {
    /// Where a link token leads; counts the click once, as `click` says and when
    /// the link is not of a preview. Only URLs of the current ruleset are ever
    /// answered.
    pub async fn follow(self: &Arc<Self>, token: &str, click: Click) -> Followed {
        let (link, visitor, purpose) = match self.keys.link(token, self.clock.now()) {
            Ok(link) => link,
            Err(TokenError::Forged | TokenError::Preview) => return Followed::Unknown,
            Err(TokenError::Expired) => return Followed::Gone,
        };
        let Some(url) = self.target(&link) else { return Followed::Gone };
        if click != Click::Ignored && purpose == Purpose::Present {
            let visitor = visitor.filter(|_| click == Click::Counted);
            self.count_click(Presented { presentation: link.presentation, visitor }).await;
        }
        Followed::To(url)
    }

    fn target(&self, link: &LinkRef) -> Option<Arc<str>> {
        let ruleset = &self.snapshot.load().ruleset;
        let offer = ruleset.offer(*ruleset.offer_slots.get(&link.presentation.offer)?);
        let channel = *ruleset.channel_slots.get(&link.presentation.channel)?;
        let treatment =
            offer.treatments.iter().find(|t| t.channel == channel && stable_hash32(&t.language) == link.language)?;
        treatment.links.iter().find(|(name, _)| stable_hash32(name) == link.link).map(|(_, url)| Arc::clone(url))
    }

    /// Counts beside the redirect: a store that is slow or full must not keep
    /// the person from the page.
    async fn count_click(self: &Arc<Self>, presented: Presented) {
        let Ok(room) = Arc::clone(&self.clicks_room).try_acquire_owned() else {
            metrics().clicks_dropped.increment(1);
            return;
        };
        let app = Arc::clone(self);
        let counting = tokio::spawn(async move {
            let checked = app.outcome_of(presented, click()).map(CheckedOutcome::into_event);
            app.record_checked(vec![checked.map_err(|wrong| wrong.why)]).await;
            drop(room);
        });
        // when the time is up it is still counted
        let _ = tokio::time::timeout(COUNTED_WITHIN, counting).await;
    }
}

/// A click; its presentation is known already.
fn click() -> OutcomeInput {
    OutcomeInput {
        token: String::new(),
        bearer: Bearer::Service,
        outcome: OutcomeType::Click,
        reason_code: String::new(),
        value: None,
        note: Box::default(),
        agent: Box::default(),
        call: Box::default(),
        at: None,
    }
}
