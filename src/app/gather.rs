//! Who is asked about: the identities resolved, the hot profile taken.

use std::{sync::Arc, time::Duration};

use crate::{
    domain::{Degraded, DegradedSet, Identity, Match, Request},
    store::{HotProfile, Resolved},
};

use super::{App, customer::matched_of, token};

/// Milliseconds a caller waits when the request does not say.
const TIME_BUDGET_MS: u64 = 100;

/// What a decision is made from, gathered before the pure part.
pub(super) struct Gathered {
    /// What the identities matched.
    pub matched: Match,
    /// The customer, if there is one.
    pub customer: Option<Arc<HotProfile>>,
    /// What was wrong.
    pub degraded: DegradedSet,
}

impl App {
    /// Resolves the identities and takes the hot profile. Waits only when one
    /// of them is not in memory, and never longer than the time budget.
    pub(super) async fn gather(&self, request: &Request) -> Gathered {
        let mut degraded = DegradedSet::default();
        let mut gathered = match self.gather_hot(request) {
            Some(gathered) => gathered,
            None => {
                let budget_ms =
                    if request.time_budget_ms == 0 { TIME_BUDGET_MS } else { request.time_budget_ms.into() };
                let cold = Box::pin(self.gather_cold(request));
                let cold = Box::pin(tokio::time::timeout(Duration::from_millis(budget_ms), cold));
                cold.await.ok().flatten().unwrap_or_else(|| {
                    degraded.insert(Degraded::ProfileUnavailable);
                    Gathered { matched: Match::New, customer: None, degraded: DegradedSet::default() }
                })
            }
        };
        let wanted = token::version_of(&request.consistency_token).unwrap_or(0);
        let version = gathered.customer.as_ref().map_or(0, |c| c.profile.version);
        if wanted > version {
            degraded.insert(Degraded::StaleProfile);
        }
        gathered.degraded = degraded;
        gathered
    }

    /// `None` when memory cannot tell.
    fn gather_hot(&self, request: &Request) -> Option<Gathered> {
        let (named, visitor) = named(request);
        let resolved = match (named, visitor) {
            ([], []) => Resolved::Unknown,
            ([], visitor) => self.resolve_hot(visitor),
            (named, []) => self.resolve_hot(named),
            (named, visitor) => match self.resolve_hot(named) {
                Resolved::Unknown => self.resolve_hot(visitor),
                known => known,
            },
        };
        let customer = match resolved {
            Resolved::NotLoaded => return None,
            Resolved::Known(key) => Some(self.store.hot(key)?),
            Resolved::Unknown | Resolved::Ambiguous => None,
        };
        let matched = matched_of(resolved, !request.identities.is_empty());
        Some(Gathered { matched, customer, degraded: DegradedSet::default() })
    }

    /// `None` when the store cannot be read.
    async fn gather_cold(&self, request: &Request) -> Option<Gathered> {
        let (named, visitor) = named(request);
        let resolved = match self.resolve(named).await.ok()? {
            Resolved::Unknown => self.resolve(visitor).await.ok()?,
            known => known,
        };
        let customer = match resolved {
            Resolved::Known(key) => self.store.profile(key).await.ok()?,
            _ => None,
        };
        let matched = if customer.is_none() && matches!(resolved, Resolved::Known(_)) {
            Match::New
        } else {
            matched_of(resolved, !request.identities.is_empty())
        };
        Some(Gathered { matched, customer, degraded: DegradedSet::default() })
    }
}

/// Who is named, and the visitor: whom the caller names decides, and the
/// visitor only where that is nobody yet.
fn named(request: &Request) -> (&[Identity], &[Identity]) {
    let visits = request.visitor.is_some() && !request.identities.is_empty();
    request.identities.split_at(request.identities.len() - usize::from(visits))
}
