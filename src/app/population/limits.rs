//! Reach limits: a surprise becomes a refusal.

use crate::rules::{Judged, ReachLimits, Ruleset};

use super::{
    changed::{Change, Pairing},
    diff::Counts,
};

/// Whether rules limit the reach of any offer.
pub(super) fn limited(rules: &Ruleset) -> bool {
    let limits = &rules.reach;
    limits.max_gain_share.or(limits.max_loss_share).is_some() || !limits.offers.is_empty()
}

/// The rules of both sides of a publish.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub active: &'a Ruleset,
    pub new: &'a Ruleset,
}

impl Rules<'_> {
    /// The limits of gain and loss of an offer. What is removed is judged by the
    /// active limits as well: an edit that drops the limits together with the
    /// offers would judge itself otherwise.
    fn of(&self, pair: &Pairing, people: usize) -> (Option<f64>, Option<f64>) {
        let (active, new) = (&self.active.reach, &self.new.reach);
        let judging = |limits: &ReachLimits| people >= limits.min_sample;
        let (gain, loss) = if judging(new) { new.of(pair.after) } else { (None, None) };
        match pair.change() {
            Change::Kept => (gain, loss),
            Change::Added => (gain.filter(|_| new.new_offers == Judged::Counted), loss),
            Change::Removed => {
                let before = if judging(active) { active.of(pair.before).1 } else { None };
                let before = before.filter(|_| active.removed_offers == Judged::Counted);
                let after = loss.filter(|_| new.removed_offers == Judged::Counted);
                (gain, before.into_iter().chain(after).reduce(f64::min))
            }
        }
    }
}

/// Every change beyond a limit, as a line that says what to do, and what could
/// not be judged.
pub(super) fn judge<'a>(
    rules: Rules<'_>,
    rows: impl Iterator<Item = (&'a Pairing, &'a Counts)>,
    people: usize,
) -> (Vec<String>, Vec<String>) {
    let limits = &rules.new.reach;
    let mut notes = Vec::new();
    if limited(rules.new) && people < limits.min_sample {
        let least = limits.min_sample;
        notes.push(format!("reach limits are not judged: the sample has {people} people, `min_sample` is {least}"));
    }
    let mut refusals = Vec::new();
    for (pair, counts) in rows {
        let (max_gain, max_loss) = rules.of(pair, people);
        let sides = [(Side::Gain, counts.gained, max_gain), (Side::Loss, counts.lost, max_loss)];
        for (side, changed, limit) in sides {
            if let Some(limit) = limit
                && changed as f64 > limit * people as f64
            {
                refusals.push(line(rules.new, pair, counts, (side, changed, limit, people)));
            }
        }
        notes.extend(moved_wins(rules, pair, counts, people));
    }
    if notes.len() > NOTES_MAX {
        let more = notes.len() - NOTES_MAX;
        notes.truncate(NOTES_MAX);
        notes.push(format!("and {more} such notes more"));
    }
    (refusals, notes)
}

/// Most notes about a publish that are told.
const NOTES_MAX: usize = 20;

/// What a kept offer wins elsewhere, beyond what its limits allow for who may
/// get it. Told and not judged: a change of values is a change of winners.
fn moved_wins(rules: Rules<'_>, pair: &Pairing, counts: &Counts, people: usize) -> Option<String> {
    if pair.change() != Change::Kept {
        return None;
    }
    let (max_gain, max_loss) = rules.of(pair, people);
    let (before, after) = (counts.winners_before, counts.winners_after);
    let limit = if after > before { max_gain } else { max_loss }?;
    (before.abs_diff(after) as f64 > limit * people as f64).then(|| {
        format!(
            "offer `{}` wins for {after} of {people} people and won for {before}: more than {} differ; winners are \
             not judged, look at its value and those of its rivals",
            pair.offer,
            percent(limit)
        )
    })
}

#[derive(Clone, Copy)]
enum Side {
    Gain,
    Loss,
}

fn line(
    rules: &Ruleset,
    pair: &Pairing,
    counts: &Counts,
    (side, changed, limit, people): (Side, usize, f64, usize),
) -> String {
    let place = pair.after.map(|slot| format!("{}: ", rules.offer(slot).position)).unwrap_or_default();
    let what = match pair.change() {
        Change::Kept => "offer",
        Change::Added => "new offer",
        Change::Removed => "removed offer",
    };
    let (does, key) = match side {
        Side::Gain => ("gains", "max_gain_share"),
        Side::Loss => ("loses", "max_loss_share"),
    };
    let raise = match pair.after {
        Some(_) => format!("raise `{key}` in the offer's `reach` or in `policies.reach`"),
        None => format!("raise `{key}` or exempt `removed_offers` in `policies.reach` in a publish of its own before"),
    };
    let correct = if pair.after.is_some() { "correct its conditions" } else { "keep it" };
    format!(
        "{place}{what} `{}` {does} {changed} of {people} people ({}): {} eligible before, {} after; the limit is {}: \
         {correct}, {raise}, or publish with `--force` and a reason",
        pair.offer,
        percent(changed as f64 / people as f64),
        counts.eligible_before,
        counts.eligible_after,
        percent(limit),
    )
}

/// A share in words: `12.5 %`.
pub(super) fn percent(share: f64) -> String {
    let tenths = (share * 1_000.0).round();
    if tenths % 10.0 == 0.0 { format!("{} %", tenths / 10.0) } else { format!("{:.1} %", tenths / 10.0) }
}
