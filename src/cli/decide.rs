//! `rapport decide`: one decision of a running service.

use std::process::ExitCode;

use anyhow::Context;

use crate::proto::{
    DecideRequest, Identity, Intent, PlacementRequest, Trace, View, decision_service_client::DecisionServiceClient,
};

use super::{
    client::{self, Target},
    print,
};

/// Options of `decide`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Who, as `type:value`, for example `customer_id:12748`; may be repeated.
    #[arg(long = "identity", short = 'i', value_name = "TYPE:VALUE")]
    identities: Vec<String>,
    /// A placement that asks; may be repeated. None makes it an open question.
    #[arg(long = "placement", short = 'p', value_name = "ID")]
    placements: Vec<String>,
    /// A channel that may be used; may be repeated.
    #[arg(long = "channel", short = 'c', value_name = "ID")]
    channels: Vec<String>,
    /// Facts of this moment, as JSON: `{"basket_value": 30}`.
    #[arg(long, default_value = "{}")]
    context: String,
    /// Present the answer: reserve caps and record the decision. Without it the
    /// call is a look only.
    #[arg(long)]
    present: bool,
    /// Show the verdict on every candidate.
    #[arg(long)]
    trace: bool,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Asks and prints.
///
/// # Errors
/// The service cannot be reached or refuses the question.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let request = request(&args)?;
    let mut service = DecisionServiceClient::new(args.target.connect().await?);
    let answer = service.decide(request).await.map_err(|s| client::refused("asking for a decision", &s))?.into_inner();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        print::decision(&answer);
    }
    Ok(ExitCode::SUCCESS)
}

fn request(args: &Args) -> anyhow::Result<DecideRequest> {
    let context = serde_json::from_str(&args.context)
        .with_context(|| format!("`--context` is not a JSON object: `{}`", args.context))?;
    let placement = |p: &String| PlacementRequest { placement: p.clone(), count: 0 };
    Ok(DecideRequest {
        identities: args.identities.iter().map(|i| identity(i)).collect::<anyhow::Result<_>>()?,
        placements: args.placements.iter().map(placement).collect(),
        allowed_channels: args.channels.clone(),
        context: Some(context),
        intent: if args.present { Intent::Present } else { Intent::Preview }.into(),
        view: View::Full.into(),
        trace: if args.trace { Trace::Full } else { Trace::Summary }.into(),
        ..DecideRequest::default()
    })
}

/// An identity written as `type:value`.
///
/// # Errors
/// There is no colon.
pub fn identity(text: &str) -> anyhow::Result<Identity> {
    let (kind, value) =
        text.split_once(':').with_context(|| format!("`{text}` names no identity; write it as `customer_id:12748`"))?;
    Ok(Identity { r#type: kind.to_owned(), value: value.to_owned() })
}
