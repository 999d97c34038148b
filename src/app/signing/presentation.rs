//! Presentation tokens and traceable links.
//!
//! Body: head, decision (16), masked customer or visitor (16), offer (8), channel
//! (4), then the binding (8) when the token is bound to a visitor who came with an
//! id, the masked record (8) where there is one, and for links language (4) and link (4). Tokens bound to nobody are as they
//! were before there were visitors; those of a visitor whose id was made with the
//! decision need no binding, for the decision gives the visitor again.

use std::cell::Cell;

use subtle::{Choice, ConstantTimeEq};

use crate::{
    decide::Signer,
    domain::{
        ChannelId, CustomerKey, DecisionId, Holder, LinkRef, Memory, OfferId, PresentationRef, RecordRef, Timestamp,
        VisitorId, VisitorOrigin,
    },
};

use super::{
    Body, HEAD_BYTES, KIND, KIND_LINK, KIND_PRESENTATION, KeyRing, Purpose, Signed, TokenError, array, key::Key,
    visitor,
};

const PRESENTATION_BYTES: usize = HEAD_BYTES + 16 + 16 + 8 + 4;
const BINDING_BYTES: usize = 8;
const RECORD_BYTES: usize = 8;
const LINK_BYTES: usize = 8;

/// Of the kind: of a presentation, or a link of one, that speaks of a record.
const OF_RECORD: u8 = 0x04;

/// Flags beside a kind.
///
/// Made with the decision: the visitor to whom it is bound.
const MADE: u8 = 0x08;
/// What follows may be remembered of the visitor.
const KEPT: u8 = 0x10;
/// Bound to a visitor who came with an id.
const BOUND: u8 = 0x20;
/// Of a preview, which nothing can follow.
const PREVIEW: u8 = 0x40;
/// Without a customer.
const ANONYMOUS: u8 = 0x80;

/// Who hands a token in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Bearer {
    /// A service: it is believed.
    #[default]
    Service,
    /// A browser, as the visitor whose signed id it shows.
    Browser(Option<VisitorId>),
    /// The same, but what it reports is remembered of no new visitor.
    Crowd(Option<VisitorId>),
}

/// What a presentation token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presented {
    /// The presentation.
    pub presentation: PresentationRef,
    /// The visitor of whom the outcome may be remembered.
    pub visitor: Option<VisitorId>,
}

impl KeyRing {
    /// Reads a presentation token. One that is bound to another visitor than
    /// the bearer is as a forged one.
    ///
    /// # Errors
    /// It is forged, expired or of a preview.
    pub fn presentation(&self, token: &str, bearer: Bearer, now: Timestamp) -> Result<Presented, TokenError> {
        let signed = self.verified(token, |first| body_bytes(first, KIND_PRESENTATION))?;
        let read = Read::new(&signed);
        if !bool::from(read.held_by(bearer)) {
            return Err(TokenError::Forged);
        }
        if signed.bytes[0] & PREVIEW != 0 {
            return Err(TokenError::Preview);
        }
        if signed.expires_at() < now {
            return Err(TokenError::Expired);
        }
        let presented = read.presented();
        let visitor = presented.visitor.filter(|_| !matches!(bearer, Bearer::Crowd(_)));
        Ok(Presented { visitor, ..presented })
    }

    /// Reads a link token, and what its answer was given for. Whoever follows a
    /// link needs no visitor id.
    ///
    /// # Errors
    /// It is forged or expired.
    pub fn link(&self, token: &str, now: Timestamp) -> Result<(LinkRef, Option<VisitorId>, Purpose), TokenError> {
        let signed = self.verified(token, |first| body_bytes(first, KIND_LINK))?;
        let Presented { presentation, visitor } = Read::new(&signed).presented();
        let at = signed.body_bytes - LINK_BYTES;
        let language = u32::from_le_bytes(array(signed.body(), at));
        let link = u32::from_le_bytes(array(signed.body(), at + 4));
        let purpose = if signed.bytes[0] & PREVIEW == 0 { Purpose::Present } else { Purpose::Preview };
        if presentation.expires_at < now {
            return Err(TokenError::Expired);
        }
        Ok((LinkRef { presentation, language, link }, visitor, purpose))
    }
}

