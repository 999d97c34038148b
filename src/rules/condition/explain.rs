//! Which literals keep a condition from being true.

use std::fmt::Write;

use super::{
    FailedLiteral, Truth,
    check::Site,
    tree::{SiteIndex, Test},
};
use crate::domain::{AttrSlot, Cell, Currency, Facts, ValueRef};

/// Texts longer than this are cut in explanations, characters.
const TEXT_CHARS_MAX: usize = 64;
/// Set members beyond this are counted, not shown.
const MEMBERS_MAX: usize = 8;

/// Walks down to the literals that are not what they should be.
pub(super) struct Explanation<'a> {
    pub sites: &'a [Site],
    pub facts: &'a Facts<'a>,
    pub currency: Currency,
    pub failed: Vec<FailedLiteral>,
}

impl Explanation<'_> {
    /// Adds the literals of a part that keep it from being `wanted`.
    pub fn walk(&mut self, test: &Test, wanted: Truth) {
        if test.truth(self.facts) == wanted {
            return;
        }
        match test {
            Test::All(parts) | Test::Any(parts) => parts.iter().for_each(|part| self.walk(part, wanted)),
            Test::Not(part, site) => match &**part {
                Test::Leaf(..) if wanted == Truth::True => self.tell(*site, test, wanted),
                part => self.walk(part, !wanted),
            },
            Test::Choice(parts) => match parts[0].truth(self.facts) {
                Truth::True => self.walk(&parts[1], wanted),
                Truth::False => self.walk(&parts[2], wanted),
                Truth::Unknown => self.walk(&parts[0], Truth::True),
            },
            Test::Leaf(_, site) => self.tell(*site, test, wanted),
        }
    }

    fn tell(&mut self, site: SiteIndex, test: &Test, wanted: Truth) {
        let Some(site) = self.sites.get(site as usize) else { return };
        let read: Vec<String> = site.reads.iter().map(|slot| self.value_read(*slot)).collect();
        let literal = FailedLiteral {
            text: if wanted == Truth::True { site.text.to_string() } else { format!("!({})", site.text) },
            position: site.position.clone(),
            value_read: read.join(", "),
            truth: if test.truth(self.facts) == Truth::Unknown { Truth::Unknown } else { Truth::False },
        };
        if !self.failed.contains(&literal) {
            self.failed.push(literal);
        }
    }

    fn value_read(&self, slot: AttrSlot) -> String {
        let name = self.facts.schema.attributes.get(slot.index()).map_or("an attribute", |def| &*def.full_name);
        if self.facts.cells.get(slot.index()) == Some(&Cell::Unverified) {
            return format!("{name} is not read: the person is not verified");
        }
        match self.facts.get(slot) {
            ValueRef::Missing => format!("{name} is missing"),
            value => format!("{name} = {}", in_words(value, self.currency)),
        }
    }
}

fn in_words(value: ValueRef<'_>, currency: Currency) -> String {
    match value {
        ValueRef::Missing => "nothing".into(),
        ValueRef::Bool(v) => v.to_string(),
        ValueRef::Int(v) => v.to_string(),
        ValueRef::Double(v) => v.to_string(),
        ValueRef::Text(v) => quoted(v),
        ValueRef::Set(members) => {
            let mut text = members.iter().take(MEMBERS_MAX).map(|m| quoted(m)).collect::<Vec<_>>().join(", ");
            if members.len() > MEMBERS_MAX {
                let _ = write!(text, " and {} more", members.len() - MEMBERS_MAX);
            }
            format!("[{text}]")
        }
        ValueRef::Timestamp(v) => {
            jiff::Timestamp::from_microsecond(v.0).map_or_else(|_| format!("{} us", v.0), |moment| moment.to_string())
        }
        ValueRef::Date(v) => {
            let (year, month, day) = v.ymd();
            format!("{year:04}-{month:02}-{day:02}")
        }
        ValueRef::Money(v) => format!("{} {}", currency.format(v), currency.code()),
    }
}

fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(TEXT_CHARS_MAX).collect();
    let dots = if cut.len() < text.len() { "..." } else { "" };
    format!("{cut:?}{dots}")
}
