//! `rapport analyze`: recency, frequency, monetary value, cohorts and the model
//! of repeat purchase of any file of transactions.

mod cells;
mod columns;
mod findings;
mod ledger;
mod print;

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::domain::Date;

use super::table::{Flow, Table};
use columns::Columns;
use findings::Findings;
use ledger::Ledger;

/// Rows between two moves of the bar.
const TOLD_EVERY: u64 = 16_384;
/// The longest time ahead, days.
const DAYS_MAX: u32 = 3_650;

/// Options of `analyze`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// CSV or Parquet file with a purchase, or a line of one, a row.
    #[arg(long, value_name = "FILE")]
    transactions: PathBuf,
    /// Column that names the customer [default: guessed]
    #[arg(long, value_name = "COLUMN")]
    customer: Option<String>,
    /// Column with the time; without a time zone it counts as UTC [default: guessed]
    #[arg(long, value_name = "COLUMN")]
    time: Option<String>,
    /// Column with the amount, or with the price of a piece when there is a
    /// quantity [default: guessed]
    #[arg(long, value_name = "COLUMN")]
    amount: Option<String>,
    /// Column with the pieces, which the amount is multiplied by [default: guessed
    /// when the amount is a price of a piece]
    #[arg(long, value_name = "COLUMN")]
    quantity: Option<String>,
    /// The last day that is looked at [default: that of the last row]
    #[arg(long, value_name = "YYYY-MM-DD")]
    until: Option<String>,
    /// Days ahead for which purchases are expected; may be repeated
    #[arg(long, value_name = "N", default_values_t = [30, 90, 365])]
    days: Vec<u32>,
    /// Also write what was found of each customer to this CSV file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print as JSON.
    #[arg(long)]
    json: bool,
}

/// Reads, analyses and prints.
///
/// # Errors
/// The file or a column cannot be read, or it has no purchase.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    ensure!(
        args.days.iter().all(|days| (1..=DAYS_MAX).contains(days)),
        "`--days` must be 1 to {DAYS_MAX}: give other days"
    );
    let until = args
        .until
        .as_deref()
        .map(|text| Date::parse(text).with_context(|| format!("`--until {text}` is not a day such as 2011-12-09")));
    let until = until.transpose()?.map(|day| day.0);
    let table = Table::open(&args.transactions)?;
    let columns = Columns::find(&table, args)?;
    let ledger = read(&table, &columns, until)?;
    let found = Findings::of(&ledger, &columns, &args.days)?;
    if let Some(path) = &args.out {
        write_customers(path, &found).with_context(|| format!("writing `{}`", path.display()))?;
    }
    match args.json {
        true => say!("{}", serde_json::to_string_pretty(&found)?),
        false => print::print(&found),
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads every row, up to a day.
fn read(table: &Table, columns: &Columns, until: Option<i32>) -> anyhow::Result<Ledger> {
    let bar = ProgressBar::new(table.size());
    bar.set_style(ProgressStyle::with_template("reading [{bar:32}] {percent} % {eta}")?);
    let mut ledger = Ledger { until, ..Ledger::default() };
    table.read(&columns.wanted(), 0, &mut |row, done| {
        ledger.add(row, columns)?;
        if row.number.is_multiple_of(TOLD_EVERY) {
            bar.set_position(done);
        }
        Ok(Flow::On)
    })?;
    bar.finish_and_clear();
    Ok(ledger)
}

fn write_customers(path: &Path, found: &Findings<'_>) -> anyhow::Result<()> {
    let mut out = csv::Writer::from_writer(BufWriter::new(File::create(path)?));
    let mut names = vec![
        "customer".to_owned(),
        "recency_days".to_owned(),
        "frequency".to_owned(),
        "monetary".to_owned(),
        "recency_score".to_owned(),
        "frequency_score".to_owned(),
        "monetary_score".to_owned(),
        "first_day".to_owned(),
        "last_day".to_owned(),
        "alive".to_owned(),
    ];
    names.extend(found.days.iter().map(|days| format!("expected_{days}_days")));
    out.write_record(&names)?;
    for customer in found.customers() {
        out.write_record(&customer)?;
    }
    out.into_inner().map_err(|error| anyhow::anyhow!("{}", error.error()))?.flush()?;
    Ok(())
}
