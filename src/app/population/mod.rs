//! Rules tried on people: what a publish would change for a sample of real
//! customers, whom an offer reaches, and the limits that turn a surprise into
//! a refusal.

use crate::{
    decide::Snapshot,
    domain::{Assurance, Intent, Request},
};

use super::App;

mod changed;
mod diff;
mod eligible;
mod hot;
mod limits;
mod reach;
mod sample;
mod segments;
mod sides;
#[cfg(test)]
mod tests;

pub use changed::{Change, Pairing, changed};
pub use diff::{Counts, OfferReach, PopulationDiff, RANKING_TIME, ROWS_MAX, SegmentChange, compare};
pub use eligible::{Eligibility, EligibilityBuffers, Person};
pub use reach::{Crowd, Edit, OfferReached, PartLost, REACH_ROWS_MAX, Reach, SegmentReached, part_len, parts, reach};
pub use sample::{SAMPLE_MAX, Sample};
pub use segments::BY_SEGMENT_MAX;
pub use sides::{Occasion, Sides};

/// What people are asked who have no request: a look, which never explores, at
/// somebody who is verified. What rules keep for verified persons counts.
pub fn unasked() -> Request {
    Request { intent: Intent::Preview, assurance: Assurance::Verified, ..Request::default() }
}

/// Compares two snapshots on a sample of the app's customers. Blocking; `None`
/// while there are none.
pub fn diff(app: &App, (active, candidate): (&Snapshot, &Snapshot), occasion: Occasion) -> Option<PopulationDiff> {
    let sample = Sample::of(&app.store);
    let sides = Sides { active, new: candidate, now: app.now(), occasion };
    (!sample.people.is_empty()).then(|| compare(sides, &sample, RANKING_TIME))
}

/// The limits of reach that a candidate breaks, a line each. That it has no
/// offers at all is beyond any limit, whoever was there to compare on.
pub fn violations(diff: Option<&PopulationDiff>, active: &Snapshot, candidate: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    let before = active.ruleset.offers.len();
    if before > 0 && candidate.ruleset.offers.is_empty() {
        lines.push(format!(
            "no offer is left of {before}: give every file of the rules, or publish with `--force` and a reason"
        ));
    }
    lines.extend(diff.into_iter().flat_map(|diff| diff.refusals.iter().cloned()));
    lines
}
