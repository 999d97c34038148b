//! Random histories of one customer: every kind of event, every kind of series.

use crate::domain::{
    series::{Feed, FeedValue, Keep, SeriesId, SlotWidth},
    time::DAY_US,
    *,
};

const HOUR_US: i64 = DAY_US / 24;
pub const NOW: Timestamp = Timestamp(1_700_000_000_000_000);
/// Every history fits the limits of a profile: that many events at most.
pub const EVENTS_MAX: usize = 40;

/// A small generator with a fixed seed (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for end in (1..all.len()).rev() {
            all.swap(end, self.below(end + 1));
        }
    }
}

/// The series that events feed: every kind of keeping, short enough to forget.
pub const SERIES: [(SeriesId, Keep); 8] = [
    (SeriesId(1), Keep::Slots { width: SlotWidth::Day, slots: 5 }),
    (SeriesId(2), Keep::Slots { width: SlotWidth::Hour, slots: 30 }),
    (SeriesId(3), Keep::Total),
    (SeriesId(4), Keep::Latest),
    (SeriesId(5), Keep::Earliest),
    (SeriesId(6), Keep::Names { width: SlotWidth::Day, slots: 5 }),
    (SeriesId(7), Keep::Names { width: SlotWidth::Day, slots: 1 }),
    (SeriesId(8), Keep::Moments),
];

/// Events with ids of their own, in order of (time, id).
pub fn history(random: &mut Random) -> Vec<Event> {
    let count = 2 + random.below(EVENTS_MAX - 1);
    let mut events: Vec<Event> = (0..count).map(|_| event(random)).collect();
    events.sort_by_key(|event| (event.at, event.id));
    events
}

fn event(random: &mut Random) -> Event {
    let at = moment(random);
    let identities = if random.chance(40) { vec![identity(random)] } else { Vec::new() };
    let feeds = (0..random.below(4)).map(|_| feed(random, at)).collect();
    let kind = match random.below(10) {
        0..4 => outcome(random),
        4..7 => bought(random),
        7..9 => upsert(random, at),
        _ if random.chance(60) => EventKind::DoNotContact { on: random.chance(50), reason: "".into() },
        _ => EventKind::Exposed { holdout: random.chance(50) },
    };
    Event { id: EventId(random.next().into()), at, received_at: NOW, identities, feeds, kind }
}

/// Often the same moment as another event's.
pub fn moment(random: &mut Random) -> Timestamp {
    match random.below(3) {
        0 => Timestamp(NOW.0 - random.below(6) as i64 * HOUR_US),
        1 => Timestamp(NOW.0 - random.below(12) as i64 * DAY_US),
        _ => Timestamp(NOW.0 - (random.next() % (90 * DAY_US as u64)) as i64),
    }
}

fn identity(random: &mut Random) -> StoredIdentity {
    let value = format!("value-{}", random.below(4));
    StoredIdentity { kind: IdentityTypeId(random.below(3) as u32), value: value.into() }
}

pub fn feed(random: &mut Random, at: Timestamp) -> Feed {
    let (series, keep) = random.of(&SERIES);
    let slot = match keep {
        Keep::Slots { width: SlotWidth::Hour, .. } => at.0.div_euclid(HOUR_US),
        Keep::Slots { .. } | Keep::Names { slots: 5, .. } => at.0.div_euclid(DAY_US),
        _ => 0,
    };
    let value = match keep {
        Keep::Names { .. } => FeedValue::Text(random.of(&["boots", "coats", "hats", "ties"]).into()),
        _ => match random.below(4) {
            0 => FeedValue::Nothing,
            1 => FeedValue::Moment(moment(random)),
            2 => FeedValue::Text("red boots".into()),
            _ => FeedValue::Number(random.below(2_000) as i64 - 500),
        },
    };
    Feed { series, keep, slot: slot as i32, value }
}

fn outcome(random: &mut Random) -> EventKind {
    let presentation = PresentationRef {
        record: Default::default(),
        decision: DecisionId::new(1_690_000_000_000 + random.below(6) as u64, 7),
        customer: None,
        offer: OfferId(random.below(2) as u64),
        channel: ChannelId(random.below(2) as u32),
        expires_at: NOW,
    };
    EventKind::Outcome {
        presentation,
        outcome: random.of(&OutcomeType::ALL),
        reason: ReasonCode(random.below(4) as u32),
        value: random.chance(50).then(|| random.below(900) as i64),
        note: "".into(),
        agent: "".into(),
        call: "".into(),
        purpose: random.of(&[Purpose::Marketing, Purpose::Service]),
        link: "".into(),
    }
}

fn bought(random: &mut Random) -> EventKind {
    let line = |random: &mut Random| ItemLine {
        item: ItemId(random.below(9) as u64),
        quantity: random.below(4) as i32 - 1,
        unit_price: 10,
    };
    EventKind::Customer {
        event: EventTypeId(random.below(4) as u32),
        channel: None,
        amount: random.chance(70).then(|| random.below(5_000) as i64 - 500),
        items: (0..random.below(3)).map(|_| line(random)).collect(),
        bought: random.chance(50),
        conversion: random.chance(40),
        data: "".into(),
    }
}

fn upsert(random: &mut Random, at: Timestamp) -> EventKind {
    let attribute = |random: &mut Random| (AttrId(random.below(5) as u32), random.chance(80).then(|| value(random)));
    EventKind::Upsert {
        attributes: (0..random.below(4)).map(|_| attribute(random)).collect(),
        consents: (0..random.below(3)).map(|_| consent(random, at)).collect(),
        preferences: (0..random.below(2)).map(|_| preference(random)).collect(),
        records: (0..random.below(3)).map(|_| record(random)).collect(),
    }
}

fn value(random: &mut Random) -> Value {
    match random.below(5) {
        0 => Value::Bool(random.chance(50)),
        1 => Value::Double(random.below(9) as f64 / 4.0),
        2 => Value::Text(random.of(&["gold", "silver"]).into()),
        3 => Value::Set(["a", "b"][..random.below(3)].iter().map(|text| (*text).into()).collect()),
        _ => Value::Int(random.below(9) as i64),
    }
}

/// Said when the event says, or at another moment.
fn consent(random: &mut Random, at: Timestamp) -> Consent {
    Consent {
        channel: random.of(&[None, Some(ChannelId(0)), Some(ChannelId(1))]),
        purpose: random.of(&[ConsentPurpose::Marketing, ConsentPurpose::Service, ConsentPurpose::Profiling]),
        permission: random.of(&[Permission::Unknown, Permission::Granted, Permission::Denied]),
        at: if random.chance(80) { at } else { moment(random) },
        source: random.of(&["form", "shop"]).into(),
        proof: random.of(&["v1", "v2"]).into(),
    }
}

fn preference(random: &mut Random) -> Preference {
    let given = random.chance(80);
    match random.below(4) {
        0 => Preference::Channel(given.then(|| ChannelId(random.below(3) as u32))),
        1 => Preference::Language(given.then(|| random.of(&["en", "fr"]).into())),
        2 => Preference::QuietHours(given.then(|| (random.below(1_440) as u16, 480))),
        _ => Preference::ContactsPerWeek(given.then(|| random.below(9) as u16)),
    }
}

fn record(random: &mut Random) -> RecordChange {
    let fields = |random: &mut Random| vec![(AttrId(1), value(random)), (AttrId(2), value(random))];
    RecordChange {
        list: AttrId(random.below(2) as u32),
        key: random.of(&["a", "b", "c"]).into(),
        fields: random.chance(75).then(|| fields(random)),
    }
}
