//! API keys: hashed at rest, compared in constant time.

use std::{borrow::Cow, path::Path};

use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::{ServeError, roles::Role};

/// Most keys of a file.
pub const KEYS_MAX: usize = 1_000;
/// Most bytes of a key.
pub const KEY_BYTES_MAX: usize = 512;

/// The roles that a key may have.
const ROLES: [Role; 4] = [Role::Browser, Role::Decide, Role::Record, Role::Admin];

/// Who holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// What the key may do.
    pub role: Role,
    /// Whether views show personal data to it as it is.
    pub sees_personal: bool,
    /// Which key it is.
    pub index: u32,
}

/// The word of a key that may see personal data.
const PERSONAL: &str = "pii";

/// A key of the file.
struct Key {
    hash: [u8; 32],
    role: Role,
    sees_personal: bool,
}

/// The keys that are accepted.
pub struct Keys(Vec<Key>);

impl Keys {
    /// Reads a file of keys.
    ///
    /// # Errors
    /// The file cannot be read or has no key; a line that is not
    /// `name role sha256hex` or `name role sha256hex pii`.
    pub fn read(path: &Path) -> Result<Self, ServeError> {
        let wrong = |why: String| ServeError::Keys { path: path.to_owned(), why };
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        Self::parse(&text).map_err(wrong)
    }

    /// Reads the lines of a file: `name role sha256hex`, and `pii` after it for a
    /// key that may see personal data, as every `admin` may; `#` starts a comment.
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

    /// Who holds a key. Compares with every key, whichever fits, so that time
    /// tells nothing.
    pub fn holder(&self, key: &[u8]) -> Option<Holder> {
        let hash = Sha256::digest(key);
        let (mut found, mut sees, mut at) = (0_u8, 0_u8, 0_u32);
        for (index, known) in (0..).zip(&self.0) {
            let same: Choice = known.hash.as_slice().ct_eq(hash.as_slice());
            found.conditional_assign(&(known.role as u8), same);
            sees.conditional_assign(&u8::from(known.sees_personal), same);
            at.conditional_assign(&index, same);
        }
        let role = ROLES.into_iter().find(|role| *role as u8 == found)?;
        Some(Holder { role, sees_personal: sees != 0, index: at })
    }
}

/// The key of a line; none for a blank one.
fn key(line: &str) -> Result<Option<Key>, String> {
    let line = line.split('#').next().unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        [] => Ok(None),
        [_, role, hash, rest @ ..] if matches!(rest, [] | [PERSONAL]) => {
            let role = Role::from_name(role)
                .ok_or_else(|| format!("`{role}` is not a role: give `browser`, `decide`, `record` or `admin`"))?;
            let hash = unhex(hash).ok_or("the hash is not the 64 hex digits of a SHA-256")?;
            if !rest.is_empty() && role < Role::Record {
                return Err(format!("`{PERSONAL}` is for keys that see customers: give `record`, or leave it out"));
            }
            let sees_personal = role == Role::Admin || !rest.is_empty();
            Ok(Some(Key { hash, role, sees_personal }))
        }
        _ => Err("give `name role sha256hex`, or `name role sha256hex pii`".to_owned()),
    }
}

/// The key among the headers.
pub fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key)
    });
    let key = bearer.or_else(|| headers.get("x-api-key").map(|value| value.as_bytes()))?;
    (!key.is_empty() && key.len() <= KEY_BYTES_MAX).then_some(key)
}

/// The key of a query, `?key=KEY`: what a beacon can send, which has no headers
/// of its own.
pub fn in_query(query: &str) -> Option<Cow<'_, [u8]>> {
    let key = query.split('&').find_map(|pair| pair.strip_prefix("key="))?;
    let key = unescaped(key.as_bytes());
    (!key.is_empty() && key.len() <= KEY_BYTES_MAX).then_some(key)
}

/// Undoes percent-encoding (RFC 3986, section 2.1).
fn unescaped(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let pair = after.first_chunk::<2>().filter(|_| *first == b'%');
        let byte =
            pair.and_then(|pair| std::str::from_utf8(pair).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    Cow::Owned(out)
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
    fn a_key_is_known_by_its_hash() {
        let text = file("record", "s3cret") + &file("browser", "pk_shop") + &file("admin", "root");
        let keys = Keys::parse(&text).unwrap();
        let holder = |role, sees_personal, index| Some(Holder { role, sees_personal, index });
        assert_eq!(keys.holder(b"s3cret"), holder(Role::Record, false, 0));
        assert_eq!(keys.holder(b"pk_shop"), holder(Role::Browser, false, 1));
        assert_eq!(keys.holder(b"root"), holder(Role::Admin, true, 2));
        let text = file("record", "s3cret").trim_end().to_owned() + " pii\n";
        assert_eq!(Keys::parse(&text).unwrap().holder(b"s3cret"), holder(Role::Record, true, 0));
        assert_eq!(keys.holder(b"s3cre"), None);
        assert_eq!(keys.holder(b""), None);
    }

    #[test]
    fn a_key_stands_in_either_header_or_in_the_query() {
        assert_eq!(presented(&headers("authorization", "Bearer s3cret")), Some(&b"s3cret"[..]));
        assert_eq!(presented(&headers("authorization", "bearer s3cret")), Some(&b"s3cret"[..]));
        assert_eq!(presented(&headers("x-api-key", "s3cret")), Some(&b"s3cret"[..]));
        assert_eq!(presented(&headers("authorization", "Basic s3cret")), None);
        assert_eq!(presented(&headers("x-api-key", &"k".repeat(KEY_BYTES_MAX + 1))), None);
        assert_eq!(presented(&HeaderMap::new()), None);
        let query = |text| in_query(text).map(|key| String::from_utf8(key.into_owned()).unwrap());
        assert_eq!(query("key=pk_shop"), Some("pk_shop".to_owned()));
        assert_eq!(query("a=1&key=pk%5Fs%2&b=2"), Some("pk_s%2".to_owned()));
        assert_eq!(query("keys=1&akey=2&key="), None);
    }

    #[test]
    fn wrong_lines_are_named() {
        let why = |text: &str| Keys::parse(text).err().unwrap_or_default();
        assert!(why("").contains("no key"));
        assert!(why("a b").contains("line 1"));
        assert!(why(&file("root", "x")).contains("line 2: `root` is not a role"));
        assert!(why("a admin zz").contains("64 hex digits"));
        assert!(why(&(file("decide", "x").trim_end().to_owned() + " pii")).contains("`pii` is for keys"));
        assert!(why(&(file("record", "x").trim_end().to_owned() + " other")).contains("line 2: give `name role"));
        let both = why("a b\n\nsite root 00");
        assert!(both.contains("line 1: give") && both.contains("line 3: `root`"), "{both}");
    }
}
