//! What a publish would change for real people: each of a sample is put
//! through both rulesets, by the same index and the same ranking that decide.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    customer::permissions,
    decide::{self, Inputs, Scratch, Signer, Snapshot},
    domain::{
        Assurance, DecisionId, DegradedSet, Holder, LinkRef, Match, OfferSet, OfferSlot, PageConsent, PlacementAsk,
        PresentationRef, Profile, Request, Timestamp, VisitorId,
    },
};

use super::{
    changed::{Change, Pairing, pairings},
    eligible::{Eligibility, EligibilityBuffers, Person},
    limits::{self, Rules},
    sample::Sample,
    segments::BySegment,
    sides::{Occasion, Sides},
    unasked,
};

/// The most offers told one by one; the rest is counted.
pub const ROWS_MAX: usize = 100;
/// The most segments told of one offer.
pub const SEGMENTS_MAX: usize = 8;
/// How long the people of a sample are ranked, at most; then the rest of them
/// is left out.
pub const RANKING_TIME: Duration = Duration::from_secs(2);

/// What is told of a resume under reach limits.
const RESUMED: &str = "reach limits are not judged: a resume returns what the pause took away";

/// What a publish would change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PopulationDiff {
    /// Customers of whom they are a sample.
    pub population: usize,
    /// People of the sample: those whose eligibility was compared.
    pub people: usize,
    /// Those of them whose answers were compared too.
    pub ranked: usize,
    /// Offers that change, the largest change first; at most [`ROWS_MAX`].
    pub offers: Vec<OfferReach>,
    /// Offers that change and are not told.
    pub offers_left_out: usize,
    /// Offers that nothing changes for.
    pub offers_unchanged: usize,
    /// All offers together.
    pub totals: Counts,
    /// By segment of the new rules; those that something changes for.
    pub segments: Vec<SegmentChange>,
    /// Why the change is refused; a line each. Judged over every offer.
    pub refusals: Vec<String>,
    /// What was not judged, and why.
    pub notes: Vec<String>,
}

/// People, or pairs of people and offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Eligible under the active rules.
    pub eligible_before: usize,
    /// Eligible under the new rules.
    pub eligible_after: usize,
    /// Newly eligible.
    pub gained: usize,
    /// No longer eligible.
    pub lost: usize,
    /// Shown it by some placement or in answer to an open question.
    pub winners_before: usize,
    /// The same under the new rules.
    pub winners_after: usize,
}

/// What changes for one offer.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferReach {
    /// Its id.
    pub offer: Arc<str>,
    /// What became of it.
    pub change: Change,
    /// People.
    pub counts: Counts,
    /// Whether a visitor nobody knows is eligible, before and afterwards.
    pub visitor: (bool, bool),
    /// By segment of the new rules, the largest change first; at most
    /// `SEGMENTS_MAX`.
    pub segments: Vec<SegmentChange>,
}

/// What changes for the people of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentChange {
    /// Its name.
    pub segment: Arc<str>,
    /// People of the sample who are in it.
    pub people: usize,
    /// Newly eligible.
    pub gained: usize,
    /// No longer eligible.
    pub lost: usize,
}

/// Compares both sides on a sample. The answers of as many people as the time
/// allows, the eligibility of all of them. Blocking.
pub fn compare(sides: Sides<'_>, sample: &Sample, ranking_time: Duration) -> PopulationDiff {
    let pairs = pairings(&sides.active.ruleset, &sides.new.ruleset);
    let mut tally = Tally::new(sides, &pairs);
    let visitor = Profile::default();
    tally.visitor(&visitor);
    for person in &sample.people {
        tally.eligible(&person.profile);
    }
    let started = Instant::now();
    let least = sides.new.ruleset.reach.min_sample;
    let mut ranked = 0;
    for person in &sample.people {
        if ranked >= least && started.elapsed() > ranking_time {
            break;
        }
        tally.shown(&person.profile, ranked as u64);
        ranked += 1;
    }
    tally.finish(sample, ranked)
}

/// Counts per pairing while people go by.
struct Tally<'a> {
    sides: Sides<'a>,
    pairs: &'a [Pairing],
    eligibility: [Eligibility<'a>; 2],
    buffers: [EligibilityBuffers; 2],
    /// Index of the pairing by slot, of both sides.
    pair_of: [Vec<u32>; 2],
    /// Pairings a person is eligible for, or shown, on both sides.
    of_person: [OfferSet; 2],
    request: Request,
    scratch: [Scratch; 2],
    counts: Vec<Counts>,
    visitors: Vec<(bool, bool)>,
    by_segment: BySegment,
    /// (gained, lost) of all offers, by segment.
    all_of_segment: Vec<(usize, usize)>,
    /// People by segment.
    members: Vec<usize>,
}

