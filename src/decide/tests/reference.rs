//! The whole ranking again, slow and obvious: everything is recomputed for
//! every candidate from the inputs, by names, without tables.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use super::{build::*, random};
use crate::{decide::in_holdout, domain::*, rules::*};

/// Reason per (index of the placement, offer, channel); `None` for winners.
type Verdicts = BTreeMap<(usize, String, String), Option<Reason>>;

struct Answer {
    winners: Vec<(usize, String, String)>,
    verdicts: Verdicts,
    silences: Vec<Option<SilenceReason>>,
}

struct Slow<'a> {
    case: &'a Case,
    rules: &'a Ruleset,
    page: Vec<(&'a Offer, &'a Channel)>,
}

fn reference(case: &Case) -> Answer {
    let rules = &case.snapshot.ruleset;
    let mut slow = Slow { case, rules, page: Vec::new() };
    let mut answer = Answer { winners: Vec::new(), verdicts: Verdicts::new(), silences: Vec::new() };
    if case.request.placements.is_empty() {
        slow.question(0, None, 1, &mut answer);
    }
    for (at, ask) in case.request.placements.iter().enumerate() {
        match rules.placements.iter().find(|p| p.name.as_ref() == ask.name.as_ref()) {
            Some(placement) => slow.question(at, Some(placement), placement.slots, &mut answer),
            None => answer.silences.push(None),
        }
    }
    answer
}

impl<'a> Slow<'a> {
    fn question(&mut self, at: usize, placement: Option<&'a Placement>, slots: u16, answer: &mut Answer) {
        let mut verdicts: Vec<((String, String), Option<Reason>)> = Vec::new();
        let mut open: Vec<(&Offer, &Channel, f64)> = Vec::new();
        for offer in &self.rules.offers {
            if let Some(reason) = self.before_channels(offer, placement) {
                verdicts.push(((offer.name_id.to_string(), String::new()), Some(reason)));
                continue;
            }
            for channel in self.channels(offer, placement) {
                let (verdict, net) = match self.candidate(offer, channel, placement) {
                    Ok(net) => (None, net),
                    Err(reason) => (Some(reason), 0.0),
                };
                verdicts.push(((offer.name_id.to_string(), channel.name.to_string()), verdict));
                if verdict.is_none() {
                    open.push((offer, channel, net));
                }
            }
        }
        let won = self.arbitrate(open, slots, &mut verdicts);
        for (offer, channel) in &won {
            answer.winners.push((at, offer.name_id.to_string(), channel.name.to_string()));
        }
        let furthest = verdicts.iter().filter_map(|v| v.1).map(silence).max();
        answer.silences.push(won.is_empty().then(|| furthest.unwrap_or(SilenceReason::NoOffers)));
        answer.verdicts.extend(verdicts.into_iter().map(|((o, c), v)| ((at, o, c), v)));
    }

    fn before_channels(&self, offer: &Offer, placement: Option<&Placement>) -> Option<Reason> {
        let (request, now) = (&self.case.request, self.case.now);
        let meant = placement.map_or(offer.open, |p| offer.placements.contains(&p.slot));
        let runs = offer.schedule.0.is_none_or(|f| f <= now) && offer.schedule.1.is_none_or(|u| now < u);
        let holds = |c: &Option<Arc<Condition>>| c.as_ref().is_none_or(|c| self.truth(c) == Truth::True);
        [
            (!meant, Reason::NotForPlacement),
            (!runs, Reason::OutsideSchedule),
            (request.purpose.is_some_and(|p| p != offer.purpose), Reason::OtherPurpose),
            (request.exclude_offers.contains(&offer.id), Reason::ExcludedByRequest),
            (offer.verified && request.assurance != Assurance::Verified, Reason::NotVerified),
            (offer.paused || self.is_offer_paused(offer), Reason::Paused),
            (!holds(&offer.eligibility), Reason::NotEligible),
            (!holds(&offer.applicability), Reason::NotApplicable),
            (!holds(&offer.suitability), Reason::NotSuitable),
            (placement.is_none() && self.channels(offer, None).is_empty(), Reason::NoTreatment),
        ]
        .into_iter()
        .find_map(|(drops, reason)| drops.then_some(reason))
    }

