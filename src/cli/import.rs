//! `rapport import`: events and customers from files, over a stream into a
//! running service or straight into a data directory. Importing a file again
//! changes nothing, one that was interrupted goes on where it was, and every row
//! is accounted for: imported, known before, or in the file of rejects.

mod batches;
mod cell;
mod constants;
mod counts;
mod customers;
mod input;
mod map;
mod mapping;
mod notes;
mod numbered;
mod pipe;
mod rejects;
mod repeats;
mod rows;
mod sink;
mod state;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    config::{ServeArgs, ServeConfig},
    grpc::Api,
};

use super::{client::Target, serve};

use mapping::Mapping;
use pipe::Pipe;
use rejects::Rejects;
use state::State;

pub use counts::Counts;
pub use sink::Sink;

/// Exit code when the import did not come to its end.
const INTERRUPTED: u8 = 3;

/// Options of `import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without --mapping a file is NDJSON of events and customers ({\"identities\": ...}), an object a line.
Rows that are refused go to FILE.rejects.ndjson with their number and the reason; corrected, it can be
imported itself with the same mapping. An import that was interrupted goes on when the same command is
run again; FILE.import.json says where it was. Both stand beside the file, or in --beside DIR.

Exit code: 0 when every row is imported or was known before, 1 when rows are rejected or the command
is wrong, 3 when the import did not come to its end.")]
pub struct Args {
    /// Files: `.ndjson`, `.csv`, `.parquet`; texts also with `.gz`. They are
    /// imported in the order given.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// What the columns of the files are (YAML)
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// Import straight into a data directory that no service has open
    #[arg(long, value_name = "DIR", conflicts_with = "address")]
    into: Option<PathBuf>,
    /// Directory of the rules, with `--into` and `--dry-run`
    #[arg(long, env = "RAPPORT_RULES", value_name = "DIR", default_value = "./rules")]
    rules: PathBuf,
    /// Check every row against the rules and import nothing
    #[arg(long, conflicts_with = "into")]
    dry_run: bool,
    /// Begin with the first row, whatever was imported before
    #[arg(long)]
    from_start: bool,
    /// Directory for the rejects and for where an import was [default: that of
    /// the file]
    #[arg(long, value_name = "DIR")]
    beside: Option<PathBuf>,
}

/// How a file is imported.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// What its columns are.
    mapping: Option<Mapping>,
    /// How far times are moved, whole weeks.
    shift_weeks: i64,
    /// Where it goes, in words, to go on where an import was; `None` keeps
    /// nothing.
    resume_at: Option<String>,
    /// Whether to begin with the first row whatever was imported.
    from_start: bool,
    /// Where rejects and states go; beside the file when `None`.
    beside: Option<PathBuf>,
}

impl Plan {
    /// Events and customers as they are, with times moved by whole weeks.
    pub fn shifted(weeks: i64) -> Self {
        Self { shift_weeks: weeks, ..Self::default() }
    }
}

/// Imports and prints what became of every row.
///
/// # Errors
/// The service or data directory cannot be reached, a file cannot be read.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let mapping = args.mapping.as_deref().map(Mapping::read).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("starting the runtime")?;
    let Opened { sink, place, api, scratch } = open(&args, &runtime)?;
    let resume_at = (!args.dry_run).then_some(place);
    let plan = Plan { mapping, shift_weeks: 0, resume_at, from_start: args.from_start, beside: args.beside.clone() };
    let imported = runtime.block_on(async {
        if let Some(mapping) = &plan.mapping {
            constants::check(&sink, mapping).await?;
        }
        let mut total = Counts::default();
        for file in &args.files {
            total.add(&import(&sink, file, &plan).await?);
        }
        anyhow::Ok(total)
    });
    drop(sink);
    if let Some(api) = api {
        api.app().store.close();
    }
    drop(scratch);
    match imported {
        Ok(total) if total.rejected == 0 => Ok(ExitCode::SUCCESS),
        Ok(_) => Ok(ExitCode::FAILURE),
        Err(error) if error.is::<pipe::Interrupted>() => {
            eprintln!("error: {error:#}");
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(error) => Err(error),
    }
}

/// Where an import goes.
struct Opened {
    sink: Sink,
    place: String,
    api: Option<Arc<Api>>,
    scratch: Option<Scratch>,
}

