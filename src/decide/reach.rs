//! Stage 3: through which channels an offer can and may reach the person, and
//! in which language. A pause of a channel stands above all else: candidates on
//! it are dropped first, and are not eligible.

use crate::{
    customer::permissions,
    domain::{
        ChannelSlot, Match, OfferSet, OfferSlot, Permission, Purpose, Reason, Request, SendWindow, Timestamp, ValueRef,
    },
    rules::{Channel, ChannelKind, Need},
};

use super::{
    Inputs, PairSet, contact,
    pass::Pass,
    question::Question,
    scratch::{Candidate, Tables},
    trace::Detail,
};

/// A language that does not suit the person.
const UNSUITED: u16 = u16::MAX;

/// Which of a list of languages suits the person best.
#[derive(Clone, Copy)]
pub(super) enum Suited {
    /// The list is empty.
    Empty,
    /// None does.
    Unsuited,
    /// The one at this place.
    At(u16),
}

/// What holds on a channel for the whole decision, whatever the offer.
#[derive(Clone, Copy)]
pub(super) struct ChannelState {
    /// Why nothing may use it: it is paused, or the request does not allow it.
    pub barred: Option<Reason>,
    /// Why marketing must not use it or cannot reach the person.
    marketing: Option<(Reason, Detail)>,
    /// Why service must not use it or cannot reach the person.
    service: Option<(Reason, Detail)>,
    /// The end of quiet hours that hold now, or where the request's send window
    /// begins later, then.
    pub quiet_until: Option<Timestamp>,
    /// Whether the request's send window holds: it is given, and an open question
    /// reaches out here.
    pub windowed: bool,
    /// The customer's preference for it, 1 is neutral.
    pub preference: f64,
}

impl ChannelState {
    /// Whether anything here holds back what is said now.
    pub fn binds(&self) -> bool {
        self.quiet_until.is_some() || self.windowed
    }

    /// The send window that holds here.
    pub fn window(&self, request: &Request) -> SendWindow {
        if self.windowed { request.send_window } else { SendWindow::default() }
    }

    /// The first moment at which anything may be said: now, or when the send
    /// window begins, or when quiet hours end.
    pub fn starts_at(&self, inputs: &Inputs<'_>) -> Timestamp {
        let from = self.quiet_until.or(self.window(inputs.request).from);
        from.map_or(inputs.now, |from| from.max(inputs.now))
    }
}

/// Turns offers into (offer, channel) candidates: the placement's channel, or
/// for an open question every channel the offer has a treatment for.
pub(super) fn reach(pass: &mut Pass<'_>, question: &Question<'_>) {
    pass.tables.pool.clear();
    // Taken out and put back, so that the stage can write beside it.
    let offers = std::mem::take(&mut pass.tables.offers);
    match question.placement {
        Some(placement) => {
            let state = state(pass, placement.channel);
            if state.barred.is_none() {
                PairSet::add(&mut pass.ranking.eligible, placement.channel, &offers, &offers);
            }
            offers.iter().for_each(|offer| pair(pass, offer, placement.channel, &state));
        }
        None => {
            pair_all(pass, question, &offers);
            note_eligible(pass, &offers);
        }
    }
    pass.tables.offers = offers;
}

/// Pairs the offers of an open question with their channels.
fn pair_all(pass: &mut Pass<'_>, question: &Question<'_>, offers: &OfferSet) {
    let treatments = &pass.plan.treatments;
    for offer in offers.iter() {
        let before = pass.tables.pool.len();
        for channel in channels(pass) {
            // a channel asked for by name gets a verdict even without a treatment
            if treatments.present(channel).contains(offer) || named(pass, channel) {
                let state = state(pass, channel);
                pair(pass, offer, channel, &state);
            }
        }
        if pass.tables.pool.len() == before {
            pass.count(Reason::NoTreatment, 1);
            pass.list_offer(question, offer, Reason::NoTreatment);
        }
    }
}

/// Notes the pairs of an open question that no channel bars.
fn note_eligible(pass: &mut Pass<'_>, offers: &OfferSet) {
    for channel in channels(pass) {
        if state(pass, channel).barred.is_none() {
            let present = pass.plan.treatments.present(channel);
            let within = if named(pass, channel) { offers } else { present };
            PairSet::add(&mut pass.ranking.eligible, channel, offers, within);
        }
    }
}

fn channels(pass: &Pass<'_>) -> impl Iterator<Item = ChannelSlot> + use<> {
    (0..pass.plan.channels_len()).map(|at| ChannelSlot(at as u16))
}

/// Whether the request names the channel as allowed.
fn named(pass: &Pass<'_>, channel: ChannelSlot) -> bool {
    pass.inputs.request.allowed_channels.contains(&pass.rules.channel(channel).id)
}

