//! What a request asks: one question per placement, or an open one.

use crate::rules::Placement;

use super::Inputs;

/// A place that asks, or the open question.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    /// The placement; `None` for the open question.
    pub placement: Option<&'a Placement>,
    /// The most winners.
    pub slots: usize,
}

/// What a place that asks comes to.
pub(super) enum Asked<'a> {
    /// A declared placement, or the open question.
    Known(Question<'a>),
    /// A placement that is not declared.
    Unknown,
}

/// The questions of a request, in its order.
pub(super) struct Questions<'a> {
    inputs: &'a Inputs<'a>,
    next: usize,
}

impl<'a> Questions<'a> {
    /// Those of a request; a single open one when it names no placement.
    pub fn of(inputs: &'a Inputs<'a>) -> Self {
        Self { inputs, next: 0 }
    }
}

impl<'a> Iterator for Questions<'a> {
    type Item = Asked<'a>;

    fn next(&mut self) -> Option<Asked<'a>> {
        let at = self.next;
        self.next += 1;
        let asks = &self.inputs.request.placements;
        if asks.is_empty() && at == 0 {
            return Some(Asked::Known(Question { placement: None, slots: 1 }));
        }
        let ask = asks.get(at)?;
        let rules = &self.inputs.snapshot.ruleset;
        let placement = rules.placement_slots.get(&ask.id).and_then(|slot| rules.placements.get(slot.index()));
        Some(placement.map_or(Asked::Unknown, |placement| {
            let wanted = if ask.count == 0 { placement.slots } else { ask.count.min(placement.slots) };
            Asked::Known(Question { placement: Some(placement), slots: usize::from(wanted) })
        }))
    }
}
