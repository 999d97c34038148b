//! `rapport analysis`: what the service found when it looked at all customers.

use std::{process::ExitCode, time::Duration};

use crate::proto::{
    GetAnalysisRequest, GetAnalysisResponse, RepeatModel, RfmQuantiles, analysis_service_client::AnalysisServiceClient,
};

use super::{
    client::{self, Target},
    revisions::moment,
};

/// How often it is asked whether an analysis has ended.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// Overlaps that are printed.
const OVERLAPS_SHOWN: usize = 10;

/// Options of `analysis`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look at all customers now, and wait for it.
    #[arg(long)]
    start: bool,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Asks and prints.
///
/// # Errors
/// The service cannot be reached.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut service = AnalysisServiceClient::new(args.target.connect().await?);
    let failed = |s| client::refused("asking for the analysis", &s);
    let mut found = service.get_analysis(GetAnalysisRequest { start: args.start }).await.map_err(failed)?.into_inner();
    while args.start && found.running {
        tokio::time::sleep(ASK_EVERY).await;
        found = service.get_analysis(GetAnalysisRequest { start: false }).await.map_err(failed)?.into_inner();
    }
    match args.json {
        true => say!("{}", serde_json::to_string_pretty(&found)?),
        false => print(&found),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(found: &GetAnalysisResponse) {
    if found.running {
        say!("an analysis runs: {:.0} %", found.progress * 100.0);
    }
    if found.time.is_none() {
        say!("no analysis has ended yet; `rapport analysis --start` makes one");
        return;
    }
    say!(
        "{}: {} customers in {:.1} s, {} of them bought",
        moment(found.time),
        found.customers,
        found.seconds,
        found.buyers
    );
    if !found.segments.is_empty() {
        say!("\n{:<32}{:>12}{:>12}{:>12}", "segment", "customers", "entered", "left");
    }
    for segment in &found.segments {
        say!("{:<32}{:>12}{:>12}{:>12}", segment.segment, segment.customers, segment.entered, segment.left);
    }
    for overlap in found.overlaps.iter().take(OVERLAPS_SHOWN) {
        say!("  {} are in `{}` and `{}`", overlap.customers, overlap.segment, overlap.other);
    }
    found.rfm.iter().for_each(quantiles);
    match &found.model {
        Some(model) => repeat(model),
        None => say!("\n{}", no_model(found)),
    }
}

fn no_model(found: &GetAnalysisResponse) -> String {
    let why = if found.no_model.is_empty() { "there is too little to fit" } else { found.no_model.as_str() };
    format!("no model of repeat purchase: {why}")
}

fn quantiles(rfm: &RfmQuantiles) {
    say!("\nquantiles 20, 40, 60, 80 %");
    let rows = [
        ("days since the last purchase", &rfm.recency_days),
        ("days with purchases", &rfm.frequency),
        ("spent", &rfm.monetary),
    ];
    for (name, values) in rows {
        let values: String = values.iter().map(|value| format!("{value:>12.2}")).collect();
        say!("  {name:<28}{values}");
    }
}

fn repeat(model: &RepeatModel) {
    say!("\nBG/NBD, days, fitted on {} customers until {}", model.customers, moment(model.observed_until));
    let values = [("r", model.r), ("alpha", model.alpha), ("a", model.a), ("b", model.b)];
    for (at, (name, value)) in values.into_iter().enumerate() {
        let error = model.standard_errors.get(at).map_or("-".to_owned(), |error| format!("{error:.6}"));
        say!("  {name:<6}{value:>12.6}  standard error {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_there_is_no_model_is_what_the_service_says() {
        let found = GetAnalysisResponse { no_model: "they never leave".to_owned(), ..GetAnalysisResponse::default() };
        assert_eq!(no_model(&found), "no model of repeat purchase: they never leave");
    }
}
