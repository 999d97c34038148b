//! BG/NBD: when customers buy again and whether they still will.
//!
//! Fader, Hardie, Lee (2005), "Counting Your Customers the Easy Way: An
//! Alternative to the Pareto/NBD Model", Marketing Science 24(2), 275-284,
//! <http://brucehardie.com/papers/018/>. While a customer is alive, purchases
//! are a Poisson process whose rate is Gamma(r, alpha) over the customers; after
//! each repeat purchase a customer leaves for ever with a probability that is
//! Beta(a, b) over the customers.

use super::special::{ln_add, ln_gamma};

/// Most terms of the series of an expectation; it ends after some dozens unless
/// the time ahead is far longer than everything that was observed.
const TERMS_MAX: u32 = 100_000;

/// What a model knows of one customer. Purchases of one day are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Purchases {
    /// Days with purchases after the first such day: `x`.
    pub repeats: u32,
    /// Days from the first to the last purchase: `t_x`.
    pub last_days: u32,
    /// Days from the first purchase to the end of what is observed: `T`.
    pub age_days: u32,
}

/// The parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RepeatModel {
    /// Shape of the purchase rates.
    pub r: f64,
    /// Scale of the purchase rates, days.
    pub alpha: f64,
    /// First parameter of the probabilities of leaving.
    pub a: f64,
    /// Second parameter of the probabilities of leaving.
    pub b: f64,
}

impl RepeatModel {
    /// The logarithm of the likelihood of one customer: equation (6) in the
    /// form of the note of the same authors that is stable for large counts,
    /// `ln L = A1 + A2 + ln(exp(A3) + [x > 0] exp(A4))`.
    pub fn ln_likelihood(&self, seen: &Purchases) -> f64 {
        let Self { r, alpha, a, b } = *self;
        let (x, last, age) = seen.numbers();
        let a1 = ln_gamma(r + x) - ln_gamma(r) + r * alpha.ln();
        let a2 = ln_gamma(a + b) + ln_gamma(b + x) - ln_gamma(b) - ln_gamma(a + b + x);
        let a3 = -(r + x) * (alpha + age).ln();
        let a4 = match seen.repeats {
            0 => f64::NEG_INFINITY,
            _ => a.ln() - (b + x - 1.0).ln() - (r + x) * (alpha + last).ln(),
        };
        a1 + a2 + ln_add(a3, a4)
    }

    /// The probability that a customer has not left: of the likelihood, the
    /// part in which nobody leaves after the last purchase. 1 for who never
    /// bought again, since who leaves does so after a repeat purchase.
    pub fn alive(&self, seen: &Purchases) -> f64 {
        1.0 / (1.0 + self.odds_of_leaving(seen))
    }

    fn odds_of_leaving(&self, seen: &Purchases) -> f64 {
        let (x, last, age) = seen.numbers();
        match seen.repeats {
            0 => 0.0,
            _ => {
                let rates = (self.r + x) * ((self.alpha + age).ln() - (self.alpha + last).ln());
                (self.a.ln() - (self.b + x - 1.0).ln() + rates).exp()
            }
        }
    }

    /// Purchases to expect of a customer in the coming days: equation (10).
    ///
    /// With `z = t / (alpha + T + t)` its Gaussian hypergeometric function
    /// `2F1(r + x, b + x; a + b + x - 1; z)` is first transformed by Euler
    /// (Abramowitz & Stegun 15.3.3) to
    /// `(1 - z)^(a - 1 - r - x) 2F1(a + b - 1 - r, a - 1; a + b + x - 1; z)`,
    /// whose terms do not grow with the count; then the factor `a - 1` that
    /// the bracket has in common with its divisor is cancelled, so that `a = 1`
    /// and `a + b + x = 1` are no exceptions.
    pub fn expected(&self, seen: &Purchases, days: f64) -> f64 {
        let Self { r, alpha, a, b } = *self;
        let (x, _, age) = seen.numbers();
        let z = days / (alpha + age + days);
        if z <= 0.0 {
            return 0.0;
        }
        let ln_rest = (-z).ln_1p();
        let c = a + b + x - 1.0;
        let first = match (a - 1.0).abs() < 1e-300 {
            true => -ln_rest,
            false => -((a - 1.0) * ln_rest).exp_m1() / (a - 1.0),
        };
        let series = series((a + b - 1.0 - r, a, c + 1.0), z);
        let ahead = c * first - ((a - 1.0) * ln_rest).exp() * series;
        (ahead / (1.0 + self.odds_of_leaving(seen))).max(0.0)
    }

