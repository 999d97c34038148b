//! Rulesets, customers and questions for tests, built directly.

use std::{collections::HashMap, sync::Arc};

use crate::{
    decide::{Denied, Inputs, Ranking, Scratch, Signer, Snapshot, rank, scenario::base_rates},
    domain::*,
    rules::{Origin, *},
};

/// 2011-06-01T12:00:00Z, a Wednesday.
pub const NOW: Timestamp = Timestamp(1_306_929_600_000_000);
pub const HOUR_US: i64 = 3_600_000_000;
pub const DAY: i64 = 24 * HOUR_US;

pub const WEB: ChannelSlot = ChannelSlot(0);
pub const EMAIL: ChannelSlot = ChannelSlot(1);
pub const CALL: ChannelSlot = ChannelSlot(2);
pub const SMS: ChannelSlot = ChannelSlot(3);

/// The list that texts read a record of.
const EACH: Option<AttrId> = Some(ACCOUNTS);
/// The list of accounts: `balance` and `kind`.
pub const ACCOUNTS: AttrId = AttrId(77);

pub fn attribute(schema: &mut Schema, name: &str, kind: AttributeType, source: AttributeSource) -> AttrSlot {
    let slot = AttrSlot(schema.attributes.len() as u16);
    let prefix = match source {
        AttributeSource::Context => "ctx",
        AttributeSource::RecordKey(_) | AttributeSource::RecordField(..) => "r",
        _ => "p",
    };
    let full_name: Arc<str> = format!("{prefix}.{name}").into();
    let id = AttrId::of(name);
    match &source {
        AttributeSource::Stored => schema.stored.push((id, slot)),
        AttributeSource::Context => schema.context.push((id, slot)),
        AttributeSource::Trait(_) => schema.traits.push(slot),
        AttributeSource::Records(_) => schema.record_keys.push(slot),
        AttributeSource::RecordKey(_) | AttributeSource::RecordField(..) => schema.record_fields.push(slot),
    }
    schema.stored.sort();
    schema.context.sort();
    if !source.is_of_record() {
        schema.by_name.insert(full_name.clone(), slot);
    }
    let behavioural = matches!(source, AttributeSource::Trait(_));
    schema.attributes.push(AttributeDef {
        slot,
        id,
        name: name.into(),
        full_name,
        kind,
        source,
        default: None,
        range: None,
        pii: false,
        behavioural,
        client: false,
        verified: false,
    });
    slot
}

fn schema() -> Schema {
    let mut schema = Schema::default();
    for name in ["email", "phone", "language", "time_zone", "country"] {
        attribute(&mut schema, name, AttributeType::Text, AttributeSource::Stored);
    }
    attribute(&mut schema, "points", AttributeType::Int, AttributeSource::Stored);
    attribute(&mut schema, "likes_email", AttributeType::Double, AttributeSource::Stored);
    attribute(&mut schema, "tags", AttributeType::Set, AttributeSource::Stored);
    attribute(&mut schema, "basket", AttributeType::Int, AttributeSource::Context);
    attribute(&mut schema, "accounts", AttributeType::Set, AttributeSource::Records(ACCOUNTS));
    let field = |name: &str| AttributeSource::RecordField(ACCOUNTS, AttrId::of(name));
    attribute(&mut schema, "balance", AttributeType::Int, field("balance"));
    attribute(&mut schema, "kind", AttributeType::Text, field("kind"));
    attribute(&mut schema, "key", AttributeType::Text, AttributeSource::RecordKey(ACCOUNTS));
    let orders = Trait::Count(EventTypeId::of("purchase"));
    attribute(&mut schema, "orders", AttributeType::Int, AttributeSource::Trait(orders));
    schema
}

fn channel(slot: ChannelSlot, name: &str, kind: ChannelKind) -> Channel {
    let outbound = kind == ChannelKind::Outbound;
    Channel {
        slot,
        id: ChannelId::of(name),
        name: name.into(),
        kind,
        cost: 0.0,
        base_rate: 0.1,
        address: None,
        required_parts: Vec::new(),
        escape: Escape::None,
        counts_on: OutcomeSet::default().with(if outbound { OutcomeType::Handoff } else { OutcomeType::Impression }),
        reserve_us: HOUR_US,
        valid_us: HOUR_US,
        send_within_us: 48 * HOUR_US,
        quiet_hours: None,
        preference: None,
        marketing_needs: if outbound { Need::OptIn } else { Need::Nothing },
        service_needs: if outbound { Need::NoOptOut } else { Need::Nothing },
    }
}

fn placement(slot: u16, name: &str, channel: ChannelSlot, slots: u16) -> Placement {
    let id = PlacementId::of(name);
    Placement { slot: PlacementSlot(slot), id, name: name.into(), channel, slots, fields: Vec::new(), fallback: None }
}

