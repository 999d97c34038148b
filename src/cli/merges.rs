//! `rapport merges`: the customers that became one, and taking it back.

use std::process::ExitCode;

use crate::proto::{
    Identity, ListMergesRequest, Merge, MergeCause, MergeCustomersRequest, UndoMergeRequest,
    customer_service_client::CustomerServiceClient,
};

use super::{
    client::{self, Connection, Target},
    decide::identity,
    revisions::moment,
};

/// What to do with merges.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the merges behind a customer, the newest first.
    List(ListArgs),
    /// Make one customer of two.
    Merge(MergeArgs),
    /// Take a merge back, within 30 days of it.
    Undo(UndoArgs),
}

/// Options of `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Who, as `type:value`, for example `customer_id:12748`; may be repeated.
    #[arg(long = "identity", short = 'i', value_name = "TYPE:VALUE", required = true)]
    identities: Vec<String>,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Options of `merge`.
#[derive(Debug, clap::Args)]
pub struct MergeArgs {
    /// The one, as `type:value`; may be repeated.
    #[arg(long = "identity", short = 'i', value_name = "TYPE:VALUE", required = true)]
    identities: Vec<String>,
    /// The other, as `type:value`; may be repeated.
    #[arg(long = "other", value_name = "TYPE:VALUE", required = true)]
    others: Vec<String>,
    /// Why; kept.
    #[arg(long, default_value = "")]
    reason: String,
    /// Check only; merge nobody.
    #[arg(long)]
    dry_run: bool,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Options of `undo`.
#[derive(Debug, clap::Args)]
pub struct UndoArgs {
    /// The merge, as `list` names it.
    merge_id: String,
    /// The customer, as `type:value`; may be repeated.
    #[arg(long = "identity", short = 'i', value_name = "TYPE:VALUE", required = true)]
    identities: Vec<String>,
    /// Why; kept.
    #[arg(long, default_value = "")]
    reason: String,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Runs a command.
///
/// # Errors
/// The service cannot be reached or refuses.
pub async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::List(args) => list(args).await,
        Command::Merge(args) => merge(args).await,
        Command::Undo(args) => undo(args).await,
    }
}

async fn service(target: &Target) -> anyhow::Result<CustomerServiceClient<Connection>> {
    Ok(CustomerServiceClient::new(target.connect().await?))
}

fn read(identities: &[String]) -> anyhow::Result<Vec<Identity>> {
    identities.iter().map(|text| identity(text)).collect()
}

async fn list(args: ListArgs) -> anyhow::Result<ExitCode> {
    let request = ListMergesRequest { identities: read(&args.identities)? };
    let listed = service(&args.target).await?.list_merges(request).await;
    let listed = listed.map_err(|s| client::refused("listing merges", &s))?.into_inner();
    if args.json {
        say!("{}", serde_json::to_string_pretty(&listed)?);
    } else if listed.merges.is_empty() {
        say!("no merge of this customer is kept");
    } else {
        listed.merges.iter().for_each(|one| say!("{}", told(one)));
    }
    Ok(ExitCode::SUCCESS)
}

async fn merge(args: MergeArgs) -> anyhow::Result<ExitCode> {
    let request = MergeCustomersRequest {
        identities: read(&args.identities)?,
        others: read(&args.others)?,
        reason: args.reason,
        validate_only: args.dry_run,
    };
    let merged = service(&args.target).await?.merge_customers(request).await;
    let merged = merged.map_err(|s| client::refused("merging two customers", &s))?.into_inner();
    match (&merged.merge, args.json, args.dry_run) {
        (_, true, _) => say!("{}", serde_json::to_string_pretty(&merged)?),
        (None, ..) => say!("both are one customer already"),
        (Some(one), _, true) => say!("they can be merged:\n{}", told(one)),
        (Some(one), ..) => say!("merged:\n{}", told(one)),
    }
    Ok(ExitCode::SUCCESS)
}

async fn undo(args: UndoArgs) -> anyhow::Result<ExitCode> {
    let identities = read(&args.identities)?;
    let request = UndoMergeRequest { merge_id: args.merge_id, identities, reason: args.reason };
    let undone = service(&args.target).await?.undo_merge(request).await;
    let undone = undone.map_err(|s| client::refused("taking a merge back", &s))?.into_inner();
    match (&undone.merge, args.json) {
        (Some(one), false) => say!("taken back:\n{}", told(one)),
        _ => say!("{}", serde_json::to_string_pretty(&undone)?),
    }
    Ok(ExitCode::SUCCESS)
}

/// A merge on a few lines.
fn told(merge: &Merge) -> String {
    let of = |identities: &[Identity]| -> String {
        let all: Vec<String> = identities.iter().map(|one| format!("{}:{}", one.r#type, one.value)).collect();
        all.join(" ")
    };
    let cause = match merge.cause() {
        MergeCause::Identified => "an event named both",
        MergeCause::Requested => "somebody asked for it",
        MergeCause::Unspecified => "for an unknown cause",
    };
    let mut text = format!("{} {}", moment(merge.time), cause);
    if !merge.reason.is_empty() {
        text.push_str(&format!(": {}", merge.reason.escape_debug()));
    }
    if !merge.merge_id.is_empty() {
        text.push_str(&format!("\n  merge    {}", merge.merge_id));
    }
    // of one that was taken back nobody's are kept
    if merge.undone.is_none() {
        text.push_str(&format!("\n  lives on {}", of(&merge.survivor_identities)));
        text.push_str(&format!("\n  taken in {}", of(&merge.absorbed_identities)));
    }
    match merge.undone {
        Some(at) => text.push_str(&format!("\n  taken back {}", moment(Some(at)))),
        None => text.push_str(&format!("\n  can be taken back until {}", moment(merge.undo_until))),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merge_is_told_with_both_sides() {
        let identity = |value: &str| Identity { r#type: "customer_id".into(), value: value.into() };
        let merge = Merge {
            merge_id: "ab".into(),
            cause: MergeCause::Requested as i32,
            reason: "same\nperson".into(),
            survivor_identities: vec![identity("1"), identity("2")],
            absorbed_identities: vec![identity("3")],
            ..Merge::default()
        };
        let told = told(&merge);
        for part in
            ["asked for it: same\\nperson", "merge    ab", "lives on customer_id:1 customer_id:2", "in customer_id:3"]
        {
            assert!(told.contains(part), "{told}");
        }
    }
}