/// The length of a body by its first byte; `None` when it is of another kind.
fn body_bytes(first: u8, kind: u8) -> Option<usize> {
    let link = if kind == KIND_LINK { LINK_BYTES } else { 0 };
    let binding = if first & BOUND == 0 { 0 } else { BINDING_BYTES };
    let record = if first & OF_RECORD == 0 { 0 } else { RECORD_BYTES };
    (first & KIND & !OF_RECORD == kind).then_some(PRESENTATION_BYTES + binding + record + link)
}

/// A token whose signature holds, being read.
struct Read<'a> {
    signed: &'a Signed<'a>,
    decision: DecisionId,
    /// Masks the customer or the visitor, and the binding.
    mask: [u8; 32],
}

impl<'a> Read<'a> {
    fn new(signed: &'a Signed<'a>) -> Self {
        let decision = DecisionId(u128::from_le_bytes(array(signed.body(), HEAD_BYTES)));
        let masked = !signed.has(ANONYMOUS) || signed.has(BOUND) || signed.has(OF_RECORD);
        Self { signed, decision, mask: if masked { signed.key.mask_of(decision) } else { [0; 32] } }
    }

    /// Whether the bearer may hand it in.
    fn held_by(&self, bearer: Bearer) -> Choice {
        let shown = match bearer {
            Bearer::Service => return Choice::from(1),
            Bearer::Browser(shown) | Bearer::Crowd(shown) => shown,
        };
        let bound = self.signed.has(BOUND) || self.signed.has(MADE);
        let shows = Choice::from(u8::from(shown.is_some()));
        let shown = shown.unwrap_or_default();
        let same = if self.signed.has(BOUND) {
            binding(shown, &self.mask).ct_eq(&array::<BINDING_BYTES>(self.signed.body(), PRESENTATION_BYTES))
        } else {
            let made = self.signed.key.visitor_of(self.decision);
            made.0.to_le_bytes().ct_eq(&shown.0.to_le_bytes())
        };
        Choice::from(u8::from(!bound)) | (shows & same)
    }

    fn record(&self) -> RecordRef {
        if !self.signed.has(OF_RECORD) {
            return RecordRef::NONE;
        }
        let at = PRESENTATION_BYTES + if self.signed.has(BOUND) { BINDING_BYTES } else { 0 };
        RecordRef(u64::from_le_bytes(array(self.signed.body(), at)) ^ record_mask(&self.mask))
    }

    fn presented(&self) -> Presented {
        let body = self.signed.body();
        let unmasked = u128::from_le_bytes(array(body, HEAD_BYTES + 16)) ^ low_half(&self.mask);
        let known = !self.signed.has(ANONYMOUS);
        let kept = !known && self.signed.has(KEPT);
        let visitor = match self.signed.has(MADE) {
            true => kept.then(|| self.signed.key.visitor_of(self.decision)),
            false => kept.then_some(VisitorId(unmasked)),
        };
        let presentation = PresentationRef {
            decision: self.decision,
            customer: known.then_some(CustomerKey(unmasked)),
            offer: OfferId(u64::from_le_bytes(array(body, HEAD_BYTES + 32))),
            channel: ChannelId(u32::from_le_bytes(array(body, HEAD_BYTES + 40))),
            record: self.record(),
            expires_at: self.signed.expires_at(),
        };
        Presented { presentation, visitor }
    }
}

impl Signed<'_> {
    fn has(&self, flag: u8) -> bool {
        self.bytes[0] & flag != 0
    }
}

fn low_half(mask: &[u8; 32]) -> u128 {
    u128::from_le_bytes(array(mask, 0))
}

