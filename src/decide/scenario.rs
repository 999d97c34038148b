//! Runs golden scenarios through the same pipeline as decisions.

use std::sync::Arc;

use crate::{
    customer,
    domain::{
        ArmKey, ChannelSlot, Decision, DecisionId, DegradedSet, Holder, Intent, LinkRef, Match, OfferId, OfferSlot,
        PlacementAnswer, Presentation, PresentationRef, Profile, Reason, RecordRef, SilenceReason, Timestamp, Trace,
        Value, Verdict, View, VisitorId,
    },
    predict::{Models, Rate},
    rules::{
        Ruleset,
        scenario::{Expectation, Scenario},
    },
};

use super::{Denied, Inputs, Scratch, Signer, Snapshot, compose, in_holdout, rank};

/// Most rankings of one scenario: content that fails is denied and ranked again.
const RANKINGS_MAX: usize = 4;

/// Most arm keys tried for one that is in the arm a scenario wants.
const ARM_KEYS_MAX: u128 = 100_000;

/// What the scenarios of one ruleset run with: exploration off, nothing learned
/// yet (propensities are the base rates), nothing paused.
pub struct Runner {
    snapshot: Snapshot,
    scratch: Scratch,
}

impl Runner {
    /// Lays out what decisions look up, once for all scenarios.
    pub fn of(ruleset: &Arc<Ruleset>) -> Self {
        let snapshot = Snapshot::new(ruleset.clone(), Arc::new(base_rates(ruleset)), Arc::default());
        Self { snapshot, scratch: Scratch::default() }
    }

    /// Runs one scenario.
    ///
    /// # Errors
    /// A line per expectation that did not hold: what was expected and what
    /// came out instead.
    pub fn run(&mut self, scenario: &Scenario) -> Result<(), Vec<String>> {
        let decision = self.decide(scenario).map_err(|line| vec![line])?;
        let failures: Vec<String> = scenario.expect.iter().filter_map(|expected| missed(&decision, expected)).collect();
        if failures.is_empty() { Ok(()) } else { Err(failures) }
    }

    /// The decision of a scenario, with full trace and view.
    ///
    /// # Errors
    /// The rules hold out nobody (or everybody) and the scenario wants otherwise.
    pub fn decide(&mut self, scenario: &Scenario) -> Result<Decision, String> {
        decide_with(&self.snapshot, &mut self.scratch, scenario)
    }
}

/// Runs one scenario by itself; for many use a [`Runner`].
///
/// # Errors
/// As [`Runner::run`].
pub fn run(ruleset: &Arc<Ruleset>, scenario: &Scenario) -> Result<(), Vec<String>> {
    Runner::of(ruleset).run(scenario)
}

/// The decision of one scenario by itself; for many use a [`Runner`].
///
/// # Errors
/// As [`Runner::decide`].
pub fn decide(ruleset: &Arc<Ruleset>, scenario: &Scenario) -> Result<Decision, String> {
    Runner::of(ruleset).decide(scenario)
}

fn decide_with(snapshot: &Snapshot, scratch: &mut Scratch, scenario: &Scenario) -> Result<Decision, String> {
    let ruleset = &*snapshot.ruleset;
    let profile = &profile(ruleset, scenario)?;
    let mut request = scenario.request.clone();
    // PREVIEW never explores.
    (request.intent, request.view, request.trace) = (Intent::Preview, View::Full, Trace::Full);
    let exhausted = slots(ruleset, &scenario.exhausted);
    let refused = slots(ruleset, &scenario.refused);
    let mut denied: Vec<Denied> = refused
        .into_iter()
        .map(|offer| Denied { offer, record: RecordRef::NONE, reason: Reason::ClaimRefused })
        .collect();
    let mut again = |denied: &[Denied]| {
        let inputs = Inputs {
            snapshot,
            profile,
            matched: if scenario.known { Match::Known } else { Match::Anonymous },
            request: &request,
            now: scenario.now,
            decision_id: DecisionId::default(),
            reservations: &[],
            exhausted: &exhausted,
            denied,
            keep_order: &[],
            degraded: DegradedSet::default(),
            consistency_token: "",
            signer: &Plain,
        };
        let ranking = rank(&inputs, scratch);
        compose(&inputs, &ranking, scratch)
    };
    let mut composed = again(&denied);
    for _ in 1..RANKINGS_MAX {
        if composed.failed.is_empty() {
            break;
        }
        denied.append(&mut composed.failed);
        composed = again(&denied);
    }
    Ok(composed.decision)
}