/// Four channels, three placements (`hero` 1 slot, `list` 3, `desk` 2), two
/// groups, two issues, no offers, no policies.
pub fn rules() -> Ruleset {
    let schema = schema();
    let slot = |name: &str| schema.by_name.get(name).copied();
    let mut channels = vec![
        channel(WEB, "web", ChannelKind::SelfService),
        channel(EMAIL, "email", ChannelKind::Outbound),
        channel(CALL, "call", ChannelKind::Assisted),
        channel(SMS, "sms", ChannelKind::Outbound),
    ];
    channels[EMAIL.index()].address = slot("p.email");
    channels[EMAIL.index()].preference = slot("p.likes_email");
    channels[EMAIL.index()].quiet_hours = Some(QuietHours { from_minute: 1260, until_minute: 480, wait: true });
    channels[SMS.index()].address = slot("p.phone");
    channels[SMS.index()].quiet_hours = Some(QuietHours { from_minute: 1200, until_minute: 540, wait: false });
    Ruleset {
        index: Default::default(),
        feeds: Default::default(),
        hash: RulesetHash(1),
        currency: Currency { code: *b"GBP", minor_digits: 2 },
        default_language: "en".into(),
        language_attribute: slot("p.language"),
        time_zone_attribute: slot("p.time_zone"),
        schema,
        time_zone: jiff::tz::TimeZone::get("Europe/London").expect("bundled"),
        channels,
        placements: vec![placement(0, "hero", WEB, 1), placement(1, "list", WEB, 3), placement(2, "desk", CALL, 2)],
        groups: vec!["red".into(), "blue".into()],
        issues: ["sell", "keep"].map(|name| Issue { name: name.into(), floor: None, lever: 1.0 }).into(),
        limits: Vec::new(),
        suppressions: Vec::new(),
        decline_reasons: vec![DeclineReason {
            id: ReasonCode::of("not_interested"),
            code: "not_interested".into(),
            labels: vec![("en".into(), "Not interested".into())],
        }],
        holdout_share: 0.0,
        holdout_salt: "salt".into(),
        exploration_share: 0.0,
        prior_trials: 50.0,
        attribution_us: 14 * crate::domain::time::DAY_US,
        wished_channel_weight: 1.25,
        reach: Default::default(),
        segments: Vec::new(),
        offers: Vec::new(),
        offers_by_placement: Vec::new(),
        budgeted: Vec::new(),
        offer_slots: HashMap::new(),
        channel_slots: HashMap::new(),
        placement_slots: HashMap::new(),
        sources: Arc::default(),
        scenarios: Vec::new(),
    }
}

pub fn origin() -> Origin {
    Origin { position: Position::default(), source: Arc::default(), first_line: 1, exact_columns: false }
}

pub fn condition(rules: &Ruleset, text: &str) -> Arc<Condition> {
    let segments = HashMap::new();
    let env = CompileEnv {
        each: EACH,
        schema: &rules.schema,
        currency: rules.currency,
        segments: &segments,
        macros: &segments,
        parsed: None,
        lost: Default::default(),
    };
    Arc::new(Condition::compile(text, &origin(), &env).expect("a valid condition"))
}

pub fn number(rules: &Ruleset, text: &str) -> Number {
    let segments = HashMap::new();
    let env = CompileEnv {
        each: EACH,
        schema: &rules.schema,
        currency: rules.currency,
        segments: &segments,
        macros: &segments,
        parsed: None,
        lost: Default::default(),
    };
    Number::compile(text, &origin(), &env).expect("a valid number")
}

pub fn template(rules: &Ruleset, text: &str) -> Template {
    let env = TemplateEnv {
        each: EACH,
        schema: &rules.schema,
        links: &["shop".into()],
        currency: rules.currency,
        lost: Default::default(),
    };
    Template::compile(text, &origin(), Escape::None, &env).expect("a valid template")
}

pub fn treatment(rules: &Ruleset, offer: &str, channel: ChannelSlot, language: &str) -> Treatment {
    Treatment {
        name: format!("{offer}/{}/{language}", rules.channel(channel).name).into(),
        channel,
        language: language.into(),
        subject: None,
        text: Some(template(rules, &format!("{offer} in {language}"))),
        html: None,
        talk_track: None,
        data: Vec::new(),
        image: Arc::default(),
        links: vec![("shop".into(), "https://shop.example/".into())],
    }
}

