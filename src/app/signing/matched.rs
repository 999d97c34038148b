//! Match tokens: name a customer that a look-up found, for a short time, without
//! showing who it is.
//!
//! Body: head, what follows (1: 0 an identity, 1 a customer), type of the
//! identity (4), its hash or the customer (16). Everything behind the head is
//! masked by a keyed stream of the tag, which is made over what is not masked (as
//! in AES-SIV, RFC 5297): no two bodies share a stream.

use crate::domain::{CustomerKey, IdentityHash, IdentityTypeId, MatchRef, Timestamp, time::SECOND_US};

use super::{Body, HEAD_BYTES, KIND_MATCH, KeyRing, TokenError, array};

/// How long a match token is good for, microseconds.
pub const MATCH_LIFE_US: i64 = 15 * 60 * SECOND_US;

const NAMED_BYTES: usize = 1 + 4 + 16;
const MATCH_BYTES: usize = HEAD_BYTES + NAMED_BYTES;

const NAMES_IDENTITY: u8 = 0;
const NAMES_CUSTOMER: u8 = 1;

impl KeyRing {
    /// A token that names a customer from now on, for 15 minutes.
    pub fn match_token(&self, named: &MatchRef, now: Timestamp) -> String {
        let key = &self.newest;
        let (what, kind, number) = match *named {
            MatchRef::Identity { kind, hash } => (NAMES_IDENTITY, kind.0, hash.0),
            MatchRef::Customer(customer) => (NAMES_CUSTOMER, 0, customer.0),
        };
        let mut body = Body::new(KIND_MATCH, key, now.plus_us(MATCH_LIFE_US));
        body.put(&[what]);
        body.put(&kind.to_le_bytes());
        body.put(&number.to_le_bytes());
        let tag = key.tag_of(body.as_slice());
        mask(&mut body.bytes, &key.mask_of_tag(&tag));
        body.put(&tag);
        body.encode("")
    }

    /// What a match token names a customer by.
    ///
    /// # Errors
    /// It is forged or expired.
    pub fn matched(&self, text: &str, now: Timestamp) -> Result<MatchRef, TokenError> {
        let mut signed = self.decode(text, |kind| (kind == KIND_MATCH).then_some(MATCH_BYTES))?;
        let stream = signed.key.mask_of_tag(&array(signed.tag(), 0));
        mask(&mut signed.bytes, &stream);
        if !signed.key.made(signed.body(), signed.tag()) {
            return Err(TokenError::Forged);
        }
        let body = signed.body();
        let kind = IdentityTypeId(u32::from_le_bytes(array(body, HEAD_BYTES + 1)));
        let number = u128::from_le_bytes(array(body, HEAD_BYTES + 5));
        let named = match body[HEAD_BYTES] {
            NAMES_IDENTITY => MatchRef::Identity { kind, hash: IdentityHash(number) },
            NAMES_CUSTOMER => MatchRef::Customer(CustomerKey(number)),
            _ => return Err(TokenError::Forged),
        };
        if signed.expires_at() < now { Err(TokenError::Expired) } else { Ok(named) }
    }
}

/// Masks or unmasks what stands behind the head.
fn mask(bytes: &mut [u8], stream: &[u8; 32]) {
    for (byte, mask) in bytes[HEAD_BYTES..MATCH_BYTES].iter_mut().zip(stream) {
        *byte ^= mask;
    }
}
