//! Fits BG/NBD to a base of customers by maximum likelihood.

use crate::predict::{Purchases, RepeatModel, digamma, ln_add, ln_gamma};

use super::{
    matrix::{Vector, inverse},
    minimum::{hessian, minimum},
};

/// Fewest customers, and fewest of them who bought again, that a model is
/// fitted on.
pub const FITTED_MIN: u64 = 20;
/// How flat the average log-likelihood must be where the search ended.
const FLAT: f64 = 1e-6;
/// Parameters beyond `exp` of this mean that the data tell nothing of them.
const EDGE: f64 = 12.0;

/// A fitted model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    /// The parameters.
    pub model: RepeatModel,
    /// The standard errors of r, alpha, a, b: from the inverse of the numerical
    /// Hessian of the log-likelihood in the logarithms of the parameters, by
    /// the delta method. `None` where the curvature tells none.
    pub standard_errors: Option<[f64; 4]>,
    /// The log-likelihood per customer, time in days.
    pub ln_likelihood: f64,
    /// The customers.
    pub customers: u64,
}

/// Why there is no model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFit {
    /// Fewer than [`FITTED_MIN`] customers bought, or bought again.
    TooFew,
    /// The likelihood has no maximum that the data tell: a parameter ran away,
    /// or the search did not end.
    NoMaximum,
}

impl NoFit {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            NoFit::TooFew => "too few customers bought again to fit the model",
            NoFit::NoMaximum => "the likelihood has no maximum: the customers differ too little, or never leave",
        }
    }
}

/// Customers, equal ones counted together, in the order of their repeats.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    /// Sorted by `Purchases`, so that what depends on the count alone is
    /// computed once.
    counted: Vec<(Purchases, u64)>,
}

impl FromIterator<Purchases> for Patterns {
    fn from_iter<I: IntoIterator<Item = Purchases>>(customers: I) -> Self {
        let mut all: Vec<_> = customers.into_iter().collect();
        all.sort_unstable();
        let mut counted: Vec<(Purchases, u64)> = Vec::new();
        for seen in all {
            match counted.last_mut() {
                Some((last, count)) if *last == seen => *count += 1,
                _ => counted.push((seen, 1)),
            }
        }
        Self { counted }
    }
}

impl Patterns {
    /// The different histories and how many customers have each.
    pub fn counted(&self) -> &[(Purchases, u64)] {
        &self.counted
    }

    /// Customers.
    pub fn customers(&self) -> u64 {
        self.counted.iter().map(|pattern| pattern.1).sum()
    }
}

/// Fits the model. The search is over the logarithms of the parameters with
/// time scaled so that the longest age is 10, from several starts.
///
/// # Errors
/// There is no model that the data tell.
pub fn fit(patterns: &Patterns) -> Result<Fit, NoFit> {
    let customers = patterns.customers();
    let again: u64 = patterns.counted.iter().filter(|p| p.0.repeats > 0).map(|p| p.1).sum();
    let age_max = patterns.counted.iter().map(|p| p.0.age_days).max().unwrap_or(0);
    if customers < FITTED_MIN || again < FITTED_MIN || age_max == 0 {
        return Err(NoFit::TooFew);
    }
    let ln_scale = (f64::from(age_max) / 10.0).ln();
    let from_logs =
        |at: &Vector| RepeatModel { r: at[0].exp(), alpha: (at[1] + ln_scale).exp(), a: at[2].exp(), b: at[3].exp() };
    let function = |at: &Vector| cost(patterns, &from_logs(at), customers as f64);
    let starts = [[0.1; 4], [-1.0, 0.0, -0.2, 0.9], [0.0, 1.0, -4.0, 1.5]];
    let found = minimum(&function, &starts).ok_or(NoFit::NoMaximum)?;
    if found.slope > FLAT || found.at.iter().any(|log| log.abs() > EDGE) {
        return Err(NoFit::NoMaximum);
    }
    let model = from_logs(&found.at);
    let parameters = [model.r, model.alpha, model.a, model.b];
    let variances = inverse(&hessian(&function, &found.at));
    let standard_errors =
        variances.map(|v| std::array::from_fn(|i| parameters[i] * (v[i][i] / customers as f64).sqrt()));
    Ok(Fit { model, standard_errors, ln_likelihood: -found.value, customers })
}

/// What is minimised: the mean negative log-likelihood, and its slope in the
/// logarithms of the parameters.
fn cost(patterns: &Patterns, model: &RepeatModel, customers: f64) -> (f64, Vector) {
    let (mut value, mut slope) = (0.0, [0.0; 4]);
    let mut of_count = OfCount::of(model, 0);
    for (seen, count) in &patterns.counted {
        if seen.repeats != of_count.repeats {
            of_count = OfCount::of(model, seen.repeats);
        }
        let (one, gradient) = of_count.likelihood(model, seen);
        let weight = *count as f64;
        value -= weight * one;
        slope.iter_mut().zip(gradient).for_each(|(sum, part)| *sum -= weight * part);
    }
    let parameters = [model.r, model.alpha, model.a, model.b];
    (value / customers, std::array::from_fn(|i| slope[i] / customers * parameters[i]))
}

/// What depends on the count of repeats alone: see
/// [`RepeatModel::ln_likelihood`].
struct OfCount {
    repeats: u32,
    value: f64,
    slope_r: f64,
    slope_a: f64,
    slope_b: f64,
    ln_leaving: f64,
}

impl OfCount {
    fn of(model: &RepeatModel, repeats: u32) -> Self {
        let RepeatModel { r, alpha, a, b } = *model;
        let x = f64::from(repeats);
        let both = digamma(a + b) - digamma(a + b + x);
        Self {
            repeats,
            value: ln_gamma(r + x) - ln_gamma(r) + r * alpha.ln() + ln_gamma(a + b) + ln_gamma(b + x)
                - ln_gamma(b)
                - ln_gamma(a + b + x),
            slope_r: digamma(r + x) - digamma(r) + alpha.ln(),
            slope_a: both,
            slope_b: both + digamma(b + x) - digamma(b),
            ln_leaving: if repeats == 0 { f64::NEG_INFINITY } else { a.ln() - (b + x - 1.0).ln() },
        }
    }

    /// The log-likelihood of a customer and its slope in r, alpha, a, b.
    fn likelihood(&self, model: &RepeatModel, seen: &Purchases) -> (f64, Vector) {
        let RepeatModel { r, alpha, a, b } = *model;
        let x = f64::from(self.repeats);
        let (age, last) = (alpha + f64::from(seen.age_days), alpha + f64::from(seen.last_days));
        let (ln_age, ln_last) = (age.ln(), last.ln());
        let stayed = -(r + x) * ln_age;
        let left = self.ln_leaving - (r + x) * ln_last;
        let sum = ln_add(stayed, left);
        let (stayed, left) = ((stayed - sum).exp(), (left - sum).exp());
        let mut slope = [
            self.slope_r - stayed * ln_age - left * ln_last,
            r / alpha - (r + x) * (stayed / age + left / last),
            self.slope_a + left / a,
            self.slope_b,
        ];
        if self.repeats > 0 {
            slope[3] -= left / (b + x - 1.0);
        }
        (self.value + sum, slope)
    }
}
