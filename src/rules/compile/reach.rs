//! Reach limits: of the policies and of single offers.

use crate::rules::{
    Judged, OfferReachLimits, ReachLimits,
    keys_offers::{OFFER_REACH, REACH},
    read::Fields,
    report::Report,
    source::Node,
};

/// Largest `min_sample`: no sample is larger, so that a larger one would judge
/// nothing.
pub const MIN_SAMPLE_MAX: i64 = 1_000;

/// The limits of the policies.
pub fn limits(report: &mut Report<'_>, node: &Node) -> ReachLimits {
    let mut limits = ReachLimits::default();
    let Some(fields) = report.fields(node, &REACH) else { return limits };
    (limits.max_gain_share, limits.max_loss_share) = shares(report, &fields);
    let sample = fields.get("min_sample").and_then(|node| report.whole(node, 1..=MIN_SAMPLE_MAX));
    limits.min_sample = sample.and_then(|least| usize::try_from(least).ok()).unwrap_or(limits.min_sample);
    let words = [("counted", Judged::Counted), ("exempt", Judged::Exempt)];
    let mut judged = |name| fields.get(name).and_then(|node| report.one_of(node, &words)).unwrap_or(Judged::Counted);
    (limits.new_offers, limits.removed_offers) = (judged("new_offers"), judged("removed_offers"));
    limits
}

/// The limits of one offer.
pub fn of_offer(report: &mut Report<'_>, node: &Node) -> OfferReachLimits {
    let Some(fields) = report.fields(node, &OFFER_REACH) else { return OfferReachLimits::default() };
    let (max_gain_share, max_loss_share) = shares(report, &fields);
    OfferReachLimits { max_gain_share, max_loss_share }
}

fn shares(report: &mut Report<'_>, fields: &Fields<'_>) -> (Option<f64>, Option<f64>) {
    let mut share = |name| fields.get(name).and_then(|node| report.number(node, 0.0..=1.0));
    (share("max_gain_share"), share("max_loss_share"))
}
