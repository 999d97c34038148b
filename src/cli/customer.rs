//! `rapport timeline` and `rapport customer`: what happened to a customer,
//! everything that is kept of one, and erasing one.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, bail};

use crate::proto::{
    EraseCustomerRequest, EraseCustomerResponse, ExportCustomerRequest, Identity, ListTimelineRequest, TimelineEntry,
    TimelineKind, customer_service_client::CustomerServiceClient,
};

use super::{
    client::{self, Target},
    decide::identity,
    revisions::moment,
};

/// Most bytes of an exported customer.
const EXPORT_BYTES_MAX: usize = 256 << 20;
/// Entries asked for at a time.
const PAGE_SIZE: i32 = 500;

/// Options of `timeline`.
#[derive(Debug, clap::Args)]
pub struct TimelineArgs {
    #[command(flatten)]
    whose: Whose,
    /// Only these kinds; may be repeated.
    #[arg(long = "kind", value_enum)]
    kinds: Vec<Kind>,
    /// The most entries; 0 for all.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Print as JSON, an entry a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// A kind of entry.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    Outcome,
    Event,
    Change,
    Decision,
}

/// Who is meant.
#[derive(Debug, clap::Args)]
struct Whose {
    /// Who, as `type:value`, for example `customer_id:12748`; may be repeated.
    #[arg(long = "identity", short = 'i', value_name = "TYPE:VALUE", required = true)]
    identities: Vec<String>,
}

impl Whose {
    fn identities(&self) -> anyhow::Result<Vec<Identity>> {
        self.identities.iter().map(|text| identity(text)).collect()
    }
}

/// What to do with a customer.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Write everything that is kept of a customer as one JSON document.
    Export(ExportArgs),
    /// Erase a customer for good, in all that is kept.
    Erase(EraseArgs),
}

/// Options of `customer export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    #[command(flatten)]
    whose: Whose,
    /// The file to write; standard output when absent.
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

/// Options of `customer erase`.
#[derive(Debug, clap::Args)]
pub struct EraseArgs {
    #[command(flatten)]
    whose: Whose,
    /// Why, kept for audit; write nothing personal.
    #[arg(long, default_value = "")]
    reason: String,
    /// Erase; without it, only what would be removed is told.
    #[arg(long)]
    yes: bool,
    /// Print the receipt as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Prints what happened to a customer, the newest first.
///
/// # Errors
/// The service cannot be reached, or nobody has the identities.
pub async fn timeline(args: TimelineArgs) -> anyhow::Result<ExitCode> {
    let mut service = CustomerServiceClient::new(args.target.connect().await?);
    let kinds = args.kinds.iter().map(|kind| match kind {
        Kind::Outcome => TimelineKind::Outcome as i32,
        Kind::Event => TimelineKind::Event as i32,
        Kind::Change => TimelineKind::Change as i32,
        Kind::Decision => TimelineKind::Decision as i32,
    });
    let mut request = ListTimelineRequest {
        identities: args.whose.identities()?,
        page_size: PAGE_SIZE,
        kinds: kinds.collect(),
        ..ListTimelineRequest::default()
    };
    let mut left = if args.limit == 0 { usize::MAX } else { args.limit };
    loop {
        let page = service.list_timeline(request.clone()).await;
        let page = page.map_err(|s| client::refused("reading the timeline", &s))?.into_inner();
        for entry in page.entries.iter().take(left) {
            match args.json {
                true => say!("{}", serde_json::to_string(entry)?),
                false => say!("{}", told(entry)),
            }
        }
        left = left.saturating_sub(page.entries.len());
        if left == 0 || page.next_page_token.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        request.page_token = page.next_page_token;
    }
}

fn told(entry: &TimelineEntry) -> String {
    let mut text = format!("{} {}", moment(entry.time), entry.r#type);
    for (word, value) in [
        ("of", &entry.offer),
        ("on", &entry.channel),
        ("link", &entry.link),
        ("reason", &entry.reason_code),
        ("agent", &entry.agent_id),
        ("note", &entry.note),
    ] {
        if !value.is_empty() {
            text.push_str(&format!(" {word} {}", value.escape_debug()));
        }
    }
    if let Some(amount) = &entry.amount {
        text.push_str(&format!(" for {} {}", amount.amount, amount.currency));
    }
    if !entry.items.is_empty() {
        let items: Vec<String> = entry.items.iter().map(|item| item.escape_debug().to_string()).collect();
        text.push_str(&format!(": {}", items.join(", ")));
    }
    if entry.late {
        text.push_str(&format!(" (late: came in {})", moment(entry.received)));
    }
    text
}

/// Exports or erases.
///
/// # Errors
/// The service cannot be reached, nobody has the identities, or the file cannot
/// be written.
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Export(args) => export(args).await,
        Command::Erase(args) => erase(args).await,
    }
}

async fn export(args: ExportArgs) -> anyhow::Result<ExitCode> {
    let service = CustomerServiceClient::new(args.target.connect().await?);
    let mut service = service.max_decoding_message_size(EXPORT_BYTES_MAX);
    let request = ExportCustomerRequest { identities: args.whose.identities()? };
    let answer = service.export_customer(request).await;
    let answer = answer.map_err(|s| client::refused("exporting a customer", &s))?.into_inner();
    let Some(document) = answer.document else { bail!("the service answered no document: ask again") };
    let document = serde_json::to_string_pretty(&document)?;
    let Some(path) = args.out else {
        say!("{document}");
        return Ok(ExitCode::SUCCESS);
    };
    let write = || -> std::io::Result<()> {
        let mut file = BufWriter::new(File::create(&path)?);
        writeln!(file, "{document}")?;
        file.flush()
    };
    write().with_context(|| format!("writing `{}`", path.display()))?;
    Ok(ExitCode::SUCCESS)
}

async fn erase(args: EraseArgs) -> anyhow::Result<ExitCode> {
    let mut service = CustomerServiceClient::new(args.target.connect().await?);
    let identities = args.whose.identities()?;
    let request = EraseCustomerRequest { identities, reason: args.reason, validate_only: !args.yes };
    let answer = service.erase_customer(request).await;
    let receipt = answer.map_err(|s| client::refused("erasing a customer", &s))?.into_inner();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&receipt)?);
    } else {
        print(&receipt);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(receipt: &EraseCustomerResponse) {
    match receipt.erasure_id.as_str() {
        "" => say!("nothing is erased yet; with --yes these would go for good:"),
        id => say!("erased {} as {id}, on disk:", moment(receipt.time)),
    }
    for removed in receipt.removed.iter().filter(|removed| removed.count > 0) {
        say!("  {:>8} {}", removed.count, removed.what);
    }
    say!("what stays:");
    for remaining in &receipt.remaining {
        say!("  {}: {}", remaining.what, remaining.why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_told_on_one_line() {
        let entry = TimelineEntry {
            r#type: "decline".into(),
            offer: "upgrade".into(),
            channel: "call_centre".into(),
            reason_code: "too_expensive".into(),
            note: "calls\nback".into(),
            late: true,
            ..TimelineEntry::default()
        };
        let line = told(&entry);
        assert!(
            !line.contains('\n') && line.contains("decline of upgrade on call_centre reason too_expensive"),
            "{line}"
        );
        assert!(line.contains("note calls\\nback") && line.contains("(late"), "{line}");
    }
}
