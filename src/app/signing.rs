//! Presentation tokens and traceable links: HMAC-SHA256 (RFC 2104) under a
//! ring of keys. The newest key signs, every key verifies.
//!
//! A token is base64url of: kind (1 byte), key id (4), expiry in seconds (4),
//! decision (16), masked customer (16), offer (8), channel (4), for links
//! language (4) and link (4), then the first 16 bytes of the HMAC over all of
//! it. The kind also says whether the answer was a preview, which nothing can
//! follow. The customer key is masked by a keyed stream of the decision id, so that
//! it never shows.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::{
    decide::Signer,
    domain::{ChannelId, CustomerKey, DecisionId, LinkRef, OfferId, PresentationRef, Timestamp, time::SECOND_US},
};

type HmacSha256 = Hmac<Sha256>;

const TAG_BYTES: usize = 16;
const PRESENTATION_BYTES: usize = 1 + 4 + 4 + 16 + 16 + 8 + 4;
const LINK_BYTES: usize = PRESENTATION_BYTES + 8;
/// The longest token text that is looked at.
const TOKEN_TEXT_BYTES_MAX: usize = 256;

const KIND_PRESENTATION: u8 = 1;
const KIND_LINK: u8 = 2;
/// Added to a kind: of a preview, which nothing can follow.
const KIND_PREVIEW: u8 = 0x40;
const KIND_ANONYMOUS: u8 = 0x80;

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// Not one of ours.
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

struct Key {
    id: u32,
    tag: HmacSha256,
    mask: HmacSha256,
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
        RingSigner { key: &self.newest, public_url: &self.public_url, purpose }
    }

    /// A signer of recorded decisions with one key of the ring and links under
    /// a URL; `None` when the ring has no such key.
    pub fn signer<'a>(&'a self, key_id: u32, public_url: &'a str) -> Option<RingSigner<'a>> {
        self.key(key_id).map(|key| RingSigner { key, public_url, purpose: Purpose::Present })
    }

    fn key(&self, id: u32) -> Option<&Key> {
        std::iter::once(&self.newest).chain(&self.older).find(|k| k.id == id)
    }

    /// Reads a presentation token.
    ///
    /// # Errors
    /// It is forged, expired or of a preview.
    pub fn presentation(&self, token: &str, now: Timestamp) -> Result<PresentationRef, TokenError> {
        let (bytes, purpose) = self.verified(token, KIND_PRESENTATION, PRESENTATION_BYTES)?;
        if purpose == Purpose::Preview {
            return Err(TokenError::Preview);
        }
        let reference = self.read_presentation(&bytes)?;
        if reference.expires_at < now { Err(TokenError::Expired) } else { Ok(reference) }
    }

    /// Reads a link token, and what its answer was given for.
    ///
    /// # Errors
    /// It is forged or expired.
    pub fn link(&self, token: &str, now: Timestamp) -> Result<(LinkRef, Purpose), TokenError> {
        let (bytes, purpose) = self.verified(token, KIND_LINK, LINK_BYTES)?;
        let presentation = self.read_presentation(&bytes)?;
        let language = u32::from_le_bytes(array(&bytes, PRESENTATION_BYTES));
        let link = u32::from_le_bytes(array(&bytes, PRESENTATION_BYTES + 4));
        let reference = LinkRef { presentation, language, link };
        if presentation.expires_at < now { Err(TokenError::Expired) } else { Ok((reference, purpose)) }
    }

    fn verified(&self, token: &str, kind: u8, body_bytes: usize) -> Result<(Vec<u8>, Purpose), TokenError> {
        if token.len() > TOKEN_TEXT_BYTES_MAX {
            return Err(TokenError::Forged);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::Forged)?;
        if bytes.len() != body_bytes + TAG_BYTES || bytes[0] & !(KIND_ANONYMOUS | KIND_PREVIEW) != kind {
            return Err(TokenError::Forged);
        }
        let (body, tag) = bytes.split_at(body_bytes);
        let key = self.key_of(body).ok_or(TokenError::Forged)?;
        let purpose = if bytes[0] & KIND_PREVIEW == 0 { Purpose::Present } else { Purpose::Preview };
        if key.tag_of(body).ct_eq(tag).into() { Ok((bytes, purpose)) } else { Err(TokenError::Forged) }
    }

    fn key_of(&self, body: &[u8]) -> Option<&Key> {
        self.key(u32::from_le_bytes(array(body, 1)))
    }

    fn read_presentation(&self, bytes: &[u8]) -> Result<PresentationRef, TokenError> {
        let key = self.key_of(bytes).ok_or(TokenError::Forged)?;
        let decision = DecisionId(u128::from_le_bytes(array(bytes, 9)));
        let masked = u128::from_le_bytes(array(bytes, 25));
        let known = bytes[0] & KIND_ANONYMOUS == 0;
        Ok(PresentationRef {
            decision,
            customer: known.then(|| CustomerKey(masked ^ key.mask_of(decision))),
            offer: OfferId(u64::from_le_bytes(array(bytes, 41))),
            channel: ChannelId(u32::from_le_bytes(array(bytes, 49))),
            expires_at: Timestamp(i64::from(u32::from_le_bytes(array(bytes, 5))) * SECOND_US),
        })
    }
}

