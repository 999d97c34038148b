//! `rapport explain`: why a stored decision came out as it did.

use std::process::ExitCode;

use crate::proto::{ExplainRequest, decision_service_client::DecisionServiceClient};

use super::client::{self, Target};

/// Options of `explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// UUIDv7 of the decision, as the answer gave it.
    decision_id: String,
    /// Only this offer.
    #[arg(long)]
    offer: Option<String>,
    /// Print the verdicts as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Asks and prints.
///
/// # Errors
/// The service cannot be reached or has no such decision.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut service = DecisionServiceClient::new(args.target.connect().await?);
    let request = ExplainRequest { decision_id: args.decision_id, offer: args.offer.unwrap_or_default() };
    let answer = service.explain(request).await.map_err(|s| client::refused("explaining", &s))?.into_inner();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        for line in &answer.lines {
            say!("{line}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