/// Adds an offer of marketing for every placement and channel, in English.
pub fn offer<'a>(rules: &'a mut Ruleset, name: &str, value: f64) -> &'a mut Offer {
    let channels = [WEB, EMAIL, CALL, SMS];
    let treatments = channels.map(|c| treatment(rules, name, c, "en")).into();
    rules.offers.push(Offer {
        slot: OfferSlot(rules.offers.len() as u32),
        id: OfferId::of(name),
        name_id: name.into(),
        name: name.into(),
        purpose: Purpose::Marketing,
        issue: IssueSlot(0),
        group: GroupSlot(0),
        each: None,
        paused: false,
        schedule: (None, None),
        eligibility: None,
        applicability: None,
        suitability: None,
        value: Number::Constant(value),
        context_weight: None,
        lever: 1.0,
        floor: None,
        limits: Vec::new(),
        budget: None,
        placements: (0..3).map(PlacementSlot).collect(),
        open: true,
        verified: false,
        base_rate: None,
        attribution_us: None,
        holdout_exempt: false,
        treatments,
        reasons: Vec::new(),
        labels: Vec::new(),
        reach: None,
        allowed_lints: Vec::new(),
        position: Position::default(),
    });
    let last = rules.offers.len() - 1;
    &mut rules.offers[last]
}

pub fn limit(rules: &mut Ruleset, scope: Scope, max: u32, window: Window) -> &mut Limit {
    let slot = LimitSlot(rules.limits.len() as u16);
    let name = format!("limit{}", slot.0).into();
    let (channel, channel_kind, purpose, offer, group) = (None, None, None, None, None);
    rules.limits.push(Limit {
        slot,
        name,
        scope,
        channel,
        channel_kind,
        purpose,
        offer,
        group,
        max,
        window,
        exact: false,
        when_unknown: None,
    });
    &mut rules.limits[slot.index()]
}

/// Fills the indexes.
pub fn finish(mut rules: Ruleset) -> Arc<Ruleset> {
    for offer in &mut rules.offers {
        offer.treatments.sort_by(|a, b| (a.channel, &a.language).cmp(&(b.channel, &b.language)));
        let counts = |limit: &&Limit| {
            limit.purpose.is_none_or(|p| p == offer.purpose)
                && limit.offer.is_none_or(|o| o == offer.slot)
                && limit.group.is_none_or(|g| g == offer.group)
        };
        offer.limits = rules.limits.iter().filter(counts).map(|l| l.slot).collect();
    }
    rules.index = crate::rules::Index::of_offers(&rules.offers);
    rules.offer_slots = rules.offers.iter().map(|o| (o.id, o.slot)).collect();
    rules.channel_slots = rules.channels.iter().map(|c| (c.id, c.slot)).collect();
    rules.placement_slots = rules.placements.iter().map(|p| (p.id, p.slot)).collect();
    let meant =
        |p: &Placement| rules.offers.iter().filter(|o| o.placements.contains(&p.slot)).map(|o| o.slot).collect();
    rules.offers_by_placement = rules.placements.iter().map(meant).collect();
    Arc::new(rules)
}

pub fn consent(channel: Option<&str>, purpose: ConsentPurpose, permission: Permission) -> Consent {
    let channel = channel.map(ChannelId::of);
    Consent { channel, purpose, permission, at: NOW, source: "test".into(), proof: "1".into() }
}

/// Sets consents, sorted as profiles keep them.
pub fn consents(profile: &mut Profile, mut consents: Vec<Consent>) {
    consents.sort_by_key(|c| (c.channel, c.purpose));
    profile.consents = consents;
}

pub fn set(profile: &mut Profile, name: &str, value: Value) {
    let id = AttrId::of(name);
    profile.attributes.retain(|a| a.id != id);
    profile.attributes.push(StoredAttribute { id, value: Some(value), at: NOW });
    profile.attributes.sort_by_key(|a| a.id);
}

/// A customer who may be reached everywhere and permits everything.
pub fn customer() -> Profile {
    let mut profile = Profile { key: CustomerKey(7), arm_key: ArmKey(7), ..Profile::default() };
    set(&mut profile, "email", Value::Text("ann@example.org".into()));
    set(&mut profile, "phone", Value::Text("+441234567890".into()));
    let granted = Permission::Granted;
    let given = [ConsentPurpose::Marketing, ConsentPurpose::Service, ConsentPurpose::Profiling];
    consents(&mut profile, given.map(|p| consent(None, p, granted)).into());
    profile
}

pub fn interaction(offer: &str, channel: &str, at: Timestamp, outcomes: &[OutcomeType]) -> Interaction {
    Interaction {
        record: Default::default(),
        decision: DecisionId(at.0 as u128),
        offer: OfferId::of(offer),
        channel: ChannelId::of(channel),
        at,
        answered_at: at,
        outcomes: outcomes.iter().fold(OutcomeSet::default(), |set, o| set.with(*o)),
        reason: ReasonCode(0),
        reason_at: Timestamp::default(),
    }
}

pub fn ask(placements: &[&str]) -> Request {
    let ask = |name: &&str| PlacementAsk { id: PlacementId::of(name), name: (*name).into(), count: 0 };
    Request { placements: placements.iter().map(ask).collect(), trace: Trace::Full, ..Request::default() }
}

