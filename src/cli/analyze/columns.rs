//! Which columns of a file say who, when and how much.

use anyhow::{Context, bail, ensure};

use crate::{cli::table::Table, grpc::convert::suggest::did_you_mean};

use super::Args;

/// Names of the customer in files, most telling first; compared without case
/// and without anything but letters and digits.
const CUSTOMERS: [&str; 12] = [
    "customerid",
    "customer",
    "customerkey",
    "clientid",
    "client",
    "userid",
    "user",
    "memberid",
    "accountid",
    "email",
    "cardnumber",
    "id",
];
/// Names of the time.
const TIMES: [&str; 14] = [
    "time",
    "timestamp",
    "invoicedate",
    "orderdate",
    "purchasedate",
    "transactiondate",
    "datetime",
    "date",
    "at",
    "orderedat",
    "createdat",
    "occurredat",
    "day",
    "invoicetime",
];
/// Names of the amount.
const AMOUNTS: [&str; 12] = [
    "amount",
    "totalamount",
    "total",
    "totalprice",
    "revenue",
    "value",
    "sales",
    "spent",
    "spend",
    "unitprice",
    "priceperpiece",
    "price",
];
/// Amounts that are of one piece.
const OF_A_PIECE: [&str; 3] = ["unitprice", "priceperpiece", "price"];
/// Names of the pieces.
const QUANTITIES: [&str; 4] = ["quantity", "qty", "pieces", "units"];

/// Where the fields of a transaction stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// The customer: index and name.
    pub customer: (usize, String),
    /// The time.
    pub time: (usize, String),
    /// The amount, or the price of a piece.
    pub amount: (usize, String),
    /// The pieces.
    pub quantity: Option<(usize, String)>,
}

impl Columns {
    /// Finds the columns that were named, and guesses the others.
    ///
    /// # Errors
    /// There is no column of a name, or none that can be guessed.
    pub fn find(table: &Table, args: &Args) -> anyhow::Result<Self> {
        let find = |flag: &str, named: &Option<String>, guesses: &[&str]| match named {
            Some(name) => named_column(table, flag, name),
            None => guessed(table, guesses).with_context(|| {
                format!("no column tells the {flag}: name it with `--{flag}`; there are {}", all(table))
            }),
        };
        let amount = find("amount", &args.amount, &AMOUNTS)?;
        let quantity = match &args.quantity {
            Some(name) => Some(named_column(table, "quantity", name)?),
            None if OF_A_PIECE.contains(&plain(&amount.1).as_str()) => guessed(table, &QUANTITIES),
            None => None,
        };
        let customer = find("customer", &args.customer, &CUSTOMERS)?;
        let time = find("time", &args.time, &TIMES)?;
        for (_, name) in [&customer, &time, &amount].into_iter().chain(&quantity) {
            ensure!(!table.is_double(name), "the file has two columns `{name}`: give one of them another name");
        }
        Ok(Self { customer, time, amount, quantity })
    }

    /// The columns to read, in the order that the rows then have.
    pub fn wanted(&self) -> Vec<usize> {
        let quantity = self.quantity.iter().map(|column| column.0);
        [self.customer.0, self.time.0, self.amount.0].into_iter().chain(quantity).collect()
    }
}

fn named_column(table: &Table, flag: &str, name: &str) -> anyhow::Result<(usize, String)> {
    match table.column(name) {
        Some(at) => Ok((at, name.to_owned())),
        None => {
            let hint = did_you_mean(name, table.columns().iter().map(String::as_str));
            bail!("`--{flag} {name}`: there is no such column{hint}; there are {}", all(table))
        }
    }
}

fn guessed(table: &Table, guesses: &[&str]) -> Option<(usize, String)> {
    let columns = || table.columns().iter().enumerate();
    let found = guesses.iter().find_map(|guess| columns().find(|(_, name)| plain(name) == *guess));
    found.map(|(at, name)| (at, name.clone()))
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

fn all(table: &Table) -> String {
    let names: Vec<String> = table.columns().iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