impl<'a> Tally<'a> {
    fn new(sides: Sides<'a>, pairs: &'a [Pairing]) -> Self {
        let rules = [&*sides.active.ruleset, &*sides.new.ruleset];
        let mut pair_of = rules.map(|rules| vec![0; rules.offers.len()]);
        for (at, pair) in pairs.iter().enumerate() {
            for (side, slot) in [pair.before, pair.after].into_iter().enumerate() {
                if let Some(slot) = slot {
                    pair_of[side][slot.index()] = at as u32;
                }
            }
        }
        let eligibility = [sides.active, sides.new].map(|snapshot| {
            let every = Eligibility::of(&snapshot.ruleset).with_base(Arc::clone(&snapshot.base));
            match sides.occasion {
                Occasion::Publish => every,
                Occasion::Resume => every.without(snapshot.paused_offers()),
            }
        });
        Self {
            eligibility,
            buffers: Default::default(),
            pair_of,
            of_person: [OfferSet::empty(pairs.len()), OfferSet::empty(pairs.len())],
            request: unasked(),
            scratch: Default::default(),
            counts: vec![Counts::default(); pairs.len()],
            visitors: vec![(false, false); pairs.len()],
            by_segment: BySegment::default(),
            all_of_segment: vec![(0, 0); sides.new.ruleset.segments.len()],
            members: vec![0; sides.new.ruleset.segments.len()],
            sides,
            pairs,
        }
    }

    /// Finds the pairings whose offers a person may get, on both sides.
    fn find_eligible(&mut self, profile: &Profile, profiling: bool) {
        let Self { eligibility, buffers, pair_of, of_person, request, .. } = self;
        let person = Person { profile, request, now: self.sides.now, profiling, missing: &[] };
        for (side, eligibility) in eligibility.iter().enumerate() {
            of_person[side].reset(self.pairs.len());
            for slot in eligibility.of_person(&person, &mut buffers[side]).iter() {
                of_person[side].insert(OfferSlot(pair_of[side][slot.index()]));
            }
        }
    }

    /// Nobody known, and nothing said about behaviour.
    fn visitor(&mut self, visitor: &Profile) {
        let verified = std::mem::replace(&mut self.request.assurance, Assurance::Anonymous);
        self.find_eligible(visitor, false);
        self.request.assurance = verified;
        for (at, eligible) in self.visitors.iter_mut().enumerate() {
            let slot = OfferSlot(at as u32);
            *eligible = (self.of_person[0].contains(slot), self.of_person[1].contains(slot));
        }
    }

    fn eligible(&mut self, profile: &Profile) {
        let profiling = permissions::profiling(profile, PageConsent::default());
        self.find_eligible(profile, profiling);
        let person = Person { profile, request: &self.request, now: self.sides.now, profiling, missing: &[] };
        let facts = self.eligibility[1].facts_of(&person, &self.buffers[1]);
        let mut inside: Vec<u32> = Vec::new();
        for (at, segment) in self.sides.new.ruleset.segments.iter().enumerate() {
            if segment.condition.holds(&facts) {
                inside.push(at as u32);
                self.members[at] += 1;
            }
        }
        let [before, after] = &self.of_person;
        before.iter().for_each(|pair| self.counts[pair.index()].eligible_before += 1);
        after.iter().for_each(|pair| self.counts[pair.index()].eligible_after += 1);
        for pair in after.iter().filter(|pair| !before.contains(*pair)) {
            self.counts[pair.index()].gained += 1;
            for at in &inside {
                self.by_segment.add((pair.0, *at), (1, 0));
                self.all_of_segment[*at as usize].0 += 1;
            }
        }
        for pair in before.iter().filter(|pair| !after.contains(*pair)) {
            self.counts[pair.index()].lost += 1;
            for at in &inside {
                self.by_segment.add((pair.0, *at), (0, 1));
                self.all_of_segment[*at as usize].1 += 1;
            }
        }
    }

    /// Ranks each placement alone and the open question, on both sides with
    /// the same decision ids.
    fn shown(&mut self, profile: &Profile, number: u64) {
        for (side, snapshot) in [self.sides.active, self.sides.new].into_iter().enumerate() {
            self.of_person[side].reset(self.pairs.len());
            let places = &snapshot.ruleset.placements;
            for place in places.iter().map(Some).chain([None]) {
                self.request.placements.clear();
                if let Some(place) = place {
                    let ask = PlacementAsk { id: place.id, name: Box::default(), count: 0 };
                    self.request.placements.push(ask);
                }
                let place = place.map_or(0, |place| u64::from(place.id.0) + 1);
                let id = DecisionId::new(
                    self.sides.now.millis().unsigned_abs(),
                    u128::from(number) << 64 | u128::from(place),
                );
                let ranking = decide::rank(
                    &question(snapshot, profile, &self.request, (self.sides.now, id)),
                    &mut self.scratch[side],
                );
                for winner in &ranking.winners {
                    self.of_person[side].insert(OfferSlot(self.pair_of[side][winner.offer.index()]));
                }
            }
        }
        self.request.placements.clear();
        let [before, after] = &self.of_person;
        before.iter().for_each(|pair| self.counts[pair.index()].winners_before += 1);
        after.iter().for_each(|pair| self.counts[pair.index()].winners_after += 1);
    }