impl Key {
    fn derive(id: u32, secret: &[u8; 32]) -> Option<Self> {
        let derived = |label: &[u8]| {
            let mut mac = HmacSha256::new_from_slice(secret).ok()?;
            mac.update(label);
            HmacSha256::new_from_slice(&mac.finalize().into_bytes()).ok()
        };
        Some(Self { id, tag: derived(b"token tag")?, mask: derived(b"token mask")? })
    }

    fn tag_of(&self, body: &[u8]) -> [u8; TAG_BYTES] {
        let mut mac = self.tag.clone();
        mac.update(body);
        array(&mac.finalize().into_bytes(), 0)
    }

    fn mask_of(&self, decision: DecisionId) -> u128 {
        let mut mac = self.mask.clone();
        mac.update(&decision.0.to_le_bytes());
        u128::from_le_bytes(array(&mac.finalize().into_bytes(), 0))
    }
}

/// Signs with one key of a ring.
pub struct RingSigner<'a> {
    key: &'a Key,
    public_url: &'a str,
    purpose: Purpose,
}

impl RingSigner<'_> {
    fn body(&self, kind: u8, reference: &PresentationRef) -> ([u8; LINK_BYTES + TAG_BYTES], usize) {
        let mut body = [0; LINK_BYTES + TAG_BYTES];
        let masked = reference.customer.map_or(0, |c| c.0 ^ self.key.mask_of(reference.decision));
        let anonymous = if reference.customer.is_none() { KIND_ANONYMOUS } else { 0 };
        let expires_s = u32::try_from(reference.expires_at.0.div_euclid(SECOND_US)).unwrap_or(0);
        let preview = if self.purpose == Purpose::Preview { KIND_PREVIEW } else { 0 };
        body[0] = kind | anonymous | preview;
        body[1..5].copy_from_slice(&self.key.id.to_le_bytes());
        body[5..9].copy_from_slice(&expires_s.to_le_bytes());
        body[9..25].copy_from_slice(&reference.decision.0.to_le_bytes());
        body[25..41].copy_from_slice(&masked.to_le_bytes());
        body[41..49].copy_from_slice(&reference.offer.0.to_le_bytes());
        body[49..53].copy_from_slice(&reference.channel.0.to_le_bytes());
        (body, PRESENTATION_BYTES)
    }

    fn seal(&self, mut body: [u8; LINK_BYTES + TAG_BYTES], len: usize, prefix: &str) -> String {
        let tag = self.key.tag_of(&body[..len]);
        body[len..len + TAG_BYTES].copy_from_slice(&tag);
        let mut text = String::with_capacity(prefix.len() + (len + TAG_BYTES).div_ceil(3) * 4);
        text.push_str(prefix);
        URL_SAFE_NO_PAD.encode_string(&body[..len + TAG_BYTES], &mut text);
        text
    }
}

