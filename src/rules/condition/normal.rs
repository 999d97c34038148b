//! The normal form: a condition as rows of literals. It is true where every
//! literal of some row is satisfied.
//!
//! The form is exact in the logic of three values, for the question whether the
//! condition is true: a leaf that must be true and a leaf that must be false are
//! two literals, and unknown satisfies neither. Literals about one subject are
//! one: `a == 1 || a == 2` is one row, `a > 1 && a < 0` is none.

use std::sync::Arc;

use super::{
    Condition, Root,
    normal_leaf::{Literal, literal},
    normal_subject::{Kind, Subject},
    tree::{Leaf, Test, Value},
};
use crate::domain::AttrSlot;

/// The most rows of a condition in normal form.
pub const NORMAL_ROWS_MAX: usize = 64;
/// The most rows on the way there: later parts may make them fewer.
const ROWS_UNDERWAY_MAX: usize = 2 * NORMAL_ROWS_MAX;
/// The most literals looked at on the way there; bounds the time.
const WORK_MAX: usize = 1 << 20;

/// Literals that must all be satisfied, sorted by subject, each subject once.
pub(in crate::rules) type Row = Vec<Literal>;

/// What to do about too many rows.
pub(super) fn too_many_rows() -> String {
    format!(
        "the condition has more than {NORMAL_ROWS_MAX} alternatives once `||`, `?:` and negations are laid out; \
         write `in [...]` instead of `==` joined by `||`, or split the offer in two"
    )
}

impl Condition {
    /// Its rows: `None` when there would be too many.
    pub(in crate::rules) fn rows(&self) -> Option<Vec<Row>> {
        let Root::Test(test) = &self.root else { return Some(Vec::new()) };
        let mut layout = Layout { kinds: &self.kinds, work: 0 };
        let rows = layout.rows(test, true).ok()?;
        (rows.len() <= NORMAL_ROWS_MAX).then_some(rows)
    }
}

/// Whether conditions can be shown never to be true together; one that can
/// never be true by itself counts too.
pub(in crate::rules) fn contradict<'c>(conditions: impl IntoIterator<Item = &'c Condition>) -> bool {
    let mut left = vec![Row::new()];
    for condition in conditions {
        let Some(rows) = condition.rows() else { return false };
        let mut layout = Layout { kinds: &condition.kinds, work: 0 };
        let Ok(both) = layout.both(&left, &rows) else { return false };
        left = both.into_iter().filter_map(tidied).collect();
    }
    left.is_empty()
}

/// There would be too many rows.
struct TooMany;

struct Layout<'c> {
    kinds: &'c [(AttrSlot, Kind)],
    work: usize,
}

impl Layout<'_> {
    /// The rows in which a part is true (false for `wanted` false).
    fn rows(&mut self, test: &Test, wanted: bool) -> Result<Vec<Row>, TooMany> {
        self.spend(1)?;
        match test {
            Test::All(parts) if wanted => self.all(parts, wanted),
            Test::Any(parts) if !wanted => self.all(parts, wanted),
            Test::All(parts) | Test::Any(parts) => self.any(parts, wanted),
            Test::Not(part, _) => self.rows(part, !wanted),
            Test::Choice(parts) => {
                let yes = (self.rows(&parts[0], true)?, self.rows(&parts[1], wanted)?);
                let no = (self.rows(&parts[0], false)?, self.rows(&parts[2], wanted)?);
                let mut rows = self.both(&yes.0, &yes.1)?;
                for row in self.both(&no.0, &no.1)? {
                    self.add(&mut rows, row)?;
                }
                Ok(rows)
            }
            Test::Leaf(leaf, _) => self.leaf(leaf, wanted),
        }
    }

    fn all(&mut self, parts: &[Test], wanted: bool) -> Result<Vec<Row>, TooMany> {
        let mut rows = vec![Row::new()];
        for part in parts {
            let part = self.rows(part, wanted)?;
            rows = self.both(&rows, &part)?;
        }
        Ok(rows)
    }

    fn any(&mut self, parts: &[Test], wanted: bool) -> Result<Vec<Row>, TooMany> {
        let mut rows = Vec::new();
        for part in parts {
            for row in self.rows(part, wanted)? {
                self.add(&mut rows, row)?;
            }
        }
        Ok(rows)
    }

    fn leaf(&mut self, leaf: &Arc<Leaf>, wanted: bool) -> Result<Vec<Row>, TooMany> {
        match &**leaf {
            Leaf::Constant(value) => return Ok(if *value == wanted { vec![Row::new()] } else { Vec::new() }),
            Leaf::Value(value) => {
                if let Value::Test(test) = &**value {
                    return self.rows(test, wanted);
                }
            }
            _ => {}
        }
        let literal = literal(leaf, wanted, self.kinds);
        Ok(match literal.accepts {
            nothing if nothing.is_nothing() => Vec::new(),
            everything if everything.is_everything() => vec![Row::new()],
            accepts => vec![vec![Literal { accepts, ..literal }]],
        })
    }

    /// The rows in which both hold.
    fn both(&mut self, left: &[Row], right: &[Row]) -> Result<Vec<Row>, TooMany> {
        let mut rows = Vec::new();
        for a in left {
            for b in right {
                self.spend(a.len() + b.len())?;
                if let Some(row) = merged(a, b) {
                    self.add(&mut rows, row)?;
                }
            }
        }
        Ok(rows)
    }

    /// Adds a row; rows that differ in one subject only become one, and a row
    /// that another covers goes.
    fn add(&mut self, rows: &mut Vec<Row>, mut row: Row) -> Result<(), TooMany> {
        let mut at = 0;
        while let Some(other) = rows.get(at) {
            self.spend(row.len().min(other.len()) + 1)?;
            if covers(other, &row) {
                return Ok(());
            }
            if let Some(joined) = joined(other, &row) {
                rows.swap_remove(at);
                (row, at) = (joined, 0);
            } else if covers(&row, other) {
                rows.swap_remove(at);
            } else {
                at += 1;
            }
        }
        rows.push(row);
        if rows.len() > ROWS_UNDERWAY_MAX { Err(TooMany) } else { Ok(()) }
    }

    fn spend(&mut self, literals: usize) -> Result<(), TooMany> {
        self.work += literals;
        if self.work > WORK_MAX { Err(TooMany) } else { Ok(()) }
    }
}

