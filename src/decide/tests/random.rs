//! Random rulesets, customers and questions, each from a seed.

use std::sync::Arc;

use super::build::*;
use crate::{
    decide::{Denied, holdout::mix},
    domain::*,
    rules::*,
};

/// A small generator for tests.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub fn below(&mut self, len: usize) -> usize {
        self.0 = mix(self.0);
        (self.0 % len.max(1) as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }
}

const CONDITIONS: [&str; 12] = [
    "p.points > 5",
    "p.country == 'UK'",
    "p.country != 'DE' || ctx.basket > 3",
    "!('vip' in p.tags)",
    "p.orders == 0",
    "p.points >= 0 && p.points < 9",
    "has(p.email)",
    "true",
    // what is read only for verified persons
    "p.credit < 5",
    "p.credit > 1 || p.points > 5",
    "!('loan' in p.held)",
    "size(p.held) == 0 || has(p.credit)",
];
const NAMES: [&str; 10] = ["o0", "o1", "o2", "o3", "o4", "o5", "o6", "o7", "o8", "gone"];
/// What is paused now and then; some of it is not declared.
pub const PAUSABLE: [(PauseKind, &str); 9] = [
    (PauseKind::Offer, "o0"),
    (PauseKind::Offer, "o2"),
    (PauseKind::Offer, "gone"),
    (PauseKind::Issue, "keep"),
    (PauseKind::Group, "red"),
    (PauseKind::Group, "o1"),
    (PauseKind::Channel, "web"),
    (PauseKind::Channel, "email"),
    (PauseKind::Channel, "fax"),
];
const CHANNELS: [&str; 5] = ["web", "email", "call", "sms", "fax"];
const SCOPES: [Scope; 6] = [Scope::Offer, Scope::Record, Scope::Group, Scope::Issue, Scope::Channel, Scope::All];
const OUTCOMES: [OutcomeType; 7] = [
    OutcomeType::Impression,
    OutcomeType::Click,
    OutcomeType::Accept,
    OutcomeType::Decline,
    OutcomeType::Handoff,
    OutcomeType::Cancelled,
    OutcomeType::Decided,
];

/// A ruleset before it is finished.
pub fn ruleset(dice: &mut Dice) -> Ruleset {
    let mut rules = rules();
    if dice.chance(50) {
        verified_attributes(&mut rules.schema);
    }
    let offers = 1 + dice.below(8);
    for name in NAMES.iter().take(offers) {
        let value = [1.0, 5.0, 5.0, 20.0, 0.01][dice.below(5)];
        random_offer(dice, &mut rules, name, value);
    }
    for channel in &mut rules.channels {
        channel.cost = [0.0, 0.5, 2.0][dice.below(3)];
        channel.base_rate = [0.01, 0.1, 0.5][dice.below(3)];
    }
    for _ in 0..dice.below(4) {
        random_limit(dice, &mut rules);
    }
    for _ in 0..dice.below(4) {
        let offer = dice.chance(30).then(|| OfferSlot(dice.below(rules.offers.len()) as u32));
        rules.suppressions.push(Suppression {
            outcome: dice.of(&OUTCOMES[..4]),
            reason: dice.chance(30).then(|| ReasonCode::of("not_interested")),
            offer,
            count: 1 + dice.below(2) as u32,
            scope: dice.of(&SCOPES),
            for_us: (1 + dice.below(5) as i64) * DAY,
        });
    }
    if dice.chance(20) {
        rules.holdout_share = 0.5;
    }
    rules
}

/// What is read only for verified persons: one with a default, and a set.
fn verified_attributes(schema: &mut Schema) {
    for (name, kind) in [("credit", AttributeType::Int), ("held", AttributeType::Set)] {
        let slot = attribute(schema, name, kind, AttributeSource::Stored);
        schema.attributes[slot.index()].verified = true;
        schema.verified.push(slot);
    }
    let credit = schema.attributes.len() - 2;
    schema.attributes[credit].default = Some(Value::Int(2));
}

