//! Conditions laid out flat: the simple parts of all offers side by side, in
//! memory that is read in order, over attributes read once per decision. Most
//! offers fall here, before their condition is ever walked.

use crate::{
    domain::{AttrSlot, Facts, OfferSlot, ValueRef},
    rules::{Condition, Ruleset, SimplePart},
};

/// Most texts told apart per attribute; the last bit stands for any other.
const TEXTS_MAX: usize = 63;

/// The gates of every offer of one ruleset.
#[derive(Debug, Default)]
pub(super) struct Gates {
    gates: Vec<Gate>,
    /// Eligibility, applicability, suitability of each offer.
    policies: Vec<[Policy; 3]>,
    /// What gates read.
    reads: Vec<Read>,
}

/// What a condition comes to by its gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gated {
    /// It is not true.
    Fails,
    /// It is true.
    Holds,
    /// Its gates hold; the rest must be walked.
    Open,
}

/// The gates of one condition.
#[derive(Clone, Copy, Debug)]
struct Policy {
    first: u32,
    len: u16,
    /// What it comes to when every gate holds.
    then: Gated,
}

/// One simple part.
#[derive(Clone, Copy, Debug)]
struct Gate {
    read: u16,
    test: Test,
}

#[derive(Clone, Copy, Debug)]
enum Test {
    Within(i64, i64),
    Not(i64),
    Mask(u64),
}

/// An attribute that gates read.
#[derive(Debug)]
struct Read {
    slot: AttrSlot,
    /// Texts it is compared with; the index is the bit.
    texts: Vec<Box<str>>,
}

impl Gates {
    /// Lays the gates of a ruleset out.
    pub fn of(rules: &Ruleset) -> Self {
        let mut gates = Self::default();
        for offer in &rules.offers {
            let conditions = [&offer.eligibility, &offer.applicability, &offer.suitability];
            let policies = conditions.map(|condition| gates.lay(condition.as_deref()));
            gates.policies.push(policies);
        }
        gates
    }

    fn lay(&mut self, condition: Option<&Condition>) -> Policy {
        let first = self.gates.len() as u32;
        let Some(condition) = condition else { return Policy { first, len: 0, then: Gated::Holds } };
        let simple = condition.simple_parts();
        let mut complete = simple.complete;
        for part in &simple.parts {
            match self.gate(part) {
                Some(gate) => self.gates.push(gate),
                None => complete = false,
            }
        }
        let len = (self.gates.len() as u32 - first).min(u32::from(u16::MAX));
        complete &= len as usize == simple.parts.len();
        Policy { first, len: len as u16, then: if complete { Gated::Holds } else { Gated::Open } }
    }

    fn gate(&mut self, part: &SimplePart<'_>) -> Option<Gate> {
        let (slot, test) = match *part {
            SimplePart::Within { slot, from, to } => (slot, Test::Within(from, to)),
            SimplePart::Not { slot, value } => (slot, Test::Not(value)),
            SimplePart::Flag { slot } => (slot, Test::Within(1, 1)),
            SimplePart::Texts { slot, values, wanted } => {
                let mut mask = 0_u64;
                for text in values {
                    mask |= 1 << self.bit(slot, text)?;
                }
                (slot, Test::Mask(if wanted { mask } else { !mask }))
            }
        };
        Some(Gate { read: self.read_of(slot) as u16, test })
    }

    fn read_of(&mut self, slot: AttrSlot) -> usize {
        match self.reads.iter().position(|read| read.slot == slot) {
            Some(at) => at,
            None => {
                self.reads.push(Read { slot, texts: Vec::new() });
                self.reads.len() - 1
            }
        }
    }

    /// The bit of a text; `None` when the attribute is compared with too many.
    fn bit(&mut self, slot: AttrSlot, text: &str) -> Option<usize> {
        let at = self.read_of(slot);
        let texts = &mut self.reads[at].texts;
        if let Some(bit) = texts.iter().position(|known| **known == *text) {
            return Some(bit);
        }
        if texts.len() == TEXTS_MAX {
            return None;
        }
        texts.push(text.into());
        Some(texts.len() - 1)
    }

    /// Reads what the gates need; a value per read, `None` where it is missing.
    pub fn read(&self, facts: &Facts<'_>, values: &mut Vec<Option<i64>>) {
        values.clear();
        values.extend(self.reads.iter().map(|read| match facts.get(read.slot) {
            ValueRef::Int(value) | ValueRef::Money(value) => Some(value),
            ValueRef::Bool(value) => Some(i64::from(value)),
            ValueRef::Text(text) => {
                let known = read.texts.iter().position(|known| **known == *text);
                Some(known.unwrap_or(TEXTS_MAX) as i64)
            }
            _ => None,
        }));
    }

    /// What eligibility, applicability or suitability (0, 1, 2) of an offer
    /// comes to over values that were read.
    #[inline]
    pub fn test(&self, offer: OfferSlot, policy: usize, values: &[Option<i64>]) -> Gated {
        let policy = self.policies[offer.index()][policy];
        let first = policy.first as usize;
        for gate in &self.gates[first..first + usize::from(policy.len)] {
            let Some(value) = values[usize::from(gate.read)] else { return Gated::Fails };
            let holds = match gate.test {
                Test::Within(from, to) => from <= value && value <= to,
                Test::Not(other) => value != other,
                Test::Mask(mask) => mask >> value & 1 == 1,
            };
            if !holds {
                return Gated::Fails;
            }
        }
        policy.then
    }
}
