//! Traceable links: where a token leads, and that it was followed.

use std::{sync::Arc, time::Duration};

use crate::{
    decide::Signer,
    domain::{LinkRef, OutcomeType, stable_hash32},
};

use super::{
    App, EventInput, Followed, OutcomeInput,
    signing::{Purpose, TokenError},
};

/// The longest a person on the way to a page waits for the click to be stored.
const COUNTED_WITHIN: Duration = Duration::from_millis(50);
/// The most clicks that wait to be stored; more are not counted.
pub(super) const CLICKS_WAITING_MAX: usize = 1_024;

impl App {
    /// Where a link token leads; counts the click once when `count` is set and
    /// the link is not of a preview. Only URLs of the current ruleset are ever
    /// answered.
    pub async fn follow(self: &Arc<Self>, token: &str, count: bool) -> Followed {
        let (link, purpose) = match self.keys.link(token, self.clock.now()) {
            Ok(link) => link,
            Err(TokenError::Forged | TokenError::Preview) => return Followed::Unknown,
            Err(TokenError::Expired) => return Followed::Gone,
        };
        let Some(url) = self.target(&link) else { return Followed::Gone };
        if count && purpose == Purpose::Present {
            self.count_click(link).await;
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
    async fn count_click(self: &Arc<Self>, link: LinkRef) {
        let Ok(room) = Arc::clone(&self.clicks_room).try_acquire_owned() else { return };
        let app = Arc::clone(self);
        let counting = tokio::spawn(async move {
            let token = app.keys.newest(Purpose::Present).presentation_token(&link.presentation);
            app.record(vec![EventInput::Outcome(click(token))]).await;
            drop(room);
        });
        // when the time is up it is still counted
        let _ = tokio::time::timeout(COUNTED_WITHIN, counting).await;
    }
}

fn click(token: String) -> OutcomeInput {
    OutcomeInput {
        token,
        outcome: OutcomeType::Click,
        reason_code: String::new(),
        value: None,
        note: Box::default(),
        agent: Box::default(),
        call: Box::default(),
        at: None,
    }
}
