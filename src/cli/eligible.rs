//! `rapport eligible`: the offers each person of a file may get, without a
//! service: a dry run over any population.

mod answers;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    path::PathBuf,
    process::ExitCode,
    thread,
};

use anyhow::Context;

use crate::{
    app::{clock::Clock, population::Eligibility},
    domain::Timestamp,
    rules::{self, Ruleset},
};

use super::people::{Reader, Unknown};
use answers::{Answers, Desk};

/// What is read at a time, bytes.
const READ_BYTES: usize = 1 << 20;
/// The most lines answered at a time.
const LINES_MAX: usize = 16_384;

/// Options of `eligible`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The rules: a directory or one file.
    #[arg(long, default_value = "rules")]
    rules: PathBuf,
    /// A person a line: `{"id": "7", "p": {"age": 40}, "ctx": {}, "at": "..."}`;
    /// `-` reads standard input. Attributes may also stand flat beside `id`, and
    /// the customers of `rapport import` are taken.
    #[arg(long, value_name = "FILE")]
    profiles: PathBuf,
    /// Print a JSON object a line: `{"id": "7", "eligible": ["a", "b"]}`.
    #[arg(long)]
    json: bool,
    /// The time it is, RFC 3339 or a date, for lines without `at`; now without it.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// Say of one offer why each person may not get it.
    #[arg(long, value_name = "OFFER")]
    explain: Option<String>,
    /// Tell also the offers of which it is unknown, with `--json`. Slower.
    #[arg(long, requires = "json")]
    unknown: bool,
    /// Leave out attributes that the rules do not declare, instead of refusing
    /// their lines.
    #[arg(long)]
    lenient: bool,
}

/// Answers line by line.
///
/// # Errors
/// The rules or the file cannot be read; there is no such offer.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let at = match &args.at {
        Some(text) => moment(text)?,
        None => Clock::default().now(),
    };
    let Some(ruleset) = compiled(&args.rules) else { return Ok(ExitCode::FAILURE) };
    let explained = match &args.explain {
        None => None,
        Some(name) => {
            let offer = ruleset.offer_by_name(name);
            Some(offer.with_context(|| format!("the rules have no offer `{name}`{}", nearest(&ruleset, name)))?.slot)
        }
    };
    let unknown = if args.lenient { Unknown::LeftOut } else { Unknown::Refused };
    let desk = Desk {
        rules: &ruleset,
        reader: Reader::of(&ruleset, unknown),
        eligibility: Eligibility::of(&ruleset),
        at,
        json: args.json,
        explained,
        unknown: args.unknown,
    };
    let name =
        if args.profiles.as_os_str() == "-" { "standard input".into() } else { args.profiles.display().to_string() };
    let source: Box<dyn Read> = if args.profiles.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(&args.profiles).with_context(|| format!("opening `{name}`"))?)
    };
    let counts = answer(&desk, source, &name)?;
    if counts.refused > 0 {
        eprintln!("{} of {} lines refused", counts.refused, counts.lines);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Lines read and lines refused.
#[derive(Default)]
struct Counts {
    lines: u64,
    refused: u64,
}

/// Answers whatever has been read, on all cores, before it waits for more.
fn answer(desk: &Desk<'_>, source: Box<dyn Read>, name: &str) -> anyhow::Result<Counts> {
    let mut reader = BufReader::with_capacity(READ_BYTES, source);
    let mut out = io::stdout().lock();
    let mut counts = Counts::default();
    let mut number = 0;
    loop {
        let block = block(&mut reader, &mut number).with_context(|| format!("reading `{name}` at line {number}"))?;
        if block.is_empty() {
            return Ok(counts);
        }
        for answers in on_all_cores(desk, &block) {
            counts.lines += answers.lines;
            counts.refused += answers.refused;
            for mistake in &answers.mistakes {
                eprintln!("{name}:{mistake}");
            }
            match out.write_all(answers.text.as_bytes()).and_then(|()| out.flush()) {
                // a reader that has gone needs no more
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(counts),
                written => written.context("writing to standard output")?,
            }
        }
    }
}

/// The lines at hand, with their numbers; none at the end.
fn block(reader: &mut BufReader<Box<dyn Read>>, number: &mut u64) -> io::Result<Vec<(u64, String)>> {
    let mut lines = Vec::new();
    while lines.is_empty() || (lines.len() < LINES_MAX && !reader.buffer().is_empty()) {
        let mut raw = Vec::new();
        *number += 1;
        if reader.read_until(b'\n', &mut raw)? == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&raw);
        // a byte order mark may stand at the very beginning
        let text = text.trim_start_matches('\u{feff}').trim();
        if !text.is_empty() {
            lines.push((*number, text.to_owned()));
        }
    }
    Ok(lines)
}

fn on_all_cores(desk: &Desk<'_>, lines: &[(u64, String)]) -> Vec<Answers> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let parts = lines.chunks(lines.len().div_ceil(cores).max(1));
    thread::scope(|scope| {
        let working: Vec<_> = parts.map(|part| scope.spawn(|| desk.answer(part))).collect();
        working.into_iter().filter_map(|work| work.join().ok()).collect()
    })
}

/// The rules of a directory, or of one file; their mistakes are printed.
pub fn compiled(dir: &std::path::Path) -> Option<Ruleset> {
    let files = if dir.is_file() { rules::read_file(dir).map(|file| vec![file]) } else { rules::read_dir(dir) };
    match files.and_then(|files| rules::compile(&files)) {
        Ok(ruleset) => Some(ruleset),
        Err(errors) => {
            errors.errors.iter().for_each(|error| eprintln!("{error}"));
            let mistakes = super::reach::counted(errors.errors.len(), "mistake");
            eprintln!("{mistakes} in `{}`", dir.display());
            None
        }
    }
}

/// A moment in words.
///
/// # Errors
/// It is none.
pub fn moment(text: &str) -> anyhow::Result<Timestamp> {
    let wanted = || format!("`{text}` is not a time: write it as `2026-01-31T12:00:00Z` or `2026-01-31`");
    rules::parse_moment(text).with_context(wanted)
}

fn nearest(ruleset: &Ruleset, name: &str) -> String {
    rules::did_you_mean(name, ruleset.offers.iter().map(|offer| &*offer.name_id))
}
