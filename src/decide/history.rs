//! The contacts and outcomes of one customer, walked once per decision and
//! counted by what limits and suppressions ask for.

use std::cmp::Reverse;

use crate::{
    domain::{
        ChannelSlot, Interaction, LimitSlot, OfferSlot, OutcomeSet, OutcomeType, ReasonCode, RecordRef, Reservation,
        Timestamp,
    },
    rules::{Channel, Limit, Offer, Ruleset, Scope, Suppression},
};

use super::{
    Inputs,
    plan::{OfferLimit, Plan},
    wishes::{self, Weekly},
};

/// Counts per limit and marks per suppressed thing.
#[derive(Default)]
pub(super) struct History {
    /// Whether any limit is reached by anything.
    reached: bool,
    /// Whether anything is suppressed.
    marked: bool,
    /// The most contacts that the customer wishes, and how many there were.
    weekly: Option<Weekly>,
    /// Where each window of the plan begins, once asked for.
    windows: Vec<Option<Timestamp>>,
    /// Contacts, by limit and key.
    contacts: Vec<u32>,
    /// Which contacts are not 0: there may be many limits and keys, and few are
    /// ever counted for one person.
    contacts_touched: Vec<u32>,
    /// What each key of each scope is suppressed by.
    marks: Vec<Option<Mark>>,
    /// Which marks are set.
    marks_touched: Vec<u32>,
    /// Outcomes seen of suppressions that count more than one.
    tallies: Vec<Tally>,
    /// Contacts of limits that count each record by itself.
    by_record: Vec<(LimitSlot, OfferSlot, RecordRef, u32)>,
    /// What records of offers are suppressed by.
    record_marks: Vec<(OfferSlot, RecordRef, Mark)>,
}

/// How often a suppression saw its outcome of one key.
struct Tally {
    rule: u32,
    key: (u32, RecordRef),
    seen: u32,
}

/// Why something is suppressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Index of the suppression.
    pub rule: u32,
    /// The decline's reason; 0 for none.
    pub reason: ReasonCode,
    /// After what.
    pub outcome: OutcomeType,
    /// Until when.
    pub until: Timestamp,
}

impl Mark {
    /// Declines before other outcomes, then what holds longest, then by the
    /// rules' order.
    fn rank(self) -> (bool, Reverse<Timestamp>, u32) {
        (self.outcome != OutcomeType::Decline, Reverse(self.until), self.rule)
    }
}

impl History {
    /// Walks the customer's interactions and open reservations.
    pub fn gather(&mut self, inputs: &Inputs<'_>, plan: &Plan) {
        let rules = &*inputs.snapshot.ruleset;
        self.forget(plan, rules);
        self.weekly = wishes::weekly(rules, inputs.profile, inputs.reservations, (inputs.now, None));
        if inputs.profile.interactions.is_empty() && inputs.reservations.is_empty() {
            return;
        }
        self.tallies.clear();
        let forgotten = inputs.now.plus_us(-plan.horizon_us);
        for interaction in &inputs.profile.interactions {
            if interaction.at.max(interaction.answered_at) < forgotten {
                continue;
            }
            let offer = plan.offer(interaction.offer);
            let channel = plan.channel(interaction.channel);
            if is_contact(interaction, channel.map(|c| rules.channel(c))) {
                self.count((rules, plan, inputs.now), (offer, channel, interaction.record), interaction.at);
            }
            if let Some(offer) = offer
                && interaction.outcomes.intersects(plan.suppressing)
            {
                self.mark(inputs, plan, (offer, channel), interaction);
            }
        }
        for held in inputs.reservations.iter().filter(|r| r.expires_at > inputs.now) {
            let channel = plan.channel(held.channel);
            let same = |i: &Interaction| is_of(i, held);
            let rule = channel.map(|c| rules.channel(c));
            if !inputs.profile.interactions.iter().any(|i| same(i) && is_contact(i, rule)) {
                self.count((rules, plan, inputs.now), (plan.offer(held.offer), channel, held.record), held.at);
            }
        }
    }

    /// Forgets the decision before and makes the tables those of a ruleset.
    fn forget(&mut self, plan: &Plan, rules: &Ruleset) {
        (self.reached, self.marked) = (false, false);
        self.by_record.clear();
        self.record_marks.clear();
        for at in self.contacts_touched.drain(..) {
            self.contacts[at as usize] = 0;
        }
        for at in self.marks_touched.drain(..) {
            self.marks[at as usize] = None;
        }
        self.contacts.resize(plan.limits.cells_len, 0);
        self.windows.clear();
        self.windows.resize(plan.limits.windows.len(), None);
        self.marks.resize(base(rules, Scope::All) + 1, None);
    }

    /// The first moment that counts in a window of the plan.
    fn from(&mut self, window: u16, (rules, plan, now): (&Ruleset, &Plan, Timestamp)) -> Timestamp {
        let at = usize::from(window);
        let window = plan.limits.windows[at];
        *self.windows[at].get_or_insert_with(|| window.from(now, &rules.time_zone))
    }

