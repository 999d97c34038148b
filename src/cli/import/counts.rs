//! What became of the rows of an import.

use serde::{Deserialize, Serialize};

/// What became of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Rows read that were not blank.
    pub rows: u64,
    /// Recorded now.
    pub imported: u64,
    /// Recorded before.
    pub duplicates: u64,
    /// Refused.
    pub rejected: u64,
    /// Lines that are in the event of a row counted with the others.
    #[serde(default)]
    pub joined: u64,
}

impl Counts {
    /// Adds another file's.
    pub fn add(&mut self, other: &Counts) {
        self.rows += other.rows;
        self.imported += other.imported;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.joined += other.joined;
    }

    /// Rows of which it is known what became.
    pub fn answered(&self) -> u64 {
        self.imported + self.duplicates + self.rejected + self.joined
    }
}
