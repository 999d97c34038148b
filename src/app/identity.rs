//! Identities at the edge: checked, normalised, hashed.

use crate::{
    decide::Snapshot,
    domain::{
        CustomerKey, Identity, IdentityHash, IdentityTypeId, MatchRef, Sharing, VisitorId,
        schema::{IdentityFormat, MATCH_TYPE, VISITOR_TYPE},
    },
    store::{Resolved, StoreError, has_only},
};

use super::{App, signing::TokenError};

/// Most bytes of an identity's value.
pub const IDENTITY_BYTES_MAX: usize = 256;

impl App {
    /// The identity, checked against the declared types, normalised and hashed.
    ///
    /// # Errors
    /// What is wrong with the type or the value, and what to do.
    pub fn identity(&self, snapshot: &Snapshot, kind: &str, value: &str) -> Result<Identity, String> {
        let schema = &snapshot.ruleset.schema;
        let Some(def) = schema.identity_by_name(kind) else {
            let known: Vec<&str> = schema.identities.iter().map(|i| &*i.name).collect();
            return Err(format!("unknown identity type `{kind}`; use one of `{}`", known.join("`, `")));
        };
        match def.format {
            IdentityFormat::Visitor => {
                self.visitor(value.trim()).map(|id| self.visitor_identity(id)).ok_or_else(|| {
                    "the value is not a visitor id of ours or is too old; send it as it was answered, or leave it out"
                        .to_owned()
                })
            }
            IdentityFormat::Match => self.matched(value.trim()),
            format => {
                let value = normalise(format, value)?;
                let hash = self.store.identity_hash(def.id, &value);
                Ok(Identity { kind: def.id, value: value.into(), hash, sharing: def.sharing })
            }
        }
    }

    /// The visitor behind a signed visitor id; `None` for anything else.
    pub fn visitor(&self, signed: &str) -> Option<VisitorId> {
        self.keys.visitor(signed, self.clock.now())
    }

    /// What identities stand for, as far as memory knows.
    pub(super) fn resolve_hot(&self, identities: &[Identity]) -> Resolved {
        match matched_customer(identities) {
            None => match self.store.resolve_hot(identities) {
                Resolved::Unknown => self.shared_hot(identities),
                known => known,
            },
            Some((customer, others)) => agreed(self.store.live(customer), self.store.resolve_hot(&others)),
        }
    }

    /// What identities stand for. Never [`Resolved::NotLoaded`].
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) async fn resolve(&self, identities: &[Identity]) -> Result<Resolved, StoreError> {
        match matched_customer(identities) {
            None => match self.store.resolve(identities).await? {
                Resolved::Unknown => self.shared(identities).await,
                known => Ok(known),
            },
            Some((customer, others)) => {
                let live = self.store.profile(customer).await?.map_or(customer, |hot| hot.profile.key);
                Ok(agreed(live, self.store.resolve(&others).await?))
            }
        }
    }

    /// Whom the shared identities name where nobody has the unique ones yet: the
    /// one whose they become when they are written, as the store decides it.
    fn shared_hot(&self, identities: &[Identity]) -> Resolved {
        let Some((shared, kinds)) = beside_unique(identities) else { return Resolved::Unknown };
        match self.store.resolve_hot(&shared) {
            Resolved::Known(key) => match self.store.hot(key) {
                Some(hot) if has_only(&hot.profile, &kinds) => Resolved::Known(key),
                Some(_) => Resolved::Unknown,
                None => Resolved::NotLoaded,
            },
            Resolved::NotLoaded => Resolved::NotLoaded,
            Resolved::Unknown | Resolved::Ambiguous => Resolved::Unknown,
        }
    }

    /// As [`App::shared_hot`], and reads what is not in memory.
    async fn shared(&self, identities: &[Identity]) -> Result<Resolved, StoreError> {
        let Some((shared, kinds)) = beside_unique(identities) else { return Ok(Resolved::Unknown) };
        let Resolved::Known(key) = self.store.resolve(&shared).await? else { return Ok(Resolved::Unknown) };
        let known = self.store.profile(key).await?.is_some_and(|hot| has_only(&hot.profile, &kinds));
        Ok(if known { Resolved::Known(key) } else { Resolved::Unknown })
    }

    /// A visitor as an identity.
    pub fn visitor_identity(&self, visitor: VisitorId) -> Identity {
        let (kind, value) = (IdentityTypeId::of(VISITOR_TYPE), visitor.to_string());
        let hash = self.store.identity_hash(kind, &value);
        Identity { kind, value: value.into(), hash, sharing: Sharing::Unique }
    }

    /// A token that names a customer for 15 minutes, as an identity of the type
    /// `match`; it shows nothing of whom it names.
    pub fn match_token(&self, named: &MatchRef) -> String {
        self.keys.match_token(named, self.clock.now())
    }

    /// The identity that a match token stands for. INVARIANT: its value is
    /// empty, as no other's is, so that nothing can be written by it.
    fn matched(&self, token: &str) -> Result<Identity, String> {
        let named = self.keys.matched(token, self.clock.now()).map_err(|error| match error {
            TokenError::Expired => "the match token is expired; look the customer up again",
            TokenError::Forged | TokenError::Preview => {
                "the match token is not one of ours; send it as it was returned"
            }
        })?;
        let (kind, hash) = match named {
            MatchRef::Identity { kind, hash } => (kind, hash),
            MatchRef::Customer(customer) => (IdentityTypeId::of(MATCH_TYPE), IdentityHash(customer.0)),
        };
        Ok(Identity { kind, value: Box::default(), hash, sharing: Sharing::Unique })
    }
}

