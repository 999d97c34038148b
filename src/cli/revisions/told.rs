//! What the checks said of a change of the rules, in words.

use crate::{
    cli::reach::name,
    proto::{LintSeverity, PopulationDiff, PublishReport},
};

/// Offers of a comparison that are printed.
const OFFERS_SHOWN_MAX: usize = 30;

/// Says what became of a change.
pub fn told(what: &str, revision: &str, changed: bool, report: Option<PublishReport>) {
    print_report(&report.unwrap_or_default());
    match changed {
        true => say!("{what}: revision {revision}"),
        false => say!("nothing changed: revision {revision} was active before"),
    }
}

/// Prints what the checks said.
pub fn print_report(report: &PublishReport) {
    for line in report.errors.iter().chain(&report.scenario_failures).chain(&report.reach_violations) {
        eprintln!("{line}");
    }
    for finding in &report.findings {
        let severity = if finding.severity() == LintSeverity::Error { "error" } else { "warning" };
        eprintln!("{severity}: {}: {} [{}]", finding.position, finding.message, finding.code);
    }
    for note in &report.notes {
        eprintln!("note: {note}");
    }
    if let Some(population) = report.population.as_ref().filter(|population| population.profiles > 0) {
        print_population(population);
    }
}

fn print_population(population: &PopulationDiff) {
    for note in &population.notes {
        eprintln!("note: {note}");
    }
    let (looked, all) = (population.profiles, population.population);
    if population.offers.is_empty() {
        say!("reach, on {looked} of {all} customers: nobody gains or loses an offer");
        return;
    }
    say!("reach, on {looked} of {all} customers:");
    for offer in population.offers.iter().take(OFFERS_SHOWN_MAX) {
        say!(
            "  {:<28} eligible {} -> {} (+{} -{}), wins {} -> {}",
            name(&offer.offer, offer.change()),
            offer.eligible_before,
            offer.eligible_after,
            offer.gained,
            offer.lost,
            offer.winners_before,
            offer.winners_after
        );
    }
    let more = population.offers.len().saturating_sub(OFFERS_SHOWN_MAX) as u64 + population.offers_left_out;
    if more > 0 {
        say!("  and {more} offers more");
    }
}
