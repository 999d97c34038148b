//! Offers that reached nobody for a day: what a typo in a condition looks like
//! from outside.

use std::collections::{HashMap, HashSet};

use crate::domain::{OfferId, Tallies, Timestamp, time::DAY_US};

use super::App;

/// When each offer was last presented, as far as this process has seen.
#[derive(Default)]
pub(super) struct Reached(HashMap<OfferId, Seen>);

#[derive(Clone, Copy)]
struct Seen {
    decided: u64,
    at: Timestamp,
}

impl Reached {
    /// Notes what was presented since the last look. An offer seen first counts
    /// as reached now: it gets a day before anybody is alarmed.
    fn look(&mut self, offers: &[OfferId], tallies: &Tallies, now: Timestamp) -> usize {
        let running: HashSet<&OfferId> = offers.iter().collect();
        self.0.retain(|offer, _| running.contains(offer));
        let mut nobody = 0;
        for offer in offers {
            let channels = tallies.offers.range((*offer, crate::domain::ChannelId(0))..);
            let decided = channels.take_while(|(key, _)| key.0 == *offer).map(|(_, tally)| tally.decided).sum();
            let seen = self.0.entry(*offer).or_insert(Seen { decided, at: now });
            if seen.decided != decided {
                *seen = Seen { decided, at: now };
            }
            nobody += usize::from(now.since_us(seen.at) >= DAY_US);
        }
        nobody
    }
}

impl App {
    /// How many offers that run now were presented to nobody for 24 hours.
    /// Call it every few seconds.
    pub fn offers_reaching_nobody(&self) -> usize {
        let (snapshot, now) = (self.current(), self.now());
        let runs = |offer: &&crate::rules::Offer| {
            let (from, until) = offer.schedule;
            !offer.paused && from.is_none_or(|from| from <= now) && until.is_none_or(|until| now < until)
        };
        let offers: Vec<OfferId> = snapshot.ruleset.offers.iter().filter(runs).map(|offer| offer.id).collect();
        match self.reached.lock() {
            Ok(mut reached) => reached.look(&offers, &self.tallies(), now),
            Err(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ChannelId;

    #[test]
    fn an_offer_counts_after_a_day_without_a_presentation() {
        let (seen, silent) = (OfferId(1), OfferId(2));
        let offers = [seen, silent];
        let mut tallies = Tallies::default();
        let mut reached = Reached::default();
        let at = |days: i64| Timestamp(days * DAY_US);
        assert_eq!(reached.look(&offers, &tallies, at(0)), 0);
        tallies.offers.entry((seen, ChannelId(7))).or_default().decided = 1;
        assert_eq!(reached.look(&offers, &tallies, at(1)), 1);
        assert_eq!(reached.look(&offers, &tallies, at(2)), 2);
        tallies.offers.entry((silent, ChannelId(7))).or_default().decided = 3;
        assert_eq!(reached.look(&offers, &tallies, at(2)), 1);
        assert_eq!(reached.look(&[seen], &tallies, at(2)), 1);
    }
}
