//! Outcomes in, new artefacts out. Knows nothing of deciding.

use crate::{
    domain::Tallies,
    predict::{Models, Rate},
    rules::Ruleset,
};

/// Lays the tallies out as response rates of a ruleset. The rate of (offer,
/// channel) is the posterior mean of a Beta prior worth
/// [`Ruleset::prior_trials`] trials at the base rate:
/// `(positives + m * base) / (trials + m)`.
pub fn response_rates(tallies: &Tallies, ruleset: &Ruleset) -> Models {
    let channels = ruleset.channels.len();
    let weight = ruleset.prior_trials;
    let mut rates = Vec::with_capacity(ruleset.offers.len() * channels);
    for offer in &ruleset.offers {
        for channel in &ruleset.channels {
            let base = offer.base_rate.unwrap_or(channel.base_rate);
            let tally = tallies.offers.get(&(offer.id, channel.id)).copied().unwrap_or_default();
            // a later positive of an uncounted trial must not lift the rate over 1
            let trials = tally.trials.max(tally.positives) as f64;
            let positives = tally.positives as f64;
            let propensity = (positives + weight * base) / (trials + weight);
            rates.push(Rate { propensity, trials });
        }
    }
    Models { version: tallies.version, channels, rates }
}
