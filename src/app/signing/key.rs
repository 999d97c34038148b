//! One key of the ring, and what is derived from its secret.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::domain::{DecisionId, VisitorId};

use super::{TAG_BYTES, array};

type HmacSha256 = Hmac<Sha256>;

/// A key of the ring: one for each use, so that none says anything of another.
pub(super) struct Key {
    pub id: u32,
    tag: HmacSha256,
    mask: HmacSha256,
    visitor: HmacSha256,
}

impl Key {
    pub fn derive(id: u32, secret: &[u8; 32]) -> Option<Self> {
        let derived = |label: &[u8]| {
            let mut mac = HmacSha256::new_from_slice(secret).ok()?;
            mac.update(label);
            HmacSha256::new_from_slice(&mac.finalize().into_bytes()).ok()
        };
        Some(Self { id, tag: derived(b"token tag")?, mask: derived(b"token mask")?, visitor: derived(b"visitor id")? })
    }

    /// The tag over a body: the HMAC, cut to 128 bits (RFC 2104, section 5).
    pub fn tag_of(&self, body: &[u8]) -> [u8; TAG_BYTES] {
        array(&hashed(&self.tag, body), 0)
    }

    /// Whether this key made the tag; takes as long whatever is wrong with it.
    pub fn made(&self, body: &[u8], tag: &[u8]) -> bool {
        self.tag_of(body).ct_eq(tag).into()
    }

    /// What masks the tokens of a decision.
    pub fn mask_of(&self, decision: DecisionId) -> [u8; 32] {
        hashed(&self.mask, &decision.0.to_le_bytes())
    }

    /// What masks the body of a tag.
    pub fn mask_of_tag(&self, tag: &[u8; TAG_BYTES]) -> [u8; 32] {
        let mut labelled = [b'm'; 1 + TAG_BYTES];
        labelled[1..].copy_from_slice(tag);
        hashed(&self.mask, &labelled)
    }

    /// The visitor whose id is made with a decision.
    pub fn visitor_of(&self, decision: DecisionId) -> VisitorId {
        VisitorId(u128::from_le_bytes(array(&hashed(&self.visitor, &decision.0.to_le_bytes()), 0)))
    }
}

fn hashed(keyed: &HmacSha256, bytes: &[u8]) -> [u8; 32] {
    let mut mac = keyed.clone();
    mac.update(bytes);
    mac.finalize().into_bytes().into()
}