    fn count(
        &mut self,
        (rules, plan, now): (&Ruleset, &Plan, Timestamp),
        (offer, channel, record): (Option<OfferSlot>, Option<ChannelSlot>, RecordRef),
        at: Timestamp,
    ) {
        for limit in plan.limits.of_offer(offer) {
            if at >= self.from(limit.window, (rules, plan, now)) {
                self.count_on(limit, plan, (offer, channel, record));
            }
        }
    }

    fn count_on(
        &mut self,
        limit: &OfferLimit,
        plan: &Plan,
        (offer, channel, record): (Option<OfferSlot>, Option<ChannelSlot>, RecordRef),
    ) {
        match (limit.by_record, offer) {
            (false, _) => {
                if let Some(cell) = limit.cell(channel, &plan.kinds) {
                    self.add(limit.max, cell);
                }
            }
            (true, Some(offer)) if limit.looks(channel, &plan.kinds) => {
                let speaks = plan.offers.card(offer).each.is_some();
                self.add_record(limit, (offer, if speaks { record } else { RecordRef::NONE }));
            }
            (true, _) => {}
        }
    }

    fn add_record(&mut self, limit: &OfferLimit, (offer, record): (OfferSlot, RecordRef)) {
        let key = (limit.limit, offer, record);
        let at = self.by_record.iter().position(|one| (one.0, one.1, one.2) == key).unwrap_or_else(|| {
            self.by_record.push((key.0, key.1, key.2, 0));
            self.by_record.len() - 1
        });
        self.by_record[at].3 += 1;
        self.reached |= self.by_record[at].3 >= limit.max;
    }

    fn counted(&self, limit: &OfferLimit, (offer, record): (OfferSlot, RecordRef)) -> u32 {
        let key = (limit.limit, offer, record);
        self.by_record.iter().find(|one| (one.0, one.1, one.2) == key).map_or(0, |one| one.3)
    }

    fn add(&mut self, max: u32, cell: usize) {
        let count = &mut self.contacts[cell];
        if *count == 0 {
            self.contacts_touched.push(cell as u32);
        }
        *count += 1;
        self.reached |= *count >= max;
    }

    /// Counts a winner of this very page.
    pub fn count_winner(&mut self, plan: &Plan, (offer, channel, record): (OfferSlot, ChannelSlot, RecordRef)) {
        for limit in plan.limits.of_offer(Some(offer)) {
            self.count_on(limit, plan, (Some(offer), Some(channel), record));
        }
    }

    /// Whether the past may hold anything back at all.
    pub fn binds(&self) -> bool {
        self.reached || self.marked || self.wishes_no_more().is_some()
    }

    /// The customer's wish, when it allows no further contact.
    pub fn wishes_no_more(&self) -> Option<Weekly> {
        self.weekly.filter(|weekly| weekly.is_reached())
    }

    /// The first limit of an offer that is reached on a channel, and its count.
    pub fn limit_reached(
        &self,
        plan: &Plan,
        (offer, channel, record): (OfferSlot, ChannelSlot, RecordRef),
    ) -> Option<(LimitSlot, u32)> {
        if !self.reached {
            return None;
        }
        plan.limits.of_offer(Some(offer)).iter().find_map(|limit| {
            let count = match limit.by_record {
                true if limit.looks(Some(channel), &plan.kinds) => self.counted(limit, (offer, record)),
                true => return None,
                false => self.contacts[limit.cell(Some(channel), &plan.kinds)?],
            };
            (count >= limit.max).then_some((limit.limit, count))
        })
    }

    fn mark(
        &mut self,
        inputs: &Inputs<'_>,
        plan: &Plan,
        (offer, channel): (OfferSlot, Option<ChannelSlot>),
        interaction: &Interaction,
    ) {
        let rules = &*inputs.snapshot.ruleset;
        for rule in plan.suppressions_of(offer) {
            let outcome = rules.suppressions[*rule as usize].outcome;
            if interaction.outcomes.has(outcome) {
                self.apply(inputs, *rule, (rules.offer(offer), channel), interaction);
            }
        }
        for outcome in interaction.outcomes.iter() {
            for rule in plan.suppressions_after(outcome) {
                self.apply(inputs, *rule, (rules.offer(offer), channel), interaction);
            }
        }
    }

    fn apply(
        &mut self,
        inputs: &Inputs<'_>,
        index: u32,
        (offer, channel): (&Offer, Option<ChannelSlot>),
        interaction: &Interaction,
    ) {
        let rules = &*inputs.snapshot.ruleset;
        let rule = &rules.suppressions[index as usize];
        if !holds(rule, interaction, inputs.now) {
            return;
        }
        let Some(key) = key(rule.scope, false, Some(offer), channel) else { return };
        let reason = if rule.outcome == OutcomeType::Decline { interaction.reason } else { ReasonCode(0) };
        let mark = Mark {
            rule: index,
            reason,
            outcome: rule.outcome,
            until: happened_at(rule, interaction).plus_us(rule.for_us),
        };
        let by_record = rule.scope == Scope::Record && offer.each.is_some();
        let record = if by_record { interaction.record } else { RecordRef::NONE };
        if rule.count <= 1 || self.tally(index, (key as u32, record)) >= rule.count {
            match rule.scope {
                Scope::Record if offer.each.is_some() => self.place_record((offer.slot, record), mark),
                Scope::Record => self.place(base(rules, Scope::Offer) + key, mark),
                scope => self.place(base(rules, scope) + key, mark),
            }
        }
    }

