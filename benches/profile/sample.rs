//! The profile that is measured: a year of visits.

use std::sync::Arc;

use rapport::{
    domain::*,
    store::{HotProfile, seal::DataKey},
};

/// How much is known of a customer.
#[derive(Clone, Copy)]
pub struct Size {
    pub attributes: i64,
    pub interactions: i64,
    pub touches: i64,
}

/// The size that the goals are stated for.
pub const FULL: Size = Size { attributes: 40, interactions: 50, touches: 100 };

/// A customer's profile; equal numbers are equal customers.
pub fn profile(number: u64, size: Size) -> Profile {
    // evenly spread in every bit, as the service's keyed hashes are
    let key = (u128::from(random(number, 1)) << 64) | u128::from(random(number, 4));
    let begin = Timestamp::from_millis(1_740_000_000_123 + (random(number, 2) % 10_000_000_000) as i64);
    let mut attributes: Vec<_> = (0..size.attributes).map(|n| attribute(number, begin, n)).collect();
    attributes.sort_by_key(|a| a.id);
    Profile {
        key: CustomerKey(key),
        arm_key: ArmKey(key),
        version: 312,
        first_seen: begin,
        identities: vec![StoredIdentity { kind: IdentityTypeId(1), value: format!("c-{number:08}").into() }],
        attributes,
        interactions: (0..size.interactions).map(|n| interaction(number, begin, n)).collect(),
        items: (0..size.touches).map(|n| touch(number, begin, n)).collect(),
        ..Profile::default()
    }
}

/// The same, as it is hot.
pub fn hot(number: u64, size: Size) -> Arc<HotProfile> {
    let mut key = [7; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    Arc::new(HotProfile::new(profile(number, size), DataKey(key)))
}

/// A number between nothing and everything of it (SplitMix64's finisher).
pub fn random(number: u64, salt: u64) -> u64 {
    let mut z = number.wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn after(begin: Timestamp, days: i64, us: u64) -> Timestamp {
    begin.plus_us(days * 86_400_000_000 + us as i64)
}

fn attribute(number: u64, begin: Timestamp, n: i64) -> StoredAttribute {
    let any = (random(number, 100 + n as u64) % 100_000) as i64;
    let value = match n % 8 {
        0 => Value::Bool(any % 2 == 0),
        1 | 2 => Value::Int(any % 500),
        3 => Value::Money(any),
        4 => Value::Text(["gold", "silver", "newsletter", "Munich"][any as usize % 4].into()),
        5 => Value::Date(Date(8_000 + (any % 12_000) as i32)),
        6 => Value::Double(any as f64 / 4.0),
        _ => Value::Timestamp(after(begin, any % 300, 0)),
    };
    StoredAttribute { id: AttrId::of(&format!("attribute_{n}")), value: Some(value), at: after(begin, n / 10, 0) }
}

fn interaction(number: u64, begin: Timestamp, n: i64) -> Interaction {
    let any = random(number, 1_000 + n as u64);
    let at = after(begin, n * 7, any % 3_600_000_000);
    let (answered, declined) = (any.is_multiple_of(3), any.is_multiple_of(9));
    let outcomes = OutcomeSet::default().with(OutcomeType::Impression);
    Interaction {
        decision: DecisionId::new(at.millis() as u64 - 900, u128::from(random(number, 2_000 + n as u64)) << 11),
        offer: OfferId::of(&format!("offer_{}", any % 12)),
        channel: ChannelId::of(&format!("channel_{}", any % 4)),
        record: RecordRef::NONE,
        at,
        answered_at: if answered { at.plus_us(4_321_000) } else { Timestamp::default() },
        outcomes: if declined { outcomes.with(OutcomeType::Decline) } else { outcomes },
        reason: ReasonCode(if declined { 77 } else { 0 }),
        reason_at: if declined { at.plus_us(4_321_000) } else { Timestamp::default() },
    }
}

fn touch(number: u64, begin: Timestamp, n: i64) -> ItemTouch {
    let any = random(number, 3_000 + n as u64);
    ItemTouch {
        at: after(begin, n / 5 * 17, (n as u64 % 5) * 45_000_000 + any % 40_000_000),
        item: ItemId::of(&format!("item_{}", any % 40)),
        bought: any.is_multiple_of(11),
    }
}
