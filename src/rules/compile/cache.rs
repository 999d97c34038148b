//! What is kept from one compilation to the next, so that an edit of a few
//! offers costs little more than those offers.

use std::{collections::HashMap, sync::Arc};

use crate::{
    domain::OfferSlot,
    rules::{
        Limit, Offer, RuleErrors, Ruleset, SourceFile, Suppression,
        compile_env::Moved,
        condition::{ParsedText, ParsedTexts},
        source::Mark,
    },
};

use super::{
    documents::{KnownRests, OfferPiece, PieceState, forget_rests},
    offers::Made,
};

/// Compiles rule files and keeps what did not change for the next time: parsed
/// texts, and whole offers. What it answers never depends on what it keeps, and
/// what two compilations in a row did not use is dropped.
#[derive(Debug, Default)]
pub struct Compiler {
    pub(super) offers: KnownOffers,
    pub(super) rests: KnownRests,
    pub(super) parsed: ParsedTexts,
    /// Compilations so far.
    pub(super) round: u64,
}

impl Compiler {
    /// Compiles rule files into one ruleset, exactly as [`crate::rules::compile`].
    ///
    /// # Errors
    /// Every mistake in every file at once.
    pub fn compile(&mut self, files: &[SourceFile]) -> Result<Ruleset, RuleErrors> {
        self.round += 1;
        let compiled = super::compile_with(self, files);
        self.offers.forget(self.round);
        forget_rests(&mut self.rests, self.round);
        self.parsed.end_round();
        compiled
    }

    /// How many offers and parsed texts it keeps.
    pub fn kept(&self) -> (usize, usize) {
        (self.offers.by_key.len(), self.parsed.count())
    }
}

/// An offer compiled without a mistake.
#[derive(Debug)]
pub struct KnownOffer {
    /// What it was compiled against.
    pub fingerprint: u128,
    /// Where it stood: first line, lines.
    pub place: (u32, u32),
    /// Where it and its id began.
    pub marks: (Mark, Mark),
    /// Values and keys of its tree.
    pub count: usize,
    /// The offer, before limits were given their slots.
    pub offer: Offer,
    /// Its limits.
    pub limits: Vec<Limit>,
    /// Its suppressions.
    pub suppressions: Vec<Suppression>,
    /// The texts it was compiled from: kept as long as the offer.
    pub _parsed: Vec<ParsedText>,
}

impl KnownOffer {
    /// What came of an offer that stands alone; the fingerprint and the texts
    /// are the caller's.
    pub fn of(piece: &OfferPiece<'_>, marks: (Mark, Mark), (offer, limits, suppressions): &Made) -> Self {
        let count = match &piece.state {
            PieceState::Known(known) => known.count,
            PieceState::Read(_, count) => *count,
        };
        Self {
            fingerprint: 0,
            place: (piece.piece.first_line, piece.piece.lines),
            marks,
            count,
            offer: offer.clone(),
            limits: limits.clone(),
            suppressions: suppressions.clone(),
            _parsed: Vec::new(),
        }
    }

    /// A mark of it, now that it begins elsewhere.
    pub fn mark(&self, mark: Mark, (file, first_line): (u32, u32)) -> Mark {
        Mark { file, line: (mark.line + first_line).saturating_sub(self.place.0), ..mark }
    }

    /// The offer at a slot, now that it begins in another line.
    pub fn placed(&self, slot: OfferSlot, first_line: u32) -> Made {
        let (stood, lines) = self.place;
        let mut offer = Offer { slot, ..self.offer.clone() };
        if stood != first_line {
            let path = offer.position.path.clone();
            let moved =
                Moved { path: &path, lines: stood..stood + lines, by: i64::from(first_line) - i64::from(stood) };
            moved.apply(&mut offer.position);
            for condition in [&mut offer.eligibility, &mut offer.applicability, &mut offer.suitability] {
                *condition = condition.as_ref().map(|condition| Arc::new(condition.moved(&moved)));
            }
            offer.value = offer.value.moved(&moved);
            offer.context_weight = offer.context_weight.as_ref().map(|weight| weight.moved(&moved));
        }
        let limits = self.limits.iter().map(|limit| Limit { offer: Some(slot), ..limit.clone() });
        let suppressions = self.suppressions.iter().map(|one| Suppression { offer: Some(slot), ..one.clone() });
        (offer, limits.collect(), suppressions.collect())
    }
}

/// Offers by the hash of their path and text.
#[derive(Debug, Default)]
pub struct KnownOffers {
    by_key: HashMap<u128, Entry>,
}

#[derive(Debug)]
struct Entry {
    offer: Arc<KnownOffer>,
    /// The compilation that used it last.
    last: u64,
}

impl KnownOffers {
    /// The offer of this path and text.
    pub fn get(&self, key: u128) -> Option<&Arc<KnownOffer>> {
        self.by_key.get(&key).map(|entry| &entry.offer)
    }

    /// Notes that a compilation used an offer.
    pub fn touch(&mut self, key: u128, round: u64) {
        if let Some(entry) = self.by_key.get_mut(&key) {
            entry.last = round;
        }
    }

    /// Keeps an offer.
    pub fn keep(&mut self, key: u128, offer: KnownOffer, round: u64) {
        self.by_key.insert(key, Entry { offer: Arc::new(offer), last: round });
    }

    /// Forgets what neither this compilation nor the one before used.
    fn forget(&mut self, round: u64) {
        self.by_key.retain(|_, entry| entry.last + 1 >= round);
    }
}
