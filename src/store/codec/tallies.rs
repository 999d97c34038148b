//! Tallies as bytes: all of them, or what changed.

use std::collections::BTreeSet;

use super::{Reader, Writer};
use crate::{
    domain::{ChannelId, OfferId, Tallies, Tally},
    store::StoreError,
};

const VERSION: u8 = 1;
/// Fewest bytes of the counts of one pair.
const ENTRY_BYTES_MIN: usize = 19;

/// What changed in the tallies from one version to a later one. Values are
/// absolute, so that applying one twice changes nothing.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TalliesDelta {
    /// The version afterwards.
    pub version: u64,
    /// The changed counts, sorted.
    pub offers: Vec<((OfferId, ChannelId), Tally)>,
    /// As in [`Tallies`].
    pub exposed: [u64; 2],
    /// As in [`Tallies`].
    pub converted: [u64; 2],
    /// As in [`Tallies`].
    pub revenue: [i64; 2],
}

impl TalliesDelta {
    /// What a version tells of the pairs that changed.
    pub fn of(tallies: &Tallies, changed: &BTreeSet<(OfferId, ChannelId)>) -> Self {
        let count = |pair: &(OfferId, ChannelId)| tallies.offers.get(pair).copied().unwrap_or_default();
        Self {
            version: tallies.version,
            offers: changed.iter().map(|pair| (*pair, count(pair))).collect(),
            exposed: tallies.exposed,
            converted: tallies.converted,
            revenue: tallies.revenue,
        }
    }

    /// Brings tallies to this version.
    pub fn apply(&self, tallies: &mut Tallies) {
        tallies.version = self.version;
        tallies.offers.extend(self.offers.iter().copied());
        tallies.exposed = self.exposed;
        tallies.converted = self.converted;
        tallies.revenue = self.revenue;
    }
}

/// Appends all tallies.
pub fn encode_tallies(tallies: &Tallies, into: &mut Vec<u8>) {
    let w = &mut Writer::new(into);
    write_globals(w, tallies);
    w.len(tallies.offers.len());
    for (pair, tally) in &tallies.offers {
        write_entry(w, *pair, tally);
    }
}

/// Reads all tallies.
///
/// # Errors
/// The bytes are not exactly one encoding of tallies.
pub fn decode_tallies(bytes: &[u8]) -> Result<Tallies, StoreError> {
    let mut tallies = Tallies::default();
    read("tallies", bytes)?.apply(&mut tallies);
    Ok(tallies)
}

/// Appends the version, the globals and the counts of the changed pairs.
pub fn encode_tallies_delta(tallies: &Tallies, changed: &BTreeSet<(OfferId, ChannelId)>, into: &mut Vec<u8>) {
    let w = &mut Writer::new(into);
    write_globals(w, tallies);
    w.len(changed.len());
    for pair in changed {
        write_entry(w, *pair, &tallies.offers.get(pair).copied().unwrap_or_default());
    }
}

/// Reads what changed.
///
/// # Errors
/// The bytes are not exactly one encoding of a change.
pub fn decode_tallies_delta(bytes: &[u8]) -> Result<TalliesDelta, StoreError> {
    read("change of tallies", bytes)
}

fn write_globals(w: &mut Writer<'_>, tallies: &Tallies) {
    w.u8(VERSION);
    w.varint(tallies.version);
    for arm in 0..2 {
        w.varint(tallies.exposed[arm]);
        w.varint(tallies.converted[arm]);
        w.signed(tallies.revenue[arm]);
    }
}

fn write_entry(w: &mut Writer<'_>, (offer, channel): (OfferId, ChannelId), tally: &Tally) {
    w.u64(offer.0);
    w.u32(channel.0);
    w.varint(tally.eligible);
    w.varint(tally.decided);
    w.varint(tally.trials);
    w.varint(tally.positives);
    w.varint(tally.impressions);
    w.varint(tally.declines);
    w.signed(tally.revenue);
}

fn read(what: &'static str, bytes: &[u8]) -> Result<TalliesDelta, StoreError> {
    let r = &mut Reader::new(what, bytes);
    r.version(VERSION)?;
    let mut delta = TalliesDelta { version: r.varint()?, ..TalliesDelta::default() };
    for arm in 0..2 {
        delta.exposed[arm] = r.varint()?;
        delta.converted[arm] = r.varint()?;
        delta.revenue[arm] = r.signed()?;
    }
    delta.offers = r.list(ENTRY_BYTES_MIN, read_entry)?;
    r.end()?;
    Ok(delta)
}

fn read_entry(r: &mut Reader<'_>) -> Result<((OfferId, ChannelId), Tally), StoreError> {
    let pair = (OfferId(r.u64()?), ChannelId(r.u32()?));
    let tally = Tally {
        eligible: r.varint()?,
        decided: r.varint()?,
        trials: r.varint()?,
        positives: r.varint()?,
        impressions: r.varint()?,
        declines: r.varint()?,
        revenue: r.signed()?,
    };
    Ok((pair, tally))
}
