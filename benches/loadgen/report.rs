//! Results: a plain table for people, JSON for programs.

use serde_json::{Value, json};

use super::{histogram::Histogram, statistics::Quartiles};

/// Rows under a title.
pub struct Report {
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    values: Vec<Value>,
    notes: Vec<String>,
    invalid: Vec<String>,
}

impl Report {
    /// An empty report.
    pub fn new(title: impl Into<String>, columns: Vec<&'static str>) -> Self {
        Self {
            title: title.into(),
            columns,
            rows: Vec::new(),
            values: Vec::new(),
            notes: Vec::new(),
            invalid: Vec::new(),
        }
    }

    /// Adds a row: the cells for people, the value for programs.
    pub fn row(&mut self, cells: Vec<String>, value: Value) {
        self.rows.push(cells);
        self.values.push(value);
    }

    /// Adds a line below the table: the text for people, the value for programs.
    pub fn note(&mut self, text: String, value: Value) {
        self.notes.push(text);
        self.values.push(value);
    }

    /// Marks the whole report as saying nothing.
    pub fn invalid(&mut self, why: impl Into<String>) {
        self.invalid.push(why.into());
    }

    /// Prints it; answers whether it is valid.
    pub fn print(&self, as_json: bool) -> bool {
        if as_json {
            let report = json!({"title": self.title, "rows": self.values, "invalid": self.invalid});
            println!("{report:#}");
        } else {
            self.print_table();
        }
        self.invalid.is_empty()
    }

    fn print_table(&self) {
        println!("{}", self.title);
        let mut widths: Vec<usize> = self.columns.iter().map(|c| c.len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.len());
            }
        }
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<String> = cells
                .zip(&widths)
                .enumerate()
                .map(|(at, (cell, width))| if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") })
                .collect();
            println!("  {}", padded.join("  ").trim_end());
        };
        line(&mut self.columns.iter().copied());
        for row in &self.rows {
            line(&mut row.iter().map(String::as_str));
        }
        for note in &self.notes {
            println!("  {note}");
        }
        for why in &self.invalid {
            println!("  INVALID: {why}");
        }
        println!();
    }
}

/// `1.02 (0.99-1.05)`: median and quartiles.
pub fn quartiles(q: Quartiles, digits: usize) -> String {
    format!("{:.digits$} ({:.digits$}-{:.digits$})", q.median, q.low, q.high)
}

/// p50, p99 and the largest value in microseconds.
pub fn latency(histogram: &Histogram) -> Value {
    json!({
        "count": histogram.count(),
        "p50_us": us(histogram.quantile_ns(0.5)),
        "p99_us": us(histogram.quantile_ns(0.99)),
        "max_us": us(histogram.max_ns()),
    })
}

/// Nanoseconds as microseconds.
pub fn us(ns: u64) -> f64 {
    ns as f64 / 1e3
}
