//! What the stages read of an offer, side by side in a cache line each two, and
//! the offers by what questions restrict first.

use crate::{
    domain::{OfferSet, OfferSlot, Purpose},
    rules::{Each, Number, Offer, Placement, Repeat, Ruleset},
};

/// What stages 3 to 6 read of an offer.
#[derive(Clone, Copy, Debug)]
pub(in crate::decide) struct Card {
    /// Its value, if it is the same for everybody.
    pub value: Option<f64>,
    /// Business lever.
    pub lever: f64,
    /// Least net priority; minus infinity for none.
    pub floor: f64,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether the holdout concerns it.
    pub held: bool,
    /// Whether the context weighs it.
    pub weighed: bool,
    /// Whether it is proposed for each record of a list, and how often a page may
    /// hold it then.
    pub each: Option<Repeat>,
}

impl Card {
    fn of(offer: &Offer) -> Self {
        Self {
            value: if let Number::Constant(value) = offer.value { Some(value) } else { None },
            lever: offer.lever,
            floor: offer.floor.unwrap_or(f64::NEG_INFINITY),
            purpose: offer.purpose,
            held: offer.purpose == Purpose::Marketing && !offer.holdout_exempt,
            weighed: offer.context_weight.is_some(),
            each: offer.each.map(|each| each.repeat),
        }
    }
}

/// Cards and sets of the offers of one ruleset.
#[derive(Debug, Default)]
pub(in crate::decide) struct Offers {
    /// How many there are.
    pub len: usize,
    cards: Vec<Card>,
    /// Per placement, the offers meant for it.
    meant: Vec<OfferSet>,
    /// Those that may answer an open question.
    open: OfferSet,
    marketing: OfferSet,
    service: OfferSet,
    /// Those for verified persons only; `None` when there are none.
    pub verified: Option<OfferSet>,
    /// Those that are proposed for each record of a list, by slot.
    pub each: Vec<(OfferSlot, Each)>,
}

impl Offers {
    /// Lays out the offers of a ruleset.
    pub fn of(rules: &Ruleset) -> Self {
        let len = rules.offers.len();
        let of = |wanted: &dyn Fn(&Offer) -> bool| {
            let mut set = OfferSet::empty(len);
            rules.offers.iter().filter(|o| wanted(o)).for_each(|o| set.insert(o.slot));
            set
        };
        let mut meant = vec![OfferSet::empty(len); rules.placements.len()];
        for (set, slots) in meant.iter_mut().zip(&rules.offers_by_placement) {
            slots.iter().for_each(|slot| set.insert(*slot));
        }
        Self {
            len,
            cards: rules.offers.iter().map(Card::of).collect(),
            meant,
            open: of(&|o| o.open),
            marketing: of(&|o| o.purpose == Purpose::Marketing),
            service: of(&|o| o.purpose == Purpose::Service),
            each: rules.offers.iter().filter_map(|o| Some((o.slot, o.each?))).collect(),
            verified: rules.offers.iter().any(|o| o.verified).then(|| of(&|o| o.verified)),
        }
    }

    /// What the stages read of an offer.
    #[inline]
    pub fn card(&self, offer: OfferSlot) -> &Card {
        &self.cards[offer.index()]
    }

    /// The offers meant for a placement, or for an open question.
    pub fn meant(&self, placement: Option<&Placement>) -> &OfferSet {
        placement.map_or(&self.open, |p| &self.meant[p.slot.index()])
    }

    /// The offers of a purpose.
    pub fn purpose(&self, purpose: Purpose) -> &OfferSet {
        match purpose {
            Purpose::Marketing => &self.marketing,
            Purpose::Service => &self.service,
        }
    }
}
