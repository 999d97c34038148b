//! The analysis of the whole base.

use crate::{
    domain::CustomerKey,
    predict::{Bought, Fitted, RepeatModel, RfmQuantiles},
};

use super::{NoFit, Patterns, fit, quantiles};

/// Most customers that quantiles and the model are worked out from; of more a
/// part that the hash of the key chooses. 40 MB.
pub const BUYERS_MAX: usize = 1_000_000;

/// What customers bought, gathered one by one.
#[derive(Clone, Debug)]
pub struct Buyers {
    chosen: Vec<(u64, Bought)>,
    seen: u64,
    /// Bits of the hash that must be 0.
    mask: u64,
    len_max: usize,
}

impl Default for Buyers {
    fn default() -> Self {
        Self::up_to(BUYERS_MAX)
    }
}

/// What the base is like.
#[derive(Clone, Debug, PartialEq)]
pub struct BaseFound {
    /// What parts those who bought; `None` when nobody did.
    pub rfm: Option<RfmQuantiles>,
    /// The model of repeat purchase and how it was fitted, or why there is none.
    pub repeat: Result<(RepeatModel, Fitted), NoFit>,
}

impl Buyers {
    /// Nobody, and never more than so many.
    pub fn up_to(len_max: usize) -> Self {
        Self { chosen: Vec::new(), seen: 0, mask: 0, len_max }
    }

    /// Adds a customer.
    pub fn add(&mut self, key: CustomerKey, bought: Bought) {
        self.seen += 1;
        let hash = xxhash_rust::xxh3::xxh3_64(&key.0.to_le_bytes());
        if hash & self.mask != 0 {
            return;
        }
        self.chosen.push((hash, bought));
        while self.chosen.len() > self.len_max && self.mask != u64::MAX {
            self.mask = self.mask << 1 | 1;
            self.chosen.retain(|(hash, _)| hash & self.mask == 0);
        }
    }

    /// Customers that were added.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// What the base is like on a day.
    pub fn describe(&self, today: i32) -> BaseFound {
        let bought = || self.chosen.iter().map(|(_, bought)| bought);
        let rfm = || {
            Some(RfmQuantiles {
                recency_days: quantiles(&mut bought().map(|b| b.recency_days(today)).collect::<Vec<_>>())?,
                frequency: quantiles(&mut bought().map(|b| b.days).collect::<Vec<_>>())?,
                monetary: quantiles(&mut bought().map(|b| b.spent).collect::<Vec<_>>())?,
            })
        };
        let patterns: Patterns = bought().map(|b| b.purchases(today)).collect();
        let repeat = fit(&patterns).map(|fit| {
            let (standard_errors, ln_likelihood, customers) = (fit.standard_errors, fit.ln_likelihood, fit.customers);
            (fit.model, Fitted { standard_errors, ln_likelihood, customers })
        });
        BaseFound { rfm: rfm(), repeat }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bought(n: u64) -> Bought {
        let n = n as i32;
        Bought { days: 1 + (n % 7) as u32, first_day: n % 50, last_day: n % 50 + 20 * (n % 7), spent: i64::from(n) }
    }

    #[test]
    fn of_too_many_a_part_is_chosen_whatever_their_order() {
        let gather = |keys: &mut dyn Iterator<Item = u64>| {
            let mut buyers = Buyers::up_to(100);
            keys.for_each(|n| buyers.add(CustomerKey(u128::from(n) << 64), bought(n)));
            buyers.chosen.sort_by_key(|chosen| chosen.0);
            (buyers.seen(), buyers.chosen.len(), buyers.describe(300))
        };
        let (seen, len, found) = gather(&mut (0..1_000));
        assert!(seen == 1_000 && len <= 100 && len > 30, "{len}");
        assert_eq!(gather(&mut (0..1_000).rev()), (seen, len, found));
    }

    #[test]
    fn nobody_has_no_quantiles_and_no_model() {
        let found = Buyers::default().describe(0);
        assert_eq!(found, BaseFound { rfm: None, repeat: Err(NoFit::TooFew) });
    }
}
