//! The simple parts that must all hold for a condition to be true, for those
//! who lay many conditions out side by side.

use crate::domain::AttrSlot;

use super::{
    Condition, Root,
    syntax::Comparison,
    tree::{Leaf, Test},
};

/// A part over one attribute that must hold for its condition to be true. It
/// never holds where the attribute is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimplePart<'a> {
    /// A whole number or money (minor units) within both ends.
    Within {
        /// The attribute.
        slot: AttrSlot,
        /// Smallest.
        from: i64,
        /// Largest.
        to: i64,
    },
    /// Another whole number or amount than this.
    Not {
        /// The attribute.
        slot: AttrSlot,
        /// The number.
        value: i64,
    },
    /// A truth value that is true.
    Flag {
        /// The attribute.
        slot: AttrSlot,
    },
    /// One of these texts, or none of them.
    Texts {
        /// The attribute.
        slot: AttrSlot,
        /// The texts.
        values: &'a [Box<str>],
        /// Whether it must be one of them.
        wanted: bool,
    },
}

/// Simple parts of a condition.
#[derive(Debug, Default)]
pub struct SimpleParts<'a> {
    /// Each must hold.
    pub parts: Vec<SimplePart<'a>>,
    /// Whether they are all there is: the condition is true when they hold.
    pub complete: bool,
}

impl Condition {
    /// The simple parts of a condition that is a conjunction.
    pub fn simple_parts(&self) -> SimpleParts<'_> {
        let mut found = SimpleParts { parts: Vec::new(), complete: true };
        match &self.root {
            Root::Test(test) => collect(test, &mut found),
            Root::Value(_) => found.complete = false,
        }
        found
    }
}

fn collect<'a>(test: &'a Test, found: &mut SimpleParts<'a>) {
    match test {
        Test::All(parts) => parts.iter().for_each(|part| collect(part, found)),
        Test::Leaf(leaf, _) => match simple(leaf) {
            Some(part) => found.parts.push(part),
            None => found.complete = false,
        },
        Test::Any(_) | Test::Not(..) | Test::Choice(_) => found.complete = false,
    }
}

fn simple(leaf: &Leaf) -> Option<SimplePart<'_>> {
    Some(match leaf {
        Leaf::Flag(slot) => SimplePart::Flag { slot: *slot },
        Leaf::CompareInt { slot, comparison, value } | Leaf::CompareMoney { slot, comparison, value } => {
            let (slot, value) = (*slot, *value);
            let within = |from, to| SimplePart::Within { slot, from, to };
            match comparison {
                Comparison::Equal => within(value, value),
                Comparison::NotEqual => SimplePart::Not { slot, value },
                Comparison::Less => within(i64::MIN, value.checked_sub(1)?),
                Comparison::LessOrEqual => within(i64::MIN, value),
                Comparison::Greater => within(value.checked_add(1)?, i64::MAX),
                Comparison::GreaterOrEqual => within(value, i64::MAX),
            }
        }
        Leaf::TextIs { slot, value, equal } => {
            SimplePart::Texts { slot: *slot, values: std::slice::from_ref(value), wanted: *equal }
        }
        Leaf::OneOf { slot, values } => SimplePart::Texts { slot: *slot, values, wanted: true },
        _ => return None,
    })
}
