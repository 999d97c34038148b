//! Counts who is in which segment.

use crate::{
    app::population::{Person, unasked},
    customer::permissions,
    decide::{FactReader, Snapshot},
    domain::{CustomerKey, Facts, PageConsent, Profile, Request, Timestamp, facts::Cells},
    predict::{OVERLAPS_TOLD_MAX, Overlap, SegmentFound, SegmentsChanged},
    store::Membership,
};

use super::Bits;

/// Counts one customer after the other.
pub(super) struct Counter<'a> {
    snapshot: &'a Snapshot,
    bits: &'a Bits,
    now: Timestamp,
    reader: FactReader,
    request: Request,
    cells: Cells,
    inside: Vec<usize>,
    customers: u64,
    found: Vec<SegmentFound>,
    /// By (one, other) with one < other: `one * segments + other`.
    both: Vec<u64>,
}

impl<'a> Counter<'a> {
    pub fn new(snapshot: &'a Snapshot, bits: &'a Bits, now: Timestamp) -> Self {
        let rules = &snapshot.ruleset;
        let counted = rules.segments.iter().enumerate().take_while(|(at, _)| bits.of(*at).is_some());
        let found: Vec<_> =
            counted.map(|(_, segment)| SegmentFound { name: (&*segment.name).into(), ..Default::default() }).collect();
        let reads = rules.segments.iter().take(found.len()).flat_map(|segment| segment.condition.reads());
        Self {
            snapshot,
            bits,
            now,
            reader: FactReader::only(&rules.schema, reads).with_base(std::sync::Arc::clone(&snapshot.base)),
            request: unasked(),
            cells: Cells::default(),
            inside: Vec::new(),
            customers: 0,
            both: vec![0; found.len() * found.len()],
            found,
        }
    }

    /// Counts a customer and answers the segments, as decisions see them:
    /// behaviour counts only with consent.
    pub fn count(&mut self, profile: &Profile) -> Membership {
        self.customers += 1;
        let rules = &self.snapshot.ruleset;
        let profiling = permissions::profiling(profile, PageConsent::default());
        let person = Person { profile, request: &self.request, now: self.now, profiling, missing: &[] };
        person.fill(&self.reader, &rules.schema, &mut self.cells);
        let facts = Facts { cells: &self.cells.list, derived: &self.cells.derived, ..person.facts(&rules.schema) };
        self.inside.clear();
        let holds = rules.segments.iter().take(self.found.len()).enumerate();
        self.inside.extend(holds.filter(|(_, segment)| segment.condition.holds(&facts)).map(|(at, _)| at));
        let mut membership = Membership::default();
        for (n, one) in self.inside.iter().enumerate() {
            self.found[*one].customers += 1;
            for other in &self.inside[n + 1..] {
                self.both[one * self.found.len() + other] += 1;
            }
            if let Some(bit) = self.bits.of(*one) {
                membership.insert(bit);
            }
        }
        membership
    }

    /// Which segments a customer entered and left; `None` when the difference
    /// is only in segments that are no more.
    pub fn changed(&mut self, customer: CustomerKey, was: &Membership, is: &Membership) -> Option<SegmentsChanged> {
        let mut named = |of: &Membership, but: &Membership, count: fn(&mut SegmentFound)| -> Vec<Box<str>> {
            let bits = of.bits().filter(|bit| !but.has(*bit));
            let names = bits.filter_map(|bit| self.bits.name(bit));
            names
                .map(|name| {
                    if let Some(found) = self.found.iter_mut().find(|found| &*found.name == name) {
                        count(found);
                    }
                    name.into()
                })
                .collect()
        };
        let entered = named(is, was, |found| found.entered += 1);
        let left = named(was, is, |found| found.left += 1);
        (!entered.is_empty() || !left.is_empty()).then_some(SegmentsChanged { customer, entered, left })
    }

    /// Customers, segments, and the largest overlaps.
    pub fn end(self) -> (u64, Vec<SegmentFound>, Vec<Overlap>) {
        let len = self.found.len();
        let pair = |(at, customers): (usize, u64)| Overlap {
            one: (at / len.max(1)) as u16,
            other: (at % len.max(1)) as u16,
            customers,
        };
        let mut overlaps: Vec<Overlap> =
            self.both.into_iter().enumerate().filter(|(_, customers)| *customers > 0).map(pair).collect();
        overlaps.sort_by_key(|overlap| (std::cmp::Reverse(overlap.customers), overlap.one, overlap.other));
        overlaps.truncate(OVERLAPS_TOLD_MAX);
        (self.customers, self.found, overlaps)
    }
}
