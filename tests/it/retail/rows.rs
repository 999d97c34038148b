//! Rows of Online Retail, and the events that they make, as plainly as can be.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
};

use parquet::{
    file::{reader::FileReader, serialized_reader::SerializedFileReader},
    record::Field,
};

use crate::harness::repository;

pub const HOUR_US: i64 = 3_600_000_000;
pub const DAY_US: i64 = 24 * HOUR_US;
/// Items that an event has room for.
const ITEMS_MAX: usize = 200;
/// British summer time: 27 March to 30 October 2011, as days since 1970.
const SUMMER: std::ops::Range<i64> = 15_060..15_277;

/// The file with every row.
pub fn file() -> PathBuf {
    repository().join("tests/data/online-retail/online_retail.parquet")
}

/// A row as it is in the file.
#[derive(Clone, Debug)]
pub struct Line {
    pub article: Option<String>,
    pub pieces: i64,
    pub price: f64,
    pub customer: Option<u64>,
    pub country: String,
    /// Of the wall clock in London.
    pub local_us: i64,
}

/// Rows of every so manieth customer, and of those that name nobody as many.
pub fn read(every: u64) -> Vec<Line> {
    let reader = SerializedFileReader::new(File::open(file()).expect("the file")).expect("Parquet");
    let mut lines = Vec::new();
    for (number, row) in reader.get_row_iter(None).expect("rows").enumerate() {
        let row = row.expect("a row");
        let field = |name: &str| row.get_column_iter().find(|column| column.0 == name).expect("a column").1;
        let customer = match field("CustomerID") {
            Field::Double(customer) => Some(*customer as u64),
            _ => None,
        };
        let (Field::Int(pieces), Field::Double(price), Field::Long(ns), Field::Str(country)) =
            (field("Quantity"), field("UnitPrice"), field("InvoiceDate"), field("Country"))
        else {
            panic!("a row of another type: {row:?}")
        };
        let article = match field("Description") {
            Field::Str(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            _ => None,
        };
        if customer.unwrap_or(number as u64) % every == 0 {
            let (pieces, local_us, country) = (i64::from(*pieces), ns / 1_000, country.clone());
            lines.push(Line { article, pieces, price: *price, customer, country, local_us });
        }
    }
    lines
}

/// Writes rows as a CSV file.
pub fn write(lines: &[Line], path: &Path) {
    let mut text = String::from("Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n");
    for line in lines {
        let Line { article, pieces, price, customer, country, local_us } = line;
        let article = article.as_deref().unwrap_or_default().replace('"', "\"\"");
        let customer = customer.map(|id| id.to_string()).unwrap_or_default();
        let at = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0) + jiff::SignedDuration::from_micros(*local_us);
        text.push_str(&format!("\"{article}\",{pieces},{at},{price},{customer},\"{country}\"\n"));
    }
    fs::write(path, text).expect("writing the rows");
}

/// An event, as its lines say.
#[derive(Clone, Debug)]
pub struct Happened {
    pub purchase: bool,
    pub local_us: i64,
    pub utc_us: i64,
    /// Pence.
    pub amount: i64,
    /// What its lines are, and how many pieces of each; at most so many as it
    /// has room for.
    pub items: Vec<(String, i64)>,
    /// Of the first line that says it.
    pub article: Option<String>,
    pub country: String,
    pub price: f64,
    pub pieces: i64,
}

/// What rows come to.
#[derive(Debug, Default)]
pub struct Came {
    pub rows: usize,
    pub events: usize,
    pub rejected: usize,
    /// Lines of events beside the last of each.
    pub further: usize,
    pub customers: BTreeMap<u64, Vec<Happened>>,
}

/// Puts rows together that stand together, are of one customer and minute, and
/// are both purchases or both returns.
pub fn come_to(lines: &[Line]) -> Came {
    let mut came = Came { rows: lines.len(), ..Came::default() };
    let mut open = None;
    for line in lines {
        let (Some(customer), false) = (line.customer, line.price < 0.0) else {
            came.rejected += 1;
            continue;
        };
        let key = (customer, line.local_us, line.pieces < 0);
        let events = came.customers.entry(customer).or_default();
        if open == Some(key) {
            came.further += 1;
        } else {
            came.events += 1;
            events.push(begun(line));
        }
        open = Some(key);
        let event = events.last_mut().expect("it was begun");
        event.amount += pence(line);
        if let Some(article) = line.article.as_ref().filter(|_| event.items.len() < ITEMS_MAX) {
            event.items.push((article.clone(), line.pieces));
        }
        event.article = event.article.take().or_else(|| line.article.clone());
    }
    came
}

fn begun(line: &Line) -> Happened {
    let summer = SUMMER.contains(&line.local_us.div_euclid(DAY_US));
    Happened {
        purchase: line.pieces >= 0,
        local_us: line.local_us,
        utc_us: line.local_us - if summer { HOUR_US } else { 0 },
        amount: 0,
        items: Vec::new(),
        article: None,
        country: line.country.clone(),
        price: line.price,
        pieces: line.pieces,
    }
}

/// What a line costs, a half rounded up; prices have at most six decimals.
fn pence(line: &Line) -> i64 {
    let millionths = (line.price * 1e6).round() as i128;
    ((i128::from(line.pieces.abs()) * millionths + 5_000) / 10_000) as i64
}

impl Happened {
    pub fn day(&self) -> i64 {
        self.local_us.div_euclid(DAY_US)
    }

    pub fn quantity(&self) -> Option<i64> {
        (!self.items.is_empty()).then(|| self.items.iter().map(|item| item.1).sum())
    }

    pub fn articles(&self) -> BTreeSet<&str> {
        self.items.iter().map(|item| &*item.0).collect()
    }
}
