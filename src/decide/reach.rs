//! Stage 3: through which channels an offer can and may reach the person, and
//! in which language.

use crate::{
    customer::permissions,
    domain::{ChannelSlot, Match, OfferSlot, Permission, Purpose, Reason, Timestamp, ValueRef},
    rules::{Channel, ChannelKind, Need},
};

use super::{
    contact,
    scratch::{Candidate, Pass, Question},
    trace::Detail,
};

/// A language that does not suit the person.
const UNSUITED: u16 = u16::MAX;

/// What holds on a channel for the whole decision, whatever the offer.
#[derive(Clone, Copy)]
pub(super) struct ChannelState {
    /// The request does not allow it.
    pub forbidden: bool,
    /// Why marketing must not use it.
    pub marketing: Option<Reason>,
    /// Why service must not use it.
    pub service: Option<Reason>,
    /// Its address is not known.
    pub unaddressed: bool,
    /// The end of quiet hours that hold now.
    pub quiet_until: Option<Timestamp>,
    /// The customer's preference for it, 1 is neutral.
    pub preference: f64,
}

/// Turns offers into (offer, channel) candidates: the placement's channel, or
/// for an open question every channel the offer has a treatment for.
pub(super) fn reach(pass: &mut Pass<'_>, question: &Question<'_>) {
    pass.tables.pool.clear();
    for at in 0..pass.tables.offers.len() {
        let offer = pass.tables.offers[at];
        match question.placement {
            Some(placement) => pair(pass, offer, placement.channel),
            None => {
                let before = pass.tables.pool.len();
                for channel in (0..pass.plan.channels_len()).map(|c| ChannelSlot(c as u16)) {
                    // a channel asked for by name gets a verdict even without a treatment
                    if pass.plan.treatments(offer, channel).len > 0 || named(pass, channel) {
                        pair(pass, offer, channel);
                    }
                }
                if pass.tables.pool.len() == before {
                    pass.drop_offer(question, offer, Reason::NoTreatment);
                }
            }
        }
    }
}

/// Whether the request names the channel as allowed.
fn named(pass: &Pass<'_>, channel: ChannelSlot) -> bool {
    pass.inputs.request.allowed_channels.contains(&pass.rules.channel(channel).id)
}

fn pair(pass: &mut Pass<'_>, offer: OfferSlot, channel: ChannelSlot) {
    let state = state(pass, channel);
    let mut candidate = Candidate::new(offer, channel);
    if !state.forbidden {
        pass.ranking.eligible.insert(offer, channel);
    }
    let purpose = pass.rules.offer(offer).purpose;
    let refused = match purpose {
        Purpose::Marketing => state.marketing,
        Purpose::Service => state.service,
    };
    match (treatment(pass, offer, channel), refused) {
        _ if state.forbidden => candidate.drop_for(Reason::ChannelNotAllowed, Detail::None),
        (Err(detail), _) => candidate.drop_for(Reason::NoTreatment, detail),
        (Ok(_), Some(reason)) => candidate.drop_for(reason, Detail::Consent(purpose)),
        (Ok(_), None) if state.unaddressed => {
            let address = pass.rules.channel(channel).address;
            candidate.drop_for(Reason::NoAddress, address.map_or(Detail::None, Detail::Address));
        }
        (Ok(index), None) => candidate.treatment = index,
    }
    pass.tables.pool.push(candidate);
}

/// The treatment in the language that suits the person best.
fn treatment(pass: &Pass<'_>, offer: OfferSlot, channel: ChannelSlot) -> Result<u16, Detail> {
    let range = pass.plan.treatments(offer, channel);
    let languages = pass.plan.languages_of(range).iter().enumerate();
    let ranked = languages.map(|(at, language)| (pass.tables.language_ranks[usize::from(*language)], at));
    match ranked.min() {
        None => Err(Detail::None),
        Some((UNSUITED, _)) => Err(Detail::Language),
        Some((_, at)) => Ok(range.first + at as u16),
    }
}

/// Ranks the plan's languages for the person: those of the request, then the
/// stored one, then the ruleset's default; for each the exact tag, then the
/// plain primary subtag, then any with the same primary subtag.
pub(super) fn rank_languages(pass: &mut Pass<'_>) {
    let stored = pass.rules.language_attribute.map(|slot| pass.facts.get(slot));
    let stored = stored.and_then(|value| if let ValueRef::Text(text) = value { Some(text) } else { None });
    let (request, default) = (pass.inputs.request, &*pass.rules.default_language);
    let ranks = &mut pass.tables.language_ranks;
    ranks.clear();
    for language in &pass.plan.languages {
        let wanted = request.languages.iter().map(|l| &**l).chain(stored).chain([default]);
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
    let opening = Opening::of(pass, channel);
    let state = ChannelState {
        forbidden: !request.allowed_channels.is_empty() && !request.allowed_channels.contains(&channel.id),
        marketing: refusal(pass, channel, Purpose::Marketing, opening),
        service: refusal(pass, channel, Purpose::Service, opening),
        unaddressed: opening == Opening::Ours && unaddressed(pass, channel),
        quiet_until: if opening == Opening::Ours { contact::quiet_until(pass, channel) } else { None },
        preference: preference(pass, channel),
    };
    pass.tables.channels[slot.index()] = Some(state);
    state
}

/// Who opens the conversation of a decision on a channel.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// The person came: a page, an incoming call.
    Theirs,
    /// We reach out: always where the channel is outbound; on an assisted one
    /// when nobody asked, which makes the answer to an open question a call.
    Ours,
}

impl Opening {
    fn of(pass: &Pass<'_>, channel: &Channel) -> Self {
        match channel.kind {
            ChannelKind::SelfService => Opening::Theirs,
            ChannelKind::Assisted if pass.inputs.request.placements.is_empty() => Opening::Ours,
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

fn preference(pass: &Pass<'_>, channel: &Channel) -> f64 {
    let stated = match channel.preference.map(|slot| pass.facts.get(slot)) {
        Some(ValueRef::Double(value)) => value,
        Some(ValueRef::Int(value)) => value as f64,
        _ => 1.0,
    };
    if stated.is_finite() { stated.max(0.0) } else { 1.0 }
}