fn random_offer(dice: &mut Dice, rules: &mut Ruleset, name: &str, value: f64) {
    let known = if rules.schema.verified.is_empty() { &CONDITIONS[..8] } else { &CONDITIONS[..] };
    let conditions: Vec<Option<Arc<Condition>>> =
        (0..3).map(|_| dice.chance(30).then(|| condition(rules, dice.of(known)))).collect();
    let expression = dice.chance(20).then(|| number(rules, "p.points * 2 - 3"));
    let german = treatment(rules, name, WEB, "de");
    let offer = offer(rules, name, value);
    offer.treatments.retain(|_| !dice.chance(25));
    if dice.chance(20) {
        offer.treatments.push(german);
    }
    let mut conditions = conditions.into_iter();
    offer.eligibility = conditions.next().flatten();
    offer.applicability = conditions.next().flatten();
    offer.suitability = conditions.next().flatten();
    offer.value = expression.unwrap_or(Number::Constant(value));
    offer.purpose = if dice.chance(40) { Purpose::Service } else { Purpose::Marketing };
    offer.group = GroupSlot(dice.below(2) as u16);
    offer.issue = IssueSlot(dice.below(2) as u16);
    offer.paused = dice.chance(5);
    offer.open = !dice.chance(10);
    offer.verified = dice.chance(10);
    offer.holdout_exempt = dice.chance(10);
    offer.floor = dice.chance(20).then_some(0.2);
    offer.lever = [1.0, 1.0, 2.0][dice.below(3)];
    offer.placements.retain(|_| !dice.chance(20));
    if dice.chance(15) {
        offer.schedule.1 = Some(NOW.plus_us((dice.below(30) as i64 - 5) * HOUR_US));
    }
}

fn random_limit(dice: &mut Dice, rules: &mut Ruleset) {
    let window = dice.of(&[Window::Rolling(DAY), Window::Rolling(5 * DAY), Window::Day, Window::Week, Window::Month]);
    let offer = OfferSlot(dice.below(rules.offers.len()) as u32);
    let limit = limit(rules, dice.of(&SCOPES), 1 + dice.below(3) as u32, window);
    limit.channel = dice.chance(20).then(|| ChannelSlot(dice.below(4) as u16));
    limit.channel_kind = dice.chance(20).then_some(ChannelKind::Outbound);
    limit.purpose = dice.chance(30).then_some(Purpose::Marketing);
    limit.group = dice.chance(15).then_some(GroupSlot(0));
    if dice.chance(25) {
        (limit.offer, limit.scope) = (Some(offer), Scope::Offer);
    }
}

fn profile(dice: &mut Dice) -> Profile {
    let mut profile = customer();
    profile.arm_key = ArmKey(dice.below(1000) as u128);
    let (vip, uk) = (["vip".into()], ["UK", "DE"]);
    if dice.chance(60) {
        set(&mut profile, "points", Value::Int(dice.below(12) as i64));
    }
    if dice.chance(60) {
        set(&mut profile, "country", Value::Text(dice.of(&uk).into()));
    }
    if dice.chance(30) {
        set(&mut profile, "tags", Value::Set(vip.into()));
    }
    if dice.chance(30) {
        set(&mut profile, "likes_email", Value::Double([0.0, 0.5, 3.0][dice.below(3)]));
    }
    if dice.chance(30) {
        set(&mut profile, "language", Value::Text("de".into()));
    }
    if dice.chance(40) {
        let zones = ["Asia/Tokyo", "America/New_York", "Nowhere/Land"];
        set(&mut profile, "time_zone", Value::Text(dice.of(&zones).into()));
    }
    if dice.chance(40) {
        set(&mut profile, "credit", Value::Int(dice.below(8) as i64));
    }
    if dice.chance(40) {
        set(&mut profile, "held", Value::Set(["loan".into()].into()));
    }
    profile.attributes.retain(|_| !dice.chance(10));
    if dice.chance(10) {
        profile.do_not_contact = Some(NOW);
    }
    random_consents(dice, &mut profile);
    random_interactions(dice, &mut profile);
    profile
}

fn random_consents(dice: &mut Dice, profile: &mut Profile) {
    let mut given = Vec::new();
    let permissions = [Permission::Granted, Permission::Granted, Permission::Denied, Permission::Unknown];
    for channel in [None, Some("email"), Some("sms"), Some("web")] {
        for purpose in [ConsentPurpose::Marketing, ConsentPurpose::Service, ConsentPurpose::Profiling] {
            if dice.chance(40) {
                given.push(consent(channel, purpose, dice.of(&permissions)));
            }
        }
    }
    consents(profile, given);
}

