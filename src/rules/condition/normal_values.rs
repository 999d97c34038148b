//! What a literal accepts: a set of values of its subject, and whether it
//! accepts that there is none.

use std::sync::Arc;

use smallvec::SmallVec;

/// Ranges of keys, both ends inclusive; ascending, not touching.
pub(in crate::rules) type Ranges = SmallVec<[(i64, i64); 1]>;

/// The values that satisfy a literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rules) struct Accepts {
    pub values: Values,
    /// Whether a missing value satisfies it.
    pub missing: bool,
}

/// A set of values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Values {
    Numbers(Ranges),
    /// These texts, sorted, each once; or all but these.
    Texts {
        texts: Arc<[Box<str>]>,
        but: bool,
    },
}

impl Accepts {
    /// Keys of these ranges, and not a missing value.
    pub fn numbers(ranges: Ranges) -> Self {
        Self { values: Values::Numbers(ranges), missing: false }
    }

    /// One text of these, or (`but`) any other; not a missing value.
    pub fn texts(mut texts: Vec<Box<str>>, but: bool) -> Self {
        texts.sort_unstable();
        texts.dedup();
        Self { values: Values::Texts { texts: texts.into(), but }, missing: false }
    }

    /// Of a subject that is 0 or 1 and counts as 0 where it is missing.
    pub fn flag(wanted: bool) -> Self {
        let range = if wanted { (1, i64::MAX) } else { (i64::MIN, 0) };
        Self { values: Values::Numbers([range].into_iter().collect()), missing: !wanted }
    }

    /// How many ranges or texts it holds.
    pub fn size(&self) -> usize {
        match &self.values {
            Values::Numbers(ranges) => ranges.len(),
            Values::Texts { texts, .. } => texts.len(),
        }
    }

    /// How many ranges or texts are looked at to compare it with another one.
    pub fn comparing_work(&self, other: &Self) -> usize {
        match (&self.values, &other.values) {
            (Values::Texts { texts: a, .. }, Values::Texts { texts: b, .. }) if Arc::ptr_eq(a, b) => 0,
            (Values::Texts { texts: a, .. }, Values::Texts { texts: b, .. }) => a.len().min(b.len()),
            _ => other.size(),
        }
    }

    /// Whether nothing satisfies it.
    pub fn is_nothing(&self) -> bool {
        !self.missing
            && match &self.values {
                Values::Numbers(ranges) => ranges.is_empty(),
                Values::Texts { texts, but } => texts.is_empty() && !but,
            }
    }

    /// Whether everything satisfies it.
    pub fn is_everything(&self) -> bool {
        self.missing && self.is_every_value()
    }

    /// Whether everything but perhaps a missing value satisfies it.
    pub fn is_every_value(&self) -> bool {
        match &self.values {
            Values::Numbers(ranges) => ranges[..] == [(i64::MIN, i64::MAX)],
            Values::Texts { texts, but } => texts.is_empty() && *but,
        }
    }

    /// What both accept.
    // INVARIANT: both are of one subject, so of one kind of values.
    pub fn intersection(&self, other: &Self) -> Self {
        let values = match (&self.values, &other.values) {
            (Values::Numbers(a), Values::Numbers(b)) => Values::Numbers(both(a, b)),
            (Values::Texts { texts: a, but: a_but }, Values::Texts { texts: b, but: b_but }) => {
                text_intersection((a, *a_but), (b, *b_but))
            }
            _ => self.values.clone(),
        };
        Self { values, missing: self.missing && other.missing }
    }

    /// What either accepts.
    pub fn union(&self, other: &Self) -> Self {
        let values = match (&self.values, &other.values) {
            (Values::Numbers(a), Values::Numbers(b)) => Values::Numbers(either(a, b)),
            (Values::Texts { texts: a, but: a_but }, Values::Texts { texts: b, but: b_but }) => {
                // De Morgan: the complement of what both complements accept
                match text_intersection((a, !a_but), (b, !b_but)) {
                    Values::Texts { texts, but } => Values::Texts { texts, but: !but },
                    numbers => numbers,
                }
            }
            _ => self.values.clone(),
        };
        Self { values, missing: self.missing || other.missing }
    }

    /// Whether it accepts everything that the other accepts.
    pub fn covers(&self, other: &Self) -> bool {
        (self.missing || !other.missing)
            && match (&self.values, &other.values) {
                (Values::Numbers(a), Values::Numbers(b)) => {
                    b.iter().all(|(from, to)| {
                        // the only range of the ascending ones that can hold it
                        let at = a.partition_point(|(_, high)| high < to);
                        a.get(at).is_some_and(|(low, _)| low <= from)
                    })
                }
                (Values::Texts { texts: a, but: a_but }, Values::Texts { texts: b, but: b_but }) => {
                    text_covers((a, *a_but), (b, *b_but))
                }
                _ => false,
            }
    }
}

/// A set of texts as its members and whether all but those are meant.
type TextSet<'a> = (&'a [Box<str>], bool);

