//! The command line; one file per command.

#[macro_use]
mod out;

mod analysis;
mod analyze;
mod check;
mod client;
mod customer;
mod decide;
mod demo;
mod eligible;
mod eval;
mod explain;
mod export;
mod given;
mod health;
mod import;
mod lines;
mod lookup;
mod merges;
mod pauses;
mod people;
mod print;
mod reach;
mod report;
mod revisions;
mod sample;
mod schema;
mod separated;
mod serve;
mod table;

use std::{io::Write, process::ExitCode};

use clap::{CommandFactory, Parser, Subcommand};

use crate::grpc::convert::suggest::did_you_mean;

/// Rapport picks the next best message and channel for a customer, within
/// milliseconds, and says why.
#[derive(Debug, Parser)]
#[command(name = "rapport", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve decisions over gRPC and JSON.
    Serve(serve::Args),
    /// Import the sample shop, show one decision per channel, then serve it.
    Demo(demo::Args),
    /// Check a rules directory: every mistake with file, line and column, then
    /// the golden scenarios.
    Check(check::Args),
    /// Print the offers that each person of a file may get: a dry run over any
    /// population.
    Eligible(eligible::Args),
    /// Tell who becomes eligible by an edit of the rules and who no longer, at
    /// each save.
    Reach(reach::Args),
    /// Try an expression of the rule language out: what it comes to for given
    /// values, or what is wrong with it.
    Eval(eval::Args),
    /// Print a JSON Schema of the rule files, for editors.
    Schema(schema::Args),
    /// Ask a running service for a decision.
    Decide(decide::Args),
    /// Say why a stored decision came out as it did.
    Explain(explain::Args),
    /// Show, masked, who may be behind an identity, for example a number that
    /// calls.
    Lookup(lookup::LookupArgs),
    /// Print what happens to a customer as it happens, on every channel.
    Watch(lookup::WatchArgs),
    /// Print what happened to a customer, the newest first.
    Timeline(customer::TimelineArgs),
    /// Export or erase everything that is kept of a customer.
    #[command(subcommand)]
    Customer(customer::Command),
    /// List the merges behind a customer, merge two customers, take a merge back.
    #[command(subcommand)]
    Merges(merges::Command),
    /// Import customers and events from files (NDJSON, CSV, Parquet) into a running
    /// service or a data directory.
    Import(import::Args),
    /// Show what each offer did on each channel, and the lift over the holdout.
    Report(report::Args),
    /// Stop an offer, an issue, a group or a channel of a running service at once.
    Pause(pauses::PauseArgs),
    /// Lift a pause, when the active rules pass their checks with it lifted.
    Resume(pauses::ResumeArgs),
    /// Show what is paused.
    Pauses(pauses::ListArgs),
    /// Show who paused, resumed, published and rolled back what, newest first.
    Audit(pauses::AuditArgs),
    /// List, compare, check, publish and roll back revisions of the rules.
    #[command(subcommand)]
    Revisions(revisions::Command),
    /// Export everything that happened, in order, from a running service; or
    /// its decisions with their reasons.
    Export(export::Args),
    /// Analyse a file of transactions: recency, frequency and monetary value,
    /// cohorts, and who will buy again.
    Analyze(analyze::Args),
    /// Show what a running service found when it looked at all customers:
    /// segments, quantiles, the model of repeat purchase.
    Analysis(analysis::Args),
    /// Ask a running service whether it serves; exit code 0 when it does.
    Health(health::Args),
}

/// Runs a command.
///
/// # Errors
/// What went wrong, in words, with what to do.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for warning in unknown_settings(names) {
        // best effort: standard error may be gone
        let _ = writeln!(std::io::stderr(), "warning: {warning}");
    }
    match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Check(args) => check::run(&args),
        Command::Eligible(args) => eligible::run(&args),
        Command::Reach(args) => reach::run(args),
        Command::Eval(args) => eval::run(&args),
        Command::Schema(args) => schema::run(&args),
        Command::Decide(args) => client::block_on(decide::run(args)),
        Command::Explain(args) => client::block_on(explain::run(args)),
        Command::Lookup(args) => client::block_on(lookup::lookup(args)),
        Command::Watch(args) => client::block_on(lookup::watch(args)),
        Command::Timeline(args) => client::block_on(customer::timeline(args)),
        Command::Customer(command) => client::block_on(customer::run(command)),
        Command::Merges(command) => client::block_on(merges::run(command)),
        Command::Import(args) => import::run(args),
        Command::Report(args) => client::block_on(report::run(args)),
        Command::Pause(args) => client::block_on(pauses::pause(args)),
        Command::Resume(args) => client::block_on(pauses::resume(args)),
        Command::Pauses(args) => client::block_on(pauses::list(args)),
        Command::Audit(args) => client::block_on(pauses::audit(args)),
        Command::Revisions(command) => client::block_on(revisions::run(command)),
        Command::Export(args) => client::block_on(export::run(args)),
        Command::Analyze(args) => analyze::run(&args),
        Command::Analysis(args) => client::block_on(analysis::run(args)),
        Command::Health(args) => client::block_on(health::run(args)),
    }
}

/// Every environment variable that begins as a setting does, but is none.
fn unknown_settings(names: impl Iterator<Item = String>) -> Vec<String> {
    let cli = Cli::command();
    let settings: Vec<&str> = cli
        .get_subcommands()
        .chain(cli.get_subcommands().flat_map(clap::Command::get_subcommands))
        .flat_map(clap::Command::get_arguments)
        .filter_map(|argument| argument.get_env()?.to_str())
        .collect();
    let unknown = |name: &String| name.starts_with("RAPPORT_") && !settings.contains(&name.as_str());
    let warn = |name: String| {
        let hint = did_you_mean(&name, settings.iter().copied());
        format!("the environment variable `{name}` is not a setting{hint}")
    };
    names.filter(unknown).map(warn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_fit_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_unknown_setting_is_named_with_the_nearest() {
        let names = ["RAPPORT_LISTEN", "RAPPORT_ADDRESS", "RAPPORT_LISTN", "PATH"].map(str::to_owned);
        let told = unknown_settings(names.into_iter());
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("`RAPPORT_LISTN`") && told[0].contains("did you mean `RAPPORT_LISTEN`"), "{told:?}");
    }
}
