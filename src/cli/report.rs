//! `rapport report`: what the offers did, and what it was good for.

use std::process::ExitCode;

use crate::proto::{GetReportRequest, GetReportResponse, Money, ruleset_service_client::RulesetServiceClient};

use super::client::{self, Target};

/// Options of `report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the report as JSON.
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
    let mut service = RulesetServiceClient::new(args.target.connect().await?);
    let report =
        service.get_report(GetReportRequest {}).await.map_err(|s| client::refused("asking for the report", &s))?;
    let report = report.into_inner();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(report: &GetReportResponse) {
    say!(
        "{:<28} {:<12} {:>9} {:>9} {:>11} {:>8} {:>8} {:>12}",
        "offer",
        "channel",
        "eligible",
        "decided",
        "impressions",
        "accepts",
        "declines",
        "revenue"
    );
    for row in &report.rows {
        say!(
            "{:<28} {:<12} {:>9} {:>9} {:>11} {:>8} {:>8} {:>12}",
            row.offer,
            row.channel,
            row.eligible,
            row.decided,
            row.impressions,
            row.accepts,
            row.declines,
            money(row.revenue.as_ref())
        );
    }
    let Some(lift) = &report.lift else { return };
    say!("");
    say!(
        "treated:  {:>7} people, {:>6} bought, revenue {}",
        lift.treated,
        lift.treated_converted,
        money(lift.treated_revenue.as_ref())
    );
    say!(
        "holdout:  {:>7} people, {:>6} bought, revenue {}",
        lift.holdout,
        lift.holdout_converted,
        money(lift.holdout_revenue.as_ref())
    );
    if lift.treated == 0 || lift.holdout == 0 {
        say!("lift: not known yet: it needs people in both arms");
    } else {
        say!(
            "lift: {:+.2} percentage points, 95 % interval {:+.2} to {:+.2}",
            lift.difference * 100.0,
            lift.difference_low * 100.0,
            lift.difference_high * 100.0
        );
    }
}

fn money(money: Option<&Money>) -> String {
    money.map_or_else(|| "-".to_owned(), |m| format!("{} {}", m.amount, m.currency))
}
