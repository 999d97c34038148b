//! Rules tried on people: what a publish would change for a sample of real
//! customers, whom an offer reaches, and the limits that turn a surprise into
//! a refusal.

use crate::{decide::Snapshot, domain::Timestamp};

use super::App;

mod changed;
mod diff;
mod eligible;
mod hot;
mod limits;
mod reach;
mod sample;
#[cfg(test)]
mod tests;

pub use changed::{Change, Pairing, changed};
pub use diff::{Counts, OfferReach, PopulationDiff, RANKING_TIME, ROWS_MAX, SegmentChange, Sides, compare};
pub use eligible::{Eligibility, EligibilityBuffers, Person};
pub use reach::{Crowd, Edit, OfferReached, REACH_ROWS_MAX, Reach, SegmentReached, part_len, parts, reach};
pub use sample::{SAMPLE_MAX, Sample};

/// Compares two snapshots on a sample of the app's customers. Blocking; `None`
/// while there are none.
pub fn diff(app: &App, active: &Snapshot, candidate: &Snapshot, now: Timestamp) -> Option<PopulationDiff> {
    let sample = Sample::of(&app.store);
    (!sample.people.is_empty()).then(|| compare(Sides { active, new: candidate, now }, &sample, RANKING_TIME))
}

/// The limits of reach that a difference breaks, a line each.
pub fn violations(diff: &PopulationDiff, _candidate: &Snapshot) -> Vec<String> {
    diff.refusals.clone()
}
