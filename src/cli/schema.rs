//! `rapport schema`: a JSON Schema of the rule files, for editors.

use std::process::ExitCode;

use crate::rules;

/// Options of `schema`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the schema.
///
/// # Errors
/// None.
pub fn run(_: &Args) -> anyhow::Result<ExitCode> {
    say!("{}", serde_json::to_string_pretty(&rules::json_schema())?);
    Ok(ExitCode::SUCCESS)
}
