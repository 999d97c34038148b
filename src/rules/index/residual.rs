//! Literals that are not worth a column: looked at row by row, last.

use std::collections::HashMap;

use crate::{
    domain::{Block, Facts},
    rules::condition::Ranges,
};

use super::{
    columns::{Accepted, Wanted},
    live::{NONE, put},
    subjects::{OddValue, Readings, Seen, SubjectId, Subjects},
};

/// The literals of rows, by row.
#[derive(Debug, Default)]
pub(super) struct Residuals {
    /// The rows that have some.
    rows: Box<[Block]>,
    /// How many such rows come before each block.
    before: Box<[u32]>,
    /// Where the literals of each such row begin, and where the last end.
    starts: Box<[u32]>,
    literals: Box<[Literal]>,
    /// Ranges of keys, shared by equal literals.
    ranges: Box<[(i64, i64)]>,
}

#[derive(Clone, Copy, Debug)]
struct Literal {
    subject: SubjectId,
    from: u32,
    count: u16,
    missing: bool,
}

impl Residuals {
    /// Of the literals about subjects, in so many blocks of rows.
    pub fn of(mut list: Vec<(SubjectId, Accepted)>, blocks: usize) -> Self {
        if list.is_empty() {
            return Self::default();
        }
        list.sort_by_key(|(subject, literal)| (literal.row, *subject));
        let mut rows = vec![NONE; blocks];
        let (mut starts, mut literals) = (Vec::new(), Vec::with_capacity(list.len()));
        let (mut ranges, mut known) = (Vec::new(), HashMap::new());
        for same in list.chunk_by(|a, b| a.1.row == b.1.row) {
            put(&mut rows, same[0].1.row, true);
            starts.push(literals.len() as u32);
            for (subject, literal) in same {
                let wanted = as_ranges(&literal.values);
                let count = wanted.len() as u16;
                let from = *known.entry(wanted.clone()).or_insert(ranges.len() as u32);
                if from as usize == ranges.len() {
                    ranges.extend(wanted);
                }
                literals.push(Literal { subject: *subject, from, count, missing: literal.missing });
            }
        }
        starts.push(literals.len() as u32);
        let mut count = 0;
        let before = rows.iter().map(|block| {
            let before = count;
            count += block.iter().map(|word| word.count_ones()).sum::<u32>();
            before
        });
        Self {
            before: before.collect(),
            rows: rows.into(),
            starts: starts.into(),
            literals: literals.into(),
            ranges: ranges.into(),
        }
    }

    /// The rows of a block that have literals here.
    #[inline]
    pub fn rows(&self, block: u32) -> &Block {
        self.rows.get(block as usize).unwrap_or(&NONE)
    }

    /// Whether all literals of a row are satisfied.
    // INVARIANT: asked only of rows that have literals here.
    pub fn hold(
        &self,
        row: u32,
        (subjects, facts): (&Subjects, &Facts<'_>),
        readings: &mut Readings,
    ) -> Result<bool, OddValue> {
        let (block, word, bit) = (row as usize >> 9, row as usize >> 6 & 7, row & 63);
        let words = &self.rows[block];
        let inside =
            words[..word].iter().map(|w| w.count_ones()).sum::<u32>() + (words[word] & ((1 << bit) - 1)).count_ones();
        let at = (self.before[block] + inside) as usize;
        for literal in &self.literals[self.starts[at] as usize..self.starts[at + 1] as usize] {
            let holds = match subjects.read(literal.subject, facts, readings)? {
                Seen::Missing => literal.missing,
                Seen::Key(key) => {
                    let ranges = &self.ranges[literal.from as usize..][..usize::from(literal.count)];
                    let at = ranges.partition_point(|range| range.1 < key);
                    ranges.get(at).is_some_and(|range| range.0 <= key)
                }
            };
            if !holds {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Memory it owns, bytes.
    pub fn bytes(&self) -> usize {
        self.rows.len() * size_of::<Block>()
            + (self.before.len() + self.starts.len()) * size_of::<u32>()
            + self.literals.len() * size_of::<Literal>()
            + self.ranges.len() * size_of::<(i64, i64)>()
    }
}

/// Texts are ranges of their numbers, too.
fn as_ranges(wanted: &Wanted) -> Ranges {
    let (texts, but) = match wanted {
        Wanted::Ranges(ranges) => return ranges.clone(),
        Wanted::Texts(texts, but) => (texts, *but),
    };
    if !but {
        return texts.iter().map(|text| (i64::from(*text), i64::from(*text))).collect();
    }
    let mut ranges = Ranges::new();
    let mut from = i64::MIN;
    for text in texts {
        if from < i64::from(*text) {
            ranges.push((from, i64::from(*text) - 1));
        }
        from = i64::from(*text) + 1;
    }
    ranges.push((from, i64::MAX));
    ranges
}
