//! The normal form: a condition as rows of literals. It is true where every
//! literal of some row is satisfied.
//!
//! The form is exact in the logic of three values, for the question whether the
//! condition is true: a leaf that must be true and a leaf that must be false are
//! two literals, and unknown satisfies neither. Literals about one subject are
//! one: `a == 1 || a == 2` is one row, `a > 1 && a < 0` is none.

use std::{cmp::Ordering, sync::Arc};

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
/// The most literals, texts and ranges looked at on the way there; bounds the time.
const WORK_MAX: usize = 1 << 20;
/// Bytes of a subject's name that are compared in the time of one text.
const NAME_BYTES_PER_WORK: usize = 256;

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
    /// Its rows; none of a number.
    pub(in crate::rules) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Lays its rows out: `None` when there would be too many.
    pub(super) fn lay_rows(&self) -> Option<Arc<[Row]>> {
        let Root::Test(test) = &self.root else { return Some(Arc::default()) };
        let mut layout = Layout { kinds: &self.kinds, work: 0 };
        let rows = layout.rows(test, true).ok()?;
        (rows.len() <= NORMAL_ROWS_MAX).then(|| rows.into_iter().filter_map(tidied).collect())
    }
}

/// Whether conditions can be shown never to be true together; one that can
/// never be true by itself counts too.
pub(in crate::rules) fn contradict<'c>(conditions: impl IntoIterator<Item = &'c Condition>) -> bool {
    let mut left = vec![Row::new()];
    for condition in conditions {
        let rows = condition.rows();
        let mut layout = Layout { kinds: &condition.kinds, work: 0 };
        let Ok(both) = layout.both(&left, rows) else { return false };
        left = both.into_iter().filter_map(tidied).collect();
    }
    left.is_empty()
}

/// There would be too many rows.
struct TooMany;

/// The rows in which a part is true, and those in which it is false.
struct Sides {
    met: Vec<Row>,
    unmet: Vec<Row>,
}

