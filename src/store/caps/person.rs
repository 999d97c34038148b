//! What a decision claims for a customer: places under caps.

use jiff::tz::TimeZone;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    domain::{ChannelId, CustomerKey, DecisionId, OfferId, RecordRef, Timestamp, time::DAY_US},
    rules::{Channel, Offer, Ruleset, WhenUnknown, Window},
    store::redis::Keys,
};

/// How much longer a claim is kept than anything asks for it, microseconds.
const KEPT_LONGER_US: i64 = DAY_US;

/// A presentation that wins.
#[derive(Clone, Copy, Debug)]
pub struct Winning<'a> {
    /// The offer.
    pub offer: &'a Offer,
    /// The channel.
    pub channel: &'a Channel,
    /// The record it speaks of.
    pub record: RecordRef,
    /// How long it holds its places without being seen, microseconds; `None` when
    /// it counts at once.
    pub hold_us: Option<i64>,
}

/// What one decision claims for one customer.
#[derive(Clone, Debug)]
pub struct PersonClaim {
    pub(super) customer: CustomerKey,
    pub(super) caps: SmallVec<[CapSpec; 4]>,
    pub(super) places: SmallVec<[Place; 2]>,
    pub(super) zone: TimeZone,
}

/// A cap as the script is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CapSpec {
    pub id: u64,
    pub max: u32,
    pub window: Window,
    pub keep_us: i64,
}

/// A place that a presentation needs under each of its caps.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub member: Member,
    pub hold_us: Option<i64>,
    /// How long ago it was claimed, milliseconds; 0 for now.
    pub age_ms: i64,
    /// Indices of its caps.
    pub under: SmallVec<[u8; 4]>,
    /// The strictest of what its limits say.
    pub unknown: WhenUnknown,
}

/// The name of a presentation in Redis: its decision, and a hash of the rest.
pub(super) type Member = [u8; 24];

/// Which presentation of a decision.
pub(super) type Presented = (OfferId, ChannelId, RecordRef);

pub(super) fn member(decision: DecisionId, (offer, channel, record): Presented) -> Member {
    let mut rest = [0; 24];
    rest[..8].copy_from_slice(&offer.0.to_le_bytes());
    rest[8..16].copy_from_slice(&u64::from(channel.0).to_le_bytes());
    rest[16..].copy_from_slice(&record.0.to_le_bytes());
    let mut member = [0; 24];
    member[..16].copy_from_slice(&decision.0.to_be_bytes());
    member[16..].copy_from_slice(&xxh3_64(&rest).to_be_bytes());
    member
}

impl PersonClaim {
    /// The places that presentations of a decision need; `None` when no exact
    /// limit counts any of them.
    pub fn of<'a>(
        ruleset: &Ruleset,
        (customer, decision): (CustomerKey, DecisionId),
        winners: impl Iterator<Item = Winning<'a>>,
    ) -> Option<Self> {
        let (caps, places) = (SmallVec::new(), SmallVec::new());
        let mut claim = Self { customer, caps, places, zone: ruleset.time_zone.clone() };
        winners.for_each(|winner| claim.add(ruleset, decision, &winner));
        (!claim.places.is_empty()).then_some(claim)
    }

    fn add(&mut self, ruleset: &Ruleset, decision: DecisionId, winner: &Winning<'_>) {
        let Winning { offer, channel, record, hold_us } = *winner;
        let mut under = SmallVec::new();
        let mut unknown = WhenUnknown::Allow;
        for cap in ruleset.caps(offer, channel, record) {
            let limit = &ruleset.limits[cap.limit.index()];
            unknown = strictest(unknown, limit.unknown_on(channel));
            let longest = hold_us.unwrap_or(0).max(channel.reserve_us);
            let keep_us = limit.window.length_us().saturating_add(longest).saturating_add(KEPT_LONGER_US);
            let at = match self.caps.iter().position(|known| known.id == cap.id) {
                Some(at) => at,
                None => {
                    self.caps.push(CapSpec { id: cap.id, max: limit.max, window: limit.window, keep_us });
                    self.caps.len() - 1
                }
            };
            self.caps[at].keep_us = self.caps[at].keep_us.max(keep_us);
            // a page has fewer slots than that, and an offer fewer limits
            under.extend(u8::try_from(at).ok());
        }
        if !under.is_empty() {
            let member = member(decision, (offer.id, channel.id, record));
            self.places.push(Place { member, hold_us, age_ms: 0, under, unknown });
        }
    }

    /// How many places it needs.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it needs none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// What becomes of its place with this number when nobody can say whether
    /// there is room.
    pub fn when_unknown(&self, place: usize) -> WhenUnknown {
        self.places.get(place).map_or(WhenUnknown::Deny, |place| place.unknown)
    }

    /// The index, then claims and open reservations of each cap.
    pub(super) fn keys(&self, keys: &Keys) -> Vec<Vec<u8>> {
        let mut list = Vec::with_capacity(1 + 2 * self.caps.len());
        list.push(keys.caps(self.customer));
        for cap in &self.caps {
            list.push(keys.cap(self.customer, cap.id));
            list.push(keys.open_claims(self.customer, cap.id));
        }
        list
    }

    /// How many caps, then six arguments for each, with the windows that hold a
    /// moment.
    pub(super) fn windows(&self, now: Timestamp, into: &mut Vec<Vec<u8>>) {
        into.push(self.caps.len().to_string().into_bytes());
        for cap in &self.caps {
            let (rolling, from, until) = window(cap.window, now, &self.zone);
            into.push(format!("{:x}", cap.id).into_bytes());
            let numbers = [i64::from(cap.max), rolling, from, until, millis_up(cap.keep_us)];
            into.extend(numbers.map(|number| number.to_string().into_bytes()));
        }
    }
}

/// A window as scripts are told: the length of a rolling one or 0, where a
/// calendar one that holds a moment begins and ends; milliseconds.
pub(super) fn window(window: Window, now: Timestamp, zone: &TimeZone) -> (i64, i64, i64) {
    match window {
        Window::Rolling(us) => (millis_up(us).max(1), 0, 0),
        calendar => (0, calendar.from(now, zone).millis(), calendar.until(now, zone).millis()),
    }
}

/// Milliseconds, rounded up: a claim counts no shorter than it should.
pub(super) fn millis_up(us: i64) -> i64 {
    us.div_euclid(1_000) + i64::from(us.rem_euclid(1_000) > 0)
}

/// The stricter of two.
fn strictest(one: WhenUnknown, other: WhenUnknown) -> WhenUnknown {
    let rank = |policy| WhenUnknown::ALL.iter().position(|known| *known == policy);
    if rank(other) < rank(one) { other } else { one }
}
