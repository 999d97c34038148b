//! Identities at the edge: checked, normalised, hashed.

use crate::{
    decide::Snapshot,
    domain::{Identity, schema::IdentityFormat},
};

use super::App;

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
        let value = normalise(def.format, value)?;
        let hash = self.store.identity_hash(def.id, &value);
        Ok(Identity { kind: def.id, value: value.into(), hash })
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
        IdentityFormat::Opaque => Ok(value.to_owned()),
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
    let bare: String = value.chars().filter(|c| !matches!(c, ' ' | '.' | '-' | '(' | ')')).collect();
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
        assert_eq!(phone("+44 (7700) 900-123").as_deref(), Ok("+447700900123"));
        for bad in ["07700900123", "+44", "+0123456789", "+44770090012x", "+1234567890123456"] {
            assert!(phone(bad).is_err(), "{bad}");
        }
        assert!(normalise(IdentityFormat::Opaque, "a\u{0}b").is_err());
        assert!(normalise(IdentityFormat::Opaque, &"x".repeat(257)).is_err());
    }
}
