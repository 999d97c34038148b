//! Who may be behind an identity, for a desktop that opens on a call.

use std::{collections::VecDeque, sync::Arc};

use tokio::task::JoinSet;

use crate::{
    customer,
    decide::Snapshot,
    domain::{CustomerKey, Identity, Match, MatchRef, Profile, Sharing, Timestamp},
    store::{HotProfile, Resolved, StoreError},
};

use super::{App, AppError, mask};

/// Most customers of an answer.
pub const MATCHES_MAX: usize = 5;
/// Most profiles that one look-up loads at the same time.
const LOADING_MAX: usize = 8;

/// Who may be behind an identity.
#[derive(Clone, Debug)]
pub struct LookedUp {
    /// What the identity matched.
    pub matched: Match,
    /// The customers, the one seen last first; at most [`MATCHES_MAX`].
    pub matches: Vec<MaskedCustomer>,
    /// Whether there are more.
    pub more: bool,
}

/// A customer, masked.
#[derive(Clone, Debug)]
pub struct MaskedCustomer {
    /// Names the customer for a while.
    pub match_token: String,
    /// (type, masked value); types that the rules no longer have are left out.
    pub identities: Vec<(Arc<str>, String)>,
    /// Personal attributes by name, masked; without those for verified persons.
    pub attributes: Vec<(Arc<str>, String)>,
    /// When the first event came.
    pub first_seen: Timestamp,
    /// When the latest event or contact came.
    pub last_seen: Timestamp,
}

impl App {
    /// Who may be behind an identity. A caller's number can be forged, so what is
    /// answered is masked.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn lookup(self: &Arc<Self>, snapshot: &Snapshot, identity: &Identity) -> Result<LookedUp, AppError> {
        let mut found = self.profiles(self.store.holders(identity).await?).await?;
        let matched = match found.len() {
            0 => Match::New,
            1 => Match::Known,
            _ => Match::Ambiguous,
        };
        // the key last: equal times must not change the order from call to call
        found.sort_by_key(|hot| std::cmp::Reverse((last_seen(&hot.profile), hot.profile.first_seen, hot.profile.key)));
        let matches = found.iter().take(MATCHES_MAX).map(|hot| self.masked(snapshot, &hot.profile)).collect();
        Ok(LookedUp { matched, matches, more: found.len() > MATCHES_MAX })
    }

    /// The profiles of customers, in no order. Those that are not in memory are
    /// loaded together, at most [`LOADING_MAX`] at a time; when the caller gives
    /// up, no further one is.
    async fn profiles(self: &Arc<Self>, keys: Vec<CustomerKey>) -> Result<Vec<Arc<HotProfile>>, AppError> {
        let (mut found, mut waiting) = (Vec::with_capacity(keys.len()), VecDeque::new());
        for key in keys {
            match self.store.hot(key) {
                Some(hot) => found.push(hot),
                None => waiting.push_back(key),
            }
        }
        let mut loading = JoinSet::new();
        loop {
            while loading.len() < LOADING_MAX
                && let Some(key) = waiting.pop_front()
            {
                let app = Arc::clone(self);
                loading.spawn(async move { app.store.profile(key).await });
            }
            let Some(loaded) = loading.join_next().await else { return Ok(found) };
            found.extend(loaded.map_err(|_| StoreError::Closed)??);
        }
    }

    /// What names a customer for a while: an identity that only this one has, as
    /// far as memory knows, else the customer's key.
    fn match_of(&self, snapshot: &Snapshot, profile: &Profile) -> MatchRef {
        let schema = &snapshot.ruleset.schema;
        let named = profile.identities.iter().find_map(|one| {
            let (kind, sharing) = (one.kind, schema.sharing(one.kind));
            let hash = self.store.identity_hash(kind, &one.value);
            let identity = Identity { kind, value: Box::default(), hash, sharing };
            let alone =
                sharing == Sharing::Unique && self.store.resolve_hot(&[identity]) == Resolved::Known(profile.key);
            alone.then_some(MatchRef::Identity { kind, hash })
        });
        named.unwrap_or(MatchRef::Customer(profile.key))
    }

    fn masked(&self, snapshot: &Snapshot, profile: &Profile) -> MaskedCustomer {
        let schema = &snapshot.ruleset.schema;
        let identities = profile.identities.iter().filter_map(|one| {
            let def = schema.identities.iter().find(|def| def.id == one.kind)?;
            Some((Arc::clone(&def.name), mask::identity(def.format, &one.value)))
        });
        // who calls is not verified
        let stored = schema.stored.iter().map(|(_, slot)| &schema.attributes[slot.index()]);
        let personal = stored.filter(|def| def.pii && !def.verified);
        let attributes = personal.filter_map(|def| {
            let value = profile.attribute(def.id)?;
            Some((Arc::clone(&def.name), mask::attribute(&def.kind, value)))
        });
        MaskedCustomer {
            match_token: self.match_token(&self.match_of(snapshot, profile)),
            identities: identities.collect(),
            attributes: attributes.collect(),
            first_seen: profile.first_seen,
            last_seen: last_seen(profile),
        }
    }
}

/// When the latest event or contact came.
fn last_seen(profile: &Profile) -> Timestamp {
    let events = customer::traits::totals(profile).into_iter().map(|stat| stat.last_at);
    let contacts = profile.interactions.iter().map(|one| one.at.max(one.answered_at));
    events.chain(contacts).fold(profile.first_seen, Timestamp::max)
}
