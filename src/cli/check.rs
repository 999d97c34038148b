//! `rapport check`: is a rules directory fit to serve?

use std::{path::PathBuf, process::ExitCode};

use crate::{app, rules};

/// Options of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The rules directory.
    #[arg(default_value = "rules")]
    rules: PathBuf,
}

/// Prints every mistake, or what the rules hold.
///
/// # Errors
/// None; mistakes are printed and answered by exit code 1.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let checked = rules::read_dir(&args.rules)
        .map_err(|e| app::Refusal(e.errors.iter().map(ToString::to_string).collect()))
        .and_then(|files| app::check(&files));
    match checked {
        Ok(ruleset) => {
            for warning in rules::warnings(&ruleset) {
                eprintln!("warning: {warning}");
            }
            say!(
                "ok: revision {}: {} offers, {} channels, {} placements, {} segments, {} scenarios passed",
                ruleset.hash,
                ruleset.offers.len(),
                ruleset.channels.len(),
                ruleset.placements.len(),
                ruleset.segments.len(),
                ruleset.scenarios.len()
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(app::Refusal(lines)) => {
            for line in &lines {
                eprintln!("{line}");
            }
            eprintln!("{} mistakes in `{}`", lines.len(), args.rules.display());
            Ok(ExitCode::FAILURE)
        }
    }
}
