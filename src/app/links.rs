//! Traceable links: where a token leads, and that it was followed.

use std::{sync::Arc, time::Duration};

use crate::{
    domain::{LinkRef, OutcomeType, VisitorId, stable_hash32},
    store::{Resolved, StoreError},
    telemetry::metrics,
};

use super::{
    App, Bearer, Followed, OutcomeInput,
    record::{CheckedOutcome, outcome_id},
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

/// A link that the rules have.
struct Target {
    /// Its name.
    name: Arc<str>,
    /// Where it leads.
    url: Arc<str>,
    /// The names of all links of its treatment.
    all: Vec<Arc<str>>,
}

impl App {
    /// Where a link token leads; records the click once for each link of a
    /// presentation, as `click` says and when the link is not of a preview: the
    /// timeline tells every link that was followed, the presentation counts as
    /// clicked once. Only URLs of the current ruleset are ever answered.
    pub async fn follow(self: &Arc<Self>, token: &str, click: Click) -> Followed {
        let (link, visitor, purpose) = match self.keys.link(token, self.clock.now()) {
            Ok(link) => link,
            Err(TokenError::Forged | TokenError::Preview) => return Followed::Unknown,
            Err(TokenError::Expired) => return Followed::Gone,
        };
        let Some(target) = self.target(&link) else { return Followed::Gone };
        let url = Arc::clone(&target.url);
        if click != Click::Ignored && purpose == Purpose::Present {
            self.count_click(Presented { presentation: link.presentation, visitor }, click, target).await;
        }
        Followed::To(url)
    }

    fn target(&self, link: &LinkRef) -> Option<Target> {
        let ruleset = &self.snapshot.load().ruleset;
        let offer = ruleset.offer(*ruleset.offer_slots.get(&link.presentation.offer)?);
        let channel = *ruleset.channel_slots.get(&link.presentation.channel)?;
        let treatment =
            offer.treatments.iter().find(|t| t.channel == channel && stable_hash32(&t.language) == link.language)?;
        let (name, url) = treatment.links.iter().find(|(name, _)| stable_hash32(name) == link.link)?;
        let all = treatment.links.iter().map(|(name, _)| Arc::clone(name)).collect();
        Some(Target { name: Arc::clone(name), url: Arc::clone(url), all })
    }

    /// Counts beside the redirect: a store that is slow or full must not keep
    /// the person from the page.
    async fn count_click(self: &Arc<Self>, bound: Presented, as_click: Click, target: Target) {
        let Ok(room) = Arc::clone(&self.clicks_room).try_acquire_owned() else {
            metrics().clicks_dropped.increment(1);
            return;
        };
        let app = Arc::clone(self);
        let counting = tokio::spawn(async move {
            // what cannot be read is not counted twice for it
            if !app.counted_otherwise(&bound, as_click, &target).await.unwrap_or(true) {
                let visitor = bound.visitor.filter(|_| as_click == Click::Counted);
                let presented = Presented { visitor, ..bound };
                let checked = app.outcome_of(presented, click(&target.name)).map(CheckedOutcome::into_event);
                app.record_checked(vec![checked.map_err(|wrong| wrong.why)]).await;
            }
            drop(room);
        });
        // when the time is up it is still counted
        let _ = tokio::time::timeout(COUNTED_WITHIN, counting).await;
    }

    /// Whether a presentation to a visitor was clicked before in the other way:
    /// of nobody when it is the visitor's now, of the visitor when it is nobody's.
    /// Of a customer the history unites all clicks.
    ///
    /// Bound: two clicks at the same moment, and what is reported without a link
    /// from a crowd after the visitor followed one, count once more.
    async fn counted_otherwise(&self, bound: &Presented, as_click: Click, target: &Target) -> Result<bool, StoreError> {
        let (None, Some(visitor)) = (bound.presentation.customer, bound.visitor) else { return Ok(false) };
        let id = |link| outcome_id(&bound.presentation, OutcomeType::Click, link);
        if as_click == Click::Counted {
            return Ok(self.store.has_event(id("")).await? && !self.has_clicked(visitor, bound).await?);
        }
        for link in &target.all {
            if self.store.has_event(id(link)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the visitor's history shows a click on the presentation.
    async fn has_clicked(&self, visitor: VisitorId, bound: &Presented) -> Result<bool, StoreError> {
        let Resolved::Known(key) = self.resolve(&[self.visitor_identity(visitor)]).await? else { return Ok(false) };
        let Some(hot) = self.store.profile(key).await? else { return Ok(false) };
        let wanted = &bound.presentation;
        let same = |i: &&crate::domain::Interaction| {
            (i.decision, i.offer, i.channel) == (wanted.decision, wanted.offer, wanted.channel)
        };
        Ok(hot.profile.interactions.iter().filter(same).any(|i| i.outcomes.has(OutcomeType::Click)))
    }
}

/// A click on a link; its presentation is known already.
fn click(link: &str) -> OutcomeInput {
    OutcomeInput {
        token: String::new(),
        meant: None,
        bearer: Bearer::Service,
        outcome: OutcomeType::Click,
        reason_code: String::new(),
        value: None,
        note: Box::default(),
        agent: Box::default(),
        call: Box::default(),
        link: link.into(),
        at: None,
    }
}
