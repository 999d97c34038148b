//! Special functions that models of repeat purchase need.

/// Below this the series of Stirling is not exact enough: arguments are shifted
/// up by the recurrence first.
const SHIFT: f64 = 12.0;

/// The logarithm of the gamma function of a positive number, to about 14
/// digits: Stirling's series (Abramowitz & Stegun 6.1.41) after shifting small
/// arguments up by `Gamma(x + 1) = x Gamma(x)` (6.1.15).
pub fn ln_gamma(x: f64) -> f64 {
    const SERIES: [f64; 7] =
        [1.0 / 12.0, -1.0 / 360.0, 1.0 / 1_260.0, -1.0 / 1_680.0, 1.0 / 1_188.0, -691.0 / 360_360.0, 1.0 / 156.0];
    let (mut x, mut product, mut shifted) = (x, 1.0, 0.0);
    while x < SHIFT {
        product *= x;
        x += 1.0;
        if product > 1e200 {
            shifted += f64::ln(product);
            product = 1.0;
        }
    }
    shifted += f64::ln(product);
    let square = 1.0 / (x * x);
    let rest = SERIES.iter().rev().fold(0.0, |sum, term| sum * square + term) / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + rest - shifted
}

/// The derivative of [`ln_gamma`]: Abramowitz & Stegun 6.3.18 after shifting by
/// 6.3.5.
pub fn digamma(x: f64) -> f64 {
    const SERIES: [f64; 7] =
        [1.0 / 12.0, -1.0 / 120.0, 1.0 / 252.0, -1.0 / 240.0, 1.0 / 132.0, -691.0 / 32_760.0, 1.0 / 12.0];
    let (mut x, mut shifted) = (x, 0.0);
    while x < SHIFT {
        shifted += 1.0 / x;
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let rest = SERIES.iter().rev().fold(0.0, |sum, term| sum * square + term) * square;
    x.ln() - 0.5 / x - rest - shifted
}

/// `ln(exp(a) + exp(b))` without overflow.
pub fn ln_add(a: f64, b: f64) -> f64 {
    let (high, low) = if a >= b { (a, b) } else { (b, a) };
    if high == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gamma_agrees_with_known_values() {
        // factorials, and Gamma(1/2) = sqrt(pi)
        for (x, known) in [
            (1.0, 0.0),
            (2.0, 0.0),
            (0.5, 0.5 * std::f64::consts::PI.ln()),
            (11.0, 3_628_800_f64.ln()),
            (101.0, 363.739_375_555_563_5),
            (1e-3, 6.907_178_885_383_853),
            (1e6, 12_815_504.569_147_611),
        ] {
            let found = ln_gamma(x);
            assert!((found - known).abs() <= 1e-12 * known.abs().max(1.0), "{x}: {found} is not {known}");
        }
    }

    #[test]
    fn digamma_is_the_slope_of_ln_gamma() {
        const EULER: f64 = 0.577_215_664_901_532_9;
        assert!((digamma(1.0) + EULER).abs() < 1e-13);
        for x in [0.01_f64, 0.4, 3.0, 250.0, 1e5] {
            let h = x * 1e-5;
            let slope = (ln_gamma(x + h) - ln_gamma(x - h)) / (2.0 * h);
            assert!((digamma(x) - slope).abs() < 1e-6 * slope.abs().max(1.0), "{x}");
        }
    }

    #[test]
    fn adding_logarithms_neither_overflows_nor_vanishes() {
        assert!((ln_add(1_000.0, 1_000.0) - (1_000.0 + 2_f64.ln())).abs() < 1e-12);
        assert_eq!(ln_add(-5_000.0, f64::NEG_INFINITY), -5_000.0);
    }
}
