//! Whom the changed offers of an edit reach, over everybody: each person's
//! facts are read once, only offers that changed are evaluated, on all cores.

use std::{
    collections::HashMap,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    decide::FactReader,
    domain::{Cells, Facts, OfferSet, OfferSlot},
    predict::BaseModel,
    rules::Ruleset,
};

use super::{
    changed::{Change, Pairing, changed},
    eligible::{Eligibility, EligibilityBuffers, Person},
    segments::BySegment,
};

/// The most offers told one by one; the rest is counted.
pub const REACH_ROWS_MAX: usize = 200;

/// A part of the people, for one thread.
pub trait Crowd: Send {
    /// Shows everybody in it, one after the other.
    fn visit(&mut self, see: &mut dyn FnMut(Person<'_>));
}

/// Whom an edit reaches.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// People looked at.
    pub people: usize,
    /// People there are.
    pub population: usize,
    /// How long looking took.
    pub elapsed: Duration,
    /// Changed offers, the largest change first; at most [`REACH_ROWS_MAX`].
    pub offers: Vec<OfferReached>,
    /// Changed offers that are not told.
    pub offers_left_out: usize,
    /// Offers that did not change.
    pub offers_unchanged: usize,
    /// What is not complete.
    pub notes: Vec<String>,
}

/// Looking over a part of the people did not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("looking over a part of the people failed: see the log")]
pub struct PartLost;

/// Whom one changed offer reaches.
#[derive(Clone, Debug)]
pub struct OfferReached {
    /// Its id.
    pub offer: Arc<str>,
    /// What became of it.
    pub change: Change,
    /// Eligible before the edit.
    pub before: usize,
    /// Eligible after it.
    pub after: usize,
    /// Newly eligible.
    pub gained: usize,
    /// No longer eligible.
    pub lost: usize,
    /// By segment of the edited rules, the largest change first.
    pub segments: Vec<SegmentReached>,
}

/// Who of a segment is newly or no longer eligible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentReached {
    /// Its name.
    pub segment: Arc<str>,
    /// Newly eligible.
    pub gained: usize,
    /// No longer eligible.
    pub lost: usize,
}

/// An edit: the rules before and after it.
#[derive(Clone, Copy, Debug)]
pub struct Edit<'a> {
    /// Before.
    pub before: &'a Ruleset,
    /// After.
    pub after: &'a Ruleset,
    /// The analysis of the whole base that traits of models read, on both sides.
    pub base: &'a Arc<BaseModel>,
}

/// Evaluates the changed offers for everybody, a thread for each part.
/// Blocking.
///
/// # Errors
/// A thread panicked: nothing is told without its part.
pub fn reach(edit: Edit<'_>, crowds: Vec<Box<dyn Crowd + '_>>) -> Result<Reach, PartLost> {
    let started = Instant::now();
    let pairs = changed(edit.before, edit.after);
    let look = Look::new(edit, &pairs);
    let mut sum = Sums::new(pairs.len());
    if !pairs.is_empty() {
        let parts: Vec<_> = thread::scope(|scope| {
            let parts: Vec<_> = crowds.into_iter().map(|crowd| scope.spawn(|| look.at(crowd))).collect();
            parts.into_iter().map(|part| part.join()).collect()
        });
        for part in parts {
            sum.add(part.map_err(|_| PartLost)?);
        }
    }
    let unchanged = edit.after.offers.len() - pairs.iter().filter(|pair| pair.after.is_some()).count();
    let mut reach =
        Reach { people: sum.people, population: sum.people, offers_unchanged: unchanged, ..Reach::default() };
    reach.offers = pairs.iter().enumerate().map(|(at, pair)| sum.offer(edit.after, at, pair)).collect();
    reach.offers.sort_by_key(|offer| std::cmp::Reverse(offer.gained + offer.lost));
    reach.offers_left_out = reach.offers.len().saturating_sub(REACH_ROWS_MAX);
    reach.offers.truncate(REACH_ROWS_MAX);
    reach.notes.extend(sum.by_segment.note());
    reach.elapsed = started.elapsed();
    Ok(reach)
}

/// Cuts a list into as many parts as there are cores.
pub fn parts<T>(list: &[T]) -> impl Iterator<Item = &[T]> {
    list.chunks(part_len(list.len()))
}

/// The length of a part of a list when it is cut into one for each core.
pub fn part_len(len: usize) -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    len.div_ceil(cores).max(1)
}

/// What every thread looks with.
struct Look<'a> {
    sides: [Eligibility<'a>; 2],
    /// Index of the pairing by slot, of both sides.
    pair_of: [HashMap<OfferSlot, u32>; 2],
    pairs: usize,
    after: &'a Ruleset,
    segments: FactReader,
}

