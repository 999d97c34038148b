//! Changes that are made together: worked out on copies, put in memory only
//! when the log has them. The same code applies a record live and on replay.

use std::collections::{BTreeSet, HashMap, hash_map::Entry};
use std::sync::{Arc, atomic::Ordering::Relaxed};

use crate::customer;
use crate::domain::{
    ChannelId, CustomerKey, DecisionId, Effect, Event, EventId, EventKind, IdentityHash, ItemId, OfferId, OutcomeSet,
    OutcomeType, PresentationRef, Profile, Tallies, Timestamp,
};

use super::{
    DecisionRecord, Eligible, HotProfile, StoreError, budgets,
    budgets::{Presentation, Sign},
    holders::Holders,
    overlay::Layer,
    seal::DataKey,
    shared::Shared,
};

/// Outcomes that make the budget unit of a presentation permanent.
const CONFIRMING: OutcomeSet =
    OutcomeSet(OutcomeSet::REACHED.0 | 1 << OutcomeType::Decided as u16 | 1 << OutcomeType::Handoff as u16);

/// Changes not in memory yet.
#[derive(Default)]
pub(super) struct Group {
    pub customers: HashMap<CustomerKey, Staged>,
    /// Everybody who holds an identity, for those that somebody got.
    pub aliases: HashMap<IdentityHash, Holders>,
    pub events: HashMap<EventId, (u64, Timestamp)>,
    pub names: HashMap<ItemId, Arc<str>>,
    /// Keys of customers made here.
    pub keys: Vec<(CustomerKey, DataKey)>,
    pub records: u64,
    effects: Vec<Effect>,
    /// What happened to customers who are watched.
    happened: HashMap<CustomerKey, Vec<Arc<Event>>>,
    /// Pairs of decisions; not in the tallies yet.
    pub eligible: Vec<Eligible>,
    decided: Vec<(OfferId, ChannelId)>,
    units: Vec<Unit>,
    /// Pairs whose counts were set, not added to.
    recounted: BTreeSet<(OfferId, ChannelId)>,
}

/// A working copy of a customer.
pub(super) struct Staged {
    pub profile: Profile,
    pub data_key: DataKey,
    pub touched: bool,
    /// Events applied to it.
    pub applied: usize,
}

/// What happens to the budget unit of a presentation.
enum Unit {
    Confirm(Presentation, Sign),
    /// It was confirmed before, and reached somebody now.
    Reached(DecisionId, OfferId),
    Release(Option<CustomerKey>, DecisionId, OfferId),
}

/// What changed in the tallies.
#[derive(Clone, Debug, Default)]
pub(super) struct Changed {
    pub pairs: BTreeSet<(OfferId, ChannelId)>,
    /// Whether the models would see it.
    pub rates: bool,
    /// Whether the totals of the lift changed.
    pub totals: bool,
}

impl Changed {
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty() && !self.rates && !self.totals
    }

    pub fn extend(&mut self, other: Self) {
        self.pairs.extend(other.pairs);
        self.rates |= other.rates;
        self.totals |= other.totals;
    }
}

impl Group {
    /// The working copy of a customer, if there is such a customer.
    pub fn stage(&mut self, shared: &Shared, key: CustomerKey) -> Result<Option<&mut Staged>, StoreError> {
        let staged = match self.customers.entry(key) {
            Entry::Occupied(staged) => staged.into_mut(),
            Entry::Vacant(vacant) => {
                let Some(hot) = shared.load(key)? else { return Ok(None) };
                let (profile, data_key) = (hot.profile.clone(), hot.data_key.clone());
                vacant.insert(Staged { profile, data_key, touched: false, applied: 0 })
            }
        };
        Ok(Some(staged))
    }

    /// Who holds an identity.
    pub fn holders(&self, shared: &Shared, hash: IdentityHash) -> Result<Option<Holders>, StoreError> {
        match self.aliases.get(&hash) {
            Some(holders) => Ok(Some(holders.clone())),
            None => shared.holders(hash),
        }
    }

    /// Who holds an identity once a customer gets it beside the others; `None`
    /// when nothing changes by it.
    pub fn joined(&self, shared: &Shared, hash: IdentityHash, key: CustomerKey) -> Result<Option<Holders>, StoreError> {
        let Some(known) = self.holders(shared, hash)? else { return Ok(Some(Holders::One(key))) };
        if known.holds(key) {
            return Ok(None);
        }
        let joined = known.with(key);
        if joined.is_none() {
            shared.counters.holders_dropped.fetch_add(1, Relaxed);
        }
        Ok(joined)
    }

    /// Makes a customer.
    pub fn create(&mut self, key: CustomerKey, data_key: DataKey) {
        let arm_key = crate::domain::ArmKey(key.0);
        let profile = Profile { key, arm_key, ..Profile::default() };
        self.customers.insert(key, Staged { profile, data_key, touched: true, applied: 0 });
    }

