//! The active revision, its offers, and what they did.

use crate::{
    app::{self, AppError, RevisionInfo},
    domain::{Currency, Tallies, Timestamp},
    proto,
    rules::{Offer, Ruleset},
};

use super::{
    customer::{channel_name, offer_name},
    decision::purpose,
    reading::{money, timestamp},
};

/// Offers on a page when the caller does not say.
pub const PAGE_DEFAULT: usize = 100;
/// Most offers on a page.
pub const PAGE_MAX: usize = 1_000;

/// The active revision on the wire.
pub fn revision(info: RevisionInfo) -> proto::GetActiveRevisionResponse {
    let ruleset = &info.ruleset;
    proto::GetActiveRevisionResponse {
        revision: ruleset.hash.to_string(),
        activated_at: Some(timestamp(info.activation.at)),
        offers: ruleset.offers.len() as u32,
        placements: ruleset.placements.len() as u32,
        channels: ruleset.channels.iter().map(|c| c.name.to_string()).collect(),
        refused_errors: info.refused,
        author: info.activation.author.to_string(),
        comment: info.activation.comment.to_string(),
        origin: info.activation.origin as i32,
        force_reason: info.activation.force_reason.to_string(),
    }
}

/// How many entries a page has.
///
/// # Errors
/// A negative page size.
pub fn page_size(asked: i32) -> Result<usize, AppError> {
    match usize::try_from(asked) {
        Ok(0) => Ok(PAGE_DEFAULT),
        Ok(size) => Ok(size.min(PAGE_MAX)),
        Err(_) => Err(AppError::invalid("page_size", format!("is `{asked}`: give 0 to {PAGE_MAX}"))),
    }
}

/// One page of offers. A page token is the id of the last offer seen, so that
/// a page stays right when the rules change in between.
///
/// # Errors
/// A negative page size.
pub fn offers(ruleset: &Ruleset, wire: &proto::ListOffersRequest) -> Result<proto::ListOffersResponse, AppError> {
    let size = page_size(wire.page_size)?;
    let seen = wire.page_token.as_str();
    let mut rest = ruleset.offers.iter().filter(|offer| seen.is_empty() || &*offer.name_id > seen).peekable();
    let mut page = Vec::new();
    while page.len() < size
        && let Some(offer) = rest.next()
    {
        page.push(summary(ruleset, offer));
    }
    let last = page.last().map(|offer: &proto::OfferSummary| offer.id.clone());
    let next_page_token = if rest.peek().is_some() { last.unwrap_or_default() } else { String::new() };
    Ok(proto::ListOffersResponse { offers: page, next_page_token })
}

fn summary(ruleset: &Ruleset, offer: &Offer) -> proto::OfferSummary {
    let mut channels: Vec<String> =
        offer.treatments.iter().map(|t| ruleset.channel(t.channel).name.to_string()).collect();
    channels.dedup();
    let placement =
        |slot: &crate::domain::PlacementSlot| ruleset.placements.get(slot.index()).map(|p| p.name.to_string());
    proto::OfferSummary {
        id: offer.name_id.to_string(),
        name: offer.name.to_string(),
        purpose: purpose(offer.purpose) as i32,
        issue: ruleset.issues.get(offer.issue.index()).map_or_else(String::new, |i| i.name.to_string()),
        group: ruleset.groups.get(offer.group.index()).map_or_else(String::new, |g| g.to_string()),
        channels,
        placements: offer.placements.iter().filter_map(placement).collect(),
        paused: offer.paused,
        eligibility: offer.eligibility.as_ref().map_or_else(String::new, |c| c.text.to_string()),
        position: offer.position.to_string(),
    }
}

/// What the offers did, on the wire.
pub fn report(ruleset: &Ruleset, tallies: &Tallies, since: Option<Timestamp>) -> proto::GetReportResponse {
    let mut rows: Vec<proto::ReportRow> = tallies
        .offers
        .iter()
        .map(|((offer, channel), tally)| proto::ReportRow {
            offer: offer_name(ruleset, *offer),
            channel: channel_name(ruleset, *channel),
            eligible: tally.eligible,
            decided: tally.decided,
            impressions: tally.impressions,
            accepts: tally.positives,
            declines: tally.declines,
            revenue: Some(money(&ruleset.currency, tally.revenue)),
        })
        .collect();
    rows.sort_by(|a, b| (&a.offer, &a.channel).cmp(&(&b.offer, &b.channel)));
    proto::GetReportResponse { rows, lift: Some(lift(tallies, &ruleset.currency)), since: since.map(timestamp) }
}

fn lift(tallies: &Tallies, currency: &Currency) -> proto::Lift {
    let [treated, holdout] = tallies.exposed;
    let [treated_converted, holdout_converted] = tallies.converted;
    // an empty arm says nothing of the difference
    let unknown = app::Lift { difference: 0.0, low: -1.0, high: 1.0 };
    let app::Lift { difference, low, high } = app::lift(tallies).unwrap_or(unknown);
    proto::Lift {
        treated,
        treated_converted,
        holdout,
        holdout_converted,
        difference,
        difference_low: low,
        difference_high: high,
        treated_revenue: Some(money(currency, tallies.revenue[0])),
        holdout_revenue: Some(money(currency, tallies.revenue[1])),
    }
}
