//! The effect of being treated, over the holdout.

use crate::domain::Tallies;

/// The 97.5 % point of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Difference of two rates with its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lift {
    /// Rate of the treated less rate of the held out.
    pub difference: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// The lift of the tallies; `None` until both arms have people.
pub fn lift(tallies: &Tallies) -> Option<Lift> {
    let [treated, holdout] = tallies.exposed;
    let [treated_converted, holdout_converted] = tallies.converted;
    newcombe((treated_converted, treated), (holdout_converted, holdout))
}

/// Newcombe (1998), Statistics in Medicine 17, method 10: the interval of a
/// difference of two proportions from their Wilson score intervals.
fn newcombe((x1, n1): (u64, u64), (x2, n2): (u64, u64)) -> Option<Lift> {
    let (p1, low1, high1) = wilson(x1, n1)?;
    let (p2, low2, high2) = wilson(x2, n2)?;
    let difference = p1 - p2;
    let below = ((p1 - low1).powi(2) + (high2 - p2).powi(2)).sqrt();
    let above = ((high1 - p1).powi(2) + (p2 - low2).powi(2)).sqrt();
    Some(Lift { difference, low: difference - below, high: difference + above })
}

/// Wilson (1927): rate and the ends of its score interval; `None` without trials.
fn wilson(positives: u64, trials: u64) -> Option<(f64, f64, f64)> {
    if trials == 0 {
        return None;
    }
    let (x, n) = (positives.min(trials) as f64, trials as f64);
    let rate = x / n;
    let centre = (x + Z * Z / 2.0) / (n + Z * Z);
    let half = Z / (n + Z * Z) * (x * (n - x) / n + Z * Z / 4.0).sqrt();
    Some((rate, (centre - half).max(0.0), (centre + half).min(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_published_example() {
        // Newcombe (1998), table II, case (a): 56/70 - 48/80
        let lift = newcombe((56, 70), (48, 80)).unwrap();
        assert!((lift.difference - 0.2).abs() < 1e-12);
        assert!((lift.low - 0.0524).abs() < 5e-5, "{}", lift.low);
        assert!((lift.high - 0.3339).abs() < 5e-5, "{}", lift.high);
    }

    #[test]
    fn is_not_known_without_people_in_both_arms() {
        let mut tallies = Tallies { exposed: [10, 0], converted: [3, 0], ..Tallies::default() };
        assert_eq!(lift(&tallies), None);
        tallies.exposed[1] = 10;
        let lift = lift(&tallies).unwrap();
        assert!(lift.low < 0.3 && lift.high > 0.3 && lift.high < 0.65);
    }
}
