//! API keys: hashed at rest, compared in constant time.

use std::path::Path;

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tonic::{Code, Status};

use crate::grpc::status::with_info;

use super::{ServeError, roles::Role};

/// Most keys of a file.
pub const KEYS_MAX: usize = 1_000;
/// Most bytes of a key.
pub const KEY_BYTES_MAX: usize = 512;

/// The keys that are accepted.
pub struct Keys(Vec<([u8; 32], Role)>);

impl Keys {
    /// Reads a file of keys.
    ///
    /// # Errors
    /// The file cannot be read or has no key; a line that is not
    /// `name role sha256hex`.
    pub fn read(path: &Path) -> Result<Self, ServeError> {
        let wrong = |why: String| ServeError::Keys { path: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        Self::parse(&text).map_err(wrong)
    }

    /// Reads the lines of a file: `name role sha256hex`; `#` starts a comment.
    ///
    /// # Errors
    /// Every line that is wrong and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        let mut wrong = Vec::new();
        for (line, text) in (1..).zip(text.lines()) {
            match key(text) {
                Ok(key) => keys.extend(key),
                Err(why) => wrong.push(format!("line {line}: {why}")),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.join("; "));
        }
        match keys.len() {
            0 => Err("there is no key: give `name role sha256hex` a line".to_owned()),
            1..=KEYS_MAX => Ok(Self(keys)),
            many => Err(format!("there are {many} keys: at most {KEYS_MAX}")),
        }
    }

    /// Whether the caller may do what needs a role.
    ///
    /// # Errors
    /// No key, an unknown one, or one without that role.
    pub fn permit(&self, headers: &HeaderMap, needed: Role) -> Result<(), Status> {
        if needed == Role::Public {
            return Ok(());
        }
        let Some(key) = presented(headers) else {
            let message = "the call needs an API key: send `authorization: Bearer KEY` or `x-api-key: KEY`";
            return Err(with_info(Code::Unauthenticated, "NO_API_KEY", message));
        };
        match self.role(key) {
            None => Err(with_info(Code::Unauthenticated, "UNKNOWN_API_KEY", "the API key is not known")),
            Some(role) if role < needed => {
                let message = "the API key's role does not permit this call: use a key with a higher role";
                Err(with_info(Code::PermissionDenied, "ROLE_TOO_LOW", message))
            }
            Some(_) => Ok(()),
        }
    }

    /// Compares with every key, whichever fits, so that time tells nothing.
    fn role(&self, key: &[u8]) -> Option<Role> {
        let hash = Sha256::digest(key);
        let mut found = 0_u8;
        for (known, role) in &self.0 {
            let same: Choice = known.as_slice().ct_eq(hash.as_slice());
            found.conditional_assign(&(*role as u8), same);
        }
        [Role::Decide, Role::Record, Role::Admin].into_iter().find(|role| *role as u8 == found)
    }
}

/// The key of a line; none for a blank one.
fn key(line: &str) -> Result<Option<([u8; 32], Role)>, String> {
    let line = line.split('#').next().unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [] => Ok(None),
        [_, role, hash] => {
            let role = Role::from_name(role)
                .ok_or_else(|| format!("`{role}` is not a role: give `decide`, `record` or `admin`"))?;
            let hash = unhex(hash).ok_or("the hash is not the 64 hex digits of a SHA-256")?;
            Ok(Some((hash, role)))
        }
        _ => Err("give `name role sha256hex`".to_owned()),
    }
}

fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key)
    });
    let key = bearer.or_else(|| headers.get("x-api-key").map(|value| value.as_bytes()))?;
    (!key.is_empty() && key.len() <= KEY_BYTES_MAX).then_some(key)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `printf decide-key | sha256sum`
    fn file(role: &str, key: &str) -> String {
        let hash: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("# keys\nsite {role} {hash}\n")
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(axum::http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn a_key_permits_its_role_and_those_below() {
        let keys = Keys::parse(&file("record", "s3cret")).unwrap();
        let bearer = headers("authorization", "Bearer s3cret");
        assert!(keys.permit(&bearer, Role::Decide).is_ok());
        assert!(keys.permit(&headers("x-api-key", "s3cret"), Role::Record).is_ok());
        let code = |headers: &HeaderMap, role| keys.permit(headers, role).map_err(|status| status.code());
        assert_eq!(code(&bearer, Role::Admin), Err(Code::PermissionDenied));
        assert_eq!(code(&headers("x-api-key", "other"), Role::Decide), Err(Code::Unauthenticated));
        assert_eq!(code(&HeaderMap::new(), Role::Decide), Err(Code::Unauthenticated));
        assert_eq!(code(&HeaderMap::new(), Role::Public), Ok(()));
    }

    #[test]
    fn wrong_lines_are_named() {
        let why = |text: &str| Keys::parse(text).err().unwrap_or_default();
        assert!(why("").contains("no key"));
        assert!(why("a b").contains("line 1"));
        assert!(why(&file("root", "x")).contains("line 2: `root` is not a role"));
        assert!(why("a admin zz").contains("64 hex digits"));
        let both = why("a b\n\nsite root 00");
        assert!(both.contains("line 1: give") && both.contains("line 3: `root`"), "{both}");
    }
}
