//! What rules change for people, on the wire.

use crate::{
    app::population::{self, Change, PopulationDiff, Reach, SegmentChange},
    proto,
};

/// Who gains and who loses which offer.
pub fn diff(diff: &PopulationDiff) -> proto::PopulationDiff {
    let people = diff.people.max(1) as f64;
    let offer = |row: &population::OfferReach| proto::OfferReach {
        offer: row.offer.to_string(),
        eligible_before: row.counts.eligible_before as u64,
        eligible_after: row.counts.eligible_after as u64,
        gained: row.counts.gained as u64,
        lost: row.counts.lost as u64,
        winners_before: row.counts.winners_before as u64,
        winners_after: row.counts.winners_after as u64,
        share_after: row.counts.eligible_after as f64 / people,
        change: change(row.change) as i32,
        visitor_before: row.visitor.0,
        visitor_after: row.visitor.1,
        segments: row.segments.iter().map(segment).collect(),
    };
    proto::PopulationDiff {
        profiles: diff.people as u64,
        population: diff.population as u64,
        offers: diff.offers.iter().map(offer).collect(),
        ranked: diff.ranked as u64,
        offers_left_out: diff.offers_left_out as u64,
        offers_unchanged: diff.offers_unchanged as u64,
        gained: diff.totals.gained as u64,
        lost: diff.totals.lost as u64,
        segments: diff.segments.iter().map(segment).collect(),
        notes: diff.notes.clone(),
    }
}

fn segment(change: &SegmentChange) -> proto::SegmentReach {
    proto::SegmentReach {
        segment: change.segment.to_string(),
        profiles: Some(change.people as u64),
        gained: change.gained as u64,
        lost: change.lost as u64,
    }
}

/// Whom an edit reaches.
pub fn reach(reach: &Reach) -> proto::EvaluateReachResponse {
    let offer = |row: &population::OfferReached| proto::ReachedOffer {
        offer: row.offer.to_string(),
        change: change(row.change) as i32,
        before: row.before as u64,
        after: row.after as u64,
        gained: row.gained as u64,
        lost: row.lost as u64,
        segments: row.segments.iter().map(reached).collect(),
    };
    proto::EvaluateReachResponse {
        profiles: reach.people as u64,
        milliseconds: reach.elapsed.as_secs_f64() * 1e3,
        offers: reach.offers.iter().map(offer).collect(),
        offers_left_out: reach.offers_left_out as u64,
        offers_unchanged: reach.offers_unchanged as u64,
        errors: Vec::new(),
        customers: reach.population as u64,
    }
}

fn reached(segment: &population::SegmentReached) -> proto::SegmentReach {
    proto::SegmentReach {
        segment: segment.segment.to_string(),
        // segments are looked into only for whom something changes
        profiles: None,
        gained: segment.gained as u64,
        lost: segment.lost as u64,
    }
}

fn change(change: Change) -> proto::OfferChange {
    match change {
        Change::Kept => proto::OfferChange::Kept,
        Change::Added => proto::OfferChange::Added,
        Change::Removed => proto::OfferChange::Removed,
    }
}
