//! Findings as text.

use super::{
    cells::Cell,
    findings::{Findings, Model, told},
};

/// Months of a cohort that are told.
const MONTHS_SHOWN_MAX: usize = 13;

/// Prints everything.
pub(super) fn print(found: &Findings<'_>) {
    let columns: Vec<String> = found.columns.iter().map(|(what, name)| format!("{what} `{name}`")).collect();
    say!("columns: {}", columns.join(", "));
    say!("{}", told(found.rows));
    for (why, problem) in &found.rows.problems {
        let first: Vec<String> = problem.first.iter().map(u64::to_string).collect();
        say!("  {} bad rows: {why}; first row {}", problem.rows, first.join(", "));
    }
    say!(
        "{} customers bought up to {}: {:.2} spent, {:.2} returned",
        found.customers,
        found.observed_until,
        found.spent,
        found.returned
    );
    rfm(found);
    cohorts(found);
    match (&found.model, found.no_model) {
        (Some(model), _) => repeat(found, model),
        (None, why) => say!("\nno model of repeat purchase: {}", why.unwrap_or("there is too little to fit")),
    }
}

fn rfm(found: &Findings<'_>) {
    say!("\nRFM: quantiles 20, 40, 60, 80 %; equal values have equal scores");
    let row = |name: &str, quantiles: [f64; 4], digits: usize| {
        let cells: Vec<String> = quantiles.iter().map(|value| format!("{value:>12.digits$}")).collect();
        say!("  {name:<28}{}", cells.join(""));
    };
    row("days since the last purchase", found.rfm.recency_days, 0);
    row("days with purchases", found.rfm.frequency, 0);
    row("spent", found.rfm.monetary, 2);
    say!("\ncustomers (share of what was spent) by score");
    let heads: Vec<String> = (1..=5).rev().map(|score| format!("{:>17}", format!("frequency {score}"))).collect();
    say!("  {:<12}{}", "", heads.join(""));
    for row in found.rfm.cells.chunks(5) {
        let cell = |cell: &Cell| format!("{:>17}", format!("{} ({:.1} %)", cell.customers, cell.spent_share * 100.0));
        let recency = row.first().map_or(0, |cell| cell.recency_score);
        say!("  recency {recency:<4}{}", row.iter().map(cell).collect::<String>());
    }
    for group in &found.rfm.groups {
        say!(
            "  {:<20}{:>8} customers, {:>5.1} % of what was spent",
            group.name,
            group.customers,
            group.spent_share * 100.0
        );
    }
}

fn cohorts(found: &Findings<'_>) {
    say!("\ncohorts: customers by the month of the first purchase, and the share that bought 1, 2, 3... months later");
    for cohort in &found.cohorts {
        let all = cohort.active.first().copied().unwrap_or(0).max(1) as f64;
        let later = cohort.active.iter().skip(1).take(MONTHS_SHOWN_MAX - 1);
        let shares: String = later.map(|active| format!("{:>5.0}%", *active as f64 / all * 100.0)).collect();
        say!("  {} {:>8}{shares}", cohort.month, cohort.active.first().copied().unwrap_or(0));
    }
}

fn repeat(found: &Findings<'_>, model: &Model) {
    say!("\nBG/NBD, days (Fader, Hardie, Lee 2005), fitted on {} customers", model.customers);
    let errors = model.standard_errors;
    let values = [("r", model.r), ("alpha", model.alpha), ("a", model.a), ("b", model.b)];
    for (at, (name, value)) in values.into_iter().enumerate() {
        let error = errors.and_then(|errors| errors.get(at).copied());
        say!("  {name:<6}{value:>12.6}  standard error {}", error.map_or("-".to_owned(), |e| format!("{e:.6}")));
    }
    say!("  log-likelihood per customer {:.6}", model.log_likelihood);
    let days =
        |unit: &str| found.days.iter().map(|days| format!("{:>14}", format!("{days} {unit}"))).collect::<String>();
    say!("\npurchases to expect in the coming   {}", days("days"));
    let all: String = found.expected.iter().map(|expected| format!("{expected:>14.1}")).collect();
    say!("  of all customers                  {all}");
    say!("\n  bought again  customers    by model    alive{}", days("days"));
    for row in &found.by_repeats {
        let more = if row.repeats == found.by_repeats.len() as u32 - 1 { "+" } else { " " };
        let expected: String = row.expected.iter().map(|expected| format!("{expected:>14.3}")).collect();
        say!(
            "  {:>11}{more}{:>12}{:>12.1}{:>9.3}{expected}",
            row.repeats,
            row.customers,
            row.customers_expected.unwrap_or(0.0),
            row.alive.unwrap_or(0.0)
        );
    }
}
