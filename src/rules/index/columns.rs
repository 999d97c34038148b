//! Columns over one subject: which rows its value satisfies.

use crate::{
    domain::{AttrSlot, Block, Facts, ValueRef},
    rules::condition::Ranges,
};

use super::{
    cells::{Cells, all_but},
    dictionary::Dictionary,
    live::Live,
    subjects::{OddValue, Readings, Seen, SubjectId, Subjects},
};

/// What one literal of a row accepts.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    pub row: u32,
    pub values: Wanted,
    pub missing: bool,
}

/// The values a literal accepts.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Ranges(Ranges),
    /// Texts by number, ascending; or all but these.
    Texts(Vec<u32>, bool),
}

/// One column of each cell of a subject.
#[derive(Debug)]
pub(super) enum Column {
    Ordered(Ordered),
    Texts(Texts),
    Set(Set),
}

/// Over a subject with keys.
#[derive(Debug)]
pub(super) struct Ordered {
    subject: SubjectId,
    cells: Cells,
    missing: Box<[Block]>,
}

/// Over a text attribute.
#[derive(Debug)]
pub(super) struct Texts {
    subject: SubjectId,
    /// Whole columns: any text that no row names, missing, then those of texts
    /// that many rows name.
    columns: Box<[Block]>,
    /// For each text the whole column it starts from, and its part of `flips`.
    cells: Box<[(u32, u32, u32)]>,
    /// The rows that differ.
    flips: Box<[u32]>,
    blocks: usize,
}

/// Over the members of a set attribute.
#[derive(Debug)]
pub(super) struct Set {
    slot: AttrSlot,
    dictionary: u32,
    /// The column of the empty set.
    empty: Box<[Block]>,
    /// For each text where its part of `rows` begins, where the rows end that
    /// ask for it and those begin that forbid it, and where it ends.
    members: Box<[(u32, u32, u32)]>,
    rows: Box<[u32]>,
}

/// The cell of a column that a value is in.
#[derive(Clone, Copy)]
pub(super) enum Found<'c> {
    /// A whole column and the rows in which the cell's differs.
    Cell(&'c [Block], &'c [u32]),
    /// The members are looked up when rows are met.
    Members(&'c Set),
}

impl Column {
    /// Finds the cell of the subject's value.
    #[inline]
    pub fn find(
        &self,
        (subjects, facts): (&Subjects, &Facts<'_>),
        readings: &mut Readings,
    ) -> Result<Found<'_>, OddValue> {
        let (bits, flips) = match self {
            Column::Ordered(column) => match subjects.read(column.subject, facts, readings)? {
                Seen::Missing => (&*column.missing, &[][..]),
                Seen::Key(key) => column.cells.at(key),
            },
            Column::Texts(column) => column.at(subjects.read(column.subject, facts, readings)?),
            Column::Set(column) => return Ok(Found::Members(column)),
        };
        Ok(Found::Cell(bits, flips))
    }

    /// Memory it owns, bytes.
    pub fn bytes(&self) -> usize {
        match self {
            Column::Ordered(column) => column.cells.bytes() + column.missing.len() * size_of::<Block>(),
            Column::Texts(column) => {
                column.columns.len() * size_of::<Block>()
                    + column.cells.len() * size_of::<(u32, u32, u32)>()
                    + column.flips.len() * size_of::<u32>()
            }
            Column::Set(column) => {
                column.empty.len() * size_of::<Block>()
                    + column.members.len() * size_of::<(u32, u32, u32)>()
                    + column.rows.len() * size_of::<u32>()
            }
        }
    }
}

impl Ordered {
    /// Of the literals about a subject, in so many blocks of rows.
    pub fn of(subject: SubjectId, literals: &[Accepted], blocks: usize, spacing: usize) -> Self {
        let mut out_first = Vec::new();
        let mut flips = Vec::with_capacity(literals.len() * 2);
        for literal in literals {
            let Wanted::Ranges(ranges) = &literal.values else { continue };
            if ranges.first().is_none_or(|first| first.0 > i64::MIN) {
                out_first.push(literal.row);
            }
            for (from, to) in ranges {
                if *from > i64::MIN {
                    flips.push((*from, literal.row));
                }
                flips.extend(to.checked_add(1).map(|after| (after, literal.row)));
            }
        }
        Self {
            subject,
            cells: Cells::of(all_but(blocks, out_first.into_iter()), flips, spacing),
            missing: all_but(blocks, literals.iter().filter(|l| !l.missing).map(|l| l.row)).into(),
        }
    }
}