fn within(set: &[Box<str>], text: &str) -> bool {
    set.binary_search_by(|member| (**member).cmp(text)).is_ok()
}

fn text_covers(wide: TextSet<'_>, narrow: TextSet<'_>) -> bool {
    let all_in = |some: &[Box<str>], of: &[Box<str>]| {
        some.len() <= of.len() && (std::ptr::eq(some, of) || some.iter().all(|text| within(of, text)))
    };
    match (wide, narrow) {
        ((wide, false), (narrow, false)) => all_in(narrow, wide),
        ((wide, true), (narrow, true)) => all_in(wide, narrow),
        ((wide, true), (narrow, false)) => {
            let (fewer, more) = if wide.len() < narrow.len() { (wide, narrow) } else { (narrow, wide) };
            !fewer.iter().any(|text| within(more, text))
        }
        ((_, false), (_, true)) => false,
    }
}

fn text_intersection(a: TextSet<'_>, b: TextSet<'_>) -> Values {
    let kept = |from: &[Box<str>], of: &[Box<str>], wanted: bool| -> Arc<[Box<str>]> {
        from.iter().filter(|text| within(of, text) == wanted).cloned().collect()
    };
    match (a, b) {
        ((a, false), (b, false)) => Values::Texts { texts: kept(a, b, true), but: false },
        ((a, false), (b, true)) => Values::Texts { texts: kept(a, b, false), but: false },
        ((a, true), (b, false)) => Values::Texts { texts: kept(b, a, false), but: false },
        ((a, true), (b, true)) => {
            let mut texts: Vec<Box<str>> = a.iter().filter(|text| !within(b, text)).cloned().collect();
            texts.extend_from_slice(b);
            // two ascending runs: the stable sort merges them
            texts.sort();
            Values::Texts { texts: texts.into(), but: true }
        }
    }
}

fn both(a: &Ranges, b: &Ranges) -> Ranges {
    let (mut at_a, mut at_b) = (0, 0);
    let mut found = Ranges::new();
    while let (Some(x), Some(y)) = (a.get(at_a), b.get(at_b)) {
        let (from, to) = (x.0.max(y.0), x.1.min(y.1));
        if from <= to {
            found.push((from, to));
        }
        if x.1 < y.1 {
            at_a += 1;
        } else {
            at_b += 1;
        }
    }
    found
}

fn either(a: &Ranges, b: &Ranges) -> Ranges {
    let mut all: Ranges = a.iter().chain(b).copied().collect();
    all.sort_unstable();
    let mut found = Ranges::new();
    for (from, to) in all {
        match found.last_mut() {
            Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
            _ => found.push((from, to)),
        }
    }
    found
}

/// All keys but these.
pub(super) fn complement(ranges: &Ranges) -> Ranges {
    let mut found = Ranges::new();
    let mut from = Some(i64::MIN);
    for (low, high) in ranges {
        if let Some(from) = from
            && let Some(before) = low.checked_sub(1)
            && from <= before
        {
            found.push((from, before));
        }
        from = high.checked_add(1);
    }
    found.extend(from.map(|from| (from, i64::MAX)));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(of: &[(i64, i64)]) -> Ranges {
        of.iter().copied().collect()
    }

    #[test]
    fn ranges_combine_at_their_ends() {
        let (a, b) = (ranges(&[(i64::MIN, 3), (7, 9)]), ranges(&[(3, 3), (4, 6), (9, i64::MAX)]));
        assert_eq!(both(&a, &b), ranges(&[(3, 3), (9, 9)]));
        assert_eq!(either(&a, &b), ranges(&[(i64::MIN, i64::MAX)]));
        assert_eq!(complement(&a), ranges(&[(4, 6), (10, i64::MAX)]));
        assert_eq!(complement(&ranges(&[])), ranges(&[(i64::MIN, i64::MAX)]));
        assert_eq!(complement(&ranges(&[(i64::MIN, i64::MAX)])), ranges(&[]));
        assert_eq!(complement(&ranges(&[(i64::MAX, i64::MAX)])), ranges(&[(i64::MIN, i64::MAX - 1)]));
    }

    #[test]
    fn texts_combine_with_all_others() {
        let of = |texts: &[&str], but| Accepts::texts(texts.iter().map(|t| Box::from(*t)).collect(), but);
        let (a, not_b) = (of(&["x", "y"], false), of(&["y", "z"], true));
        assert_eq!(a.intersection(&not_b), of(&["x"], false));
        assert_eq!(a.union(&not_b), of(&["z"], true));
        assert_eq!(not_b.intersection(&of(&["x"], true)), of(&["x", "y", "z"], true));
        assert_eq!(a.union(&of(&["z"], false)), of(&["x", "y", "z"], false));
        assert!(not_b.covers(&of(&["x"], false)) && !not_b.covers(&a) && a.covers(&of(&[], false)));
        let all = a.union(&of(&["x", "y"], true));
        assert!(!all.is_everything() && Accepts { missing: true, ..all }.is_everything());
    }
}