fn open(args: &Args, runtime: &tokio::runtime::Runtime) -> anyhow::Result<Opened> {
    let embedded = |dir: &Path| -> anyhow::Result<Arc<Api>> {
        let serve = ServeArgs {
            data_dir: Some(dir.to_owned()),
            rules: Some(args.rules.clone()),
            log_level: Some("warn".to_owned()),
            ..ServeArgs::default()
        };
        Ok(Arc::new(Api::new(serve::open(&ServeConfig::resolve(serve)?)?)))
    };
    if args.dry_run {
        let scratch = Scratch::new()?;
        let api = embedded(&scratch.0)?;
        return Ok(Opened {
            sink: Sink::Check(Arc::clone(&api)),
            place: String::new(),
            api: Some(api),
            scratch: Some(scratch),
        });
    }
    if let Some(dir) = &args.into {
        let api = embedded(dir)?;
        let place = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.clone()).display().to_string();
        return Ok(Opened { sink: Sink::Local(Arc::clone(&api)), place, api: Some(api), scratch: None });
    }
    let sink = Sink::Remote(runtime.block_on(args.target.connect())?);
    Ok(Opened { sink, place: args.target.address.clone(), api: None, scratch: None })
}

/// A data directory for a check, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> anyhow::Result<Self> {
        let dir = std::env::temp_dir().join(format!("rapport-import-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| format!("creating `{}`", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // best effort: it is in the directory of temporary files
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Imports a file.
///
/// # Errors
/// The file cannot be read, the reject file cannot be written, or the service
/// goes away. What was recorded stays; import again to go on.
pub async fn import(sink: &Sink, file: &Path, plan: &Plan) -> anyhow::Result<Counts> {
    let hash = rows::hash_of(file)?;
    let beside = |file, ending| beside((file, plan.beside.as_deref()), ending);
    let rejects = beside(file, "rejects.ndjson");
    let known = match &plan.resume_at {
        Some(place) if !plan.from_start => State::read(&beside(file, "import.json"), (&hash, place, &plan.mapping))?,
        _ => None,
    };
    let state = plan.resume_at.as_ref().map(|place| {
        let fresh = || State::new(&hash, place, &plan.mapping);
        (beside(file, "import.json"), known.clone().unwrap_or_else(fresh))
    });
    if let Some(known) = &known {
        say!("{}: going on after row {}", name_of(file), known.row);
    }
    let rows = rows::open(file, plan.mapping.as_ref())?;
    let (bar, counts) = (bar(rows.total, file)?, known.as_ref().map(|known| known.counts).unwrap_or_default());
    let rejects = Rejects::new(rejects, known.as_ref().map_or(0, |known| known.rejects_bytes))?;
    Pipe::new(sink.clone(), rejects, state, counts)?.run(rows, plan.shift_weeks, bar).await
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A file that is named after another, beside it. In a directory that files of
/// others share its name has the place of the other too.
fn beside((file, dir): (&Path, Option<&Path>), ending: &str) -> PathBuf {
    let Some(dir) = dir else { return file.with_file_name(format!("{}.{ending}", name_of(file))) };
    let place = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let place = xxhash_rust::xxh3::xxh3_64(place.as_os_str().as_encoded_bytes());
    dir.join(format!("{}.{place:016x}.{ending}", name_of(file)))
}

fn bar(total: u64, file: &Path) -> anyhow::Result<ProgressBar> {
    /// How often a bar is drawn a second.
    const DRAWS: u8 = 5;
    let style = ProgressStyle::with_template("{prefix} [{bar:32}] {percent}% {msg} {eta} left")?;
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(DRAWS));
    bar.enable_steady_tick(Duration::from_secs(1));
    Ok(bar.with_style(style).with_prefix(name_of(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_name_do_not_share_what_stands_beside_them() {
        let of = |file: &str, dir: Option<&str>| beside((Path::new(file), dir.map(Path::new)), "rejects.ndjson");
        assert_eq!(of("a/till.csv", None), Path::new("a/till.csv.rejects.ndjson"));
        assert_ne!(of("a/till.csv", None), of("b/till.csv", None));
        assert_ne!(of("a/till.csv", Some("out")), of("b/till.csv", Some("out")));
        assert!(of("a/till.csv", Some("out")).starts_with("out"));
    }
}