    /// The probability that a new customer buys again on so many of the
    /// coming days: equation (8).
    pub fn probability_of(&self, repeats: u32, days: f64) -> f64 {
        let Self { r, alpha, a, b } = *self;
        let x = f64::from(repeats);
        let (stay, buy) = ((alpha / (alpha + days)).ln(), (days / (alpha + days)).ln());
        let ln_rate = |j: f64| ln_gamma(r + j) - ln_gamma(r) - ln_gamma(j + 1.0) + r * stay + j * buy;
        let ln_beta = |a: f64, b: f64| ln_gamma(a) + ln_gamma(b) - ln_gamma(a + b);
        let alive = (ln_beta(a, b + x) - ln_beta(a, b) + if repeats == 0 { r * stay } else { ln_rate(x) }).exp();
        if repeats == 0 || days <= 0.0 {
            return if days <= 0.0 { f64::from(u8::from(repeats == 0)) } else { alive };
        }
        let fewer: f64 =
            (0..repeats).map(|j| if j == 0 { (r * stay).exp() } else { ln_rate(f64::from(j)).exp() }).sum();
        alive + (ln_beta(a + 1.0, b + x - 1.0) - ln_beta(a, b)).exp() * (1.0 - fewer).max(0.0)
    }
}

/// `sum over k >= 1 of (p)_k (a)_(k-1) / ((c)_(k-1) k!) z^k`.
fn series((p, a, c): (f64, f64, f64), z: f64) -> f64 {
    let (mut term, mut sum) = (p * z, p * z);
    for k in 1..TERMS_MAX {
        let k = f64::from(k);
        term *= (p + k) * (a + k - 1.0) / ((c + k - 1.0) * (k + 1.0)) * z;
        sum += term;
        if term.abs() <= sum.abs() * 1e-16 {
            break;
        }
    }
    sum
}

impl Purchases {
    fn numbers(&self) -> (f64, f64, f64) {
        (f64::from(self.repeats), f64::from(self.last_days), f64::from(self.age_days))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: RepeatModel = RepeatModel { r: 0.243, alpha: 4.414, a: 0.793, b: 2.426 };

    /// The integral over rate and probability of leaving that equation (10)
    /// solves, by the rule of the midpoint.
    fn integrated(model: &RepeatModel, seen: &Purchases, days: f64) -> f64 {
        let (x, _, age) = seen.numbers();
        let (a, b) = (model.a, model.b + x);
        let norm = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b);
        let steps = 4_000;
        let mut sum = 0.0;
        for step in 0..steps {
            // p = u^4 tames the density's pole at 0
            let u = (f64::from(step) + 0.5) / f64::from(steps);
            let p = u.powi(4);
            let density = (norm + (a - 1.0) * p.ln() + (b - 1.0) * (-p).ln_1p()).exp() * 4.0 * u.powi(3);
            let power = -(model.r + x) * (p * days / (model.alpha + age)).ln_1p();
            sum += density * -power.exp_m1() / p;
        }
        sum / f64::from(steps) * model.alive(seen)
    }

    #[test]
    fn expectations_equal_the_integral_they_solve() {
        for a in [0.4, 0.793, 1.0, 1.5] {
            for (repeats, last_days, age_days) in [(0, 0, 10), (2, 30, 38), (60, 300, 373), (400, 700, 730)] {
                let (model, seen) = (RepeatModel { a, ..MODEL }, Purchases { repeats, last_days, age_days });
                for days in [1.0, 30.0, 700.0] {
                    let (found, slow) = (model.expected(&seen, days), integrated(&model, &seen, days));
                    assert!((found - slow).abs() < 2e-3 * slow.max(1e-3), "{a} {seen:?} {days}: {found}, {slow}");
                }
            }
        }
    }

    #[test]
    fn the_example_of_the_paper_comes_out() {
        // CDNOW, weeks: the customer with x = 2, t_x = 30.43, T = 38.86 buys 1.226 times in 39 weeks
        let seen = Purchases { repeats: 2, last_days: 30, age_days: 39 };
        let found = MODEL.expected(&seen, 39.0);
        assert!((1.1..1.35).contains(&found), "{found}");
    }

    #[test]
    fn the_probabilities_of_all_counts_add_up_to_one() {
        let sum: f64 = (0..2_000).map(|x| MODEL.probability_of(x, 90.0)).sum();
        assert!((sum - 1.0).abs() < 1e-3, "{sum}");
        let mean: f64 = (0..2_000).map(|x| f64::from(x) * MODEL.probability_of(x, 90.0)).sum();
        let expected = MODEL.expected(&Purchases::default(), 90.0);
        assert!((mean - expected).abs() < 1e-2 * expected, "{mean} {expected}");
    }

    #[test]
    fn who_bought_long_ago_is_less_alive() {
        let at = |age_days| MODEL.alive(&Purchases { repeats: 5, last_days: 20, age_days });
        assert!(at(20) > at(60) && at(60) > at(400) && at(400) > 0.0);
        assert_eq!(MODEL.alive(&Purchases { repeats: 0, last_days: 0, age_days: 900 }), 1.0);
    }

    #[test]
    fn large_counts_stay_finite() {
        let seen = Purchases { repeats: 20_000, last_days: 40_000, age_days: 40_001 };
        assert!(MODEL.ln_likelihood(&seen).is_finite());
        let found = MODEL.expected(&seen, 30.0);
        assert!((14.0..16.0).contains(&found), "{found}");
    }
}