impl Sides {
    /// Those of the opposite.
    fn turned(self) -> Self {
        Self { met: self.unmet, unmet: self.met }
    }
}

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
                let asked = self.sides(&parts[0])?;
                let (yes, no) = (self.rows(&parts[1], wanted)?, self.rows(&parts[2], wanted)?);
                self.choice(&asked, (&yes, &no))
            }
            Test::Leaf(leaf, _) => self.leaf(leaf, wanted),
        }
    }

    /// The rows in which a part is true, and those in which it is false. Each
    /// part within is laid out once, however deep choices stand in choices.
    fn sides(&mut self, test: &Test) -> Result<Sides, TooMany> {
        self.spend(1)?;
        match test {
            Test::All(parts) => self.every(parts, |sides| sides),
            // De Morgan: the opposite of all opposites
            Test::Any(parts) => Ok(self.every(parts, Sides::turned)?.turned()),
            Test::Not(part, _) => Ok(self.sides(part)?.turned()),
            Test::Choice(parts) => {
                let asked = self.sides(&parts[0])?;
                let (yes, no) = (self.sides(&parts[1])?, self.sides(&parts[2])?);
                let met = self.choice(&asked, (&yes.met, &no.met))?;
                let unmet = self.choice(&asked, (&yes.unmet, &no.unmet))?;
                Ok(Sides { met, unmet })
            }
            Test::Leaf(leaf, _) => match inner(leaf) {
                Some(test) => self.sides(test),
                None => Ok(Sides { met: self.leaf(leaf, true)?, unmet: self.leaf(leaf, false)? }),
            },
        }
    }

    /// The sides of a conjunction of parts, each as `of` makes it.
    fn every(&mut self, parts: &[Test], of: fn(Sides) -> Sides) -> Result<Sides, TooMany> {
        let mut all = Sides { met: vec![Row::new()], unmet: Vec::new() };
        for part in parts {
            let part = of(self.sides(part)?);
            all.met = self.both(&all.met, &part.met)?;
            for row in part.unmet {
                self.add(&mut all.unmet, row)?;
            }
        }
        Ok(all)
    }

    /// The rows of a choice, from those of what it asks and of its two answers.
    fn choice(&mut self, asked: &Sides, (yes, no): (&[Row], &[Row])) -> Result<Vec<Row>, TooMany> {
        let mut rows = self.both(&asked.met, yes)?;
        for row in self.both(&asked.unmet, no)? {
            self.add(&mut rows, row)?;
        }
        Ok(rows)
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
            leaf => {
                if let Some(test) = inner(leaf) {
                    return self.rows(test, wanted);
                }
            }
        }
        let literal = literal(leaf, wanted, self.kinds);
        self.spend(weight(&literal))?;
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
                if let Some(row) = self.merged(a, b)? {
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
            self.spend(1)?;
            if self.covers(other, &row)? {
                return Ok(());
            }
            if let Some(joined) = self.joined(other, &row)? {
                rows.swap_remove(at);
                (row, at) = (joined, 0);
            } else if self.covers(&row, other)? {
                rows.swap_remove(at);
            } else {
                at += 1;
            }
        }
        rows.push(row);
        if rows.len() > ROWS_UNDERWAY_MAX { Err(TooMany) } else { Ok(()) }
    }

    /// One row of two; `None` when it cannot hold.
    fn merged(&mut self, a: &Row, b: &Row) -> Result<Option<Row>, TooMany> {
        self.spend(a.len() + b.len())?;
        let mut row = Row::with_capacity(a.len() + b.len());
        let (mut left, mut right) = (a.iter().peekable(), b.iter().peekable());
        while let (Some(x), Some(y)) = (left.peek(), right.peek()) {
            match x.subject.cmp(&y.subject) {
                Ordering::Less => row.extend(left.next().cloned()),
                Ordering::Greater => row.extend(right.next().cloned()),
                Ordering::Equal => {
                    self.spend(weight(x) + weight(y))?;
                    let accepts = x.accepts.intersection(&y.accepts);
                    if accepts.is_nothing() {
                        return Ok(None);
                    }
                    row.push(Literal { subject: x.subject.clone(), accepts });
                    (_, _) = (left.next(), right.next());
                }
            }
        }
        row.extend(left.cloned());
        row.extend(right.cloned());
        Ok(Some(row))
    }

    /// Whether the first row holds wherever the second does.
    fn covers(&mut self, wide: &Row, narrow: &Row) -> Result<bool, TooMany> {
        if wide.len() > narrow.len() {
            return Ok(false);
        }
        let mut rest = narrow.iter();
        for literal in wide {
            let same = rest.find(|other| other.subject >= literal.subject);
            let Some(other) = same.filter(|other| other.subject == literal.subject) else { return Ok(false) };
            self.spend(1 + name_weight(&literal.subject) + literal.accepts.comparing_work(&other.accepts))?;
            if !literal.accepts.covers(&other.accepts) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// One row for two that are about the same subjects and differ in one.
    fn joined(&mut self, a: &Row, b: &Row) -> Result<Option<Row>, TooMany> {
        if a.len() != b.len() {
            return Ok(None);
        }
        let mut differing = None;
        for (at, (x, y)) in a.iter().zip(b).enumerate() {
            self.spend(1 + name_weight(&x.subject))?;
            if x.subject != y.subject {
                return Ok(None);
            }
            if x.accepts.size() == y.accepts.size() {
                self.spend(x.accepts.comparing_work(&y.accepts))?;
            }
            if x.accepts != y.accepts && differing.replace((at, x, y)).is_some() {
                return Ok(None);
            }
        }
        let Some((at, x, y)) = differing else { return Ok(None) };
        self.spend(a.len() + weight(x) + weight(y))?;
        let accepts = x.accepts.union(&y.accepts);
        let mut row = a.clone();
        if accepts.is_everything() {
            row.remove(at);
        } else {
            row[at].accepts = accepts;
        }
        Ok(Some(row))
    }

    fn spend(&mut self, literals: usize) -> Result<(), TooMany> {
        self.work += literals;
        if self.work > WORK_MAX { Err(TooMany) } else { Ok(()) }
    }
}

/// One row of two; `None` when it cannot hold.
pub(super) fn merged(a: &Row, b: &Row) -> Option<Row> {
    // what is too large to merge is not shown to be impossible
    Layout { kinds: &[], work: 0 }.merged(a, b).unwrap_or_else(|TooMany| Some(a.clone()))
}

/// The condition that a leaf is made of, if it is.
fn inner(leaf: &Leaf) -> Option<&Test> {
    match leaf {
        Leaf::Value(value) => match &**value {
            Value::Test(test) => Some(test),
            _ => None,
        },
        _ => None,
    }
}

/// What handling a literal costs, in texts and ranges.
fn weight(literal: &Literal) -> usize {
    1 + name_weight(&literal.subject) + literal.accepts.size()
}

/// What comparing a subject costs beside the number that most are.
fn name_weight(subject: &Subject) -> usize {
    subject.name().len() / NAME_BYTES_PER_WORK
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
