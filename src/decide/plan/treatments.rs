//! Which treatments there are for each (offer, channel), by their languages.

use std::{collections::HashMap, sync::Arc};

use crate::{
    domain::{ChannelSlot, OfferSet, OfferSlot},
    rules::Ruleset,
};

/// The treatments of all offers. Offers with the same languages on a channel
/// share one list of them: what suits the person is found once per list.
#[derive(Debug, Default)]
pub(in crate::decide) struct Treatments {
    /// Distinct languages of all treatments.
    pub languages: Vec<Arc<str>>,
    /// Number of distinct lists of languages.
    pub lists_len: usize,
    channels: usize,
    ranges: Vec<TreatmentRange>,
    /// Where each list begins in `list_languages`, and where the last ends.
    list_bases: Vec<u32>,
    list_languages: Vec<u16>,
    /// Per channel, the offers that have a treatment for it.
    present: Vec<OfferSet>,
}

/// The treatments of an offer on a channel.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::decide) struct TreatmentRange {
    /// Index of the first into the offer's treatments.
    pub first: u16,
    /// The list of their languages; list 0 is empty.
    pub list: u16,
}

impl Treatments {
    /// Lays out the treatments of a ruleset.
    pub fn of(rules: &Ruleset) -> Self {
        let treatments = || rules.offers.iter().flat_map(|o| &o.treatments);
        let mut languages: Vec<Arc<str>> = treatments().map(|t| t.language.clone()).collect();
        languages.sort();
        languages.dedup();
        let channels = rules.channels.len();
        let mut laid = Self {
            languages,
            channels,
            ranges: vec![TreatmentRange::default(); rules.offers.len() * channels],
            list_bases: vec![0],
            present: vec![OfferSet::empty(rules.offers.len()); channels],
            ..Self::default()
        };
        let mut lists = HashMap::from([(Vec::new(), laid.add_list(&[]))]);
        for offer in &rules.offers {
            let mut first = 0;
            // INVARIANT: treatments are sorted by channel.
            for same in offer.treatments.chunk_by(|a, b| a.channel == b.channel) {
                let language = |t: &crate::rules::Treatment| laid.languages.binary_search(&t.language).unwrap_or(0);
                let wanted: Vec<u16> = same.iter().map(|t| language(t) as u16).collect();
                let list = match lists.get(&wanted) {
                    Some(list) => *list,
                    None => *lists.entry(wanted.clone()).or_insert(laid.add_list(&wanted)),
                };
                let channel = same[0].channel;
                let at = offer.slot.index() * channels + channel.index();
                laid.ranges[at] = TreatmentRange { first, list };
                laid.present[channel.index()].insert(offer.slot);
                first += same.len() as u16;
            }
        }
        laid
    }

    fn add_list(&mut self, languages: &[u16]) -> u16 {
        let list = self.lists_len as u16;
        self.lists_len += 1;
        self.list_languages.extend_from_slice(languages);
        self.list_bases.push(self.list_languages.len() as u32);
        list
    }

    /// The treatments of an offer on a channel.
    #[inline]
    pub fn range(&self, offer: OfferSlot, channel: ChannelSlot) -> TreatmentRange {
        self.ranges[offer.index() * self.channels + channel.index()]
    }

    /// Index of the language of each treatment of a list.
    pub fn languages_of(&self, list: u16) -> &[u16] {
        let list = usize::from(list);
        &self.list_languages[self.list_bases[list] as usize..self.list_bases[list + 1] as usize]
    }

    /// The offers that have a treatment for a channel.
    pub fn present(&self, channel: ChannelSlot) -> &OfferSet {
        &self.present[channel.index()]
    }
}