impl Texts {
    /// Of the literals about a text, of which there are so many.
    pub fn of(subject: SubjectId, literals: &[Accepted], texts: usize, (blocks, spacing): (usize, usize)) -> Self {
        let mut mentions: Vec<(u32, u32)> = Vec::new();
        let mut out_of_others = Vec::new();
        for literal in literals {
            let Wanted::Texts(texts, but) = &literal.values else { continue };
            if !but {
                out_of_others.push(literal.row);
            }
            mentions.extend(texts.iter().map(|text| (*text, literal.row)));
        }
        mentions.sort_unstable();
        let mut columns = all_but(blocks, out_of_others.into_iter());
        columns.extend(all_but(blocks, literals.iter().filter(|l| !l.missing).map(|l| l.row)));
        let mut cells = vec![(0, 0, 0); texts];
        let mut flips: Vec<u32> = Vec::new();
        for same in mentions.chunk_by(|a, b| a.0 == b.0) {
            let text = same[0].0 as usize;
            if same.len() > spacing {
                let column = columns.len();
                columns.extend_from_within(..blocks);
                for (_, row) in same {
                    columns[column..].as_flattened_mut()[*row as usize >> 6] ^= 1 << (row & 63);
                }
                cells[text] = ((column / blocks) as u32, 0, 0);
            } else {
                let from = flips.len() as u32;
                flips.extend(same.iter().map(|(_, row)| *row));
                cells[text] = (0, from, flips.len() as u32);
            }
        }
        Self { subject, columns: columns.into(), cells: cells.into(), flips: flips.into(), blocks }
    }

    fn at(&self, seen: Seen) -> (&[Block], &[u32]) {
        let (column, from, to) = match seen {
            Seen::Missing => (1, 0, 0),
            Seen::Key(text) => usize::try_from(text).ok().and_then(|t| self.cells.get(t)).copied().unwrap_or_default(),
        };
        let column = column as usize * self.blocks;
        (&self.columns[column..column + self.blocks], &self.flips[from as usize..to as usize])
    }
}

impl Set {
    /// Of rows that ask for a member (at most one each) or forbid some, as
    /// (member, forbidden, row).
    pub fn of(
        slot: AttrSlot,
        dictionary: (u32, &Dictionary),
        mut literals: Vec<(u32, bool, u32)>,
        blocks: usize,
    ) -> Self {
        literals.sort_unstable();
        let asking = literals.iter().filter(|(_, forbidden, _)| !forbidden).map(|(.., row)| *row);
        let empty = all_but(blocks, asking);
        let mut members = vec![(0, 0, 0); dictionary.1.len()];
        let mut at = 0;
        for same in literals.chunk_by(|a, b| a.0 == b.0) {
            let asking = same.iter().filter(|(_, forbidden, _)| !forbidden).count();
            members[same[0].0 as usize] = (at, at + asking as u32, at + same.len() as u32);
            at += same.len() as u32;
        }
        let rows = literals.into_iter().map(|(.., row)| row).collect();
        Self { slot, dictionary: dictionary.0, empty: empty.into(), members: members.into(), rows }
    }

    /// Keeps the rows that the members satisfy. `members` is a buffer.
    pub fn meet(&self, (subjects, facts): (&Subjects, &Facts<'_>), members: &mut Vec<u32>, live: &mut Live) {
        let known = &subjects.dictionaries[self.dictionary as usize];
        members.clear();
        match facts.get(self.slot) {
            ValueRef::Set(set) => members.extend(set.iter().filter_map(|member| known.get(member))),
            // not read: what it holds is unknown, and so is what it does not
            ValueRef::Missing => return self.rows.iter().for_each(|row| live.remove(*row)),
            _ => {}
        }
        self.meet_members(members, live);
    }

    fn meet_members(&self, members: &[u32], live: &mut Live) {
        let parts = |member: &u32| {
            let (from, middle, to) = self.members.get(*member as usize).copied().unwrap_or_default();
            (&self.rows[from as usize..middle as usize], &self.rows[middle as usize..to as usize])
        };
        // INVARIANT: a row asks for one member at most, so none is flipped back
        members.iter().for_each(|member| live.flip(parts(member).0));
        live.meet_flipped(&self.empty);
        for member in members {
            let (asking, forbidding) = parts(member);
            live.forget(asking);
            forbidding.iter().for_each(|row| live.remove(*row));
        }
    }
}
