//! Changes that are made together: worked out on copies, put in memory only
//! when the log has them. The same code applies a record live and on replay.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, atomic::Ordering::Relaxed};

use crate::customer;
use crate::domain::{
    ChannelId, CustomerKey, DecisionId, Effect, Event, EventId, EventKind, IdentityHash, ItemId, OfferId, OutcomeSet,
    OutcomeType, PresentationRef, Profile, RecordRef, Tallies, Timestamp,
};

use super::{
    Due, Eligible, Erasure, HotProfile, MergeCause, StoreError, budgets,
    budgets::{Presentation, Sign},
    holders::Holders,
    merge::Move,
    overlay::Layer,
    seal::DataKey,
    shared::Shared,
    timeline::Noted,
    unions::{HOPS_MAX, Unions},
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
    /// What happened to customers.
    pub timeline: HashMap<CustomerKey, Vec<Noted>>,
    /// INVARIANT: an erasure is alone in its group.
    pub erased: Option<Arc<Erasure>>,
    /// Identities that nobody holds any more.
    pub forgotten: HashSet<IdentityHash>,
    pub records: u64,
    effects: Vec<Effect>,
    /// What happened to customers who are watched.
    pub happened: HashMap<CustomerKey, Vec<Arc<Event>>>,
    /// Customers who are watched since others who were became them.
    pub watched: HashSet<CustomerKey>,
    /// What merges changed.
    pub unions: Unions,
    /// What the ledger and the watchers must follow, in order.
    pub moves: Vec<Move>,
    /// What led to each merge.
    pub merged: Vec<MergeCause>,
    /// How many merges were taken back.
    pub parted: u64,
    /// Pairs of decisions; not in the tallies yet.
    pub eligible: Vec<Eligible>,
    pub decided: Vec<(OfferId, ChannelId)>,
    due: Vec<Due>,
    pub units: Vec<Unit>,
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
pub(super) enum Unit {
    Confirm(Presentation, Sign),
    /// It was confirmed before, and reached somebody now.
    Reached(DecisionId, OfferId),
    Release(DecisionId, (OfferId, RecordRef)),
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
    /// The working copy of a customer, or of who lives on for it, if there is
    /// such a customer.
    pub fn stage(&mut self, shared: &Shared, key: CustomerKey) -> Result<Option<&mut Staged>, StoreError> {
        let live = self.live(shared, key)?;
        Ok(live.and_then(|key| self.customers.get_mut(&key)))
    }

    /// Who lives on for a customer: whose working copy there is now.
    pub fn live(&mut self, shared: &Shared, mut key: CustomerKey) -> Result<Option<CustomerKey>, StoreError> {
        for _ in 0..HOPS_MAX {
            if self.customers.contains_key(&key) {
                return Ok(Some(key));
            }
            if let Some(Some(redirect)) = self.unions.redirects.get(&key) {
                key = redirect.to;
                continue;
            }
            let Some(hot) = shared.load(key)? else { return Ok(None) };
            if hot.profile.key == key {
                let (profile, data_key) = (hot.profile.clone(), hot.data_key.clone());
                self.customers.insert(key, Staged { profile, data_key, touched: false, applied: 0 });
                return Ok(Some(key));
            }
            // the group may know of a later merge
            key = hot.profile.key;
        }
        Err(StoreError::Corrupt("following merged customers: they lead in a ring; restore from a copy".to_owned()))
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

    /// Applies an event of a customer, or of nobody, and notes it.
    pub fn apply(&mut self, shared: &Shared, owner: Option<CustomerKey>, event: &Event) -> Result<(), StoreError> {
        if let Some(key) = owner
            && let Some(live) = self.live(shared, key)?
        {
            self.timeline.entry(live).or_default().push(Noted::event(event));
        }
        self.apply_quietly(shared, owner, event)
    }

    /// Notes an event that changes nothing.
    pub fn note(&mut self, owner: CustomerKey, event: &Event) {
        if !super::decided::is_of_decision(event) {
            self.timeline.entry(owner).or_default().push(Noted::event(event));
        }
    }

    /// Applies an event that is not noted.
    pub fn apply_quietly(
        &mut self,
        shared: &Shared,
        owner: Option<CustomerKey>,
        event: &Event,
    ) -> Result<(), StoreError> {
        let Some(key) = owner else {
            self.apply_anonymous(event);
            return Ok(());
        };
        let Some(staged) = self.stage(shared, key)? else { return Ok(()) };
        let key = staged.profile.key;
        let confirms = confirms(&staged.profile, event);
        let effects = customer::apply(&mut staged.profile, event);
        staged.touched = true;
        staged.applied += 1;
        self.due.extend(Due::of(shared, key, (event, &effects)));
        self.effects.extend(effects);
        if shared.watchers.watched(key) || self.watched.contains(&key) {
            self.happened.entry(key).or_default().push(Arc::new(event.clone()));
        }
        self.move_unit(event, Some(key), confirms);
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
        let PresentationRef { decision, offer, record, expires_at: until, .. } = *presentation;
        if confirms {
            let sign = if *outcome == OutcomeType::Decided { Sign::Decided } else { Sign::Seen };
            self.units.push(Unit::Confirm(Presentation { decision, offer, record, until }, sign));
        } else if CONFIRMING.has(*outcome) && *outcome != OutcomeType::Decided {
            self.units.push(Unit::Reached(decision, offer));
        } else if *outcome == OutcomeType::Cancelled {
            self.units.push(Unit::Release(decision, (offer, record)));
            self.moves.extend(owner.map(|owner| Move::Release(owner, decision, (offer, record))));
        }
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
        if let Some(erasure) = &self.erased {
            // before the profile is gone, so that nothing brings it back
            shared.tombstones.add(erasure);
        }
        let layer = Layer {
            sequence,
            records: self.records,
            profiles: profiles.iter().map(|(hot, _)| (hot.profile.key, Arc::clone(hot))).collect(),
            keys: self.keys.into_iter().collect(),
            timeline: self.timeline,
            erased: self.erased.iter().cloned().collect(),
            forgotten: self.forgotten.clone(),
            aliases: self.aliases.clone(),
            events: self.events,
            names: self.names,
            tallies: Tallies { offers: counts.collect(), ..totals(tallies) },
            due: self.due,
            budgets: units,
            unions: self.unions.clone(),
            keys_made: shared.journals.made(),
        };
        shared.overlay.add(layer);
        profiles.iter().for_each(|(hot, _)| shared.hot.put(Arc::clone(hot)));
        self.moves.iter().for_each(|one| follow(shared, *one));
        for cause in &self.merged {
            shared.counters.merges[*cause as usize - 1].fetch_add(1, Relaxed);
        }
        shared.counters.merges_undone.fetch_add(self.parted, Relaxed);
        for (hash, holders) in self.aliases {
            match self.unions.moved.contains(&hash) {
                true => shared.aliases.hand_over(hash, holders),
                false => shared.aliases.give(hash, holders),
            }
        }
        self.forgotten.iter().for_each(|hash| shared.aliases.take(*hash));
        for key in self.erased.iter().flat_map(|erasure| &erasure.customers) {
            shared.forget(*key);
        }
        // after the profiles, so that who is told finds them
        let told = profiles.iter().map(|(hot, applied)| (hot.profile.key, *applied));
        shared.watchers.tell(told, &self.happened);
        changed
    }
}

/// Lets everything that goes by the customer follow a move. INVARIANT: the
/// profiles it leads to are in memory, and every move before was followed: what
/// was reserved for who was taken in is released where it is then.
fn follow(shared: &Shared, one: Move) {
    match one {
        Move::Unite(absorbed, survivor) => {
            let version = shared.hot.peek(survivor).map_or(0, |hot| hot.profile.version);
            shared.ledger.unite(absorbed, (survivor, version));
            shared.redirects.put(absorbed, survivor);
            shared.hot.remove(absorbed);
            shared.watchers.unite(absorbed, survivor);
        }
        Move::Part(survivor, absorbed) => {
            shared.redirects.take_back(absorbed);
            shared.ledger.part(survivor, absorbed);
            shared.watchers.part(survivor, absorbed);
        }
        Move::Release(owner, decision, (offer, record)) => {
            shared.ledger.release_reservation(Some(owner), decision, (offer, Some(record)));
        }
    }
}

fn settle(shared: &Shared, unit: &Unit) -> Option<((OfferId, i64), u64)> {
    let budgets = shared.ledger.budgets();
    let (offer, changed) = match unit {
        Unit::Confirm(presentation, sign) => (presentation.offer, budgets.confirm(presentation, *sign)),
        Unit::Reached(decision, offer) => {
            budgets.reached(*decision, *offer);
            (*offer, None)
        }
        Unit::Release(decision, what) => (what.0, budgets.release(*decision, *what)),
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