/// Pairs an offer with a channel: once, or for each of its records.
fn pair(pass: &mut Pass<'_>, offer: OfferSlot, channel: ChannelSlot, state: &ChannelState) {
    let candidate = candidate(pass, (offer, channel), state);
    if pass.plan.offers.card(offer).each.is_none() {
        return pass.tables.pool.push(candidate);
    }
    let Tables { records, pool, .. } = &mut *pass.tables;
    let passing = records.of(offer).iter().filter(|looked| looked.dropped.is_none());
    pool.extend(passing.map(|looked| Candidate { record: Some(looked.record), ..candidate }));
}

fn candidate(pass: &mut Pass<'_>, (offer, channel): (OfferSlot, ChannelSlot), state: &ChannelState) -> Candidate {
    let mut candidate = Candidate::new(offer, channel);
    let refused = match pass.plan.offers.card(offer).purpose {
        Purpose::Marketing => state.marketing,
        Purpose::Service => state.service,
    };
    if let Some(reason) = state.barred {
        candidate.drop_for(reason, Detail::None);
    } else {
        match (treatment(pass, offer, channel), refused) {
            (Err(detail), _) => candidate.drop_for(Reason::NoTreatment, detail),
            (Ok(_), Some((reason, detail))) => candidate.drop_for(reason, detail),
            (Ok(index), None) => candidate.treatment = index,
        }
    }
    candidate
}

/// The treatment in the language that suits the person best.
#[inline]
fn treatment(pass: &mut Pass<'_>, offer: OfferSlot, channel: ChannelSlot) -> Result<u16, Detail> {
    let range = pass.plan.treatments.range(offer, channel);
    let suited = match pass.tables.suited[usize::from(range.list)] {
        Some(suited) => suited,
        None => suit(pass, range.list),
    };
    match suited {
        Suited::Empty => Err(Detail::None),
        Suited::Unsuited => Err(Detail::Language),
        Suited::At(at) => Ok(range.first + at),
    }
}

/// Finds the best language of a list, once per decision.
fn suit(pass: &mut Pass<'_>, list: u16) -> Suited {
    let languages = pass.plan.treatments.languages_of(list).iter().enumerate();
    let ranked = languages.map(|(at, language)| (pass.tables.language_ranks[usize::from(*language)], at));
    let suited = match ranked.min() {
        None => Suited::Empty,
        Some((UNSUITED, _)) => Suited::Unsuited,
        Some((_, at)) => Suited::At(at as u16),
    };
    pass.tables.suited[usize::from(list)] = Some(suited);
    suited
}

/// Ranks the plan's languages for the person: those of the request, then the
/// one wished, then the stored one, then the ruleset's default; for each the
/// exact tag, then the plain primary subtag, then any with the same primary
/// subtag.
pub(super) fn rank_languages(pass: &mut Pass<'_>) {
    let stored = pass.rules.language_attribute.map(|slot| pass.facts.get(slot));
    let stored = stored.and_then(|value| if let ValueRef::Text(text) = value { Some(text) } else { None });
    let wished = permissions::wishes(pass.inputs.profile).language;
    let (request, default) = (pass.inputs.request, &*pass.rules.default_language);
    let ranks = &mut pass.tables.language_ranks;
    ranks.clear();
    for language in &pass.plan.treatments.languages {
        let wanted = request.languages.iter().map(|l| &**l).chain(wished).chain(stored).chain([default]);
        let rank = wanted
            .enumerate()
            .find_map(|(at, wanted)| closeness(wanted, language).map(|close| (at * 3) as u16 + close));
        ranks.push(rank.unwrap_or(UNSUITED));
    }
}

/// 0 the same tag, 1 its primary subtag, 2 a sibling; tags ignore case.
fn closeness(wanted: &str, offered: &str) -> Option<u16> {
    let primary = |tag: &str| tag.len().min(tag.find(['-', '_']).unwrap_or(tag.len()));
    let (wanted_primary, offered_primary) = (&wanted[..primary(wanted)], &offered[..primary(offered)]);
    if wanted.eq_ignore_ascii_case(offered) {
        Some(0)
    } else if !wanted_primary.eq_ignore_ascii_case(offered_primary) {
        None
    } else if offered.len() == offered_primary.len() {
        Some(1)
    } else {
        Some(2)
    }
}

