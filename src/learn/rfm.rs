//! Recency, frequency and monetary value: scores by quantiles of the base.

use crate::predict::Quantiles;

/// The 20, 40, 60 and 80 % quantiles of values by the nearest rank: the
/// smallest value that at least so many of them do not exceed (Hyndman, Fan
/// 1996, "Sample Quantiles in Statistical Packages", definition 1).
/// `None` when there are no values.
pub fn quantiles<T: Ord + Copy>(values: &mut [T]) -> Option<Quantiles<T>> {
    values.sort_unstable();
    let at = |fifth: usize| values.get((values.len() * fifth).div_ceil(5).saturating_sub(1)).copied();
    Some(Quantiles([at(1)?, at(2)?, at(3)?, at(4)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_of_the_base() {
        let mut values: Vec<u32> = (1..=10).rev().collect();
        assert_eq!(quantiles(&mut values), Some(Quantiles([2, 4, 6, 8])));
        assert_eq!(quantiles(&mut [7]), Some(Quantiles([7; 4])));
        assert_eq!(quantiles::<u32>(&mut []), None);
    }

    #[test]
    fn equal_values_have_equal_scores() {
        let found = quantiles(&mut [1, 1, 1, 1, 1, 1, 1, 2, 3, 9]).unwrap();
        assert_eq!([1, 2, 3, 9].map(|value| found.score(value)), [1, 4, 5, 5]);
        assert_eq!([1, 2, 3, 9].map(|value| found.score_of_less(value)), [5, 2, 1, 1]);
    }

    #[test]
    fn without_ties_each_score_has_a_fifth() {
        let mut values: Vec<i64> = (0..1_000).map(|n| n * 7 % 1_000).collect();
        let found = quantiles(&mut values).unwrap();
        let mut sizes = [0; 6];
        values.iter().for_each(|value| sizes[usize::from(found.score(*value))] += 1);
        assert_eq!(sizes, [0, 200, 200, 200, 200, 200]);
        assert!(values.iter().all(|value| found.score(*value) + found.score_of_less(*value) == 6));
    }
}
