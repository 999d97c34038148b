//! `rapport pause`, `resume`, `pauses` and `audit`: what is stopped at once,
//! and who changed what.

use std::process::ExitCode;

use crate::proto::{
    AuditAction, AuditEntry, ListAuditRequest, ListPausesRequest, PauseKind, PauseRequest, ResumeRequest,
    RevisionOrigin, ruleset_service_client::RulesetServiceClient,
};

use super::{
    client::{self, Target},
    revisions::{author, moment, print_report},
};

/// What can be paused.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Kind {
    /// One offer.
    Offer,
    /// Every offer of an issue.
    Issue,
    /// Every offer of a group.
    Group,
    /// Everything on a channel.
    Channel,
}

impl Kind {
    fn on_the_wire(self) -> PauseKind {
        match self {
            Kind::Offer => PauseKind::Offer,
            Kind::Issue => PauseKind::Issue,
            Kind::Group => PauseKind::Group,
            Kind::Channel => PauseKind::Channel,
        }
    }
}

/// Options of `pause`.
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    /// What kind of thing.
    #[arg(value_enum)]
    kind: Kind,
    /// Its id, as the rules have it.
    id: String,
    /// Why; kept and audited.
    #[arg(long)]
    reason: String,
    /// Who asks [default: the user at the terminal]
    #[arg(long, env = "RAPPORT_AUTHOR")]
    author: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Options of `resume`.
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// What kind of thing.
    #[arg(value_enum)]
    kind: Kind,
    /// Its id.
    id: String,
    /// Why; kept and audited.
    #[arg(long)]
    reason: String,
    /// Who asks [default: the user at the terminal]
    #[arg(long, env = "RAPPORT_AUTHOR")]
    author: Option<String>,
    /// Resume even if a check of the active rules fails
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    target: Target,
}

/// Options of `pauses`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Options of `audit`.
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    /// The most entries, newest first.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print as JSON, an entry a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Pauses, and prints what is in effect.
///
/// # Errors
/// The service cannot be reached or knows no such thing.
pub async fn pause(args: PauseArgs) -> anyhow::Result<ExitCode> {
    let mut service = RulesetServiceClient::new(args.target.connect().await?);
    let request = PauseRequest {
        kind: args.kind.on_the_wire() as i32,
        id: args.id,
        reason: args.reason,
        author: author(args.author),
    };
    let answer = service.pause(request).await.map_err(|s| client::refused("pausing", &s))?.into_inner();
    let pause = answer.pause.unwrap_or_default();
    let thing = format!("{} `{}`", kind_name(pause.kind()), pause.id);
    if answer.changed {
        say!("paused: {thing} is out of every decision from now on, until it is resumed");
    } else {
        say!("nothing changed: {thing} was paused before");
    }
    say!("  since {} by {}: {}", moment(pause.since), pause.author, pause.reason);
    if answer.reservations_released > 0 {
        say!("  {} open reservations on outbound channels were given back", answer.reservations_released);
    }
    Ok(ExitCode::SUCCESS)
}

/// Resumes, and prints what the checks said.
///
/// # Errors
/// The service cannot be reached; the checks of the active rules refuse.
pub async fn resume(args: ResumeArgs) -> anyhow::Result<ExitCode> {
    let mut service = RulesetServiceClient::new(args.target.connect().await?);
    let request = ResumeRequest {
        kind: args.kind.on_the_wire() as i32,
        id: args.id.clone(),
        reason: args.reason,
        author: author(args.author),
        force: args.force,
    };
    let answer = service.resume(request).await.map_err(|s| client::refused("resuming", &s))?.into_inner();
    let thing = format!("{} `{}`", kind_name(args.kind.on_the_wire()), args.id);
    match answer.changed {
        true => say!("resumed: {thing}"),
        false => say!("nothing changed: {thing} was not paused"),
    }
    if let Some(report) = answer.report.filter(|_| answer.changed) {
        print_report(&report);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what is paused.
///
/// # Errors
/// The service cannot be reached.
pub async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let mut service = RulesetServiceClient::new(args.target.connect().await?);
    let answer = service.list_pauses(ListPausesRequest {}).await;
    let answer = answer.map_err(|s| client::refused("listing the pauses", &s))?.into_inner();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(ExitCode::SUCCESS);
    }
    if answer.pauses.is_empty() {
        say!("nothing is paused");
    }
    for pause in &answer.pauses {
        let (kind, since) = (kind_name(pause.kind()), moment(pause.since));
        say!("{kind:<8} {:<28} since {since} by {}: {}", pause.id, pause.author, pause.reason);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints who changed what.
///
/// # Errors
/// The service cannot be reached.
pub async fn audit(args: AuditArgs) -> anyhow::Result<ExitCode> {
    let mut service = RulesetServiceClient::new(args.target.connect().await?);
    let (mut left, mut page_token) = (args.limit as usize, String::new());
    while left > 0 {
        let request = ListAuditRequest { page_size: i32::try_from(left).unwrap_or(i32::MAX), page_token };
        let answer = service.list_audit(request).await.map_err(|s| client::refused("reading the audit list", &s))?;
        let answer = answer.into_inner();
        for entry in &answer.entries {
            match args.json {
                true => say!("{}", serde_json::to_string(entry)?),
                false => print_entry(entry),
            }
        }
        left = left.saturating_sub(answer.entries.len());
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_entry(entry: &AuditEntry) {
    let action = match entry.action() {
        AuditAction::Unspecified => "changed",
        AuditAction::Pause => "paused",
        AuditAction::Resume => "resumed",
        AuditAction::Publish => "published",
        AuditAction::Rollback => "rolled back to",
    };
    let origin = match entry.origin() {
        RevisionOrigin::Directory => " from the rules directory",
        RevisionOrigin::Start => " at the first start",
        _ => "",
    };
    let reason = if entry.reason.is_empty() { String::new() } else { format!(": {}", entry.reason) };
    say!("{:>6} {} {} {action} {}{origin}{reason}", entry.number, moment(entry.at), entry.author, entry.subject);
    if !entry.force_reason.is_empty() {
        say!("       forced: {}", entry.force_reason);
    }
    for line in &entry.overridden {
        say!("       overridden: {line}");
    }
}

fn kind_name(kind: PauseKind) -> &'static str {
    match kind {
        PauseKind::Offer => "offer",
        PauseKind::Issue => "issue",
        PauseKind::Group => "group",
        PauseKind::Channel => "channel",
        PauseKind::Unspecified => "thing",
    }
}