/// The scenario's customer with an arm key in the arm it wants.
fn profile(rules: &Ruleset, scenario: &Scenario) -> Result<Profile, String> {
    let mut profile = scenario.profile.clone();
    for event in &scenario.fed {
        customer::apply(&mut profile, event);
    }
    if scenario.known {
        let wanted = (0..ARM_KEYS_MAX).map(ArmKey).find(|key| in_holdout(rules, *key) == scenario.holdout);
        profile.arm_key = wanted.ok_or_else(|| {
            let share = rules.holdout_share;
            format!(
                "no customer has `holdout: {}` under a holdout share of {share}: change one of them",
                scenario.holdout
            )
        })?;
    }
    Ok(profile)
}

/// The model before any outcome: the offer's base rate or else the channel's.
pub fn base_rates(rules: &Ruleset) -> Models {
    let mut models = Models { version: 0, channels: rules.channels.len(), rates: Vec::new() };
    for offer in &rules.offers {
        for channel in 0..rules.channels.len() {
            let rate = rules.channel(ChannelSlot(channel as u16)).base_rate;
            models.rates.push(Rate { propensity: offer.base_rate.unwrap_or(rate), trials: 0.0 });
        }
    }
    models
}

fn slots(rules: &Ruleset, names: &[Arc<str>]) -> Vec<OfferSlot> {
    names.iter().filter_map(|name| rules.offer_slots.get(&OfferId::of(name)).copied()).collect()
}

/// Tokens and links of a scenario: unsigned, never sent.
struct Plain;

impl Signer for Plain {
    fn presentation_token(&self, presentation: &PresentationRef, _: Option<Holder>) -> String {
        format!("token-{:016x}", presentation.offer.0)
    }

    fn link_url(&self, link: &LinkRef, _: Option<Holder>) -> String {
        format!("/c/{:016x}-{:08x}", link.presentation.offer.0, link.link)
    }

    fn visitor_id(&self, visitor: VisitorId, _: Timestamp) -> String {
        format!("visitor-{visitor}")
    }
}

/// What came out instead of an expectation; `None` when it holds.
fn missed(decision: &Decision, expected: &Expectation) -> Option<String> {
    match expected {
        Expectation::Winners { placement, offers } => winners_missed(decision, placement, offers),
        Expectation::Dropped { offer, channel, reason } => dropped_missed(decision, offer, channel.as_deref(), *reason),
        Expectation::Silent { placement, reason } => silence_missed(decision, placement, *reason),
        Expectation::Contains { offer, text } => text_missed(decision, offer, text),
    }
}

fn winners_missed(decision: &Decision, placement: &str, offers: &[Arc<str>]) -> Option<String> {
    let Some(answer) = answer(decision, placement) else { return Some(not_asked(placement)) };
    let won = winners(answer);
    let fits = |wanted: &Arc<str>, won: &Presentation| match wanted.split_once('/') {
        Some((offer, channel)) => offer == &*won.offer && channel == &*won.channel,
        None => **wanted == *won.offer,
    };
    let same = won.len() == offers.len() && offers.iter().zip(&won).all(|(wanted, won)| fits(wanted, won));
    if same {
        return None;
    }
    let wanted: Vec<&str> = offers.iter().map(|o| &**o).collect();
    let mut line = format!("{}: expected winners [{}], got {}", place(placement), wanted.join(", "), outcome(answer));
    for wanted in offers.iter().filter(|wanted| !won.iter().any(|won| fits(wanted, won))) {
        let (offer, channel) = wanted.split_once('/').map_or((&**wanted, None), |(o, c)| (o, Some(c)));
        line.push_str(&format!("; `{wanted}` was {}", fate(decision, offer, channel)));
    }
    Some(line)
}

fn dropped_missed(decision: &Decision, offer: &str, channel: Option<&str>, reason: Reason) -> Option<String> {
    let verdicts = verdicts(decision, offer, channel);
    let elsewhere = |v: &&&Verdict| reason == Reason::Duplicate && v.reason.is_none();
    let mut others = verdicts.iter().filter(|v| !elsewhere(v)).peekable();
    let holds = others.peek().is_some() && others.all(|v| v.reason == Some(reason));
    if holds {
        return None;
    }
    let on = channel.map(|c| format!(" on `{c}`")).unwrap_or_default();
    Some(format!("expected `{offer}`{on} dropped for {}, but it was {}", reason.name(), fate(decision, offer, channel)))
}