    /// Applies an event of a customer, or of nobody.
    pub fn apply(&mut self, shared: &Shared, owner: Option<CustomerKey>, event: &Event) -> Result<(), StoreError> {
        let Some(key) = owner else {
            self.apply_anonymous(event);
            return Ok(());
        };
        let Some(staged) = self.stage(shared, key)? else { return Ok(()) };
        let confirms = confirms(&staged.profile, event);
        let effects = customer::apply(&mut staged.profile, event);
        staged.touched = true;
        staged.applied += 1;
        self.effects.extend(effects);
        if shared.watchers.watched(key) {
            self.happened.entry(key).or_default().push(Arc::new(event.clone()));
        }
        self.move_unit(event, owner, confirms);
        Ok(())
    }

    /// An outcome of a visitor without a profile: every kind counts once, by
    /// its event id. Without a history, a positive outcome other than the first
    /// click cannot be told from a second sign of the same success, so only an
    /// impression and a handoff are trials and only a click is a success.
    fn apply_anonymous(&mut self, event: &Event) {
        let EventKind::Outcome { presentation, outcome, value, .. } = &event.kind else { return };
        let seen = reaches_anonymous(*outcome);
        self.effects.push(Effect::Outcome {
            offer: presentation.offer,
            channel: presentation.channel,
            outcome: *outcome,
            new_trial: seen,
            new_positive: *outcome == OutcomeType::Click,
            value: if *outcome == OutcomeType::Conversion { value.unwrap_or(0) } else { 0 },
        });
        self.move_unit(event, None, seen);
    }

    fn move_unit(&mut self, event: &Event, owner: Option<CustomerKey>, confirms: bool) {
        let EventKind::Outcome { presentation, outcome, .. } = &event.kind else { return };
        let PresentationRef { decision, offer, expires_at: until, .. } = *presentation;
        if confirms {
            let sign = if *outcome == OutcomeType::Decided { Sign::Decided } else { Sign::Seen };
            self.units.push(Unit::Confirm(Presentation { decision, offer, until }, sign));
        } else if CONFIRMING.has(*outcome) && *outcome != OutcomeType::Decided {
            self.units.push(Unit::Reached(decision, offer));
        } else if *outcome == OutcomeType::Cancelled {
            self.units.push(Unit::Release(owner, decision, offer));
        }
    }

    /// Applies what a decision changes by itself.
    pub fn apply_decision(&mut self, shared: &Shared, decision: &Decided<'_>) -> Result<(), StoreError> {
        let record = decision.record;
        self.decided.extend(record.winners.iter().map(|w| (w.offer, w.channel)));
        for winner in record.winners.iter().filter(|w| w.counts_now) {
            let presentation = PresentationRef {
                decision: record.id,
                customer: decision.customer,
                offer: winner.offer,
                channel: winner.channel,
                expires_at: winner.reserved_until.unwrap_or(record.now),
            };
            match decision.customer {
                Some(_) => self.apply(shared, decision.customer, &decided_event(record, presentation))?,
                None => {
                    let (decision, offer, until) = (record.id, winner.offer, presentation.expires_at);
                    self.units.push(Unit::Confirm(Presentation { decision, offer, until }, Sign::Decided));
                }
            }
        }
        let (Some(holdout), Some(key)) = (record.exposed, decision.customer) else { return Ok(()) };
        if self.stage(shared, key)?.is_some_and(|staged| staged.profile.exposed_at.is_none()) {
            self.apply(shared, Some(key), &own_event(record, EventKind::Exposed { holdout }))?;
        }
        Ok(())
    }

    /// The counts of these pairs were set: they are to be stored.
    pub fn recounted(&mut self, pairs: impl Iterator<Item = (OfferId, ChannelId)>) {
        self.recounted.extend(pairs);
        self.records += 1;
    }