impl Signer for RingSigner<'_> {
    fn presentation_token(&self, presentation: &PresentationRef) -> String {
        let (body, len) = self.body(KIND_PRESENTATION, presentation);
        self.seal(body, len, "")
    }

    fn link_url(&self, link: &LinkRef) -> String {
        let (mut body, len) = self.body(KIND_LINK, &link.presentation);
        body[len..len + 4].copy_from_slice(&link.language.to_le_bytes());
        body[len + 4..len + 8].copy_from_slice(&link.link.to_le_bytes());
        let mut prefix = String::with_capacity(self.public_url.len() + 3);
        prefix.push_str(self.public_url);
        prefix.push_str("/c/");
        self.seal(body, LINK_BYTES, &prefix)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(ids: &[u32]) -> KeyRing {
        let secrets: Vec<(u32, [u8; 32])> = ids.iter().map(|id| (*id, [*id as u8; 32])).collect();
        KeyRing::new(&secrets, "https://shop.example/").unwrap()
    }

    fn presentation(customer: Option<u128>) -> PresentationRef {
        PresentationRef {
            decision: DecisionId(0x0190_0000_0000_7000_8000_0000_0000_0001),
            customer: customer.map(CustomerKey),
            offer: OfferId::of("birthday_gift"),
            channel: ChannelId::of("email"),
            expires_at: Timestamp(2_000_000_000 * SECOND_US),
        }
    }

    const NOW: Timestamp = Timestamp(1_900_000_000 * SECOND_US);

    #[test]
    fn tokens_round_trip_and_hide_the_customer() {
        let ring = ring(&[7]);
        for customer in [None, Some(0x1234_5678_9abc_def0_1111_2222_3333_4444)] {
            let reference = presentation(customer);
            let token = ring.signer(7, "").unwrap().presentation_token(&reference);
            assert_eq!(ring.presentation(&token, NOW), Ok(reference));
            if let Some(customer) = customer {
                let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
                assert!(!bytes.windows(16).any(|w| w == customer.to_le_bytes()));
            }
        }
    }

    #[test]
    fn a_preview_is_told_from_what_counts() {
        let ring = ring(&[7]);
        for customer in [None, Some(5)] {
            let reference = presentation(customer);
            let token = ring.newest(Purpose::Preview).presentation_token(&reference);
            assert_eq!(ring.presentation(&token, NOW), Err(TokenError::Preview));
            let link = LinkRef { presentation: reference, language: 1, link: 2 };
            let url = ring.newest(Purpose::Preview).link_url(&link);
            let token = url.strip_prefix("https://shop.example/c/").unwrap();
            assert_eq!(ring.link(token, NOW), Ok((link, Purpose::Preview)));
        }
    }

    #[test]
    fn every_flipped_bit_is_refused() {
        let ring = ring(&[7]);
        let link = LinkRef { presentation: presentation(Some(5)), language: 1, link: 2 };
        let url = ring.signer(7, ring.public_url()).unwrap().link_url(&link);
        let token = url.strip_prefix("https://shop.example/c/").unwrap();
        assert_eq!(ring.link(token, NOW), Ok((link, Purpose::Present)));
        assert_eq!(ring.presentation(token, NOW), Err(TokenError::Forged));
        let bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ring.link(&URL_SAFE_NO_PAD.encode(&altered), NOW), Err(TokenError::Forged), "bit {bit}");
        }
        for junk in ["", "x", "////", &"A".repeat(10_000)] {
            assert_eq!(ring.link(junk, NOW), Err(TokenError::Forged));
        }
    }

    #[test]
    fn old_keys_verify_after_rotation_and_old_tokens_expire() {
        let reference = presentation(Some(9));
        let token = ring(&[1]).signer(1, "").unwrap().presentation_token(&reference);
        let rotated = ring(&[1, 2]);
        assert_eq!(rotated.signing_key(), 2);
        assert_eq!(rotated.presentation(&token, NOW), Ok(reference));
        assert_eq!(ring(&[2]).presentation(&token, NOW), Err(TokenError::Forged));
        let late = reference.expires_at.plus_us(1);
        assert_eq!(rotated.presentation(&token, late), Err(TokenError::Expired));
    }
}