/// The shared ones among identities of which others are unique, and their types.
fn beside_unique(identities: &[Identity]) -> Option<(Vec<Identity>, Vec<IdentityTypeId>)> {
    let shared: Vec<Identity> = identities.iter().filter(|one| one.sharing == Sharing::Shared).cloned().collect();
    let kinds = shared.iter().map(|one| one.kind).collect();
    (!shared.is_empty() && shared.len() < identities.len()).then_some((shared, kinds))
}

/// The customer whom a match token names without an identity, and the other
/// identities that name one: shared ones need not be asked.
fn matched_customer(identities: &[Identity]) -> Option<(CustomerKey, Vec<Identity>)> {
    let unique = identities.iter().filter(|one| one.sharing == Sharing::Unique);
    let (customers, others): (Vec<_>, Vec<_>) =
        identities.iter().any(is_customer).then(|| unique.cloned().partition(is_customer))?;
    let first = customers.first()?.hash;
    // of two customers none: both stay, and nobody has such an identity
    let same = customers.iter().all(|one| one.hash == first);
    same.then_some((CustomerKey(first.0), others))
}

fn is_customer(identity: &Identity) -> bool {
    identity.value.is_empty() && identity.kind == IdentityTypeId::of(MATCH_TYPE)
}

/// What a customer and other identities stand for together.
fn agreed(customer: CustomerKey, others: Resolved) -> Resolved {
    match others {
        Resolved::Known(other) if other != customer => Resolved::Ambiguous,
        Resolved::NotLoaded => Resolved::NotLoaded,
        // identities of several do not speak against the one who is named
        Resolved::Known(_) | Resolved::Unknown | Resolved::Ambiguous => Resolved::Known(customer),
    }
}

/// The normal form of an identity's value.
///
/// # Errors
/// What is wrong with it. The value itself is never repeated: it may be personal.
pub fn normalise(format: IdentityFormat, value: &str) -> Result<String, String> {
    let value = value.trim();
    if value.is_empty() || value.len() > IDENTITY_BYTES_MAX {
        return Err(format!("the value has {} bytes; give 1 to {IDENTITY_BYTES_MAX}", value.len()));
    }
    if value.chars().any(char::is_control) {
        return Err("the value holds control characters; remove them".to_owned());
    }
    match format {
        IdentityFormat::Opaque | IdentityFormat::Visitor | IdentityFormat::Match => Ok(value.to_owned()),
        IdentityFormat::Email => email(value),
        IdentityFormat::Phone => phone(value),
    }
}

fn email(value: &str) -> Result<String, String> {
    let lower = value.to_lowercase();
    let plausible = lower.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && domain.contains('.') && !domain.contains('@') && !domain.starts_with('.')
    });
    if plausible && !lower.contains(char::is_whitespace) && !lower.ends_with('.') {
        Ok(lower)
    } else {
        Err("the value is not an e-mail address; write it as `name@example.org`".to_owned())
    }
}

fn phone(value: &str) -> Result<String, String> {
    let spaced: String = value.chars().filter(|c| !matches!(c, ' ' | '.' | '-')).collect();
    // who calls from abroad leaves out the 0 of `+44 (0)770`
    let spaced = if spaced.starts_with('+') { spaced.replacen("(0)", "", 1) } else { spaced };
    let bare: String = spaced.chars().filter(|c| !matches!(c, '(' | ')')).collect();
    let digits = bare.strip_prefix('+').unwrap_or("");
    let plausible = (7..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if plausible && !digits.starts_with('0') {
        Ok(bare)
    } else {
        Err("the value is not a phone number in E.164; write it as `+447700900123`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_normalised_or_refused() {
        let email = |v| normalise(IdentityFormat::Email, v);
        assert_eq!(email(" Ann@Example.ORG ").as_deref(), Ok("ann@example.org"));
        for bad in ["", "ann", "ann@", "@x.y", "a@b", "a b@x.y", "a@x.y.", "a@b@c.d", "a@.x"] {
            assert!(email(bad).is_err(), "{bad}");
        }
        let phone = |v| normalise(IdentityFormat::Phone, v);
        for same in ["+44 (7700) 900-123", "+44 (0)7700 900123", "+44(0) 7700.900.123", "+44 ( 0 ) 7700 900123"] {
            assert_eq!(phone(same).as_deref(), Ok("+447700900123"), "{same}");
        }
        for bad in ["07700900123", "+44", "+0123456789", "+44770090012x", "+1234567890123456"] {
            assert!(phone(bad).is_err(), "{bad}");
        }
        assert!(normalise(IdentityFormat::Opaque, "a\u{0}b").is_err());
        assert!(normalise(IdentityFormat::Opaque, &"x".repeat(257)).is_err());
    }
}