    fn is_offer_paused(&self, offer: &Offer) -> bool {
        let issue = &self.rules.issues[offer.issue.index()].name;
        let group = &self.rules.groups[offer.group.index()];
        let things = [(PauseKind::Offer, &offer.name_id), (PauseKind::Issue, issue), (PauseKind::Group, group)];
        things.iter().any(|(kind, id)| self.is_paused(*kind, id))
    }

    fn is_paused(&self, kind: PauseKind, id: &str) -> bool {
        self.case.snapshot.pauses.list.iter().any(|p| p.kind == kind && *p.id == *id)
    }

    fn channels(&self, offer: &Offer, placement: Option<&Placement>) -> Vec<&'a Channel> {
        let named = &self.case.request.allowed_channels;
        let has = |c: &&Channel| named.contains(&c.id) || offer.treatments.iter().any(|t| t.channel == c.slot);
        match placement {
            Some(placement) => vec![self.rules.channel(placement.channel)],
            None => self.rules.channels.iter().filter(has).collect(),
        }
    }

    fn cell(&self, def: &AttributeDef) -> Cell {
        let (profile, request) = (&self.case.profile, &self.case.request);
        let known = self.case.matched == Match::Known;
        let stored = profile.permission(None, ConsentPurpose::Profiling) == Permission::Granted;
        let profiling = known && stored && request.page_consent.profiling != Permission::Denied;
        let at = |found: Option<usize>| found.map(|at| at as u16);
        if def.verified && request.assurance != Assurance::Verified {
            return Cell::Unverified;
        }
        let found = match &def.source {
            _ if def.behavioural && !profiling => None,
            AttributeSource::Trait(wanted) => Some(crate::customer::traits::read(wanted, profile, self.case.now)),
            AttributeSource::Stored => at(profile.attributes.iter().position(|a| a.id == def.id)).map(Cell::Stored),
            AttributeSource::Records(_) | AttributeSource::RecordKey(_) | AttributeSource::RecordField(..) => None,
            AttributeSource::Context => at(request.context.iter().position(|a| a.0 == def.id)).map(Cell::Context),
        };
        found.unwrap_or(match &def.default {
            Some(_) => Cell::Default,
            None if def.kind == AttributeType::Set => Cell::EmptySet,
            None => Cell::Missing,
        })
    }

    fn with_facts<T>(&self, read: impl FnOnce(&Facts<'_>) -> T) -> T {
        let schema = &self.rules.schema;
        let cells: Vec<Cell> = schema.attributes.iter().map(|def| self.cell(def)).collect();
        let (profile, request, now) = (&self.case.profile, &self.case.request, self.case.now);
        read(&Facts { cells: &cells, derived: &[], schema, profile, request, now, record: None })
    }

    fn truth(&self, condition: &Condition) -> Truth {
        self.with_facts(|facts| condition.truth(facts))
    }

    fn text(&self, slot: Option<AttrSlot>) -> Option<String> {
        let slot = slot?;
        self.with_facts(|facts| if let ValueRef::Text(t) = facts.get(slot) { Some(t.to_owned()) } else { None })
    }

    fn candidate(&self, offer: &Offer, channel: &Channel, placement: Option<&Placement>) -> Result<f64, Reason> {
        self.reach(offer, channel)?;
        self.contact(offer, channel, placement)?;
        let value = self.with_facts(|facts| offer.value.value(facts)).ok_or(Reason::ValueUnknown)?;
        let marketing = offer.purpose == Purpose::Marketing && !offer.holdout_exempt;
        if marketing && self.case.matched == Match::Known && in_holdout(self.rules, self.case.profile.arm_key) {
            return Err(Reason::Holdout);
        }
        let preference = self.with_facts(|facts| match channel.preference.map(|p| facts.get(p)) {
            Some(ValueRef::Double(v)) => v,
            _ => 1.0,
        });
        let net = offer.base_rate.unwrap_or(channel.base_rate) * (value - channel.cost) * preference * offer.lever;
        if self.page.iter().any(|w| w.0.slot == offer.slot) {
            Err(Reason::Duplicate)
        } else if net <= 0.0 {
            Err(Reason::NothingIsBetter)
        } else if offer.floor.is_some_and(|f| net < f) {
            Err(Reason::BelowFloor)
        } else {
            Ok(net)
        }
    }

    fn reach(&self, offer: &Offer, channel: &Channel) -> Result<(), Reason> {
        let (profile, request) = (&self.case.profile, &self.case.request);
        let stored = self.text(self.rules.language_attribute);
        let mut reads: Vec<String> = request.languages.iter().map(|l| l.to_string()).collect();
        reads.extend(stored.into_iter().chain(["en".to_owned()]));
        let suits = |t: &Treatment| reads.iter().any(|l| l.split('-').next() == t.language.split('-').next());
        let outbound = self.we_reach_out(channel);
        let mut said = profile.permission(Some(channel.id), offer.purpose.into());
        if offer.purpose == Purpose::Marketing && request.page_consent.marketing == Permission::Denied {
            said = Permission::Denied;
        }
        let unasked = offer.purpose == Purpose::Marketing && said == Permission::Unknown;
        let unaddressed = channel.address.is_some() && self.text(channel.address).is_none();
        let allowed = &request.allowed_channels;
        let drops = [
            (self.is_paused(PauseKind::Channel, &channel.name), Reason::Paused),
            (!allowed.is_empty() && !allowed.contains(&channel.id), Reason::ChannelNotAllowed),
            (!offer.treatments.iter().any(|t| t.channel == channel.slot && suits(t)), Reason::NoTreatment),
            (outbound && profile.do_not_contact.is_some(), Reason::DoNotContact),
            (outbound && said == Permission::Denied, Reason::OptedOut),
            (outbound && unasked, Reason::NoPermission),
            (outbound && (unaddressed || self.case.matched != Match::Known), Reason::NoAddress),
        ];
        drops.into_iter().find_map(|(drops, reason)| drops.then_some(reason)).map_or(Ok(()), Err)
    }

    fn contact(&self, offer: &Offer, channel: &Channel, placement: Option<&Placement>) -> Result<(), Reason> {
        let mut rules = self.rules.suppressions.iter().filter(|s| self.suppresses(s, offer, channel)).peekable();
        if rules.peek().is_some() {
            let declined = rules.any(|s| s.outcome == OutcomeType::Decline);
            return Err(if declined { Reason::RecentlyDeclined } else { Reason::Suppressed });
        }
        if self.over_a_limit(offer, channel) {
            return Err(Reason::LimitReached);
        }
        let windowed = placement.is_none() && self.we_reach_out(channel);
        let window = if windowed { self.case.request.send_window } else { SendWindow::default() };
        let mut start = self.case.now.max(window.from.unwrap_or(self.case.now));
        if let Some(end) = self.quiet_until(channel, start) {
            let waits = channel.quiet_hours.as_ref().is_some_and(|q| q.wait) && placement.is_none();
            if !waits || offer.schedule.1.is_some_and(|u| end >= u) {
                return Err(Reason::QuietHours);
            }
            start = end;
        }
        let too_late = |end: Option<Timestamp>| end.is_some_and(|end| start >= end);
        if too_late(window.until) || too_late(offer.schedule.1) {
            return Err(Reason::OutsideSendWindow);
        }
        if self.case.exhausted.contains(&offer.slot) {
            return Err(Reason::BudgetExhausted);
        }
        self.case.denied.iter().find(|d| d.offer == offer.slot).map_or(Ok(()), |d| Err(d.reason))
    }

    fn we_reach_out(&self, channel: &Channel) -> bool {
        match channel.kind {
            ChannelKind::SelfService => false,
            ChannelKind::Assisted => self.case.request.placements.is_empty(),
            ChannelKind::Outbound => true,
        }
    }

    fn quiet_until(&self, channel: &Channel, start: Timestamp) -> Option<Timestamp> {
        let hours = channel.quiet_hours.as_ref().filter(|_| self.we_reach_out(channel))?;
        let named = self.text(self.rules.time_zone_attribute).and_then(|n| jiff::tz::TimeZone::get(&n).ok());
        let zone = named.unwrap_or(self.rules.time_zone.clone());
        let quiet = |at: Timestamp| {
            let local = zone.to_datetime(jiff::Timestamp::from_microsecond(at.0).expect("in range"));
            let minute = local.hour() as u16 * 60 + local.minute() as u16;
            minute >= hours.from_minute || minute < hours.until_minute
        };
        let minutes = (0..2000).map(|m| start.plus_us(m * 60_000_000));
        quiet(start).then(|| minutes.into_iter().find(|at| !quiet(*at)).expect("an end"))
    }

    /// Whether two (offer, channel) pairs count together in a scope.
    fn together(&self, scope: Scope, of: (Option<&Offer>, Option<&Channel>), with: (&Offer, &Channel)) -> bool {
        match scope {
            Scope::Offer | Scope::Record => of.0.is_some_and(|o| o.slot == with.0.slot),
            Scope::Group => of.0.is_some_and(|o| o.group == with.0.group),
            Scope::Issue => of.0.is_some_and(|o| o.issue == with.0.issue),
            Scope::Channel => of.1.is_some_and(|c| c.slot == with.1.slot),
            Scope::All => true,
        }
    }

    fn thing(&self, offer: OfferId, channel: ChannelId) -> (Option<&'a Offer>, Option<&'a Channel>) {
        let offer = self.rules.offers.iter().find(|o| o.id == offer);
        (offer, self.rules.channels.iter().find(|c| c.id == channel))
    }

    fn suppresses(&self, rule: &Suppression, offer: &Offer, channel: &Channel) -> bool {
        let hits = self.case.profile.interactions.iter().filter(|i| {
            let thing = self.thing(i.offer, i.channel);
            thing.0.is_some()
                && i.outcomes.has(rule.outcome)
                && rule.reason.is_none_or(|r| r == i.reason)
                && rule.offer.is_none_or(|o| thing.0.is_some_and(|t| t.slot == o))
                && i.at > self.case.now.plus_us(-rule.for_us)
                && self.together(rule.scope, thing, (offer, channel))
        });
        hits.count() >= rule.count as usize
    }

    fn is_contact(&self, seen: &Interaction) -> bool {
        let channel = self.thing(seen.offer, seen.channel).1;
        let counts = channel.is_some_and(|c| seen.outcomes.intersects(c.counts_on));
        seen.outcomes.intersects(OutcomeSet::REACHED) || counts && !seen.outcomes.has(OutcomeType::Cancelled)
    }

    fn over_a_limit(&self, offer: &Offer, channel: &Channel) -> bool {
        let seen = &self.case.profile.interactions;
        let mut contacts: Vec<_> = seen
            .iter()
            .filter(|i| self.is_contact(i))
            .map(|i| (self.thing(i.offer, i.channel), i.at, i.decision, i.offer, i.channel))
            .collect();
        for held in self.case.reservations.iter().filter(|r| self.case.now < r.expires_at) {
            let key = (held.decision, held.offer, held.channel);
            if !contacts.iter().any(|c| (c.2, c.3, c.4) == key) {
                contacts.push((self.thing(held.offer, held.channel), held.at, held.decision, held.offer, held.channel));
            }
        }
        let page = self.page.iter().map(|w| ((Some(w.0), Some(w.1)), self.case.now));
        let contacts: Vec<_> = contacts.into_iter().map(|c| (c.0, c.1)).chain(page).collect();
        let looks = |limit: &&Limit, of: (Option<&Offer>, Option<&Channel>)| {
            let unknown = of.0.is_none();
            let whole = matches!(limit.scope, Scope::Channel | Scope::All);
            limit.channel.is_none_or(|c| of.1.is_some_and(|o| o.slot == c))
                && limit.channel_kind.is_none_or(|k| of.1.is_some_and(|o| o.kind == k))
                && limit.purpose.is_none_or(|p| unknown || of.0.is_some_and(|o| o.purpose == p))
                && limit.group.is_none_or(|g| of.0.is_some_and(|o| o.group == g))
                && limit.offer.is_none_or(|l| of.0.is_some_and(|o| o.slot == l))
                && (!unknown || whole)
        };
        self.rules.limits.iter().filter(|l| looks(l, (Some(offer), Some(channel)))).any(|limit| {
            let from = self.window_from(limit.window);
            let counted = contacts.iter().filter(|(of, at)| {
                *at >= from && looks(&limit, *of) && self.together(limit.scope, *of, (offer, channel))
            });
            counted.count() >= limit.max as usize
        })
    }

    fn window_from(&self, window: Window) -> Timestamp {
        let now = jiff::Timestamp::from_microsecond(self.case.now.0).expect("in range");
        let day = now.to_zoned(self.rules.time_zone.clone()).start_of_day().expect("a day");
        let start = match window {
            Window::Rolling(us) => return Timestamp(self.case.now.0 - us + 1),
            Window::Day => day,
            Window::Month => day.first_of_month().expect("a month"),
            Window::Week => {
                let mut start = day;
                while start.weekday() != jiff::civil::Weekday::Monday {
                    start = start.yesterday().expect("a day");
                }
                start
            }
        };
        Timestamp(start.timestamp().as_microsecond())
    }

    fn arbitrate(
        &mut self,
        mut open: Vec<(&'a Offer, &'a Channel, f64)>,
        slots: u16,
        verdicts: &mut [((String, String), Option<Reason>)],
    ) -> Vec<(&'a Offer, &'a Channel)> {
        let mut set = |offer: &Offer, channel: &Channel, reason| {
            let key = (offer.name_id.to_string(), channel.name.to_string());
            let found = verdicts.iter_mut().find(|v| v.0 == key).expect("a candidate");
            found.1 = Some(reason);
        };
        let kept =
            |offer: &Offer| self.case.keep_order.iter().position(|kept| kept.0 == offer.slot).unwrap_or(usize::MAX);
        open.sort_by(|a, b| {
            let names = (&a.0.name_id, &a.1.name).cmp(&(&b.0.name_id, &b.1.name));
            let net = b.2.partial_cmp(&a.2).unwrap_or(Ordering::Equal);
            kept(a.0).cmp(&kept(b.0)).then(net).then(names)
        });
        let mut won: Vec<(&Offer, &Channel)> = Vec::new();
        while won.len() < usize::from(slots) && !open.is_empty() {
            if !won.is_empty() {
                for (offer, channel, _) in open.iter().filter(|o| self.over_a_limit(o.0, o.1)) {
                    set(offer, channel, Reason::LimitReached);
                }
                open.retain(|o| !self.over_a_limit(o.0, o.1));
            }
            if !open.is_empty() {
                let (offer, channel, _) = open.remove(0);
                won.push((offer, channel));
                self.page.push((offer, channel));
            }
        }
        for (offer, channel, _) in open {
            let same = won.iter().any(|w| w.0.slot == offer.slot);
            set(offer, channel, if same { Reason::OtherChannel } else { Reason::Outranked });
        }
        won
    }
}

