//! What can be told of a condition without facts: whether it is constant, what
//! it reads, and where a negation meets an attribute that may be missing.

use std::collections::BTreeSet;

use super::{
    Condition, Root, Truth,
    check::Site,
    syntax::Comparison,
    tree::{Constant, Leaf, SiteIndex, Test, Value},
};
use crate::{
    domain::{AttrSlot, AttributeSource, AttributeType, Facts, Profile, Request, Schema, Timestamp},
    rules::Position,
};

impl Condition {
    /// Whether it is true for everybody at any time, or for nobody ever, as far
    /// as constants tell.
    pub fn always(&self) -> Option<bool> {
        let Root::Test(test) = &self.root else { return None };
        constant(test, &self.sites).map(|truth| truth == Truth::True)
    }

    /// The attributes it reads, in order of their slots.
    pub fn reads(&self) -> Vec<AttrSlot> {
        self.reads.to_vec()
    }

    /// The parts that must all be true, each in words of its own: parts of two
    /// conditions with the same words are the same.
    pub fn conjuncts(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        if let Root::Test(test) = &self.root {
            conjuncts(test, &mut found);
        }
        found
    }

    /// Where a negation stands on an attribute that may be missing, and no
    /// `has` beside it says what then: the author may expect it to be true.
    pub fn bare_negations(&self, schema: &Schema) -> Vec<(Position, AttrSlot)> {
        let mut search = Search { schema, sites: &self.sites, found: BTreeSet::new() };
        if let Root::Test(test) = &self.root {
            search.walk(test, false, &BTreeSet::new());
        }
        let place = |site: SiteIndex| self.sites.get(site as usize).map(|site| site.position.clone());
        search.found.into_iter().filter_map(|(site, slot)| Some((place(site)?, slot))).collect()
    }
}

fn conjuncts(test: &Test, found: &mut BTreeSet<String>) {
    match test {
        Test::All(parts) => parts.iter().for_each(|part| conjuncts(part, found)),
        part => _ = found.insert(named(part)),
    }
}

/// A part without the places it stands at.
fn named(test: &Test) -> String {
    let joined = |parts: &[Test]| parts.iter().map(named).collect::<Vec<_>>().join(", ");
    match test {
        Test::All(parts) => format!("all({})", joined(parts)),
        Test::Any(parts) => format!("any({})", joined(parts)),
        Test::Not(part, _) => format!("not({})", named(part)),
        Test::Choice(parts) => format!("choice({})", joined(&parts[..])),
        Test::Leaf(leaf, _) => format!("{leaf:?}"),
    }
}

/// The truth of a part that depends on nothing.
fn constant(test: &Test, sites: &[Site]) -> Option<Truth> {
    match test {
        Test::All(parts) => joined(parts, Truth::False, sites),
        Test::Any(parts) => joined(parts, Truth::True, sites),
        Test::Not(part, _) => constant(part, sites).map(|truth| !truth),
        Test::Choice(parts) => match constant(&parts[0], sites) {
            Some(Truth::True) => constant(&parts[1], sites),
            Some(Truth::False) => constant(&parts[2], sites),
            Some(Truth::Unknown) => Some(Truth::Unknown),
            None => None,
        },
        Test::Leaf(leaf, site) => {
            if let Leaf::Constant(value) = &**leaf {
                return Some(Truth::from(*value));
            }
            let site = sites.get(*site as usize)?;
            (site.reads.is_empty() && !site.reads_now).then(|| without_facts(leaf))
        }
    }
}

fn joined(parts: &[Test], deciding: Truth, sites: &[Site]) -> Option<Truth> {
    let truths: Vec<Option<Truth>> = parts.iter().map(|part| constant(part, sites)).collect();
    if truths.contains(&Some(deciding)) {
        return Some(deciding);
    }
    let all: Vec<Truth> = truths.into_iter().collect::<Option<_>>()?;
    Some(if all.contains(&Truth::Unknown) { Truth::Unknown } else { !deciding })
}

fn without_facts(leaf: &Leaf) -> Truth {
    let (schema, profile, request) = (Schema::default(), Profile::default(), Request::default());
    leaf.truth(&Facts {
        cells: &[],
        derived: &[],
        schema: &schema,
        profile: &profile,
        request: &request,
        now: Timestamp(0),
        record: None,
    })
}

/// Attributes that a part asks for with `has`.
type Asked = BTreeSet<AttrSlot>;

struct Search<'a> {
    schema: &'a Schema,
    sites: &'a [Site],
    found: BTreeSet<(SiteIndex, AttrSlot)>,
}

