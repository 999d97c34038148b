//! Reach limits: a surprise becomes a refusal.

use crate::rules::{Judged, Ruleset};

use super::{
    changed::{Change, Pairing},
    diff::Counts,
};

/// Every change beyond a limit of the new rules, as a line that says what to
/// do, and what could not be judged.
pub(super) fn judge<'a>(
    rules: &Ruleset,
    rows: impl Iterator<Item = (&'a Pairing, &'a Counts)>,
    people: usize,
) -> (Vec<String>, Vec<String>) {
    let limits = &rules.reach;
    let limited = limits.max_gain_share.or(limits.max_loss_share).is_some() || !limits.offers.is_empty();
    if !limited {
        return (Vec::new(), Vec::new());
    }
    if people < limits.min_sample {
        let least = limits.min_sample;
        let note = format!("reach limits are not judged: the sample has {people} people, `min_sample` is {least}");
        return (Vec::new(), vec![note]);
    }
    let mut refusals = Vec::new();
    for (pair, counts) in rows {
        let (max_gain, max_loss) = limits.of(pair.after);
        let change = pair.change();
        let gain_counts = change != Change::Added || limits.new_offers == Judged::Counted;
        let loss_counts = change != Change::Removed || limits.removed_offers == Judged::Counted;
        let sides = [
            (Side::Gain, counts.gained, max_gain.filter(|_| gain_counts)),
            (Side::Loss, counts.lost, max_loss.filter(|_| loss_counts)),
        ];
        for (side, changed, limit) in sides {
            if let Some(limit) = limit
                && changed as f64 > limit * people as f64
            {
                refusals.push(line(rules, pair, counts, (side, changed, limit, people)));
            }
        }
    }
    (refusals, Vec::new())
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
        None => format!("raise `{key}` or exempt `removed_offers` in `policies.reach`"),
    };
    format!(
        "{place}{what} `{}` {does} {changed} of {people} people ({}): {} eligible before, {} after; the limit is {}: \
         correct its conditions, {raise}, or publish with `--force` and a reason",
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