fn silence(reason: Reason) -> SilenceReason {
    match reason {
        Reason::Holdout => SilenceReason::Holdout,
        r => match r.stage() {
            Stage::Retrieve => SilenceReason::NoOffers,
            Stage::Engagement => SilenceReason::NothingEligible,
            Stage::Reach => SilenceReason::NotReachable,
            Stage::Contact => SilenceReason::ContactPolicy,
            _ if reason == Reason::Duplicate => SilenceReason::OnPageAlready,
            _ => SilenceReason::NotWorthIt,
        },
    }
}

fn fast(case: &Case) -> Answer {
    let ranking = case.rank();
    let rules = &case.snapshot.ruleset;
    let mut answer = Answer { winners: Vec::new(), verdicts: Verdicts::new(), silences: Vec::new() };
    for (at, placement) in ranking.placements.iter().enumerate() {
        answer.silences.push(placement.silence);
        for w in ranking.winners_of(at) {
            assert_eq!(w.factors.choice_probability, 1.0);
            let (offer, channel) = (&rules.offer(w.offer).name_id, &rules.channel(w.channel).name);
            answer.winners.push((at, offer.to_string(), channel.to_string()));
        }
    }
    let at = |name: &str| case.request.placements.iter().position(|p| &*p.name == name).unwrap_or(0);
    for v in ranking.verdicts.iter().flat_map(|v| v.iter()) {
        let channel = v.channel.as_deref().unwrap_or_default().to_owned();
        answer.verdicts.insert((at(&v.placement), v.offer.to_string(), channel), v.reason);
    }
    answer
}

#[test]
fn ranking_equals_the_slow_reference() {
    let (mut won, mut seen) = (0, std::collections::BTreeMap::new());
    for seed in 0..1_000 {
        let case = random::case(seed);
        let (slow, fast) = (reference(&case), fast(&case));
        assert_eq!(fast.verdicts, slow.verdicts, "seed {seed}");
        assert_eq!(fast.winners, slow.winners, "seed {seed}");
        assert_eq!(fast.silences, slow.silences, "seed {seed}");
        won += fast.winners.len();
        for reason in fast.verdicts.values().flatten() {
            *seen.entry(*reason).or_insert(0) += 1;
        }
    }
    // The comparison is worth something only when everything happens.
    assert!(won > 250, "{won}");
    let rare: Vec<_> = Reason::ALL.iter().filter(|r| seen.get(r).copied().unwrap_or(0) < 3).collect();
    // offers for each record have tests of their own
    assert_eq!(rare, [&Reason::NoItems, &Reason::RenderFailed, &Reason::NotLookedAt]);
}
