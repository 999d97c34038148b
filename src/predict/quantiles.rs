//! What parts a base into five groups.

/// The 20, 40, 60 and 80 % quantiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Quantiles<T>(pub [T; 4]);

impl<T: Ord + Copy> Quantiles<T> {
    /// 1 to 5, more is better: one more than the quantiles below the value, so
    /// that equal values have equal scores, the lower one.
    pub fn score(&self, value: T) -> u8 {
        1 + self.below(value)
    }

    /// 1 to 5, less is better: five less the quantiles below the value, so that
    /// equal values have equal scores, the higher one.
    pub fn score_of_less(&self, value: T) -> u8 {
        5 - self.below(value)
    }

    fn below(&self, value: T) -> u8 {
        self.0.iter().map(|quantile| u8::from(*quantile < value)).sum()
    }
}