    fn finish(self, sample: &Sample, ranked: usize) -> PopulationDiff {
        let mut diff = PopulationDiff {
            population: sample.population,
            people: sample.people.len(),
            ranked,
            segments: self.segments_of(self.all_of_segment.iter().copied()),
            ..PopulationDiff::default()
        };
        self.judge(&mut diff);
        for (at, pair) in self.pairs.iter().enumerate() {
            let (counts, visitor) = (self.counts[at], self.visitors[at]);
            diff.totals.add(&counts);
            let same = counts.gained + counts.lost == 0 && counts.winners_before == counts.winners_after;
            if same && visitor.0 == visitor.1 && pair.change() == Change::Kept {
                diff.offers_unchanged += 1;
                continue;
            }
            diff.offers.push(OfferReach {
                offer: Arc::clone(&pair.offer),
                change: pair.change(),
                counts,
                visitor,
                segments: Vec::new(),
            });
        }
        let size = |c: &Counts| (c.gained + c.lost, c.winners_before.abs_diff(c.winners_after));
        // a stable sort: equal changes stay in order of their ids
        diff.offers.sort_by_key(|offer| std::cmp::Reverse(size(&offer.counts)));
        diff.offers_left_out = diff.offers.len().saturating_sub(ROWS_MAX);
        diff.offers.truncate(ROWS_MAX);
        for offer in &mut diff.offers {
            let at = self.pairs.binary_search_by(|pair| pair.offer.cmp(&offer.offer)).unwrap_or_default() as u32;
            let segments = 0..self.members.len() as u32;
            offer.segments = self.segments_of(segments.map(|segment| self.by_segment.get((at, segment))));
            offer.segments.truncate(SEGMENTS_MAX);
        }
        diff
    }

    fn judge(&self, diff: &mut PopulationDiff) {
        let rows = self.pairs.iter().zip(&self.counts);
        let rules = Rules { active: &self.sides.active.ruleset, new: &self.sides.new.ruleset };
        (diff.refusals, diff.notes) = match self.sides.occasion {
            Occasion::Publish => limits::judge(rules, rows, diff.people),
            Occasion::Resume if limits::limited(rules.new) => (Vec::new(), vec![RESUMED.to_owned()]),
            Occasion::Resume => (Vec::new(), Vec::new()),
        };
        diff.notes.extend(self.by_segment.note());
    }

    /// The changes by segment, (gained, lost) of each; the largest first.
    fn segments_of(&self, sums: impl Iterator<Item = (usize, usize)>) -> Vec<SegmentChange> {
        let names = self.sides.new.ruleset.segments.iter();
        let mut changes: Vec<SegmentChange> = names
            .zip(sums)
            .zip(&self.members)
            .filter(|((_, (gained, lost)), _)| gained + lost > 0)
            .map(|((segment, (gained, lost)), people)| SegmentChange {
                segment: Arc::clone(&segment.name),
                people: *people,
                gained,
                lost,
            })
            .collect();
        changes.sort_by_key(|change| std::cmp::Reverse(change.gained + change.lost));
        changes
    }
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.eligible_before += other.eligible_before;
        self.eligible_after += other.eligible_after;
        self.gained += other.gained;
        self.lost += other.lost;
        self.winners_before += other.winners_before;
        self.winners_after += other.winners_after;
    }
}

fn question<'a>(
    snapshot: &'a Snapshot,
    profile: &'a Profile,
    request: &'a Request,
    (now, decision_id): (Timestamp, DecisionId),
) -> Inputs<'a> {
    Inputs {
        snapshot,
        profile,
        matched: Match::Known,
        request,
        now,
        decision_id,
        reservations: &[],
        exhausted: &[],
        denied: &[],
        keep_order: &[],
        degraded: DegradedSet::default(),
        consistency_token: "",
        signer: &Unsigned,
    }
}

/// A ranking signs nothing.
struct Unsigned;

impl Signer for Unsigned {
    fn presentation_token(&self, _: &PresentationRef, _: Option<Holder>) -> String {
        String::new()
    }

    fn link_url(&self, _: &LinkRef, _: Option<Holder>) -> String {
        String::new()
    }

    fn visitor_id(&self, _: VisitorId, _: Timestamp) -> String {
        String::new()
    }
}
