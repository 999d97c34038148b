//! `rapport decide`: one decision of a running service, or those of a file of
//! questions.

mod answer;
mod answers;
mod batch;
mod defaults;
mod exchange;
mod json;
mod on_the_way;
mod questions;
mod seen;
mod sink;

use std::process::ExitCode;

use anyhow::Context;

use crate::proto::{DecideRequest, Identity, Trace, View, decision_service_client::DecisionServiceClient};

use super::{
    client::{self, Target},
    print,
};

use answers::Answer;
use batch::{Batch, BatchArgs};
use defaults::{Defaults, Options};
use sink::OtherRun;

/// Options of `decide`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Who, as `type:value`, for example `customer_id:12748`; may be repeated.
    #[arg(long = "identity", short = 'i', value_name = "TYPE:VALUE")]
    identities: Vec<String>,
    #[command(flatten)]
    options: Options,
    /// Facts of this moment, as JSON: `{"basket_value": 30}`.
    #[arg(long, default_value = "{}")]
    context: String,
    /// Show the verdict on every candidate.
    #[arg(long)]
    trace: bool,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    batch: BatchArgs,
    #[command(flatten)]
    target: Target,
}

/// What there is to write.
pub enum Told {
    /// Answers as they came.
    Answers(Vec<Answer>),
    /// A line that cannot be asked.
    Bad {
        /// Its number, from 1.
        line: u64,
        /// Its length in the file.
        bytes: u64,
        /// The id of its problem.
        request_id: String,
        /// What is wrong with it.
        why: String,
    },
    /// Lines that are not asked.
    Passed {
        /// How many of them were answered by an earlier run; the rest are blank.
        answered: u64,
        /// Their length in the file.
        bytes: u64,
    },
}

/// Asks and prints.
///
/// # Errors
/// The service cannot be reached or refuses the question.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let (Some(questions), Some(answers)) = (args.batch.batch.clone(), args.batch.out.clone()) {
        let (streams, defaults) = (args.batch.streams(), Defaults::new(args.options.question()?));
        let other = if args.batch.force { OtherRun::GoOn } else { OtherRun::Refuse };
        return Batch { questions, answers, other, streams, defaults, target: args.target }.run().await;
    }
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
    Ok(DecideRequest {
        identities: args.identities.iter().map(|i| identity(i)).collect::<anyhow::Result<_>>()?,
        context: Some(context),
        view: View::Full.into(),
        trace: if args.trace { Trace::Full } else { Trace::Summary }.into(),
        ..args.options.question()?
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
