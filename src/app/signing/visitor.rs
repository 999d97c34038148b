//! Visitor ids: a random-looking number that a browser keeps, signed, so that
//! nobody can be another visitor by guessing.
//!
//! Body: head, visitor (16). The text is a function of the visitor, the key and
//! the quarter of a life that `now` lies in: the same visitor gets the same text
//! until it is time for a new one, and a replay gets it again.

use crate::domain::{DecisionId, Timestamp, VisitorId, time::DAY_US};

use super::{Body, HEAD_BYTES, KIND_VISITOR, KeyRing, array, key::Key};

/// How long a visitor id is good for, microseconds.
pub const VISITOR_LIFE_US: i64 = 400 * DAY_US;
/// One that is older than this is answered with a newer one, microseconds.
pub const VISITOR_RENEWED_US: i64 = VISITOR_LIFE_US / 4;

const VISITOR_BYTES: usize = HEAD_BYTES + 16;

impl KeyRing {
    /// The visitor whose id is made with a decision.
    pub fn visitor_of(&self, decision: DecisionId) -> VisitorId {
        self.newest.visitor_of(decision)
    }

    /// The visitor behind a signed id; `None` for anything but one of ours that
    /// is not too old.
    pub fn visitor(&self, text: &str, now: Timestamp) -> Option<VisitorId> {
        let signed = self.verified(text, |kind| (kind == KIND_VISITOR).then_some(VISITOR_BYTES)).ok()?;
        let visitor = VisitorId(u128::from_le_bytes(array(signed.body(), HEAD_BYTES)));
        (signed.expires_at() >= now).then_some(visitor)
    }
}

/// The signed id of a visitor at a moment.
pub(super) fn sign(key: &Key, visitor: VisitorId, now: Timestamp) -> String {
    let begins = now.0.div_euclid(VISITOR_RENEWED_US) * VISITOR_RENEWED_US;
    let mut body = Body::new(KIND_VISITOR, key, Timestamp(begins).plus_us(VISITOR_LIFE_US));
    body.put(&visitor.0.to_le_bytes());
    body.seal(key, "")
}
