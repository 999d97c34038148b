//! `rapport revisions`: the kept revisions of the rules, and changing them.

mod abbreviated;
mod told;

use std::{
    path::{Component, Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use tonic::{Code, Status};

use crate::{
    app::Refusal,
    grpc::RULES_BYTES_MAX,
    proto::{
        DiffRevisionsRequest, FileChange, GetActiveRevisionRequest, GetActiveRevisionResponse, GetRevisionRequest,
        ListRevisionsRequest, PublishRevisionRequest, Revision, RevisionOrigin, RollbackRevisionRequest, RuleFile,
        ValidateRevisionRequest, ruleset_service_client::RulesetServiceClient,
    },
    rules,
};

use super::client::{self, Connection, Target};
pub use told::print_report;
use {abbreviated::whole, told::told};

type Client = RulesetServiceClient<Connection>;

/// What to do with revisions.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the kept revisions, the one that was active last first.
    List(ListArgs),
    /// Write the files of a kept revision into a directory, or to standard output.
    Get(GetArgs),
    /// Show what differs between two kept revisions.
    Diff(DiffArgs),
    /// Check a rules directory as a publish would; change nothing.
    Validate(ValidateArgs),
    /// Check a rules directory and make it the active revision.
    Publish(PublishArgs),
    /// Make a kept revision active again, after the same checks.
    Rollback(RollbackArgs),
}

/// Options of `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Print as JSON, a revision a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Options of `get`.
#[derive(Debug, clap::Args)]
pub struct GetArgs {
    /// The revision [default: the active one]
    revision: Option<String>,
    /// Where to write the files; must not exist.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// Options of `diff`.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// The revision before.
    from: String,
    /// The revision after [default: the active one]
    to: Option<String>,
    #[command(flatten)]
    target: Target,
}

/// Options of `validate`.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// The rules directory.
    #[arg(long, default_value = "rules")]
    dir: PathBuf,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Who changes the rules, and why.
#[derive(Debug, clap::Args)]
struct Change {
    /// The revision that must be active [default: the one that is]
    #[arg(long, value_name = "HASH")]
    expect: Option<String>,
    /// Who asks [default: the user at the terminal]
    #[arg(long, env = "RAPPORT_AUTHOR")]
    author: Option<String>,
    /// What changes and why.
    #[arg(long, default_value = "")]
    comment: String,
    /// Override failed lint, scenarios and reach limits
    #[arg(long, requires = "reason")]
    force: bool,
    /// Why checks are overridden; kept and audited.
    #[arg(long, requires = "force")]
    reason: Option<String>,
}

/// Options of `publish`.
#[derive(Debug, clap::Args)]
pub struct PublishArgs {
    /// The rules directory.
    #[arg(long, default_value = "rules")]
    dir: PathBuf,
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    target: Target,
}

/// Options of `rollback`.
#[derive(Debug, clap::Args)]
pub struct RollbackArgs {
    /// The kept revision.
    revision: String,
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    target: Target,
}

/// Runs a command.
///
/// # Errors
/// The service cannot be reached or refuses; the directory cannot be read.
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(args) => list(args).await,
        Command::Get(args) => get(args).await,
        Command::Diff(args) => diff(args).await,
        Command::Validate(args) => validate(args).await,
        Command::Publish(args) => publish(args).await,
        Command::Rollback(args) => rollback(args).await,
    }
}

async fn connect(target: &Target) -> anyhow::Result<Client> {
    let client = RulesetServiceClient::new(target.connect().await?);
    Ok(client.max_decoding_message_size(2 * RULES_BYTES_MAX))
}