/// Pauses of these things.
pub fn pauses(things: &[(PauseKind, &str)]) -> Pauses {
    let pause = |(kind, id): &(PauseKind, &str)| Pause {
        kind: *kind,
        id: (*id).into(),
        reason: "a defect".into(),
        author: "ops".into(),
        since: NOW,
    };
    let mut list: Vec<Pause> = things.iter().map(pause).collect();
    list.sort();
    list.dedup();
    Pauses { version: 1, list }
}

/// A decision to be made; change what a test is about.
pub struct Case {
    pub snapshot: Snapshot,
    pub profile: Profile,
    pub matched: Match,
    pub request: Request,
    pub now: Timestamp,
    pub decision_id: DecisionId,
    pub reservations: Vec<Reservation>,
    pub exhausted: Vec<OfferSlot>,
    pub denied: Vec<Denied>,
    pub keep_order: Vec<(OfferSlot, RecordRef)>,
    pub degraded: DegradedSet,
}

pub struct TestSigner;

impl Signer for TestSigner {
    fn presentation_token(&self, presentation: &PresentationRef, holder: Option<Holder>) -> String {
        let known = presentation.customer.map_or("", |_| "known");
        let held = holder.map_or_else(String::new, |h| format!("{}{:?}{:?}", h.visitor.0, h.origin, h.memory));
        format!("t{:x}{known}{held}", presentation.offer.0)
    }

    fn link_url(&self, link: &LinkRef, _: Option<Holder>) -> String {
        format!("/c/{:x}", link.link)
    }

    fn visitor_id(&self, visitor: VisitorId, now: Timestamp) -> String {
        format!("v{visitor}@{}", now.0)
    }
}

impl Case {
    pub fn new(ruleset: Arc<Ruleset>, profile: Profile, request: Request) -> Self {
        let models = Arc::new(base_rates(&ruleset));
        Self {
            snapshot: Snapshot::new(ruleset, models, Arc::default()),
            profile,
            matched: Match::Known,
            request,
            now: NOW,
            decision_id: DecisionId(1),
            reservations: Vec::new(),
            exhausted: Vec::new(),
            denied: Vec::new(),
            keep_order: Vec::new(),
            degraded: DegradedSet::default(),
        }
    }

    /// With these things paused by ops, because of a defect.
    pub fn pausing(mut self, things: &[(PauseKind, &str)]) -> Self {
        self.snapshot = self.snapshot.with_pauses(Arc::new(pauses(things)));
        self
    }

    /// As a visitor nobody knows.
    pub fn anonymous(mut self) -> Self {
        (self.profile, self.matched) = (Profile::default(), Match::Anonymous);
        self
    }

    pub fn inputs(&self) -> Inputs<'_> {
        Inputs {
            snapshot: &self.snapshot,
            profile: &self.profile,
            matched: self.matched,
            request: &self.request,
            now: self.now,
            decision_id: self.decision_id,
            reservations: &self.reservations,
            exhausted: &self.exhausted,
            denied: &self.denied,
            keep_order: &self.keep_order,
            degraded: self.degraded,
            consistency_token: "c1",
            signer: &TestSigner,
        }
    }

    pub fn rank(&self) -> Ranking {
        rank(&self.inputs(), &mut Scratch::default())
    }

    /// The winners as `placement: offer/channel`, then `silence`.
    pub fn outcome(&self) -> Vec<String> {
        let ranking = self.rank();
        let rules = &self.snapshot.ruleset;
        let mut lines = Vec::new();
        for (at, placement) in ranking.placements.iter().enumerate() {
            for winner in ranking.winners_of(at) {
                let (offer, channel) = (&rules.offer(winner.offer).name_id, &rules.channel(winner.channel).name);
                lines.push(format!("{at}: {offer}/{channel}"));
            }
            if let Some(silence) = placement.silence {
                lines.push(format!("{at}: {}", silence.name()));
            }
        }
        lines
    }

    /// Verdicts on losers as `offer/channel: reason`.
    pub fn reasons(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for verdict in self.rank().verdicts.iter().flat_map(|v| v.iter()) {
            if let Some(reason) = verdict.reason {
                let channel = verdict.channel.as_deref().unwrap_or("-");
                lines.push(format!("{}/{channel}: {}", verdict.offer, reason.name()));
            }
        }
        lines
    }
}

/// Checks winners and silences, and that each given verdict is among those
/// given.
#[track_caller]
pub fn check(case: &Case, outcome: &[&str], reasons: &[&str]) {
    assert_eq!(case.outcome(), outcome, "verdicts: {:?}", case.reasons());
    let found = case.reasons();
    for reason in reasons {
        assert!(found.iter().any(|f| f == reason), "no `{reason}` in {found:?}");
    }
}
