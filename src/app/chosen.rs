//! What of a ranking stands in the record of a decision.

use std::sync::Arc;

use crate::{
    decide::{Ranking, Snapshot},
    domain::{ChannelSlot, OfferSlot, Timestamp},
    rules::Ruleset,
    store::{Eligible, PairTable, WinnerRecord},
};

/// The eligible pairs by number. The numbers are made anew after a swap.
pub(super) fn eligible(ruleset: &Ruleset, ranking: &Ranking, pairs: &mut Arc<PairTable>) -> Eligible {
    if pairs.ruleset() != ruleset.hash {
        let offers = ruleset.offers.iter().map(|offer| offer.id).collect();
        let channels = ruleset.channels.iter().map(|channel| channel.id).collect();
        *pairs = Arc::new(PairTable::new(ruleset.hash, offers, channels));
    }
    let number = |(offer, channel): (OfferSlot, ChannelSlot)| pairs.number(offer.index(), channel.index());
    Eligible { numbers: ranking.eligible.iter().map(number).collect(), table: Arc::clone(pairs) }
}

/// What was chosen, placement by placement.
pub(super) fn winners(snapshot: &Snapshot, ranking: &Ranking, now: Timestamp) -> Vec<WinnerRecord> {
    let mut records = Vec::with_capacity(ranking.winners.len());
    for at in 0..ranking.placements.len() {
        for winner in ranking.winners_of(at) {
            let (offer, channel) = (snapshot.ruleset.offer(winner.offer), snapshot.ruleset.channel(winner.channel));
            let reserved = !offer.limits.is_empty() || offer.budget.is_some();
            records.push(WinnerRecord {
                placement: at as u16,
                offer: offer.id,
                channel: channel.id,
                record: winner.record.1,
                net_priority: winner.factors.net_priority as f32,
                probability: winner.factors.choice_probability as f32,
                counts_now: channel.counts_on.has(crate::domain::OutcomeType::Decided),
                reserved_until: reserved.then(|| winner.starts_at(now).plus_us(channel.reserve_us)),
            });
        }
    }
    records
}
