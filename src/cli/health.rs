//! `rapport health`: does it serve?

use std::process::ExitCode;

use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::client::{self, Target};

/// Options of `health`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A service, for example `rapport.v1.DecisionService`; empty for all.
    #[arg(long, default_value = "")]
    service: String,
    #[command(flatten)]
    target: Target,
}

/// Asks and prints.
///
/// # Errors
/// The service cannot be reached.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mut health = HealthClient::new(args.target.connect().await?);
    let request = HealthCheckRequest { service: args.service };
    let answer = health.check(request).await.map_err(|s| client::refused("asking for its health", &s))?.into_inner();
    let serving = answer.status() == ServingStatus::Serving;
    say!("{}", answer.status().as_str_name().to_lowercase());
    Ok(if serving { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