    fn tally(&mut self, rule: u32, key: (u32, RecordRef)) -> u32 {
        if let Some(found) = self.tallies.iter_mut().find(|t| t.rule == rule && t.key == key) {
            found.seen += 1;
            return found.seen;
        }
        self.tallies.push(Tally { rule, key, seen: 1 });
        1
    }

    fn place_record(&mut self, (offer, record): (OfferSlot, RecordRef), mark: Mark) {
        self.marked = true;
        match self.record_marks.iter_mut().find(|one| (one.0, one.1) == (offer, record)) {
            Some(old) if mark.rank() < old.2.rank() => old.2 = mark,
            Some(_) => {}
            None => self.record_marks.push((offer, record, mark)),
        }
    }

    fn place(&mut self, at: usize, mark: Mark) {
        self.marked = true;
        let slot = &mut self.marks[at];
        if slot.is_none() {
            self.marks_touched.push(at as u32);
        }
        if slot.is_none_or(|old| mark.rank() < old.rank()) {
            *slot = Some(mark);
        }
    }

    /// What suppresses an offer on a channel, for a record, if anything.
    pub fn suppressed(
        &self,
        rules: &Ruleset,
        offer: &Offer,
        (channel, record): (ChannelSlot, RecordRef),
    ) -> Option<Mark> {
        if !self.marked {
            return None;
        }
        let of_record = self.record_marks.iter().find(|one| (one.0, one.1) == (offer.slot, record)).map(|one| one.2);
        [Scope::Offer, Scope::Group, Scope::Issue, Scope::Channel, Scope::All]
            .into_iter()
            .filter_map(|scope| {
                let key = key(scope, false, Some(offer), Some(channel))?;
                self.marks[base(rules, scope) + key]
            })
            .chain(of_record)
            .min_by_key(|mark| mark.rank())
    }
}

/// Whether an interaction is of what a reservation holds.
pub(super) fn is_of(interaction: &Interaction, held: &Reservation) -> bool {
    (interaction.decision, interaction.offer, interaction.channel, interaction.record)
        == (held.decision, held.offer, held.channel, held.record)
}

/// Whether an interaction reached the person as its channel counts it.
pub(super) fn is_contact(interaction: &Interaction, channel: Option<&Channel>) -> bool {
    let outcomes = interaction.outcomes;
    channel.map_or(outcomes.intersects(OutcomeSet::REACHED), |channel| channel.counts(outcomes))
}

/// Whether a limit looks at a channel.
pub(super) fn counts_on(limit: &Limit, rules: &Ruleset, channel: Option<ChannelSlot>) -> bool {
    let kind = || channel.map(|slot| rules.channel(slot).kind);
    limit.channel.is_none_or(|wanted| channel == Some(wanted))
        && limit.channel_kind.is_none_or(|wanted| kind() == Some(wanted))
}

/// Whether an outcome is of the rule's kind and still within its time.
fn holds(rule: &Suppression, interaction: &Interaction, now: Timestamp) -> bool {
    let at = happened_at(rule, interaction);
    rule.reason.is_none_or(|wanted| wanted == interaction.reason) && now.since_us(at) < rule.for_us
}

/// When the outcome came that a rule looks at.
fn happened_at(rule: &Suppression, interaction: &Interaction) -> Timestamp {
    match rule.outcome {
        OutcomeType::Decided
        | OutcomeType::Impression
        | OutcomeType::Handoff
        | OutcomeType::Cancelled
        | OutcomeType::NoResponse => interaction.at,
        _ => interaction.answered_at.max(interaction.at),
    }
}

/// The counter a thing belongs to within a scope.
pub(super) fn key(scope: Scope, single: bool, offer: Option<&Offer>, channel: Option<ChannelSlot>) -> Option<usize> {
    match scope {
        Scope::Offer if single => Some(0),
        Scope::Offer | Scope::Record => offer.map(|o| o.slot.index()),
        Scope::Group => offer.map(|o| o.group.index()),
        Scope::Issue => offer.map(|o| o.issue.index()),
        Scope::Channel => channel.map(|c| c.index()),
        Scope::All => Some(0),
    }
}

/// Where the marks of a scope begin; those of records stand elsewhere.
fn base(rules: &Ruleset, scope: Scope) -> usize {
    let sizes = [rules.offers.len(), rules.groups.len(), rules.issues.len(), rules.channels.len()];
    let before = match scope {
        Scope::Offer | Scope::Record => 0,
        Scope::Group => 1,
        Scope::Issue => 2,
        Scope::Channel => 3,
        Scope::All => 4,
    };
    sizes[..before].iter().sum()
}
