//! `rapport check`: is a rules directory fit to serve?

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::json;

use crate::{
    app,
    domain::Timestamp,
    rules::{self, LintFinding, LintSeverity, Ruleset},
};

/// Options of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The rules directory.
    #[arg(default_value = "rules")]
    rules: PathBuf,
    /// Let warnings count as mistakes.
    #[arg(long)]
    deny_warnings: bool,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// What came of a check.
struct Checked {
    /// Mistakes of the compiler and of the scenarios.
    mistakes: Vec<String>,
    findings: Vec<LintFinding>,
    /// In words, when the rules compile.
    summary: Option<String>,
    revision: Option<String>,
}

/// Prints every mistake and finding, and what the rules hold.
///
/// # Errors
/// None; mistakes are printed and answered by exit code 1.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let checked = Checked::of(&args.rules, Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX)));
    let counts = |finding: &&LintFinding| args.deny_warnings || finding.severity == LintSeverity::Error;
    let wrong = checked.mistakes.len() + checked.findings.iter().filter(counts).count();
    if args.json {
        say!("{}", checked.json(wrong == 0));
    } else {
        checked.print(wrong, &args.rules);
    }
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Checked {
    fn of(rules: &Path, now: Timestamp) -> Self {
        let compiled = rules::read_dir(rules).map_err(app::Refusal::from).and_then(|files| app::check(&files));
        match compiled {
            Ok(ruleset) => Self {
                mistakes: Vec::new(),
                findings: rules::lint(&ruleset, now),
                summary: Some(summary(&ruleset)),
                revision: Some(ruleset.hash.to_string()),
            },
            Err(app::Refusal(mistakes)) => Self { mistakes, findings: Vec::new(), summary: None, revision: None },
        }
    }

    fn print(&self, wrong: usize, rules: &Path) {
        for line in &self.mistakes {
            eprintln!("{line}");
        }
        for finding in &self.findings {
            eprintln!("{finding}");
        }
        match &self.summary {
            Some(summary) if wrong == 0 => say!("ok: {summary}"),
            _ => eprintln!("{wrong} mistakes in `{}`", rules.display()),
        }
    }

    fn json(&self, is_ok: bool) -> serde_json::Value {
        let findings: Vec<_> = self
            .findings
            .iter()
            .map(|finding| {
                let place = &finding.position;
                json!({
                    "code": finding.code,
                    "severity": finding.severity.name(),
                    "path": &*place.path,
                    "line": place.line,
                    "column": place.column,
                    "message": finding.message,
                })
            })
            .collect();
        json!({ "ok": is_ok, "revision": self.revision, "mistakes": self.mistakes, "findings": findings })
    }
}

fn summary(ruleset: &Ruleset) -> String {
    format!(
        "revision {}: {} offers, {} channels, {} placements, {} segments, {} scenarios passed",
        ruleset.hash,
        ruleset.offers.len(),
        ruleset.channels.len(),
        ruleset.placements.len(),
        ruleset.segments.len(),
        ruleset.scenarios.len()
    )
}