async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let mut service = connect(&args.target).await?;
    let active = active(&mut service).await?;
    let mut page_token = String::new();
    loop {
        let request = ListRevisionsRequest { page_size: 0, page_token };
        let answer = service.list_revisions(request).await.map_err(|s| client::refused("listing the revisions", &s))?;
        let answer = answer.into_inner();
        for revision in &answer.revisions {
            if args.json {
                say!("{}", serde_json::to_string(revision)?);
                continue;
            }
            print_revision(revision, &active);
        }
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// A line of the list: who published it first, and of the active one who made
/// it active again.
fn print_revision(revision: &Revision, active: &GetActiveRevisionResponse) {
    let mark = if revision.active { "*" } else { " " };
    let forced = if revision.force_reason.is_empty() { "" } else { " forced" };
    let again = match active.origin() {
        RevisionOrigin::Rollback if revision.active && revision.revision == active.revision => {
            format!("; rolled back to by {} {}", active.author, active.comment)
        }
        _ => String::new(),
    };
    say!(
        "{mark} {} active from {}, {} offers, by {} ({}{forced}) {}{again}",
        revision.revision,
        moment(revision.activated_at),
        revision.offers,
        revision.author,
        origin_name(revision.origin()),
        revision.comment
    );
}

fn origin_name(origin: RevisionOrigin) -> &'static str {
    match origin {
        RevisionOrigin::Directory => "directory",
        RevisionOrigin::Api => "call",
        RevisionOrigin::Rollback => "rollback",
        RevisionOrigin::Start => "first start",
        RevisionOrigin::Unspecified => "",
    }
}

async fn active(service: &mut Client) -> anyhow::Result<GetActiveRevisionResponse> {
    let active = service.get_active_revision(GetActiveRevisionRequest {}).await;
    Ok(active.map_err(|s| client::refused("asking for the active revision", &s))?.into_inner())
}

async fn get(args: GetArgs) -> anyhow::Result<ExitCode> {
    let mut service = connect(&args.target).await?;
    let revision = whole(&mut service, args.revision.unwrap_or_default()).await?;
    let request = GetRevisionRequest { revision };
    let answer = service.get_revision(request).await.map_err(|s| client::refused("getting the revision", &s))?;
    let files = answer.into_inner().files;
    let Some(out) = args.out else {
        for file in &files {
            say!("# {}\n{}", file.path, file.text);
        }
        return Ok(ExitCode::SUCCESS);
    };
    let inside = |path: &str| Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if let Some(file) = files.iter().find(|file| !inside(&file.path)) {
        // a path of the service never leads out of the directory
        anyhow::bail!("the path `{}` leads out of the directory; nothing is written", file.path);
    }
    std::fs::create_dir(&out).with_context(|| format!("creating `{}`", out.display()))?;
    for file in &files {
        let path = out.join(&file.path);
        let parent = path.parent().unwrap_or(&out);
        std::fs::create_dir_all(parent).with_context(|| format!("creating `{}`", parent.display()))?;
        std::fs::write(&path, &file.text).with_context(|| format!("writing `{}`", path.display()))?;
    }
    say!("{} files in `{}`", files.len(), out.display());
    Ok(ExitCode::SUCCESS)
}

async fn diff(args: DiffArgs) -> anyhow::Result<ExitCode> {
    let mut service = connect(&args.target).await?;
    let from = whole(&mut service, args.from).await?;
    let to = whole(&mut service, args.to.unwrap_or_default()).await?;
    let request = DiffRevisionsRequest { from, to };
    let answer = service.diff_revisions(request).await.map_err(|s| client::refused("comparing", &s))?.into_inner();
    for (what, offers) in
        [("added", &answer.offers_added), ("removed", &answer.offers_removed), ("changed", &answer.offers_changed)]
    {
        if !offers.is_empty() {
            say!("offers {what}: {}", offers.join(", "));
        }
    }
    for file in &answer.files {
        let what = match file.change() {
            FileChange::Added => "added",
            FileChange::Removed => "removed",
            FileChange::Changed | FileChange::Unspecified => "changed",
        };
        say!("{what} {}\n{}", file.path, file.unified);
    }
    if answer.files.is_empty() {
        say!("the revisions are the same");
    }
    Ok(ExitCode::SUCCESS)
}

/// Rule files as calls take them: wherever the directory is, paths lead
/// downwards from it.
pub fn on_the_wire(files: Vec<rules::SourceFile>) -> Vec<RuleFile> {
    let below = |path: &str| -> String {
        let parts = Path::new(path).components().filter(|part| matches!(part, Component::Normal(_)));
        parts.collect::<PathBuf>().display().to_string()
    };
    files.into_iter().map(|file| RuleFile { path: below(&file.path), text: file.text.to_string() }).collect()
}

