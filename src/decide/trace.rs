//! Verdicts in words, made only when they are asked for.

use std::sync::Arc;

use crate::{
    domain::{
        AttrSlot, Factors, LimitSlot, OfferSlot, Profile, Purpose, Reason, Stage, Timestamp, Trace, TraceReport,
        Verdict,
    },
    rules::{Ruleset, Window},
};

use super::{
    Ranking, Winner,
    history::Mark,
    pass::Pass,
    pauses,
    question::Question,
    score,
    scratch::{Candidate, Standing},
    wishes::Weekly,
};

/// What precisely dropped a candidate; put in words by [`words`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Detail {
    /// The reason says it all.
    None,
    /// No treatment in a language the person reads.
    Language,
    /// The consent that is missing or was refused.
    Consent(Purpose),
    /// The attribute that should hold the address.
    Address(AttrSlot),
    /// The limit and the contacts counted.
    Limit {
        /// Which.
        limit: LimitSlot,
        /// Contacts counted.
        count: u32,
    },
    /// The most contacts that the customer wishes.
    Wish(Weekly),
    /// The outcome that suppresses.
    After(Mark),
    /// When quiet hours end.
    QuietUntil(Timestamp),
    /// When it could be said first.
    Earliest(Timestamp),
    /// The least net priority.
    Floor(f64),
}

/// The verdict on an offer dropped before channels count.
pub(super) fn offer_verdict(pass: &Pass<'_>, question: &Question<'_>, offer: OfferSlot, reason: Reason) -> Verdict {
    Verdict {
        offer: pass.rules.offer(offer).name_id.clone(),
        record_key: Arc::default(),
        channel: None,
        placement: question.placement.map(|p| p.name.clone()).unwrap_or_default(),
        stage: reason.stage(),
        reason: Some(reason),
        detail: match reason {
            Reason::Paused => pauses::offer_words(pass.rules, &pass.inputs.snapshot.pauses, offer),
            _ => String::new(),
        },
        factors: None,
    }
}

/// The key of the record at a place; empty for none.
pub(super) fn record_key(profile: &Profile, record: Option<u16>) -> Arc<str> {
    profile.record_at(record).map_or_else(Arc::default, |record| (*record.key).into())
}

/// The verdict on a candidate.
pub(super) fn verdict(pass: &Pass<'_>, question: &Question<'_>, candidate: &Candidate) -> Verdict {
    let rules = pass.rules;
    let reason = match candidate.standing {
        Standing::Dropped(reason) => Some(reason),
        Standing::Open | Standing::Benched | Standing::Won => None,
    };
    let scored = reason.is_none_or(|r| r == Reason::Holdout || r.stage() == Stage::Arbitrate);
    Verdict {
        offer: rules.offer(candidate.offer).name_id.clone(),
        record_key: record_key(pass.inputs.profile, candidate.record),
        channel: Some(rules.channel(candidate.channel).name.clone()),
        placement: question.placement.map(|p| p.name.clone()).unwrap_or_default(),
        stage: reason.map_or(Stage::Arbitrate, Reason::stage),
        reason,
        detail: match reason {
            Some(Reason::Paused) => pauses::channel_words(rules, &pass.inputs.snapshot.pauses, candidate.channel),
            _ => words(rules, candidate),
        },
        factors: if scored { factors(pass, candidate) } else { None },
    }
}

fn factors(pass: &Pass<'_>, candidate: &Candidate) -> Option<Factors> {
    let wanted = (candidate.offer, candidate.channel, candidate.record);
    let same = |w: &&Winner| (w.offer, w.channel, w.record.0) == wanted;
    if candidate.standing == Standing::Won {
        return pass.ranking.winners.iter().rfind(same).map(|w| w.factors);
    }
    score::factors(pass, pass.plan.offers.card(candidate.offer), wanted)
}

fn words(rules: &Ruleset, candidate: &Candidate) -> String {
    match candidate.detail {
        Detail::None => String::new(),
        Detail::Language => "no treatment in a language the person reads".to_owned(),
        Detail::Consent(Purpose::Marketing) => "consent to marketing".to_owned(),
        Detail::Consent(Purpose::Service) => "consent to service".to_owned(),
        Detail::Address(slot) => {
            let name = rules.schema.attributes.get(slot.index()).map_or("", |def| &*def.full_name);
            format!("`{name}` is missing")
        }
        Detail::Limit { limit, count } => {
            let limit = &rules.limits[limit.index()];
            format!("limit `{}`: {count} of {} {}", limit.name, limit.max, window_words(limit.window))
        }
        Detail::Wish(Weekly { count, max }) => format!("the customer's wish: {count} of {max} in 7d"),
        Detail::After(mark) => after_words(rules, mark),
        Detail::QuietUntil(until) => format!("quiet until {}", moment_words(until)),
        Detail::Earliest(at) => format!("not before {}", moment_words(at)),
        Detail::Floor(floor) => format!("floor {floor}"),
    }
}

fn after_words(rules: &Ruleset, mark: Mark) -> String {
    let rule = &rules.suppressions[mark.rule as usize];
    let days = duration_words(rule.for_us);
    let declared = rules.decline_reasons.iter().find(|r| r.id == mark.reason);
    match declared {
        Some(reason) => format!("declined with `{}`: nothing for {days}", reason.code),
        None if rule.count > 1 => format!("after {} x `{}`: nothing for {days}", rule.count, rule.outcome.name()),
        None => format!("after `{}`: nothing for {days}", rule.outcome.name()),
    }
}

fn window_words(window: Window) -> String {
    match window {
        Window::Rolling(us) => format!("in {}", duration_words(us)),
        Window::Day => "in the calendar day".to_owned(),
        Window::Week => "in the calendar week".to_owned(),
        Window::Month => "in the calendar month".to_owned(),
    }
}

/// `7d`, `12h`, `30m`, `45s`: as in rule files.
fn duration_words(us: i64) -> String {
    let seconds = us / crate::domain::time::SECOND_US;
    match seconds {
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3_600 == 0 => format!("{}h", s / 3_600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

fn moment_words(at: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(|_| String::new(), |t| t.to_string())
}

/// The report of a ranking, as far as the request asked.
pub(super) fn report(ranking: &Ranking, wanted: Trace) -> TraceReport {
    if wanted == Trace::None {
        return TraceReport::default();
    }
    let counted = |reason: &Reason| (*reason, ranking.counts[*reason as usize]);
    let mut counts: Vec<_> = Reason::ALL.iter().map(counted).filter(|c| c.1 > 0).collect();
    counts.sort_by_key(|(reason, count)| (std::cmp::Reverse(*count), *reason));
    let candidates = ranking.verdicts.as_ref().map(|v| v.to_vec()).unwrap_or_default();
    TraceReport { counts, candidates }
}