/// What holds on a channel, worked out when it is first asked for.
pub(super) fn state(pass: &mut Pass<'_>, slot: ChannelSlot) -> ChannelState {
    if let Some(state) = pass.tables.channels[slot.index()] {
        return state;
    }
    let channel = pass.rules.channel(slot);
    let request = pass.inputs.request;
    let opening = Opening::of(request, channel);
    let barred = if pass.paused.channels[slot.index()] {
        Some(Reason::Paused)
    } else if !request.allowed_channels.is_empty() && !request.allowed_channels.contains(&channel.id) {
        Some(Reason::ChannelNotAllowed)
    } else {
        None
    };
    let unaddressed = (opening == Opening::Ours && unaddressed(pass, channel))
        .then(|| (Reason::NoAddress, channel.address.map_or(Detail::None, Detail::Address)));
    let refused = |purpose| {
        let refusal = refusal(pass, channel, purpose, opening);
        refusal.map(|reason| (reason, Detail::Consent(purpose))).or(unaddressed)
    };
    let windowed = opening == Opening::Ours && request.placements.is_empty() && request.send_window.is_set();
    let now = pass.inputs.now;
    let starts_at = request.send_window.from.filter(|_| windowed).map_or(now, |from| from.max(now));
    let state = ChannelState {
        barred,
        marketing: refused(Purpose::Marketing),
        service: refused(Purpose::Service),
        quiet_until: if opening == Opening::Ours { contact::quiet_until(pass, channel, starts_at) } else { None },
        windowed,
        preference: preference(pass, channel),
    };
    pass.tables.channels[slot.index()] = Some(state);
    state
}

/// Who opens the conversation of a decision on a channel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// The person came: a page, an incoming call.
    Theirs,
    /// We reach out: always where the channel is outbound; on an assisted one
    /// when nobody asked, which makes the answer to an open question a call.
    Ours,
}

impl Opening {
    /// Of a request on a channel.
    pub fn of(request: &Request, channel: &Channel) -> Self {
        match channel.kind {
            ChannelKind::SelfService => Opening::Theirs,
            ChannelKind::Assisted if request.placements.is_empty() => Opening::Ours,
            ChannelKind::Assisted => Opening::Theirs,
            ChannelKind::Outbound => Opening::Ours,
        }
    }
}

/// Why a purpose must not use a channel. Nobody is contacted who forbade it
/// altogether; what the person opened needs what its rules declare. Reaching
/// out on an assisted channel needs at least what outbound needs by default.
/// Where the person's word could not be read it may be a no: no marketing.
fn refusal(pass: &Pass<'_>, channel: &Channel, purpose: Purpose, opening: Opening) -> Option<Reason> {
    let (profile, page) = (pass.inputs.profile, pass.inputs.request.page_consent);
    if opening == Opening::Ours && profile.do_not_contact.is_some() {
        return Some(Reason::DoNotContact);
    }
    if purpose == Purpose::Marketing && pass.inputs.answer_unread() {
        return Some(Reason::NoPermission);
    }
    let calls = channel.kind == ChannelKind::Assisted && opening == Opening::Ours;
    let need = match (purpose, calls) {
        (Purpose::Marketing, true) => Need::OptIn,
        (Purpose::Marketing, false) => channel.marketing_needs,
        (Purpose::Service, true) if channel.service_needs == Need::Nothing => Need::NoOptOut,
        (Purpose::Service, _) => channel.service_needs,
    };
    if need == Need::Nothing {
        return None;
    }
    match (permissions::contact(profile, channel.id, purpose, page), need) {
        (Permission::Denied, _) => Some(Reason::OptedOut),
        (Permission::Unknown, Need::OptIn) => Some(Reason::NoPermission),
        _ => None,
    }
}

/// Whether the address is missing; nobody can reach out to a visitor without a
/// profile.
fn unaddressed(pass: &Pass<'_>, channel: &Channel) -> bool {
    let missing = channel.address.is_some_and(|slot| match pass.facts.get(slot) {
        ValueRef::Missing => true,
        ValueRef::Text(text) => text.is_empty(),
        _ => false,
    });
    missing || pass.inputs.matched != Match::Known
}

/// What the customer's preference for a channel multiplies: what the stored
/// attribute says, and more by what the rules declare where the customer wishes
/// the channel.
fn preference(pass: &Pass<'_>, channel: &Channel) -> f64 {
    let wished = permissions::wishes(pass.inputs.profile).channel == Some(channel.id);
    stated_preference(pass, channel) * if wished { pass.rules.wished_channel_weight } else { 1.0 }
}

fn stated_preference(pass: &Pass<'_>, channel: &Channel) -> f64 {
    let stated = match channel.preference.map(|slot| pass.facts.get(slot)) {
        Some(ValueRef::Double(value)) => value,
        Some(ValueRef::Int(value)) => value as f64,
        _ => 1.0,
    };
    if stated.is_finite() { stated.max(0.0) } else { 1.0 }
}
