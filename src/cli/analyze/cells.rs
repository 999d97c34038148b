//! The table of scores: customers by recency and frequency.

use serde::Serialize;

/// Customers with equal scores of recency and frequency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Cell {
    /// 1 to 5; 5 bought last.
    pub recency_score: u8,
    /// 1 to 5; 5 bought most often.
    pub frequency_score: u8,
    /// Customers.
    pub customers: u64,
    /// What they spent, of everything, 0 to 1.
    pub spent_share: f64,
}

/// Whether scores of recency and of frequency are those of a group.
type IsIn = fn(u8, u8) -> bool;

/// What customers of a table of scores are called; the first that fits.
const SEGMENTS: [(&str, IsIn); 7] = [
    ("champions", |recency, frequency| recency == 5 && frequency >= 4),
    ("loyal", |recency, frequency| recency >= 3 && frequency >= 4),
    ("promising", |recency, frequency| recency >= 4 && frequency >= 2),
    ("new", |recency, _| recency >= 4),
    ("needing attention", |recency, _| recency == 3),
    ("at risk", |_, frequency| frequency >= 3),
    ("lost", |_, _| true),
];

/// Customers of one of the named groups of the table.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Group {
    /// Its name.
    pub name: &'static str,
    /// Customers.
    pub customers: u64,
    /// What they spent, of everything, 0 to 1.
    pub spent_share: f64,
}

/// Counts customers by their scores.
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    counts: [[(u64, i64); 5]; 5],
    spent: i64,
}

impl Cells {
    /// Counts a customer.
    pub fn add(&mut self, [recency, frequency, _]: [u8; 3], spent: i64) {
        self.spent = self.spent.saturating_add(spent);
        let row = self.counts.get_mut(usize::from(recency).wrapping_sub(1));
        if let Some(cell) = row.and_then(|row| row.get_mut(usize::from(frequency).wrapping_sub(1))) {
            *cell = (cell.0 + 1, cell.1.saturating_add(spent));
        }
    }

    /// The cells, the best first.
    pub fn cells(&self) -> Vec<Cell> {
        let scores = (1..=5).rev().flat_map(|recency| (1..=5).rev().map(move |frequency| (recency, frequency)));
        scores.map(|scores| self.cell(scores)).collect()
    }

    /// The named groups, the best first.
    pub fn groups(&self) -> Vec<Group> {
        let of = |cell: &Cell| SEGMENTS.iter().position(|(_, has)| has(cell.recency_score, cell.frequency_score));
        let mut groups: Vec<Group> =
            SEGMENTS.iter().map(|(name, _)| Group { name, customers: 0, spent_share: 0.0 }).collect();
        for cell in self.cells() {
            if let Some(group) = of(&cell).and_then(|at| groups.get_mut(at)) {
                group.customers += cell.customers;
                group.spent_share += cell.spent_share;
            }
        }
        groups
    }

    fn cell(&self, (recency, frequency): (u8, u8)) -> Cell {
        let row = self.counts.get(usize::from(recency) - 1);
        let (customers, spent) = row.and_then(|row| row.get(usize::from(frequency) - 1)).copied().unwrap_or_default();
        let spent_share = if self.spent == 0 { 0.0 } else { spent as f64 / self.spent as f64 };
        Cell { recency_score: recency, frequency_score: frequency, customers, spent_share }
    }
}
