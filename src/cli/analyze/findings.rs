//! What was found in a file of transactions.

use std::collections::HashMap;

use anyhow::ensure;
use serde::Serialize;

use crate::{
    domain::{CustomerKey, Date},
    learn::{BaseFound, Buyers, Cohorts},
    predict::{Bought, Fitted, Purchases, RepeatModel, RfmQuantiles},
};

use super::{
    cells::{Cell, Cells, Group},
    columns::Columns,
    ledger::{AMOUNT_PARTS, CUSTOMERS_MAX, Ledger, Rows},
};

/// Who bought again more often than this is told in one line.
const REPEATS_TOLD_MAX: u32 = 7;

/// What was found.
#[derive(Debug, Serialize)]
pub(super) struct Findings<'a> {
    /// The columns that were read.
    pub columns: Vec<(&'static str, &'a str)>,
    /// What became of the rows.
    pub rows: &'a Rows,
    /// The last day that was looked at.
    pub observed_until: String,
    /// Customers who bought.
    pub customers: u64,
    /// What they spent.
    pub spent: f64,
    /// What came back, as a negative number.
    pub returned: f64,
    /// The quantiles of recency, frequency and monetary value.
    pub rfm: Rfm,
    /// Who first bought in a month, and how many of them bought in each after.
    pub cohorts: Vec<CohortRow>,
    /// The model of repeat purchase.
    pub model: Option<Model>,
    /// Why there is none.
    pub no_model: Option<&'static str>,
    /// Days ahead for which purchases are expected.
    pub days: Vec<u32>,
    /// Purchases to expect of all customers in so many days, in the order of
    /// `days`.
    pub expected: Vec<f64>,
    /// Customers by how often they bought again.
    pub by_repeats: Vec<RepeatsRow>,
    #[serde(skip)]
    people: Vec<(&'a str, Bought)>,
    #[serde(skip)]
    today: i32,
    #[serde(skip)]
    quantiles: RfmQuantiles,
}

/// Recency, frequency and monetary value.
#[derive(Debug, Default, Serialize)]
pub(super) struct Rfm {
    /// Days since the last purchase: the 20, 40, 60 and 80 % quantile.
    pub recency_days: [f64; 4],
    /// Days with purchases: the same.
    pub frequency: [f64; 4],
    /// What was spent: the same.
    pub monetary: [f64; 4],
    /// Customers by their scores, the best first.
    pub cells: Vec<Cell>,
    /// The same in named groups.
    pub groups: Vec<Group>,
}

/// A cohort.
#[derive(Debug, Serialize)]
pub(super) struct CohortRow {
    /// The month of the first purchase.
    pub month: String,
    /// Customers who bought in it and 1, 2, 3... months later.
    pub active: Vec<u64>,
}

/// A fitted model.
#[derive(Debug, Serialize)]
pub(super) struct Model {
    /// Shape of the purchase rates.
    pub r: f64,
    /// Scale of the purchase rates, days.
    pub alpha: f64,
    /// First parameter of the probabilities of leaving.
    pub a: f64,
    /// Second parameter of the probabilities of leaving.
    pub b: f64,
    /// The standard errors of r, alpha, a, b.
    pub standard_errors: Option<[f64; 4]>,
    /// The log-likelihood per customer.
    pub log_likelihood: f64,
    /// Customers it was fitted on.
    pub customers: u64,
}

/// Customers who bought again equally often.
#[derive(Debug, Serialize)]
pub(super) struct RepeatsRow {
    /// Days with purchases after the first; the last row has all from there on.
    pub repeats: u32,
    /// Customers.
    pub customers: u64,
    /// As many as the model expects.
    pub customers_expected: Option<f64>,
    /// Mean probability that they have not left.
    pub alive: Option<f64>,
    /// Purchases to expect of each, in the order of `days`.
    pub expected: Vec<f64>,
}

impl<'a> Findings<'a> {
    /// Works everything out.
    ///
    /// # Errors
    /// Nobody bought anything.
    pub fn of(ledger: &'a Ledger, columns: &'a Columns, days: &[u32]) -> anyhow::Result<Self> {
        let today = ledger.until.or(ledger.last_day).unwrap_or(0);
        let mut people = Vec::with_capacity(ledger.customers.len());
        let (mut cohorts, mut buyers) = (Cohorts::default(), Buyers::up_to(CUSTOMERS_MAX));
        for (name, customer) in &ledger.customers {
            let Some((bought, days)) = customer.bought() else { continue };
            cohorts.add(days);
            buyers.add(CustomerKey(people.len() as u128), bought);
            people.push((&**name, bought));
        }
        ensure!(!people.is_empty(), "no row is a purchase of a customer: {}", told(&ledger.rows));
        // numbers before words, each in its order
        people.sort_by_key(|(name, _)| (name.parse::<u64>().unwrap_or(u64::MAX), *name));
        let BaseFound { rfm, repeat } = buyers.describe(today);
        let quantiles = rfm.unwrap_or_default();
        let mut cells = Cells::default();
        people.iter().for_each(|(_, bought)| cells.add(quantiles.scores(bought, today), bought.spent));
        let seen: Vec<Purchases> = people.iter().map(|(_, bought)| bought.purchases(today)).collect();
        let model = repeat.as_ref().ok().map(|(model, _)| *model);
        let sum = |of: &dyn Fn(&RepeatModel, &Purchases) -> f64| -> Option<f64> {
            model.map(|model| seen.iter().map(|seen| of(&model, seen)).sum())
        };
        let expected = days.iter().filter_map(|days| sum(&|model, seen| model.expected(seen, f64::from(*days))));
        Ok(Self {
            columns: named(columns),
            rows: &ledger.rows,
            observed_until: day_text(today),
            customers: people.len() as u64,
            spent: total(people.iter().map(|(_, bought)| bought.spent)),
            returned: total(ledger.customers.values().map(|customer| customer.returned)),
            rfm: Rfm {
                recency_days: quantiles.recency_days.0.map(f64::from),
                frequency: quantiles.frequency.0.map(f64::from),
                monetary: quantiles.monetary.0.map(amount),
                cells: cells.cells(),
                groups: cells.groups(),
            },
            cohorts: cohorts
                .told()
                .into_iter()
                .map(|cohort| CohortRow { month: cohort.month.text(), active: cohort.active })
                .collect(),
            no_model: repeat.as_ref().err().map(|why| why.text()),
            model: repeat.ok().map(|(model, fitted)| written(model, &fitted)),
            expected: expected.collect(),
            by_repeats: by_repeats(&seen, model.as_ref(), days),
            days: days.to_vec(),
            people,
            today,
            quantiles,
        })
    }

