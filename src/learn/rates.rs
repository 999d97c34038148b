//! Smoothed response rates per (offer, channel).

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

#[cfg(test)]
mod tests {
    use crate::domain::{Effect, OutcomeType, Tallies};

    #[test]
    fn the_prior_fades_as_trials_come() {
        let smoothed = |positives: f64, trials: f64| (positives + 50.0 * 0.02) / (trials + 50.0);
        assert!((smoothed(0.0, 0.0) - 0.02).abs() < 1e-12);
        assert!((smoothed(500.0, 1_000.0) - 0.5).abs() < 0.03);
        let mut tallies = Tallies::default();
        let key = (crate::domain::OfferId(1), crate::domain::ChannelId(2));
        let effect = |outcome, new_trial, new_positive| Effect::Outcome {
            offer: key.0,
            channel: key.1,
            outcome,
            new_trial,
            new_positive,
            value: 0,
        };
        assert_eq!(tallies.fold(&effect(OutcomeType::Impression, true, false)), Some(key));
        tallies.fold(&effect(OutcomeType::Click, false, true));
        let tally = tallies.offers[&key];
        assert_eq!((tally.trials, tally.positives, tally.impressions), (1, 1, 1));
    }
}