/// The files of a directory; mistakes in reading it are printed.
fn read(dir: &Path) -> Result<Vec<RuleFile>, ExitCode> {
    match rules::read_dir(dir).map_err(Refusal::from) {
        Ok(files) => Ok(on_the_wire(files)),
        Err(Refusal(lines)) => {
            lines.iter().for_each(|line| eprintln!("{line}"));
            Err(ExitCode::FAILURE)
        }
    }
}

async fn validate(args: ValidateArgs) -> anyhow::Result<ExitCode> {
    let files = match read(&args.dir) {
        Ok(files) => files,
        Err(code) => return Ok(code),
    };
    let mut service = connect(&args.target).await?;
    let answer = service.validate_revision(ValidateRevisionRequest { files }).await;
    let answer = answer.map_err(|s| client::refused("validating", &s))?.into_inner();
    let report = answer.report.unwrap_or_default();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print_report(&report);
        let verdict = if answer.acceptable { "may be published" } else { "is refused" };
        let expect = if answer.acceptable {
            format!(": publish with `--expect {}`", report.active_revision)
        } else {
            String::new()
        };
        say!("revision {} {verdict} over {}{expect}", report.revision, report.active_revision);
    }
    Ok(if answer.acceptable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn expected(service: &mut Client, expect: Option<String>) -> anyhow::Result<String> {
    match expect {
        Some(expect) => whole(service, expect).await,
        None => Ok(active(service).await?.revision),
    }
}

async fn publish(args: PublishArgs) -> anyhow::Result<ExitCode> {
    let files = match read(&args.dir) {
        Ok(files) => files,
        Err(code) => return Ok(code),
    };
    let mut service = connect(&args.target).await?;
    let change = args.change;
    let request = PublishRevisionRequest {
        files: files.clone(),
        expected_revision: expected(&mut service, change.expect).await?,
        author: author(change.author),
        comment: change.comment,
        force: change.force,
        force_reason: change.reason.unwrap_or_default(),
    };
    match service.publish_revision(request).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            told("published", &answer.revision, answer.changed, answer.report);
            Ok(ExitCode::SUCCESS)
        }
        Err(status) if is_refusal(&status) => {
            // the status has no room for the whole report
            let answer = service.validate_revision(ValidateRevisionRequest { files }).await;
            let report = answer.map_err(|s| client::refused("validating", &s))?.into_inner().report;
            print_report(&report.unwrap_or_default());
            eprintln!("{}", status.message());
            Ok(ExitCode::FAILURE)
        }
        Err(status) => Err(client::refused("publishing", &status)),
    }
}

/// Whether the rules are refused, not the request.
fn is_refusal(status: &Status) -> bool {
    let reason = tonic_types::StatusExt::get_error_details(status).error_info().map(|info| info.reason.clone());
    matches!(status.code(), Code::FailedPrecondition | Code::InvalidArgument)
        && reason.is_some_and(|reason| reason == "RULES_REFUSED" || reason == "CHECKS_FAILED")
}

async fn rollback(args: RollbackArgs) -> anyhow::Result<ExitCode> {
    let mut service = connect(&args.target).await?;
    let change = args.change;
    let request = RollbackRevisionRequest {
        revision: whole(&mut service, args.revision).await?,
        expected_revision: expected(&mut service, change.expect).await?,
        author: author(change.author),
        comment: change.comment,
        force: change.force,
        force_reason: change.reason.unwrap_or_default(),
    };
    let answer = service.rollback_revision(request).await.map_err(|s| client::refused("rolling back", &s))?;
    let answer = answer.into_inner();
    told("active again", &answer.revision, answer.changed, answer.report);
    Ok(ExitCode::SUCCESS)
}

/// Who asks: as given, or the user at the terminal.
pub fn author(given: Option<String>) -> String {
    given.or_else(|| std::env::var("USER").ok()).unwrap_or_default()
}

/// A moment in words.
pub fn moment(at: Option<crate::grpc::timestamp::Timestamp>) -> String {
    let text = serde_json::to_value(at).ok().and_then(|value| value.as_str().map(str::to_owned));
    text.unwrap_or_else(|| "an unknown time".to_owned())
}