    /// What was found of each customer, as the columns of a file.
    pub fn customers(&self) -> impl Iterator<Item = Vec<String>> {
        let model = self.model.as_ref().map(|m| RepeatModel { r: m.r, alpha: m.alpha, a: m.a, b: m.b });
        self.people.iter().map(move |(name, bought)| {
            let seen = bought.purchases(self.today);
            let [recency, frequency, monetary] = self.quantiles.scores(bought, self.today);
            let mut row = vec![
                (*name).to_owned(),
                bought.recency_days(self.today).to_string(),
                bought.days.to_string(),
                amount(bought.spent).to_string(),
                recency.to_string(),
                frequency.to_string(),
                monetary.to_string(),
                day_text(bought.first_day),
                day_text(bought.last_day),
            ];
            row.push(model.map_or_else(String::new, |model| model.alive(&seen).to_string()));
            row.extend(self.days.iter().map(|days| {
                model.map_or_else(String::new, |model| model.expected(&seen, f64::from(*days)).to_string())
            }));
            row
        })
    }
}

fn named(columns: &Columns) -> Vec<(&'static str, &str)> {
    let quantity = columns.quantity.iter().map(|column| ("quantity", column.1.as_str()));
    let others = [("customer", &columns.customer), ("time", &columns.time), ("amount", &columns.amount)];
    others.into_iter().map(|(what, column)| (what, column.1.as_str())).chain(quantity).collect()
}

/// Where the rows went, in words.
pub(super) fn told(rows: &Rows) -> String {
    format!(
        "{} rows: {} purchases, {} returns, {} without a customer, {} after the last day, {} that cannot be read",
        rows.all, rows.purchases, rows.returns, rows.without_customer, rows.after, rows.bad
    )
}

/// A sum, which may be more than a number of parts holds.
fn total(parts: impl Iterator<Item = i64>) -> f64 {
    parts.map(i128::from).sum::<i128>() as f64 / AMOUNT_PARTS
}

fn amount(parts: i64) -> f64 {
    parts as f64 / AMOUNT_PARTS
}

fn day_text(day: i32) -> String {
    let (year, month, day) = Date(day).ymd();
    format!("{year:04}-{month:02}-{day:02}")
}

fn written(model: RepeatModel, fitted: &Fitted) -> Model {
    let RepeatModel { r, alpha, a, b } = model;
    let Fitted { standard_errors, ln_likelihood, customers } = *fitted;
    Model { r, alpha, a, b, standard_errors, log_likelihood: ln_likelihood, customers }
}

fn by_repeats(seen: &[Purchases], model: Option<&RepeatModel>, days: &[u32]) -> Vec<RepeatsRow> {
    let mut ages: HashMap<u32, u64> = HashMap::new();
    seen.iter().for_each(|seen| *ages.entry(seen.age_days).or_default() += 1);
    let fewer_expected = |model: &RepeatModel, repeats: u32| -> f64 {
        ages.iter().map(|(age, customers)| *customers as f64 * model.probability_of(repeats, f64::from(*age))).sum()
    };
    let mut told = 0.0;
    let row = |repeats: u32| {
        let last = repeats == REPEATS_TOLD_MAX;
        let of: Vec<&Purchases> =
            seen.iter().filter(|seen| seen.repeats == repeats || last && seen.repeats > repeats).collect();
        let mean = |value: &dyn Fn(&RepeatModel, &Purchases) -> f64| -> Option<f64> {
            let sum: f64 = of.iter().map(|seen| model.map_or(0.0, |model| value(model, seen))).sum();
            (model.is_some() && !of.is_empty()).then(|| sum / of.len() as f64)
        };
        let customers_expected = model.map(|model| match last {
            true => seen.len() as f64 - told,
            false => fewer_expected(model, repeats),
        });
        told += customers_expected.unwrap_or(0.0);
        let expected =
            days.iter().filter_map(|days| mean(&|model, seen| model.expected(seen, f64::from(*days)))).collect();
        RepeatsRow {
            repeats,
            customers: of.len() as u64,
            customers_expected,
            alive: mean(&RepeatModel::alive),
            expected,
        }
    };
    (0..=REPEATS_TOLD_MAX).map(row).collect()
}