fn random_interactions(dice: &mut Dice, profile: &mut Profile) {
    for _ in 0..dice.below(10) {
        let at = NOW.plus_us(-(dice.below(24 * 9) as i64) * HOUR_US);
        let outcomes: Vec<OutcomeType> = (0..1 + dice.below(2)).map(|_| dice.of(&OUTCOMES)).collect();
        let mut seen = interaction(dice.of(&NAMES), dice.of(&CHANNELS), at, &outcomes);
        if dice.chance(50) {
            seen.reason = ReasonCode::of("not_interested");
        }
        profile.interactions.push(seen);
    }
    profile.interactions.sort_by_key(|i| (i.at, i.decision, i.offer));
}

/// A whole case; every stage has work in most of them.
pub fn case(seed: u64) -> Case {
    let mut dice = Dice::new(seed);
    let rules = ruleset(&mut dice);
    case_of(&mut dice, rules)
}

/// A case over given rules.
pub fn case_of(dice: &mut Dice, rules: Ruleset) -> Case {
    let offers = rules.offers.len();
    let placements: [&[&str]; 5] = [&[], &[], &["hero"], &["list", "hero"], &["desk", "nowhere", "list"]];
    let mut case = Case::new(finish(rules), profile(dice), ask(placements[dice.below(5)]));
    case.decision_id = DecisionId(dice.below(usize::MAX) as u128);
    case.now = NOW.plus_us(dice.below(24) as i64 * HOUR_US);
    let asked = &mut case.request;
    if dice.chance(30) {
        asked.context = vec![(AttrId::of("basket"), Value::Int(dice.below(8) as i64))];
    }
    if dice.chance(20) {
        asked.allowed_channels = vec![ChannelId::of("email"), ChannelId::of("web")];
    }
    asked.assurance = dice.of(&[Assurance::Anonymous, Assurance::Claimed, Assurance::Verified, Assurance::Verified]);
    if dice.chance(30) {
        let from = case.now.plus_us((dice.below(30) as i64 - 10) * HOUR_US);
        asked.send_window.from = dice.chance(70).then_some(from);
        asked.send_window.until = dice.chance(70).then(|| from.plus_us((1 + dice.below(12) as i64) * HOUR_US));
    }
    asked.purpose = dice.chance(10).then_some(Purpose::Service);
    if dice.chance(20) {
        asked.languages = vec!["de-at".into()];
    }
    if dice.chance(10) {
        asked.page_consent.marketing = Permission::Denied;
    }
    if dice.chance(20) {
        asked.exclude_offers = vec![OfferId::of("o1")];
    }
    let held = |seen: &Interaction, at, expires_at| Reservation {
        decision: seen.decision,
        offer: seen.offer,
        channel: seen.channel,
        record: seen.record,
        at,
        expires_at,
    };
    for _ in 0..dice.below(3) {
        let seen = interaction(dice.of(&NAMES), dice.of(&CHANNELS), NOW, &[]);
        case.reservations.push(held(&seen, NOW.plus_us(-HOUR_US), NOW.plus_us(5 * HOUR_US)));
    }
    // One reservation of what was seen already.
    if let Some(seen) = case.profile.interactions.first() {
        case.reservations.push(held(seen, seen.at, NOW.plus_us(DAY)));
    }
    if dice.chance(15) {
        case.exhausted = vec![OfferSlot(dice.below(offers) as u32)];
    }
    if dice.chance(15) {
        let offer = OfferSlot(dice.below(offers) as u32);
        let reason = if offer.0.is_multiple_of(2) { Reason::ClaimRefused } else { Reason::ClaimUnknown };
        case.denied = vec![Denied { offer, record: RecordRef::NONE, reason }];
    }
    if dice.chance(15) {
        case.keep_order = (0..2).map(|_| (OfferSlot(dice.below(offers) as u32), RecordRef::NONE)).collect();
    }
    if dice.chance(25) {
        let things: Vec<_> = (0..1 + dice.below(2)).map(|_| dice.of(&PAUSABLE)).collect();
        case = case.pausing(&things);
    }
    if dice.chance(15) { case.anonymous() } else { case }
}
