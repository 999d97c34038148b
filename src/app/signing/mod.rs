//! What is signed: presentation tokens, traceable links, visitor ids and match
//! tokens. HMAC-SHA256 (RFC 2104) under a ring of keys: the newest key signs,
//! every key verifies.
//!
//! Signed text is base64url of a body and the first 16 bytes of the HMAC over
//! it. Every body begins with its kind (1 byte), the key id (4) and the expiry in
//! seconds (4), so that no kind is ever taken for another. What is behind a
//! customer never shows: it is masked by a keyed stream.

mod key;
mod matched;
mod presentation;
#[cfg(test)]
mod tests;
mod visitor;

pub use presentation::{Bearer, Presented, RingSigner};

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::domain::{Timestamp, time::SECOND_US};

use key::Key;

const TAG_BYTES: usize = 16;
/// Kind, key id, expiry.
const HEAD_BYTES: usize = 1 + 4 + 4;
/// The longest signed text that is looked at.
const TEXT_BYTES_MAX: usize = 256;
/// What the longest text decodes to.
const SIGNED_BYTES_MAX: usize = TEXT_BYTES_MAX / 4 * 3;

/// The low bits of the first byte: the kind. The others are flags of the kind.
const KIND: u8 = 0x07;
const KIND_PRESENTATION: u8 = 1;
const KIND_LINK: u8 = 2;
const KIND_VISITOR: u8 = 3;
const KIND_MATCH: u8 = 4;

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Not one of ours, or not of the one who hands it in.
    Forged,
    /// One of ours, too old.
    Expired,
    /// One of ours, of an answer that was only looked at.
    Preview,
}

/// What an answer was given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be presented: what follows is recorded.
    Present,
    /// To be looked at: nothing that follows counts.
    Preview,
}

/// The keys that sign and verify.
pub struct KeyRing {
    newest: Key,
    older: Vec<Key>,
    public_url: Arc<str>,
}

impl KeyRing {
    /// From (id, secret) pairs, the newest last; `public_url` is what links
    /// begin with. `None` without a key.
    pub fn new(secrets: &[(u32, [u8; 32])], public_url: &str) -> Option<Self> {
        let mut older: Vec<Key> = secrets.iter().filter_map(|(id, secret)| Key::derive(*id, secret)).collect();
        let newest = older.pop()?;
        Some(Self { newest, older, public_url: public_url.trim_end_matches('/').into() })
    }

    /// The id of the signing key.
    pub fn signing_key(&self) -> u32 {
        self.newest.id
    }

    /// What links begin with.
    pub fn public_url(&self) -> &Arc<str> {
        &self.public_url
    }

    /// The signer of new decisions.
    pub fn newest(&self, purpose: Purpose) -> RingSigner<'_> {
        RingSigner::new(&self.newest, &self.public_url, purpose)
    }

    /// A signer of recorded decisions with one key of the ring and links under
    /// a URL; `None` when the ring has no such key.
    pub fn signer<'a>(&'a self, key_id: u32, public_url: &'a str) -> Option<RingSigner<'a>> {
        self.key(key_id).map(|key| RingSigner::new(key, public_url, Purpose::Present))
    }

    fn key(&self, id: u32) -> Option<&Key> {
        std::iter::once(&self.newest).chain(&self.older).find(|k| k.id == id)
    }

    /// The bytes behind a text of some kind, with the key that they name. Its
    /// signature is not looked at yet.
    fn decode(&self, text: &str, body_bytes: impl FnOnce(u8) -> Option<usize>) -> Result<Signed<'_>, TokenError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(TokenError::Forged);
        }
        let mut bytes = [0; SIGNED_BYTES_MAX];
        let len = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).map_err(|_| TokenError::Forged)?;
        let body_bytes = body_bytes(bytes[0]).filter(|body| body + TAG_BYTES == len).ok_or(TokenError::Forged)?;
        let key = self.key(u32::from_le_bytes(array(&bytes, 1))).ok_or(TokenError::Forged)?;
        Ok(Signed { bytes, body_bytes, key })
    }

    /// As [`KeyRing::decode`], with a signature that holds.
    fn verified(&self, text: &str, body_bytes: impl FnOnce(u8) -> Option<usize>) -> Result<Signed<'_>, TokenError> {
        let signed = self.decode(text, body_bytes)?;
        if signed.key.made(signed.body(), signed.tag()) { Ok(signed) } else { Err(TokenError::Forged) }
    }
}

/// A decoded text with its key.
struct Signed<'a> {
    bytes: [u8; SIGNED_BYTES_MAX],
    body_bytes: usize,
    key: &'a Key,
}

impl Signed<'_> {
    fn body(&self) -> &[u8] {
        &self.bytes[..self.body_bytes]
    }

    fn tag(&self) -> &[u8] {
        &self.bytes[self.body_bytes..self.body_bytes + TAG_BYTES]
    }

    fn expires_at(&self) -> Timestamp {
        Timestamp(i64::from(u32::from_le_bytes(array(&self.bytes, 5))) * SECOND_US)
    }
}

/// A body being written, with room for its tag.
struct Body {
    bytes: [u8; SIGNED_BYTES_MAX],
    len: usize,
}

impl Body {
    fn new(kind: u8, key: &Key, expires_at: Timestamp) -> Self {
        let expires_s = u32::try_from(expires_at.0.div_euclid(SECOND_US)).unwrap_or(0);
        let mut body = Self { bytes: [0; SIGNED_BYTES_MAX], len: 0 };
        body.put(&[kind]);
        body.put(&key.id.to_le_bytes());
        body.put(&expires_s.to_le_bytes());
        body
    }

    // INVARIANT: no kind has more than SIGNED_BYTES_MAX bytes with its tag
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// As text behind a prefix, signed.
    fn seal(mut self, key: &Key, prefix: &str) -> String {
        let tag = key.tag_of(self.as_slice());
        self.put(&tag);
        self.encode(prefix)
    }

    fn encode(&self, prefix: &str) -> String {
        let mut text = String::with_capacity(prefix.len() + self.len.div_ceil(3) * 4);
        text.push_str(prefix);
        URL_SAFE_NO_PAD.encode_string(self.as_slice(), &mut text);
        text
    }
}

/// The `N` bytes at an offset; zeros when the slice is too short.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    if let Some(part) = bytes.get(at..at + N) {
        out.copy_from_slice(part);
    }
    out
}
