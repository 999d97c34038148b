//! What each customer of a file bought, by day.

use std::collections::{BTreeMap, HashMap};

use anyhow::ensure;

use crate::{
    cli::table::{Field, Row},
    predict::Bought,
};

use super::columns::Columns;

/// Most customers of a file: 2 GB and more of memory.
pub(super) const CUSTOMERS_MAX: usize = 20_000_000;
/// Amounts are summed in so many parts of one, so that their sum does not
/// depend on the order; further digits are rounded.
pub(super) const AMOUNT_PARTS: f64 = 10_000.0;
/// The most that a row may be worth: more is a mistaken column.
const AMOUNT_MAX: f64 = 1e12;
/// Days of a customer that are gathered before equal ones are put together.
const DAYS_LOOSE_MAX: usize = 64;
/// Most rows named for each thing that is wrong.
const EXAMPLES_MAX: usize = 3;

/// What each customer bought.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By what names the customer.
    pub customers: HashMap<Box<str>, Customer>,
    /// The rows.
    pub rows: Rows,
    /// The last day that is looked at, if not that of the last row.
    pub until: Option<i32>,
    /// The last day of any row with a time that is looked at.
    pub last_day: Option<i32>,
}

/// What became of the rows. They add up to all.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Rows {
    /// All.
    pub all: u64,
    /// Purchases of a customer.
    pub purchases: u64,
    /// Returns and cancellations of a customer: told, and not counted as
    /// purchases.
    pub returns: u64,
    /// Of nobody who is named.
    pub without_customer: u64,
    /// After the last day that is looked at.
    pub after: u64,
    /// That cannot be read.
    pub bad: u64,
    /// Why not: how many, and the first of them.
    pub problems: BTreeMap<String, Problem>,
}

/// Rows with the same thing wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(super) struct Problem {
    /// How many.
    pub rows: u64,
    /// The first of them, from 1.
    pub first: Vec<u64>,
}

/// What one customer bought.
#[derive(Clone, Debug, Default)]
pub(super) struct Customer {
    days: Vec<i32>,
    sorted: usize,
    /// What was spent, in parts of one: see [`AMOUNT_PARTS`].
    pub spent: i64,
    /// What came back, as a negative number, in parts of one.
    pub returned: i64,
}

impl Customer {
    fn buy(&mut self, day: i32, amount: i64) {
        self.spent = self.spent.saturating_add(amount);
        if self.days.last() == Some(&day) {
            return;
        }
        self.days.push(day);
        if self.days.len() >= self.sorted * 2 + DAYS_LOOSE_MAX {
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        self.days.sort_unstable();
        self.days.dedup();
        self.sorted = self.days.len();
    }

    /// The days with purchases, in order.
    fn days(&self) -> Vec<i32> {
        let mut days = self.days.clone();
        days.sort_unstable();
        days.dedup();
        days
    }

    /// What was bought, and the days in order; `None` when nothing was.
    pub fn bought(&self) -> Option<(Bought, Vec<i32>)> {
        let days = self.days();
        let (first_day, last_day) = (*days.first()?, *days.last()?);
        let count = u32::try_from(days.len()).unwrap_or(u32::MAX);
        Some((Bought { days: count, first_day, last_day, spent: self.spent }, days))
    }
}

/// A row, read.
enum Read {
    Bought { customer: Box<str>, day: i32, amount: i64 },
    Returned { customer: Box<str>, day: i32, amount: i64 },
    Nobody { day: Option<i32> },
}

impl Read {
    fn day(&self) -> Option<i32> {
        match self {
            Read::Bought { day, .. } | Read::Returned { day, .. } => Some(*day),
            Read::Nobody { day } => *day,
        }
    }
}

impl Ledger {
    /// Adds a row.
    ///
    /// # Errors
    /// There are too many customers.
    pub fn add(&mut self, row: Row<'_>, columns: &Columns) -> anyhow::Result<()> {
        self.rows.all += 1;
        let read = row.fields.map_err(str::to_owned).and_then(|fields| read(fields, columns));
        let day = read.as_ref().ok().and_then(Read::day);
        if day.is_some_and(|day| self.until.is_some_and(|until| day > until)) {
            self.rows.after += 1;
            return Ok(());
        }
        self.last_day = self.last_day.max(day);
        match read {
            Ok(Read::Bought { customer, day, amount }) => {
                self.rows.purchases += 1;
                self.customer(customer)?.buy(day, amount);
            }
            Ok(Read::Returned { customer, amount, .. }) => {
                self.rows.returns += 1;
                let customer = self.customer(customer)?;
                customer.returned = customer.returned.saturating_add(amount);
            }
            Ok(Read::Nobody { .. }) => self.rows.without_customer += 1,
            Err(why) => {
                self.rows.bad += 1;
                let problem = self.rows.problems.entry(why).or_default();
                problem.rows += 1;
                if problem.first.len() < EXAMPLES_MAX {
                    problem.first.push(row.number);
                }
            }
        }
        Ok(())
    }

    fn customer(&mut self, name: Box<str>) -> anyhow::Result<&mut Customer> {
        ensure!(
            self.customers.len() < CUSTOMERS_MAX || self.customers.contains_key(&name),
            "the file has more than {CUSTOMERS_MAX} customers: analyse a part of it"
        );
        Ok(self.customers.entry(name).or_default())
    }
}

/// Reads a row; what is wrong with it otherwise, in words that do not differ
/// from row to row.
fn read(fields: &[Field], columns: &Columns) -> Result<Read, String> {
    let [customer, time, amount, rest @ ..] = fields else { return Err("it has too few fields".to_owned()) };
    let day = time.moment().map(|at| at.date().0);
    let Some(customer) = customer.text() else { return Ok(Read::Nobody { day }) };
    let wrong = |column: &str, field: &Field, what: &str| match field {
        Field::Missing => format!("`{column}` is empty"),
        _ => format!("`{column}` is not {what}"),
    };
    let day = day.ok_or_else(|| wrong(&columns.time.1, time, "a moment"))?;
    let price = amount.number().ok_or_else(|| wrong(&columns.amount.1, amount, "a number"))?;
    let (amount, is_return) = match (&columns.quantity, rest.first()) {
        (Some(column), Some(quantity)) => {
            let pieces = quantity.number().ok_or_else(|| wrong(&column.1, quantity, "a number"))?;
            (price * pieces, pieces <= 0.0)
        }
        _ => (price, price < 0.0),
    };
    if amount.abs() > AMOUNT_MAX {
        return Err(format!("`{}` is more than {AMOUNT_MAX}", columns.amount.1));
    }
    let amount = (amount * AMOUNT_PARTS).round() as i64;
    let customer = customer.into_boxed_str();
    Ok(match is_return {
        true => Read::Returned { customer, day, amount },
        false => Read::Bought { customer, day, amount },
    })
}
