//! What happened to a customer, on the wire: pages, their tokens, entries.

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    app::{AppError, TimelineInput, TimelineKind, TimelinePlace, is_late},
    domain::Timestamp,
    proto,
    store::{TimelineEntry, TimelineWhat},
};

use super::{
    Reading,
    customer::{Names, channel_name, offer_name},
    reading::timestamp,
    timeline::{self, Personal},
};

/// Most entries in a page.
pub const PAGE_LEN_MAX: usize = 1_000;
/// Entries in a page unless it is said.
const PAGE_LEN: usize = 50;
/// Most kinds that are named.
const KINDS_MAX: usize = 16;
/// Characters of a page's token: time, id, what stands outside for the customer,
/// check; hexadecimal.
const TOKEN_LEN: usize = 16 + 32 + 32 + 16;

/// A question for a page.
pub struct Asked {
    /// What is asked for.
    pub input: TimelineInput,
    /// What the token of the next page is checked by.
    pub check: u64,
}

/// Checks a question for a page.
///
/// # Errors
/// Every violation at once.
pub fn read(mut reading: Reading<'_>, wire: proto::ListTimelineRequest) -> Result<Asked, AppError> {
    let r = &mut reading;
    let identities = r.identities_required("", wire.identities);
    let kinds = if r.fits("kinds", wire.kinds.len(), KINDS_MAX) { wire.kinds } else { Vec::new() };
    let kinds: Vec<_> = kinds.into_iter().enumerate().filter_map(|(at, kind)| read_kind(r, at, kind)).collect();
    let (from, until) = (r.moment("from", wire.from), r.moment("until", wire.until));
    let len_max = match usize::try_from(wire.page_size) {
        Ok(0) => PAGE_LEN,
        Ok(len) => len.min(PAGE_LEN_MAX),
        Err(_) => {
            r.wrong("page_size", "is below 0: give 1 to 1000, or 0 for 50");
            PAGE_LEN
        }
    };
    let hashes: Vec<u128> = identities.iter().map(|one| one.hash.0).collect();
    let check = xxh3_64(format!("{hashes:?}{kinds:?}{from:?}{until:?}").as_bytes());
    let after = match wire.page_token.as_str() {
        "" => None,
        token => {
            let after = read_token(token, check);
            if after.is_none() {
                let why =
                    "is not a token of this list: give `next_page_token` with the same identities, kinds and times";
                r.wrong("page_token", why);
            }
            after
        }
    };
    let input = TimelineInput { identities, kinds, from, until, after, len_max };
    reading.done(Asked { input, check })
}

fn read_kind(r: &mut Reading<'_>, at: usize, kind: i32) -> Option<TimelineKind> {
    let field = format!("kinds[{at}]");
    match r.number(&field, kind)? {
        proto::TimelineKind::Outcome => Some(TimelineKind::Outcome),
        proto::TimelineKind::Event => Some(TimelineKind::Event),
        proto::TimelineKind::Change => Some(TimelineKind::Change),
        proto::TimelineKind::Decision => Some(TimelineKind::Decision),
        proto::TimelineKind::Merge => {
            r.wrong(field, "merges are listed by `ListMerges`: leave it out");
            None
        }
        proto::TimelineKind::Unspecified => {
            r.wrong(field, "is missing: name a kind, or leave the list empty for all");
            None
        }
    }
}

/// The token of the page after a place.
pub fn write_token(after: TimelinePlace, check: u64) -> String {
    let at = after.at.0.cast_unsigned();
    let check = checked(after, check);
    format!("{at:016x}{:032x}{:032x}{check:016x}", after.id, after.outside)
}

fn read_token(token: &str, check: u64) -> Option<TimelinePlace> {
    if token.len() != TOKEN_LEN || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let at = u64::from_str_radix(token.get(..16)?, 16).ok()?;
    let id = u128::from_str_radix(token.get(16..48)?, 16).ok()?;
    let outside = u128::from_str_radix(token.get(48..80)?, 16).ok()?;
    let place = TimelinePlace { at: Timestamp(at.cast_signed()), id, outside };
    let said = u64::from_str_radix(token.get(80..)?, 16).ok()?;
    (said == checked(place, check)).then_some(place)
}

fn checked(place: TimelinePlace, check: u64) -> u64 {
    xxh3_64(format!("{}/{}/{}/{check}", place.at.0, place.id, place.outside).as_bytes())
}

/// An entry on the wire.
pub fn write(entry: &TimelineEntry, names: &Names<'_>, personal: Personal) -> proto::TimelineEntry {
    let written = match &entry.what {
        TimelineWhat::Event(event) => timeline::entry(event, names, personal).unwrap_or_default(),
        TimelineWhat::Decision(id, winners) => {
            let offers: Vec<String> = winners.iter().map(|(offer, ..)| offer_name(names.ruleset, *offer)).collect();
            let channel = winners.first().map(|(_, channel, _)| channel_name(names.ruleset, *channel));
            let record = winners.first().map(|(.., record)| (names.record)(*record));
            proto::TimelineEntry {
                kind: proto::TimelineKind::Decision as i32,
                r#type: "decision".to_owned(),
                channel: channel.unwrap_or_default(),
                offer: offers.first().cloned().unwrap_or_default(),
                decision_id: id.to_string(),
                items: offers.into_iter().skip(1).collect(),
                record_key: record.unwrap_or_default(),
                ..proto::TimelineEntry::default()
            }
        }
    };
    proto::TimelineEntry {
        time: Some(timestamp(entry.cursor.at)),
        received: Some(timestamp(entry.received_at)),
        late: is_late(entry),
        ..written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_holds_for_its_list_only() {
        let place = TimelinePlace { at: Timestamp(-5), id: 7 << 90, outside: u128::MAX };
        let token = write_token(place, 1);
        assert_eq!(token.len(), TOKEN_LEN);
        assert_eq!(read_token(&token, 1), Some(place));
        assert_eq!(read_token(&token, 2), None);
        for at in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(read_token(&String::from_utf8(other).unwrap(), 1), None, "character {at}");
        }
        for token in ["", "x", "é", &"0".repeat(TOKEN_LEN), &"é".repeat(TOKEN_LEN / 2)] {
            assert_eq!(read_token(token, 1), None, "{token}");
        }
    }
}