/// One row of two; `None` when it cannot hold.
fn merged(a: &Row, b: &Row) -> Option<Row> {
    let mut row = Row::with_capacity(a.len() + b.len());
    let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
    while let (Some(x), Some(y)) = (left.peek(), right.peek()) {
        match x.subject.cmp(&y.subject) {
            std::cmp::Ordering::Less => row.extend(left.next().cloned()),
            std::cmp::Ordering::Greater => row.extend(right.next().cloned()),
            std::cmp::Ordering::Equal => {
                let accepts = x.accepts.intersection(&y.accepts);
                if accepts.is_nothing() {
                    return None;
                }
                row.push(Literal { subject: x.subject.clone(), accepts });
                (_, _) = (left.next(), right.next());
            }
        }
    }
    row.extend(left.cloned());
    row.extend(right.cloned());
    Some(row)
}

/// Whether the first row holds wherever the second does.
fn covers(wide: &Row, narrow: &Row) -> bool {
    let mut rest = narrow.iter();
    wide.len() <= narrow.len()
        && wide.iter().all(|literal| {
            let same = rest.find(|other| other.subject >= literal.subject);
            same.is_some_and(|other| other.subject == literal.subject && literal.accepts.covers(&other.accepts))
        })
}

/// One row for two that are about the same subjects and differ in one.
fn joined(a: &Row, b: &Row) -> Option<Row> {
    if a.len() != b.len() || a.iter().zip(b).any(|(x, y)| x.subject != y.subject) {
        return None;
    }
    let mut differing = a.iter().zip(b).enumerate().filter(|(_, (x, y))| x.accepts != y.accepts);
    let (at, (x, y)) = differing.next()?;
    if differing.next().is_some() {
        return None;
    }
    let accepts = x.accepts.union(&y.accepts);
    let mut row = a.clone();
    if accepts.is_everything() {
        row.remove(at);
    } else {
        row[at].accepts = accepts;
    }
    Some(row)
}

/// Leaves out what other literals of the row imply: an attribute that is
/// accepted is there. `None` when the row cannot hold.
pub(in crate::rules) fn tidied(row: Row) -> Option<Row> {
    let present = |literal: &Literal| match &literal.subject {
        Subject::Present(slot) => Some((*slot, literal.accepts.missing)),
        _ => None,
    };
    let asked: Vec<(AttrSlot, bool)> = row.iter().filter_map(present).collect();
    let mut implied = Vec::new();
    for literal in &row {
        let slot = match &literal.subject {
            Subject::Attribute(slot, _) | Subject::Text(slot) | Subject::Member(slot, _) | Subject::Age(slot)
                if !literal.accepts.missing =>
            {
                *slot
            }
            _ => continue,
        };
        match asked.iter().find(|(asked, _)| *asked == slot) {
            Some((_, true)) => return None,
            Some((_, false)) => implied.push(slot),
            None => {}
        }
    }
    let kept = |literal: &Literal| present(literal).is_none_or(|(slot, _)| !implied.contains(&slot));
    Some(row.into_iter().filter(kept).collect())
}
