//! `rapport export`: everything that happened, or stored decisions with their
//! reasons, into files.

mod changes;
mod ndjson;
#[cfg(feature = "parquet")]
mod parquet;
mod state;

use std::{
    fs::File,
    io::{BufWriter, ErrorKind, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;

use crate::proto::{ExportDecisionsRequest, decision_service_client::DecisionServiceClient};

use super::client::{self, Target};

/// Options of `export`.
#[derive(Debug, clap::Args)]
#[group(id = "export")]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    what: Option<Command>,
    #[command(flatten)]
    changes: changes::Changes,
}

/// What else to export.
#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Decisions with candidates, reasons, scores and probabilities, one JSON
    /// object a line.
    Decisions(DecisionsArgs),
}

/// Options of `export decisions`.
#[derive(Debug, clap::Args)]
struct DecisionsArgs {
    /// The file to write; standard output when absent.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The most decisions; 0 for all.
    #[arg(long, default_value_t = 0)]
    limit: u32,
    #[command(flatten)]
    target: Target,
}

/// Streams and writes.
///
/// # Errors
/// The service cannot be reached, or the file cannot be written.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.what {
        Some(Command::Decisions(args)) => decisions(args).await,
        None => changes::run(args.changes).await,
    }
}

async fn decisions(args: DecisionsArgs) -> anyhow::Result<ExitCode> {
    let mut out: BufWriter<Box<dyn Write>> = BufWriter::new(match &args.out {
        Some(path) => Box::new(File::create(path).with_context(|| format!("creating `{}`", path.display()))?),
        None => Box::new(std::io::stdout()),
    });
    let mut service = DecisionServiceClient::new(args.target.connect().await?);
    let request = ExportDecisionsRequest { limit: args.limit, ..ExportDecisionsRequest::default() };
    let failed = |s| client::refused("exporting decisions", &s);
    let mut stream = service.export_decisions(request).await.map_err(failed)?.into_inner();
    let mut count = 0_u64;
    while let Some(decision) = stream.message().await.map_err(failed)? {
        let mut line = serde_json::to_vec(&decision)?;
        line.push(b'\n');
        match out.write_all(&line) {
            // a reader that has gone needs no more
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
            written => written.context("writing the export")?,
        }
        count += 1;
    }
    match out.flush() {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        written => written.context("writing the export")?,
    }
    eprintln!("{count} decisions exported");
    Ok(ExitCode::SUCCESS)
}
