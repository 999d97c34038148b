//! Which bit stands for which segment, from one look to the next.

use crate::{predict::SEGMENTS_COUNTED_MAX, store::SegmentNames};

/// Before the name of a segment that is no more, while its bits are cleared.
/// No id of a segment begins so.
const CLEARING: char = '!';

/// Which bit stands for which segment. A bit that is free again is given to
/// another segment only after a whole look has cleared it.
#[derive(Clone, Debug)]
pub(super) struct Bits {
    /// By bit; empty where it is free.
    names: SegmentNames,
    /// By segment of the rules.
    of: Vec<Option<usize>>,
}

impl Bits {
    /// Gives each segment of the rules its bit: the one it had, else a free one.
    pub fn begin<'a>(kept: SegmentNames, segments: impl Iterator<Item = &'a str>) -> Self {
        let segments: Vec<&str> = segments.collect();
        let mut names: SegmentNames = kept
            .into_iter()
            .map(|kept| match kept.trim_start_matches(CLEARING) {
                "" => Box::default(),
                name if segments.iter().take(SEGMENTS_COUNTED_MAX).any(|segment| *segment == name) => name.into(),
                name => format!("{CLEARING}{name}").into(),
            })
            .collect();
        let mut of = Vec::with_capacity(segments.len());
        for (at, segment) in segments.iter().enumerate() {
            if at >= SEGMENTS_COUNTED_MAX {
                of.push(None);
                continue;
            }
            let known = names.iter().position(|name| **name == **segment);
            let free = || names.iter().position(|name| name.is_empty());
            let bit = known.or_else(free).unwrap_or(names.len());
            match names.get_mut(bit) {
                Some(name) => *name = (*segment).into(),
                None => names.push((*segment).into()),
            }
            of.push(Some(bit));
        }
        if segments.len() > SEGMENTS_COUNTED_MAX {
            let left_out = segments.len() - SEGMENTS_COUNTED_MAX;
            tracing::warn!(
                left_out,
                "more than {SEGMENTS_COUNTED_MAX} segments: the members of the last are not counted"
            );
        }
        Self { names, of }
    }

    /// The names, to be kept.
    pub fn names(&self) -> &[Box<str>] {
        &self.names
    }

    /// The bit of a segment by its number in the rules; `None` when it is not
    /// counted.
    pub fn of(&self, segment: usize) -> Option<usize> {
        self.of.get(segment).copied().flatten()
    }

    /// The segment of a bit; `None` when it is cleared or free.
    pub fn name(&self, bit: usize) -> Option<&str> {
        self.names.get(bit).map(|name| &**name).filter(|name| !name.is_empty() && !name.starts_with(CLEARING))
    }

    /// After a whole look: what was cleared is free.
    pub fn end(&mut self) {
        for name in &mut self.names {
            if name.starts_with(CLEARING) {
                *name = Box::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(kept: &[&str], segments: &[&str]) -> Bits {
        Bits::begin(kept.iter().map(|name| Box::from(*name)).collect(), segments.iter().copied())
    }

    #[test]
    fn a_segment_keeps_its_bit() {
        let bits = begin(&["lost", "", "loyal"], &["loyal", "new", "other"]);
        assert_eq!([0, 1, 2].map(|segment| bits.of(segment)), [Some(2), Some(1), Some(3)]);
        assert_eq!(bits.names().iter().map(|name| &**name).collect::<Vec<_>>(), ["!lost", "new", "loyal", "other"]);
        assert_eq!((bits.name(0), bits.name(2), bits.name(9)), (None, Some("loyal"), None));
    }

    #[test]
    fn a_bit_is_free_only_after_a_whole_look() {
        let mut bits = begin(&["lost"], &["new"]);
        assert_eq!(bits.of(0), Some(1));
        // the look was interrupted: not free yet
        let again = begin(&["!lost", "new"], &["new", "newer"]);
        assert_eq!(again.of(1), Some(2));
        // and a segment that comes back meanwhile has its bit
        assert_eq!(begin(&["!lost", "new"], &["lost"]).of(0), Some(0));
        bits.end();
        assert_eq!(bits.names().iter().map(|name| &**name).collect::<Vec<_>>(), ["", "new"]);
    }

    #[test]
    fn segments_beyond_the_bound_have_no_bit() {
        let names: Vec<String> = (0..SEGMENTS_COUNTED_MAX + 2).map(|n| format!("s{n}")).collect();
        let bits = Bits::begin(Vec::new(), names.iter().map(String::as_str));
        assert_eq!((bits.of(SEGMENTS_COUNTED_MAX - 1), bits.of(SEGMENTS_COUNTED_MAX)), (Some(255), None));
    }
}