/// Eight bytes of the visitor, masked by what masks nothing else.
fn binding(visitor: VisitorId, mask: &[u8; 32]) -> [u8; BINDING_BYTES] {
    let visitor: [u8; BINDING_BYTES] = array(&visitor.0.to_le_bytes(), 0);
    (u64::from_le_bytes(visitor) ^ u64::from_le_bytes(array(mask, 16))).to_le_bytes()
}

/// What masks the record, and nothing else.
fn record_mask(mask: &[u8; 32]) -> u64 {
    u64::from_le_bytes(array(mask, 24))
}

/// Signs with one key of a ring.
pub struct RingSigner<'a> {
    key: &'a Key,
    public_url: &'a str,
    purpose: Purpose,
    /// What masks the tokens of the decision at hand.
    mask: Cell<Option<(DecisionId, [u8; 32])>>,
}

impl<'a> RingSigner<'a> {
    pub(super) fn new(key: &'a Key, public_url: &'a str, purpose: Purpose) -> Self {
        Self { key, public_url, purpose, mask: Cell::new(None) }
    }

    /// All tokens of a decision have the same mask: it is made once.
    fn mask_of(&self, decision: DecisionId) -> [u8; 32] {
        match self.mask.get() {
            Some((of, mask)) if of == decision => mask,
            _ => {
                let mask = self.key.mask_of(decision);
                self.mask.set(Some((decision, mask)));
                mask
            }
        }
    }

    fn body(&self, kind: u8, reference: &PresentationRef, holder: Option<Holder>) -> Body {
        let anonymous = reference.customer.is_none();
        let kept = holder.filter(|h| anonymous && h.memory == Memory::Kept);
        let given = holder.filter(|h| h.origin == VisitorOrigin::Given);
        let mut first = kind;
        first |= if reference.record.is_some() { OF_RECORD } else { 0 };
        first |= if anonymous { ANONYMOUS } else { 0 };
        first |= if self.purpose == Purpose::Preview { PREVIEW } else { 0 };
        first |= if kept.is_some() { KEPT } else { 0 };
        first |= match (holder, given) {
            (None, _) => 0,
            (Some(_), Some(_)) => BOUND,
            (Some(_), None) => MADE,
        };
        let behind = reference.customer.map(|c| c.0).or_else(|| given.and(kept).map(|h| h.visitor.0));
        let mut body = Body::new(first, self.key, reference.expires_at);
        body.put(&reference.decision.0.to_le_bytes());
        let masked = behind.map_or(0, |behind| behind ^ low_half(&self.mask_of(reference.decision)));
        body.put(&masked.to_le_bytes());
        body.put(&reference.offer.0.to_le_bytes());
        body.put(&reference.channel.0.to_le_bytes());
        if let Some(holder) = given {
            body.put(&binding(holder.visitor, &self.mask_of(reference.decision)));
        }
        if reference.record.is_some() {
            let masked = reference.record.0 ^ record_mask(&self.mask_of(reference.decision));
            body.put(&masked.to_le_bytes());
        }
        body
    }
}

impl Signer for RingSigner<'_> {
    fn presentation_token(&self, presentation: &PresentationRef, holder: Option<Holder>) -> String {
        self.body(KIND_PRESENTATION, presentation, holder).seal(self.key, "")
    }

    fn link_url(&self, link: &LinkRef, holder: Option<Holder>) -> String {
        let mut body = self.body(KIND_LINK, &link.presentation, holder);
        body.put(&link.language.to_le_bytes());
        body.put(&link.link.to_le_bytes());
        let mut prefix = String::with_capacity(self.public_url.len() + 3);
        prefix.push_str(self.public_url);
        prefix.push_str("/c/");
        body.seal(self.key, &prefix)
    }

    fn visitor_id(&self, visitor: VisitorId, now: Timestamp) -> String {
        visitor::sign(self.key, visitor, now)
    }
}
