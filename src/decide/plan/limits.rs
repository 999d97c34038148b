//! The limits that count each offer, with the counters they count on.

use crate::{
    domain::{ChannelSlot, LimitSlot, OfferSlot},
    rules::{ChannelKind, Limit, Offer, Ruleset, Scope, Window},
};

/// The limits of all offers, offer by offer.
#[derive(Debug, Default)]
pub(in crate::decide) struct OfferLimits {
    /// Number of counters of all limits.
    pub cells_len: usize,
    /// Distinct windows.
    pub windows: Vec<Window>,
    limits: Vec<OfferLimit>,
    /// Where the limits of each offer begin, and where the last ends.
    bases: Vec<u32>,
    /// Limits that count contacts of offers that are no more.
    unknown: Vec<OfferLimit>,
}

/// A limit as it looks at one offer.
#[derive(Clone, Copy, Debug)]
pub(in crate::decide) struct OfferLimit {
    /// The most contacts.
    pub max: u32,
    /// Its counter, or where its counters by channel begin.
    cell: u32,
    /// The limit.
    pub limit: LimitSlot,
    /// Index of its window.
    pub window: u16,
    /// Only this channel.
    channel: Option<ChannelSlot>,
    /// Only channels of this kind.
    kind: Option<ChannelKind>,
    /// Whether each channel has its own counter.
    by_channel: bool,
    /// Whether each record has its own counter: then it has none of the others.
    pub by_record: bool,
}

impl OfferLimit {
    /// The counter of a contact on a channel; `None` when the limit does not
    /// look at it.
    #[inline]
    pub fn cell(&self, channel: Option<ChannelSlot>, kinds: &[ChannelKind]) -> Option<usize> {
        let within = if self.by_channel { channel?.index() } else { 0 };
        self.looks(channel, kinds).then_some(self.cell as usize + within)
    }

    /// Whether the limit looks at contacts on a channel.
    #[inline]
    pub fn looks(&self, channel: Option<ChannelSlot>, kinds: &[ChannelKind]) -> bool {
        let kind = || channel.and_then(|slot| kinds.get(slot.index()).copied());
        (self.channel.is_none() || channel == self.channel) && (self.kind.is_none() || kind() == self.kind)
    }
}

impl OfferLimits {
    /// Lays out the limits of a ruleset.
    pub fn of(rules: &Ruleset) -> Self {
        let mut laid = Self { bases: vec![0], ..Self::default() };
        let mut cells = Vec::with_capacity(rules.limits.len());
        for limit in &rules.limits {
            cells.push(laid.cells_len);
            laid.cells_len += cells_of(limit, rules);
        }
        for offer in &rules.offers {
            for slot in &offer.limits {
                let (limit, base) = (&rules.limits[slot.index()], cells[slot.index()]);
                let limit = laid.limit(limit, base + cell_of(limit, offer));
                laid.limits.push(limit);
            }
            laid.bases.push(laid.limits.len() as u32);
        }
        for (limit, cell) in rules.limits.iter().zip(cells) {
            let whole = matches!(limit.scope, Scope::Channel | Scope::All);
            if whole && limit.offer.is_none() && limit.group.is_none() {
                let limit = laid.limit(limit, cell);
                laid.unknown.push(limit);
            }
        }
        laid
    }

    fn limit(&mut self, limit: &Limit, cell: usize) -> OfferLimit {
        let window = self.windows.iter().position(|w| *w == limit.window).unwrap_or_else(|| {
            self.windows.push(limit.window);
            self.windows.len() - 1
        });
        OfferLimit {
            max: limit.max,
            cell: cell as u32,
            limit: limit.slot,
            window: window as u16,
            channel: limit.channel,
            kind: limit.channel_kind,
            by_channel: limit.scope == Scope::Channel,
            by_record: limit.scope == Scope::Record,
        }
    }

    /// The limits of an offer, in its order; of one that is no more those that
    /// count it still.
    #[inline]
    pub fn of_offer(&self, offer: Option<OfferSlot>) -> &[OfferLimit] {
        let Some(offer) = offer else { return &self.unknown };
        &self.limits[self.bases[offer.index()] as usize..self.bases[offer.index() + 1] as usize]
    }
}

fn cells_of(limit: &Limit, rules: &Ruleset) -> usize {
    match limit.scope {
        Scope::Offer if limit.offer.is_some() => 1,
        Scope::Offer => rules.offers.len(),
        Scope::Group => rules.groups.len(),
        Scope::Issue => rules.issues.len(),
        Scope::Channel => rules.channels.len(),
        Scope::All => 1,
        // counted as they are met
        Scope::Record => 0,
    }
}

/// The counter of an offer among those of a limit, whatever the channel.
fn cell_of(limit: &Limit, offer: &Offer) -> usize {
    match limit.scope {
        Scope::Offer if limit.offer.is_some() => 0,
        Scope::Offer => offer.slot.index(),
        Scope::Group => offer.group.index(),
        Scope::Issue => offer.issue.index(),
        Scope::Channel | Scope::All | Scope::Record => 0,
    }
}
