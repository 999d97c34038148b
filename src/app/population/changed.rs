//! Which offers differ between two rulesets in whom they reach: in schedule,
//! `paused`, or a condition with everything that is put into it.

use std::{collections::HashMap, sync::Arc};

use crate::{
    domain::{AttrId, AttrSlot, AttributeDef, OfferSlot, Timestamp},
    rules::{Condition, Offer, Ruleset},
};

/// What became of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is in both rulesets.
    Kept,
    /// It is new.
    Added,
    /// It is no more.
    Removed,
}

impl Change {
    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Change::Kept => "kept",
            Change::Added => "added",
            Change::Removed => "removed",
        }
    }
}

/// An offer of two rulesets.
#[derive(Clone, Debug)]
pub struct Pairing {
    /// Its id.
    pub offer: Arc<str>,
    /// Where it is before.
    pub before: Option<OfferSlot>,
    /// Where it is afterwards.
    pub after: Option<OfferSlot>,
}

impl Pairing {
    /// What became of it.
    pub fn change(&self) -> Change {
        match (self.before, self.after) {
            (Some(_), Some(_)) => Change::Kept,
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
        }
    }
}

/// The offers of both rulesets, by id.
pub fn pairings(before: &Ruleset, after: &Ruleset) -> Vec<Pairing> {
    let mut all = Vec::with_capacity(after.offers.len());
    for offer in &after.offers {
        let slot = before.offer_slots.get(&offer.id).copied();
        all.push(Pairing { offer: Arc::clone(&offer.name_id), before: slot, after: Some(offer.slot) });
    }
    for offer in before.offers.iter().filter(|offer| !after.offer_slots.contains_key(&offer.id)) {
        all.push(Pairing { offer: Arc::clone(&offer.name_id), before: Some(offer.slot), after: None });
    }
    all.sort_by(|a, b| a.offer.cmp(&b.offer));
    all
}

/// Those that may reach other people than before.
pub fn changed(before: &Ruleset, after: &Ruleset) -> Vec<Pairing> {
    let (mut old, mut new) = (Shapes::of(before), Shapes::of(after));
    let same_words = before.currency == after.currency && definitions(before) == definitions(after);
    let mut all = pairings(before, after);
    all.retain(|pair| match (pair.before, pair.after) {
        (Some(was), Some(is)) => {
            let (was, is) = (before.offer(was), after.offer(is));
            let plain =
                same_words && texts(was) == texts(is) && texts(was).iter().flatten().all(|text| names_nothing(text));
            let same = (plain && frame(was) == frame(is)) || old.of_offer(was) == new.of_offer(is);
            !same
        }
        _ => true,
    });
    all
}

/// When it runs, whether it is paused, and for the records of which list it is.
type Frame = ((Option<Timestamp>, Option<Timestamp>), bool, Option<(AttrId, u16)>);

fn frame(offer: &Offer) -> Frame {
    (offer.schedule, offer.paused, offer.each.map(|each| (each.list, each.max)))
}

fn texts(offer: &Offer) -> [Option<&str>; 3] {
    [&offer.eligibility, &offer.applicability, &offer.suitability].map(|c| c.as_deref().map(|c| &*c.text))
}

/// Whether nothing is put into a text: then equal texts over equal attributes
/// are equal conditions, which is quicker to see than by their shapes.
fn names_nothing(text: &str) -> bool {
    !text.contains("seg") && !text.contains("macro")
}

fn definitions(rules: &Ruleset) -> String {
    format!("{:?}", rules.schema.attributes)
}

/// What decides whom an offer reaches, for comparing over two schemas.
struct Shapes<'r> {
    rules: &'r Ruleset,
    attributes: HashMap<usize, String>,
}

impl<'r> Shapes<'r> {
    fn of(rules: &'r Ruleset) -> Self {
        Self { rules, attributes: HashMap::new() }
    }

    fn of_offer(&mut self, offer: &Offer) -> (Frame, String) {
        let mut shape = format!("{:?}", self.rules.currency);
        for condition in [&offer.eligibility, &offer.applicability, &offer.suitability] {
            shape.push('\n');
            if let Some(condition) = condition {
                self.write(condition, &mut shape);
            }
        }
        (frame(offer), shape)
    }

    /// The shape with the definitions of attributes instead of their slots,
    /// which differ from schema to schema.
    fn write(&mut self, condition: &Condition, shape: &mut String) {
        let compiled = condition.shape();
        let mut parts = compiled.split(SLOT);
        shape.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            match part[..digits].parse() {
                Ok(slot) => shape.push_str(self.definition(slot)),
                // not a slot after all
                Err(_) => shape.push_str(SLOT),
            }
            shape.push_str(&part[digits..]);
        }
    }

    fn definition(&mut self, slot: usize) -> &str {
        let attributes = &self.rules.schema.attributes;
        self.attributes.entry(slot).or_insert_with(|| {
            let slotless = |def: &AttributeDef| AttributeDef { slot: AttrSlot(0), ..def.clone() };
            format!("{:?}", attributes.get(slot).map(slotless))
        })
    }
}

/// How a slot is written in a shape.
const SLOT: &str = "AttrSlot(";