impl Search<'_> {
    /// Looks through a part; `negated` when it stands under an odd number of `!`.
    fn walk(&mut self, test: &Test, negated: bool, asked: &Asked) {
        match test {
            Test::All(parts) | Test::Any(parts) => {
                let mut beside = asked.clone();
                parts.iter().for_each(|part| collect_asked(part, &mut beside));
                // What must hold beside it cannot hold without its attributes.
                if matches!(test, Test::All(_)) != negated {
                    collect_needed(test, negated, &mut beside);
                }
                parts.iter().for_each(|part| self.walk(part, negated, &beside));
            }
            Test::Not(part, site) => match &**part {
                Test::Leaf(leaf, inner) => self.leaf(leaf, (*site, *inner), !negated, asked),
                part => self.walk(part, !negated, asked),
            },
            Test::Choice(parts) => {
                self.walk(&parts[0], false, asked);
                let mut beside = asked.clone();
                collect_asked(&parts[0], &mut beside);
                self.walk(&parts[1], negated, &beside);
                self.walk(&parts[2], negated, &beside);
            }
            Test::Leaf(leaf, site) => self.leaf(leaf, (*site, *site), negated, asked),
        }
    }

    /// `sites` are where a finding is told, and the leaf's own.
    fn leaf(&mut self, leaf: &Leaf, (told, own): (SiteIndex, SiteIndex), negated: bool, asked: &Asked) {
        match leaf {
            Leaf::Has(_) | Leaf::Constant(_) | Leaf::SetHas { .. } => return,
            Leaf::Exists(parts) | Leaf::Every(parts) => return self.walk(&parts.1, negated, asked),
            Leaf::Value(value) => {
                if let Value::Test(test) = &**value {
                    return self.walk(test, negated, asked);
                }
            }
            _ => {}
        }
        if says_not(leaf) == negated {
            return;
        }
        let reads = self.sites.get(own as usize).map_or(&[][..], |site| &site.reads);
        let missing = |slot: &AttrSlot| !asked.contains(slot) && may_be_missing(self.schema, *slot);
        let found: Vec<AttrSlot> = reads.iter().copied().filter(missing).collect();
        self.found.extend(found.into_iter().map(|slot| (told, slot)));
    }
}

/// Notes the attributes that a part, or the parts it is made of, asks for.
fn collect_asked(test: &Test, asked: &mut Asked) {
    match test {
        Test::Leaf(leaf, _) => {
            if let Leaf::Has(slot) = &**leaf {
                asked.insert(*slot);
            }
        }
        Test::Not(part, _) => collect_asked(part, asked),
        Test::All(parts) | Test::Any(parts) => parts.iter().for_each(|part| collect_asked(part, asked)),
        Test::Choice(_) => {}
    }
}

fn says_not(leaf: &Leaf) -> bool {
    match leaf {
        Leaf::CompareInt { comparison, .. }
        | Leaf::CompareDouble { comparison, .. }
        | Leaf::CompareMoney { comparison, .. } => *comparison == Comparison::NotEqual,
        Leaf::TextIs { equal, .. } => !equal,
        Leaf::Compare(parts) => match (&parts.0, &parts.2) {
            (Value::Constant(Constant::Bool(wanted)), _) | (_, Value::Constant(Constant::Bool(wanted))) => {
                (parts.1 == Comparison::NotEqual) == *wanted
            }
            _ => parts.1 == Comparison::NotEqual,
        },
        _ => false,
    }
}

/// Notes the attributes without which a part cannot be true (false when
/// negated), as its plain leaves tell.
fn collect_needed(test: &Test, negated: bool, needed: &mut Asked) {
    match test {
        Test::All(parts) if !negated => parts.iter().for_each(|part| collect_needed(part, negated, needed)),
        Test::Any(parts) if negated => parts.iter().for_each(|part| collect_needed(part, negated, needed)),
        Test::Not(part, _) => collect_needed(part, !negated, needed),
        Test::Leaf(leaf, _) if says_not(leaf) == negated => leaf_needs(leaf, needed),
        _ => {}
    }
}

fn leaf_needs(leaf: &Leaf, needed: &mut Asked) {
    match leaf {
        Leaf::Flag(slot)
        | Leaf::CompareInt { slot, .. }
        | Leaf::CompareDouble { slot, .. }
        | Leaf::CompareMoney { slot, .. }
        | Leaf::TextIs { slot, .. }
        | Leaf::OneOf { slot, .. } => _ = needed.insert(*slot),
        Leaf::Compare(parts) => [&parts.0, &parts.2].into_iter().for_each(|side| value_needs(side, needed)),
        Leaf::In(parts) => value_needs(&parts.0, needed),
        Leaf::Match(parts) => value_needs(&parts.0, needed),
        _ => {}
    }
}

fn value_needs(value: &Value, needed: &mut Asked) {
    match value {
        Value::Attribute(slot) => _ = needed.insert(*slot),
        Value::Negate(value) | Value::Size(value) | Value::ToDouble(value, _) | Value::ToInt(value) => {
            value_needs(value, needed);
        }
        Value::Arithmetic(_, sides) => sides.iter().for_each(|side| value_needs(side, needed)),
        Value::Moment(parts) => value_needs(&parts.0, needed),
        _ => {}
    }
}

/// Whether an attribute may have no value, or one that is not read.
pub(super) fn may_be_missing(schema: &Schema, slot: AttrSlot) -> bool {
    let Some(def) = schema.attributes.get(slot.index()) else { return false };
    if def.verified {
        return true;
    }
    if def.default.is_some() || def.kind == AttributeType::Set {
        return false;
    }
    match &def.source {
        AttributeSource::Stored | AttributeSource::Context => true,
        AttributeSource::Trait(computed) => !computed.is_always_known(),
        AttributeSource::RecordField(..) => true,
        AttributeSource::Records(_) | AttributeSource::RecordKey(_) => false,
    }
}