    /// Puts everything in memory. INVARIANT: the log has it, up to `sequence`.
    /// The overlay comes first, so that no load misses it.
    pub fn publish(self, shared: &Shared, sequence: u64, tallies: &mut Tallies) -> Changed {
        let mut changed = Changed::default();
        for effect in &self.effects {
            match effect {
                Effect::Outcome { new_trial, new_positive, .. } => changed.rates |= *new_trial || *new_positive,
                Effect::Exposed { .. } | Effect::Converted { .. } => changed.totals = true,
            }
            changed.pairs.extend(tallies.fold(effect));
        }
        for pair in &self.decided {
            tallies.offers.entry(*pair).or_default().decided += 1;
        }
        changed.pairs.extend(self.decided.iter().copied());
        changed.pairs.extend(self.recounted);
        let touched = self.customers.into_values().filter(|s| s.touched);
        let profiles: Vec<_> = touched.map(|s| (Arc::new(HotProfile::new(s.profile, s.data_key)), s.applied)).collect();
        let counts = changed.pairs.iter().filter_map(|pair| tallies.offers.get(pair).map(|t| (*pair, *t)));
        let mut units: HashMap<_, _> = self.units.iter().filter_map(|unit| settle(shared, unit)).collect();
        let limited = self.decided.iter().filter(|(offer, _)| shared.ledger.budgets().knows(*offer));
        units.extend(limited.map(|(offer, _)| ((*offer, budgets::KNOWN), 0)));
        let layer = Layer {
            sequence,
            records: self.records,
            profiles: profiles.iter().map(|(hot, _)| (hot.profile.key, Arc::clone(hot))).collect(),
            aliases: self.aliases.clone(),
            events: self.events,
            names: self.names,
            tallies: Tallies { offers: counts.collect(), ..totals(tallies) },
            budgets: units,
            keys_made: shared.journals.made(),
        };
        shared.overlay.add(layer);
        profiles.iter().for_each(|(hot, _)| shared.hot.put(Arc::clone(hot)));
        for (hash, holders) in self.aliases {
            shared.aliases.give(hash, holders);
        }
        // after the profiles, so that who is told finds them
        let told = profiles.iter().map(|(hot, applied)| (hot.profile.key, *applied));
        shared.watchers.tell(told, &self.happened);
        changed
    }
}

/// A decision and whose it was.
pub(super) struct Decided<'a> {
    pub record: &'a DecisionRecord,
    pub customer: Option<CustomerKey>,
}

fn settle(shared: &Shared, unit: &Unit) -> Option<((OfferId, i64), u64)> {
    let budgets = shared.ledger.budgets();
    let (offer, changed) = match unit {
        Unit::Confirm(presentation, sign) => (presentation.offer, budgets.confirm(presentation, *sign)),
        Unit::Reached(decision, offer) => {
            budgets.reached(*decision, *offer);
            (*offer, None)
        }
        Unit::Release(customer, decision, offer) => {
            shared.ledger.release_reservation(*customer, *decision, *offer);
            (*offer, budgets.release(*decision, *offer))
        }
    };
    changed.map(|(bucket, count)| ((offer, bucket), count))
}

fn totals(tallies: &Tallies) -> Tallies {
    Tallies {
        version: tallies.version,
        offers: Default::default(),
        exposed: tallies.exposed,
        converted: tallies.converted,
        revenue: tallies.revenue,
    }
}

/// Whether an event is the first that makes its presentation's unit permanent.
fn confirms(profile: &Profile, event: &Event) -> bool {
    let EventKind::Outcome { presentation, outcome, .. } = &event.kind else { return false };
    CONFIRMING.has(*outcome) && !was_confirmed(profile, presentation.decision, presentation.offer)
}

/// Whether the history shows that a presentation's budget unit is permanent.
fn was_confirmed(profile: &Profile, decision: DecisionId, offer: OfferId) -> bool {
    sign_of(profile, decision, offer).is_some()
}

/// What made a presentation's budget unit permanent, as the history shows.
pub(super) fn sign_of(profile: &Profile, decision: DecisionId, offer: OfferId) -> Option<Sign> {
    let same = |i: &&crate::domain::Interaction| i.decision == decision && i.offer == offer;
    let outcomes = profile.interactions.iter().filter(same).fold(0, |all, i| all | i.outcomes.0);
    let seen = OutcomeSet(CONFIRMING.0 & !(1 << OutcomeType::Decided as u16));
    match OutcomeSet(outcomes) {
        all if all.intersects(seen) => Some(Sign::Seen),
        all if all.has(OutcomeType::Decided) => Some(Sign::Decided),
        _ => None,
    }
}

/// Whether an outcome shows that a visitor without a profile was reached.
pub(super) fn reaches_anonymous(outcome: OutcomeType) -> bool {
    matches!(outcome, OutcomeType::Impression | OutcomeType::Handoff)
}

fn decided_event(record: &DecisionRecord, presentation: PresentationRef) -> Event {
    let kind = EventKind::Outcome {
        presentation,
        outcome: OutcomeType::Decided,
        reason: Default::default(),
        value: None,
        note: "".into(),
        agent: "".into(),
        call: "".into(),
        purpose: crate::domain::Purpose::Marketing,
    };
    own_event(record, kind)
}

/// An event that a decision stands for. The decision's own record makes it
/// happen once, so it needs no id of its own.
fn own_event(record: &DecisionRecord, kind: EventKind) -> Event {
    Event { id: EventId(record.id.0), at: record.now, received_at: record.now, identities: Vec::new(), kind }
}
