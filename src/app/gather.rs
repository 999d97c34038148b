//! Who is asked about: the identities resolved, the hot profile taken.

use std::{sync::Arc, time::Duration};

use smallvec::{SmallVec, smallvec};

use crate::{
    domain::{Degraded, DegradedSet, Identity, Match, Profile, Request, Sharing},
    store::{HotProfile, Resolved},
};

use super::{
    App,
    customer::matched_of,
    terms::{Fullness, Terms},
    token::{self, Wanted},
};

/// Milliseconds a caller waits when the request does not say.
const TIME_BUDGET_MS: u64 = 100;

/// Milliseconds that the caller of a question waits.
pub(super) fn time_budget_ms(request: &Request) -> u64 {
    if request.time_budget_ms == 0 { TIME_BUDGET_MS } else { request.time_budget_ms.into() }
}

/// What a decision is made from, gathered before the pure part.
pub(super) struct Gathered {
    /// What the identities matched.
    pub matched: Match,
    /// The customer, if there is one.
    pub customer: Option<Arc<HotProfile>>,
    /// What was wrong.
    pub degraded: DegradedSet,
}

/// What led to a profile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FoundBy {
    /// Whom the question names, be it a visitor alone.
    Name,
    /// The visitor beside somebody who is named.
    Visit,
}

/// Who a question is about.
struct Asked<'a> {
    named: &'a [Identity],
    visitor: &'a [Identity],
    /// Those named by what is one person's; only filled beside a visitor.
    unique: SmallVec<[Identity; 2]>,
}

impl<'a> Asked<'a> {
    fn of(request: &'a Request) -> Self {
        let visits = request.visitor.is_some() && !request.identities.is_empty();
        let (named, visitor) = request.identities.split_at(request.identities.len() - usize::from(visits));
        let unique = match visitor {
            [] => SmallVec::new(),
            _ => named.iter().filter(|one| one.sharing == Sharing::Unique).cloned().collect(),
        };
        Self { named, visitor, unique }
    }

    /// What is looked up until one settles it: whom a unique identity names
    /// decides, then the visitor, then who holds a shared one.
    fn steps(&self) -> SmallVec<[(&[Identity], FoundBy); 3]> {
        match (self.named, self.visitor) {
            (named, []) => smallvec![(named, FoundBy::Name)],
            ([], visitor) => smallvec![(visitor, FoundBy::Name)],
            (named, visitor) => {
                smallvec![(&self.unique[..], FoundBy::Name), (visitor, FoundBy::Visit), (named, FoundBy::Name)]
            }
        }
    }

    /// Whether a step tells who it is. More than one person uses a browser: a
    /// visitor beside somebody who is named counts only where nothing but visits
    /// made the profile, or where it holds what was named.
    fn settled(&self, resolved: Resolved, customer: Option<&HotProfile>, found_by: FoundBy) -> bool {
        let is_named = |profile: &Profile| {
            let holds = |one: &Identity| profile.identities.iter().any(|i| i.kind == one.kind && i.value == one.value);
            profile.is_only_visited() || self.named.iter().any(holds)
        };
        let fits = found_by == FoundBy::Name || customer.is_none_or(|customer| is_named(&customer.profile));
        resolved != Resolved::Unknown && fits
    }

    fn gathered(&self, resolved: Resolved, customer: Option<Arc<HotProfile>>) -> Gathered {
        let named = !self.named.is_empty() || !self.visitor.is_empty();
        let matched = match (resolved, &customer) {
            (Resolved::Known(_), None) => Match::New,
            _ => matched_of(resolved, named),
        };
        Gathered { matched, customer, degraded: DegradedSet::default() }
    }
}

/// Nobody, for it could not be read who it is.
fn unread(degraded: &mut DegradedSet) -> Gathered {
    degraded.insert(Degraded::ProfileUnavailable);
    Gathered { matched: Match::New, customer: None, degraded: DegradedSet::default() }
}

impl App {
    /// Resolves the identities and takes the hot profile. Waits only when one
    /// of them is not in memory, and never longer than the time budget; not at
    /// all for a short answer.
    pub(super) async fn gather(&self, request: &Request, terms: Terms) -> Gathered {
        let mut degraded = DegradedSet::default();
        if self.store.redis_is_down() {
            degraded.insert(Degraded::RedisDown);
        }
        let budget_ms = time_budget_ms(request);
        let wanted = token::wanted(&request.consistency_token);
        if let Some(Wanted::Seen(seen)) = &wanted
            && !Box::pin(self.until_seen(seen, terms.left(Duration::from_millis(budget_ms)) * 3 / 4)).await
        {
            degraded.insert(Degraded::StaleProfile);
        }
        let mut gathered = match self.gather_hot(request) {
            Some(gathered) => gathered,
            None if terms.fullness == Fullness::Short => unread(&mut degraded),
            None => {
                let cold = Box::pin(self.gather_cold(request));
                let cold =
                    Box::pin(tokio::time::timeout_at(terms.until(Duration::from_millis(budget_ms)).into(), cold));
                cold.await.ok().flatten().unwrap_or_else(|| unread(&mut degraded))
            }
        };
        if terms.fullness == Fullness::Short {
            degraded.insert(Degraded::Overload);
        }
        let version = gathered.customer.as_ref().map_or(0, |c| c.profile.version);
        if matches!(wanted, Some(Wanted::Version(wanted)) if wanted > version) || self.lacks_entries() {
            degraded.insert(Degraded::StaleProfile);
        }
        gathered.degraded = degraded;
        gathered
    }

    /// `None` when memory cannot tell.
    fn gather_hot(&self, request: &Request) -> Option<Gathered> {
        let asked = Asked::of(request);
        for (identities, found_by) in asked.steps() {
            let resolved = self.resolve_hot(identities);
            let customer = match resolved {
                Resolved::NotLoaded => return None,
                Resolved::Known(key) => Some(self.store.hot(key)?),
                Resolved::Unknown | Resolved::Ambiguous => None,
            };
            if asked.settled(resolved, customer.as_deref(), found_by) {
                return Some(asked.gathered(resolved, customer));
            }
        }
        Some(asked.gathered(Resolved::Unknown, None))
    }

    /// `None` when the store cannot be read.
    async fn gather_cold(&self, request: &Request) -> Option<Gathered> {
        let asked = Asked::of(request);
        for (identities, found_by) in asked.steps() {
            let resolved = self.resolve(identities).await.ok()?;
            let customer = match resolved {
                Resolved::Known(key) => self.store.profile(key).await.ok()?,
                _ => None,
            };
            if asked.settled(resolved, customer.as_deref(), found_by) {
                return Some(asked.gathered(resolved, customer));
            }
        }
        Some(asked.gathered(Resolved::Unknown, None))
    }
}