fn silence_missed(decision: &Decision, placement: &str, reason: SilenceReason) -> Option<String> {
    let Some(answer) = answer(decision, placement) else { return Some(not_asked(placement)) };
    if answer.silence == Some(reason) {
        return None;
    }
    Some(format!("{}: expected silence ({}), got {}", place(placement), reason.name(), outcome(answer)))
}

fn text_missed(decision: &Decision, offer: &str, text: &str) -> Option<String> {
    let presentations = decision.placements.iter().flat_map(|p| &p.presentations);
    let mine: Vec<&Presentation> = presentations.filter(|p| *p.offer == *offer).collect();
    if mine.is_empty() {
        return Some(format!(
            "expected `{offer}` to win with `{text}` in its content, but it was {}",
            fate(decision, offer, None)
        ));
    }
    let shown: Vec<String> = mine.iter().flat_map(|p| texts(p)).filter(|t| !t.is_empty()).collect();
    if shown.iter().any(|t| t.contains(text)) {
        return None;
    }
    Some(format!("expected `{text}` in the content of `{offer}`, got: {}", shown.join(" | ")))
}

fn answer<'a>(decision: &'a Decision, placement: &str) -> Option<&'a PlacementAnswer> {
    decision.placements.iter().find(|p| *p.placement == *placement)
}

/// The presentations of offers; a fallback has none.
fn winners(answer: &PlacementAnswer) -> Vec<&Presentation> {
    answer.presentations.iter().filter(|p| !p.offer.is_empty()).collect()
}

fn place(placement: &str) -> String {
    if placement.is_empty() { "open question".to_owned() } else { format!("placement `{placement}`") }
}

fn not_asked(placement: &str) -> String {
    format!("{} was not asked by the request", place(placement))
}

fn outcome(answer: &PlacementAnswer) -> String {
    let won: Vec<String> = winners(answer).iter().map(|p| format!("{}/{}", p.offer, p.channel)).collect();
    match answer.silence {
        Some(reason) if won.is_empty() => format!("silence ({})", reason.name()),
        _ => format!("[{}]", won.join(", ")),
    }
}

/// The verdicts on an offer where it was asked for, unless it was nowhere.
fn verdicts<'a>(decision: &'a Decision, offer: &str, channel: Option<&str>) -> Vec<&'a Verdict> {
    let mine = |v: &&Verdict| {
        let same_channel = match (channel, &v.channel) {
            (Some(wanted), Some(found)) => **found == *wanted,
            _ => true,
        };
        *v.offer == *offer && same_channel
    };
    let all: Vec<&Verdict> = decision.trace.candidates.iter().filter(mine).collect();
    let asked: Vec<&Verdict> = all.iter().copied().filter(|v| v.reason != Some(Reason::NotForPlacement)).collect();
    if asked.is_empty() { all } else { asked }
}

fn fate(decision: &Decision, offer: &str, channel: Option<&str>) -> String {
    let lines: Vec<String> = verdicts(decision, offer, channel).into_iter().map(verdict_words).collect();
    if lines.is_empty() { "not among the candidates".to_owned() } else { lines.join(", ") }
}

fn verdict_words(verdict: &Verdict) -> String {
    let fate = match verdict.reason {
        Some(reason) => format!("dropped for {}", reason.name()),
        None => "chosen".to_owned(),
    };
    let on = verdict.channel.as_ref().map(|c| format!(" on `{c}`")).unwrap_or_default();
    let net = verdict.factors.map(|f| format!(" with net priority {:.4}", f.net_priority)).unwrap_or_default();
    let detail = if verdict.detail.is_empty() { String::new() } else { format!(" ({})", verdict.detail) };
    format!("{fate}{on}{net}{detail}")
}

fn texts(presentation: &Presentation) -> Vec<String> {
    let message = &presentation.message;
    let mut texts = vec![message.subject.clone(), message.text.clone(), message.html.clone()];
    if let Some(agent) = &presentation.agent {
        texts.extend([agent.talk_track.clone(), agent.reason.clone()]);
    }
    let data = presentation.data.iter().filter_map(|(_, v)| if let Value::Text(t) = v { Some(t) } else { None });
    texts.extend(data.map(|t| t.to_string()));
    texts
}
