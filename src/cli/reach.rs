//! `rapport reach`: who becomes eligible by an edit and who no longer, at each
//! save: over everybody a service has in memory, or over a file of people.

mod local;
mod saves;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;

use crate::{
    app::Refusal,
    grpc::RULES_BYTES_MAX,
    proto::{
        EvaluateReachRequest, EvaluateReachResponse, OfferChange, SegmentReach,
        ruleset_service_client::RulesetServiceClient,
    },
    rules::SourceFile,
};

use super::client::{self, Connection, Target};
use local::Local;
use saves::Saves;

/// Segments told of one offer.
const SEGMENTS_SHOWN_MAX: usize = 6;

/// Options of `reach`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Go on, and tell at each save of this file or directory. A file that is
    /// not in the rules directory stands for the one of its name there, or is
    /// added.
    #[arg(long, value_name = "FILE_OR_DIR")]
    watch: Option<PathBuf>,
    /// The rules directory [default: the watched directory, else `rules`]
    #[arg(long)]
    rules: Option<PathBuf>,
    /// Look at the people of this file (as `rapport eligible` reads them)
    /// instead of those a service has in memory.
    #[arg(long, value_name = "FILE")]
    profiles: Option<PathBuf>,
    /// With `--profiles`: what is compared with, a rules directory. Without it
    /// each save is compared with the one before.
    #[arg(long, value_name = "DIR", requires = "profiles")]
    against: Option<PathBuf>,
    /// With `--profiles`: the time it is, RFC 3339 or a date; now without it.
    #[arg(long, value_name = "TIME", requires = "profiles")]
    at: Option<String>,
    /// Print a JSON object for each look.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Looks once, or at every save until it is ended.
///
/// # Errors
/// The service cannot be reached, the people cannot be read. Mistakes in the
/// rules are printed; without `--watch` they are answered by exit code 1.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(watched) = args.watch.as_deref().filter(|watched| !watched.exists()) {
        anyhow::bail!("there is no `{}` to watch: name a rule file or a rules directory", watched.display());
    }
    let mut saves = Saves::new(args.watch.clone(), args.rules.clone());
    let mut people = match &args.profiles {
        Some(path) => {
            let at = args.at.as_deref().map(super::eligible::moment).transpose()?;
            People::Local(Box::new(Local::new(path.clone(), at, args.against.as_deref())?))
        }
        None => People::Service(args.target.clone()),
    };
    loop {
        let answer = match saves.files().map_err(Refusal::from) {
            Ok(files) => people.look(files)?,
            Err(Refusal(errors)) => EvaluateReachResponse { errors, ..Default::default() },
        };
        let ok = tell(answer, args.json)?;
        if args.watch.is_none() {
            return Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        saves.wait();
    }
}

/// Over whom is looked.
enum People {
    Local(Box<Local>),
    Service(Target),
}

impl People {
    /// Whom the edit reaches; mistakes in it are in the answer.
    fn look(&mut self, files: Vec<SourceFile>) -> anyhow::Result<EvaluateReachResponse> {
        match self {
            People::Local(local) => local.look(&files),
            People::Service(target) => ask(target, files),
        }
    }
}

fn ask(target: &Target, files: Vec<SourceFile>) -> anyhow::Result<EvaluateReachResponse> {
    let files = super::revisions::on_the_wire(files);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    runtime.block_on(async {
        let service: RulesetServiceClient<Connection> = RulesetServiceClient::new(target.connect().await?);
        let mut service = service.max_decoding_message_size(RULES_BYTES_MAX);
        let answer = service.evaluate_reach(EvaluateReachRequest { files }).await;
        Ok(answer.map_err(|status| client::refused("asking whom the edit reaches", &status))?.into_inner())
    })
}

/// Prints a look; false when the rules have mistakes.
fn tell(answer: EvaluateReachResponse, json: bool) -> anyhow::Result<bool> {
    if json {
        say!("{}", serde_json::to_string(&answer)?);
        return Ok(answer.errors.is_empty());
    }
    if !answer.errors.is_empty() {
        mistakes(&answer.errors);
        return Ok(false);
    }
    let offers = answer.offers.len() as u64 + answer.offers_left_out;
    match offers {
        0 => say!("no offer changes ({} offers)", answer.offers_unchanged),
        _ if answer.customers > answer.profiles => say!(
            "{} of {} people (the rest is on disk) in {:.0} ms: {offers} offers change, {} do not",
            answer.profiles,
            answer.customers,
            answer.milliseconds,
            answer.offers_unchanged
        ),
        _ => say!(
            "{} people in {:.0} ms: {offers} offers change, {} do not",
            answer.profiles,
            answer.milliseconds,
            answer.offers_unchanged
        ),
    }
    for offer in &answer.offers {
        let name = name(&offer.offer, offer.change());
        let segments = segments(&offer.segments);
        say!("  {name:<28} {} -> {} (+{} -{}){segments}", offer.before, offer.after, offer.gained, offer.lost);
    }
    if answer.offers_left_out > 0 {
        say!("  and {} offers more", answer.offers_left_out);
    }
    Ok(true)
}

/// An offer and what became of it.
pub fn name(offer: &str, change: OfferChange) -> String {
    let change = match change {
        OfferChange::Added => " (new)",
        OfferChange::Removed => " (removed)",
        OfferChange::Kept | OfferChange::Unspecified => "",
    };
    format!("{offer}{change}")
}

fn segments(segments: &[SegmentReach]) -> String {
    let one = |segment: &SegmentReach| {
        let signed = |sign: char, count: u64| if count > 0 { format!(" {sign}{count}") } else { String::new() };
        format!("{}{}{}", segment.segment, signed('+', segment.gained), signed('-', segment.lost))
    };
    let shown: Vec<String> = segments.iter().take(SEGMENTS_SHOWN_MAX).map(one).collect();
    match segments.len().saturating_sub(SEGMENTS_SHOWN_MAX) {
        _ if shown.is_empty() => String::new(),
        0 => format!("  {}", shown.join(", ")),
        more => format!("  {}, {more} segments more", shown.join(", ")),
    }
}

fn mistakes(lines: &[String]) {
    for line in lines {
        eprintln!("{line}");
    }
    eprintln!("{}; nothing was looked at", counted(lines.len(), "mistake"));
}

/// A number of things: `1 mistake`, `2 mistakes`.
pub fn counted(number: usize, thing: &str) -> String {
    if number == 1 { format!("1 {thing}") } else { format!("{number} {thing}s") }
}
