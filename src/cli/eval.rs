//! `rapport eval`: what an expression comes to for given values.

mod batch;
mod desk;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use serde_json::Value as Json;

use crate::{
    app::clock::Clock,
    domain::Timestamp,
    rules::{self, SourceFile, Vocabulary},
};

use desk::{Desk, Refused};

/// What places in the expression are named after.
const EXPRESSION: &str = "expr";

/// Options of `eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rules to name attributes, segments and macros of: a directory or one
    /// file. Offers and settings may be left out.
    #[arg(long, default_value = "rules")]
    schema: PathBuf,
    /// The expression: a condition, a number, or any other value.
    #[arg(long, allow_hyphen_values = true, required_unless_present = "batch", conflicts_with = "batch")]
    expr: Option<String>,
    /// What is given, as JSON: `{"p": {"age": 40}, "ctx": {"basket_value": 30}}`.
    /// What is left out is missing.
    #[arg(long, default_value = "{}")]
    given: String,
    /// The time it is, RFC 3339 or a date; now without it.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Evaluate a case a line, `{"expr": ..., "given": ..., "at": ...}`, and
    /// answer each with a line, blank ones too; an `id` is answered with.
    /// `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    batch: Option<PathBuf>,
}

/// Evaluates and prints.
///
/// # Errors
/// The schema, the given values or the batch cannot be read.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let at = match &args.at {
        Some(text) => moment(text).map_err(anyhow::Error::msg).context("reading `--at`")?,
        None => Clock::default().now(),
    };
    let files = files(&args.schema).and_then(|files| Vocabulary::read(&files));
    let vocabulary = match files {
        Ok(vocabulary) => vocabulary,
        Err(errors) => {
            errors.errors.iter().for_each(|error| eprintln!("{error}"));
            let mistakes = super::reach::counted(errors.errors.len(), "mistake");
            eprintln!("{mistakes} in `{}`", args.schema.display());
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut desk = Desk::new(&vocabulary);
    if let Some(path) = &args.batch {
        return batch::run(&mut desk, path, at);
    }
    let given: Json =
        serde_json::from_str(&args.given).with_context(|| format!("`--given` is not valid JSON: `{}`", args.given))?;
    match desk.answer(args.expr.as_deref().unwrap_or_default(), &given, at) {
        Ok(answer) => {
            say!("{}", desk.in_words(&answer));
            Ok(ExitCode::SUCCESS)
        }
        Err(Refused::Rules(errors)) => {
            errors.iter().for_each(|error| eprintln!("{error}"));
            Ok(ExitCode::FAILURE)
        }
        Err(Refused::Given(lines)) => {
            lines.iter().for_each(|line| eprintln!("given: {line}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn files(path: &std::path::Path) -> Result<Vec<SourceFile>, rules::RuleErrors> {
    if path.is_file() { rules::read_file(path).map(|file| vec![file]) } else { rules::read_dir(path) }
}

/// A moment in words.
fn moment(text: &str) -> Result<Timestamp, String> {
    let wanted = || format!("`{text}` is not a time: write it as `2026-01-31T12:00:00Z` or `2026-01-31`");
    rules::parse_moment(text).ok_or_else(wanted)
}
