//! `rapport check`: is a rules directory fit to serve?

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::json;

use crate::{
    app,
    domain::Timestamp,
    rules::{self, LintFinding, LintSeverity, RuleError, RuleErrors, Ruleset},
};

use super::reach::counted;

/// Options of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The rules: a directory, or one file.
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
    /// Mistakes of the compiler, or of the scenarios when it has none.
    mistakes: Vec<RuleError>,
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
        let files =
            if rules.is_file() { rules::read_file(rules).map(|file| vec![file]) } else { rules::read_dir(rules) };
        let ruleset = match files.and_then(|files| rules::compile(&files)) {
            Ok(ruleset) => Arc::new(ruleset),
            Err(RuleErrors { errors: mistakes }) => {
                return Self { mistakes, findings: Vec::new(), summary: None, revision: None };
            }
        };
        let failed = app::failed_scenarios(&ruleset).into_iter();
        Self {
            mistakes: failed
                .map(|(position, message)| RuleError { position, message, snippet: String::new() })
                .collect(),
            findings: rules::lint(&ruleset, now),
            summary: Some(summary(&ruleset)),
            revision: Some(ruleset.hash.to_string()),
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
            _ => eprintln!("{} in `{}`", counted(wrong, "mistake"), rules.display()),
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
        let mistake = |mistake: &RuleError| {
            let place = &mistake.position;
            json!({"path": &*place.path, "line": place.line, "column": place.column, "message": mistake.message})
        };
        let mistakes: Vec<_> = self.mistakes.iter().map(mistake).collect();
        json!({ "ok": is_ok, "revision": self.revision, "mistakes": mistakes, "findings": findings })
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
