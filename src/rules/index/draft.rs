//! Building the index: rules to rows, rows to literals by subject, literals to
//! columns.

use std::{collections::HashMap, sync::Arc};

use crate::{
    domain::{AttrSlot, BLOCK_BITS, Block},
    rules::{
        Condition,
        condition::{Row, Subject, Values},
    },
};

use super::{
    cells::all_but,
    columns::{Accepted, Column, Ordered, Set, Texts, Wanted},
    dictionary::Dictionary,
    residual::Residuals,
    space::Space,
    subjects::{SubjectId, Subjects},
};

/// A subject that fewer rows than one in so many ask about has no column: its
/// literals are looked at in the rows that are left.
const ROWS_PER_RARE: usize = 128;
/// Rows that may differ between whole columns: one in so many.
const ROWS_PER_FLIP: usize = 256;

/// Subjects and texts, numbered.
#[derive(Default)]
pub(super) struct Draft {
    numbers: HashMap<Subject, SubjectId>,
    list: Vec<Subject>,
    dictionary_of: Vec<u32>,
    /// The dictionary of each text or set attribute.
    dictionary_at: HashMap<AttrSlot, u32>,
    dictionaries: Vec<Dictionary>,
}

/// The rows of one space.
struct Rows {
    /// Literals by subject.
    literals: Vec<Vec<Accepted>>,
    /// The first row behind those of the offers.
    further: u32,
    owners: Vec<u32>,
    impossible: Vec<u32>,
}

impl Draft {
    /// The space of the conditions of all offers by slot.
    pub fn space(&mut self, conditions: Vec<Option<Arc<Condition>>>) -> Space {
        if conditions.iter().all(Option::is_none) {
            return Space::default();
        }
        let offers_blocks = conditions.len().div_ceil(BLOCK_BITS);
        let mut rows = Rows {
            literals: Vec::new(),
            further: (offers_blocks * BLOCK_BITS) as u32,
            owners: Vec::new(),
            impossible: Vec::new(),
        };
        for (offer, condition) in (0_u32..).zip(&conditions) {
            let Some(condition) = condition else { continue };
            self.rule(&mut rows, offer, condition.rows());
        }
        let blocks = offers_blocks + rows.owners.len().div_ceil(BLOCK_BITS);
        let possible: Vec<Block> =
            if rows.impossible.is_empty() { Vec::new() } else { all_but(blocks, rows.impossible.iter().copied()) };
        let (columns, residuals) = self.columns(rows.literals, conditions.len() + rows.owners.len(), blocks);
        Space {
            conditions: conditions.into(),
            possible: possible.into(),
            owners: rows.owners.into(),
            columns: columns.into(),
            residuals: Residuals::of(residuals, blocks),
        }
    }

    /// What is read by all spaces.
    pub fn subjects(self) -> Subjects {
        Subjects::of(self.list, self.dictionary_of, self.dictionaries)
    }

    fn rule(&mut self, rows: &mut Rows, offer: u32, list: &[Row]) {
        let Some((first, further)) = list.split_first() else { return rows.impossible.push(offer) };
        self.row(rows, offer, first);
        for row in further {
            let number = rows.further + rows.owners.len() as u32;
            rows.owners.push(offer);
            self.row(rows, number, row);
        }
    }

    fn row(&mut self, rows: &mut Rows, number: u32, row: &Row) {
        for literal in row {
            let subject = self.number(&literal.subject);
            let values = match &literal.accepts.values {
                Values::Numbers(ranges) => Wanted::Ranges(ranges.clone()),
                Values::Texts { texts, but } => {
                    let dictionary = &mut self.dictionaries[self.dictionary_of[subject as usize] as usize];
                    let mut numbers: Vec<u32> = texts.iter().map(|text| dictionary.insert(text)).collect();
                    numbers.sort_unstable();
                    Wanted::Texts(numbers, *but)
                }
            };
            if rows.literals.len() <= subject as usize {
                rows.literals.resize_with(self.list.len(), Vec::new);
            }
            rows.literals[subject as usize].push(Accepted { row: number, values, missing: literal.accepts.missing });
        }
    }

    fn number(&mut self, subject: &Subject) -> SubjectId {
        if let Some(number) = self.numbers.get(subject) {
            return *number;
        }
        let number = self.list.len() as SubjectId;
        let dictionary = match subject {
            Subject::Text(slot) | Subject::Member(slot, _) => {
                let next = self.dictionaries.len() as u32;
                *self.dictionary_at.entry(*slot).or_insert_with(|| {
                    self.dictionaries.push(Dictionary::default());
                    next
                })
            }
            _ => 0,
        };
        self.list.push(subject.clone());
        self.dictionary_of.push(dictionary);
        self.numbers.insert(subject.clone(), number);
        number
    }

    /// Columns of what many rows ask, and what is left.
    fn columns(
        &mut self,
        literals: Vec<Vec<Accepted>>,
        rows: usize,
        blocks: usize,
    ) -> (Vec<Column>, Vec<(SubjectId, Accepted)>) {
        let rare = |count: usize| count * ROWS_PER_RARE < rows;
        let spacing = rows / ROWS_PER_FLIP;
        let mut columns: Vec<(usize, Column)> = Vec::new();
        let mut residuals: Vec<(SubjectId, Accepted)> = Vec::new();
        let mut sets: HashMap<AttrSlot, Vec<(SubjectId, Accepted)>> = HashMap::new();
        for (number, list) in (0_u32..).zip(literals) {
            match &self.list[number as usize] {
                Subject::Member(slot, _) => {
                    sets.entry(*slot).or_default().extend(list.into_iter().map(|literal| (number, literal)));
                }
                _ if list.is_empty() => {}
                _ if rare(list.len()) => residuals.extend(list.into_iter().map(|literal| (number, literal))),
                Subject::Text(_) => {
                    let texts = self.dictionaries[self.dictionary_of[number as usize] as usize].len();
                    columns.push((list.len(), Column::Texts(Texts::of(number, &list, texts, (blocks, spacing / 2)))));
                }
                _ => columns.push((list.len(), Column::Ordered(Ordered::of(number, &list, blocks, spacing)))),
            }
        }
        for (slot, list) in sets {
            if rare(list.len()) {
                residuals.extend(list);
            } else {
                columns.push((list.len(), self.set(slot, list, blocks, &mut residuals)));
            }
        }
        columns.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        (columns.into_iter().map(|(_, column)| column).collect(), residuals)
    }

    /// A column for the first member each row asks for and all it forbids; the
    /// other members it asks for are left.
    fn set(
        &mut self,
        slot: AttrSlot,
        mut list: Vec<(SubjectId, Accepted)>,
        blocks: usize,
        residuals: &mut Vec<(SubjectId, Accepted)>,
    ) -> Column {
        list.sort_by_key(|(subject, literal)| (literal.row, literal.missing, *subject));
        let number = self.dictionary_at.get(&slot).copied().unwrap_or_default();
        let mut asked_by = None;
        let mut kept = Vec::with_capacity(list.len());
        for (subject, literal) in list {
            let Subject::Member(_, member) = &self.list[subject as usize] else { continue };
            if !literal.missing && asked_by.replace(literal.row) == Some(literal.row) {
                residuals.push((subject, literal));
                continue;
            }
            let member = self.dictionaries[number as usize].insert(member);
            kept.push((member, literal.missing, literal.row));
        }
        Column::Set(Set::of(slot, (number, &self.dictionaries[number as usize]), kept, blocks))
    }
}