impl<'a> Look<'a> {
    fn new(edit: Edit<'a>, pairs: &[Pairing]) -> Self {
        let at = |slot: fn(&Pairing) -> Option<OfferSlot>| -> HashMap<OfferSlot, u32> {
            pairs.iter().enumerate().filter_map(|(at, pair)| Some((slot(pair)?, at as u32))).collect()
        };
        let pair_of = [at(|pair| pair.before), at(|pair| pair.after)];
        let sides = [(edit.before, &pair_of[0]), (edit.after, &pair_of[1])];
        let segments = edit.after.segments.iter().flat_map(|segment| segment.condition.reads());
        Self {
            sides: sides.map(|(rules, offers)| {
                Eligibility::only(rules, offers.keys().copied()).with_base(Arc::clone(edit.base))
            }),
            pairs: pairs.len(),
            after: edit.after,
            segments: FactReader::only(&edit.after.schema, segments).with_base(Arc::clone(edit.base)),
            pair_of,
        }
    }

    fn at(&self, mut crowd: Box<dyn Crowd + '_>) -> Sums {
        let mut sums = Sums::new(self.pairs);
        let mut buffers: [EligibilityBuffers; 2] = Default::default();
        let mut found = [OfferSet::empty(self.pairs), OfferSet::empty(self.pairs)];
        let mut inside = Inside { look: self, cells: Cells::default(), segments: Vec::new() };
        crowd.visit(&mut |person| {
            sums.people += 1;
            for (side, eligibility) in self.sides.iter().enumerate() {
                found[side].reset(self.pairs);
                for slot in eligibility.of_person(&person, &mut buffers[side]).iter() {
                    if let Some(pair) = self.pair_of[side].get(&slot) {
                        found[side].insert(OfferSlot(*pair));
                    }
                }
            }
            sums.count(&found, || inside.of(&person));
        });
        sums
    }
}

/// Finds the segments of those something changes for.
struct Inside<'a> {
    look: &'a Look<'a>,
    cells: Cells,
    segments: Vec<u32>,
}

impl Inside<'_> {
    fn of(&mut self, person: &Person<'_>) -> &[u32] {
        let rules = self.look.after;
        person.fill(&self.look.segments, &rules.schema, &mut self.cells);
        let facts = Facts { cells: &self.cells.list, derived: &self.cells.derived, ..person.facts(&rules.schema) };
        self.segments.clear();
        for (at, segment) in rules.segments.iter().enumerate() {
            if segment.condition.holds(&facts) {
                self.segments.push(at as u32);
            }
        }
        &self.segments
    }
}

/// What was counted, by pairing.
#[derive(Default)]
struct Sums {
    people: usize,
    offers: Vec<[usize; 4]>,
    by_segment: BySegment,
}

/// Places in the counts of an offer.
const BEFORE: usize = 0;
const AFTER: usize = 1;
const GAINED: usize = 2;
const LOST: usize = 3;

impl Sums {
    fn new(pairs: usize) -> Self {
        Self { offers: vec![[0; 4]; pairs], ..Self::default() }
    }

    fn count<'s>(&mut self, [before, after]: &[OfferSet; 2], segments: impl FnOnce() -> &'s [u32]) {
        before.iter().for_each(|pair| self.offers[pair.index()][BEFORE] += 1);
        after.iter().for_each(|pair| self.offers[pair.index()][AFTER] += 1);
        if before == after {
            return;
        }
        let segments = segments();
        for pair in after.iter().filter(|pair| !before.contains(*pair)) {
            self.offers[pair.index()][GAINED] += 1;
            segments.iter().for_each(|at| self.by_segment.add((pair.0, *at), (1, 0)));
        }
        for pair in before.iter().filter(|pair| !after.contains(*pair)) {
            self.offers[pair.index()][LOST] += 1;
            segments.iter().for_each(|at| self.by_segment.add((pair.0, *at), (0, 1)));
        }
    }

    fn add(&mut self, other: Sums) {
        self.people += other.people;
        for (mine, theirs) in self.offers.iter_mut().zip(other.offers) {
            mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine += theirs);
        }
        self.by_segment.unite(other.by_segment);
    }

    fn offer(&self, rules: &Ruleset, at: usize, pair: &Pairing) -> OfferReached {
        let counts = self.offers[at];
        let mut segments: Vec<SegmentReached> = rules
            .segments
            .iter()
            .enumerate()
            .filter_map(|(segment, named)| {
                let (gained, lost) = self.by_segment.get((at as u32, segment as u32));
                (gained + lost > 0).then(|| SegmentReached { segment: Arc::clone(&named.name), gained, lost })
            })
            .collect();
        segments.sort_by_key(|segment| std::cmp::Reverse(segment.gained + segment.lost));
        OfferReached {
            offer: Arc::clone(&pair.offer),
            change: pair.change(),
            before: counts[BEFORE],
            after: counts[AFTER],
            gained: counts[GAINED],
            lost: counts[LOST],
            segments,
        }
    }
}
