//! Decisions in words, for people at a terminal.

use crate::proto::{DecideResponse, PlacementAnswer, PlacementStatus, Presentation, Reason, SilenceReason};

/// Prints a decision.
pub fn decision(decision: &DecideResponse) {
    say!("decision {} (rules {})", decision.decision_id, decision.ruleset_revision);
    for answer in &decision.placements {
        self::answer(answer);
    }
    let Some(trace) = &decision.trace else { return };
    if !trace.counts.is_empty() {
        let counts: Vec<String> =
            trace.counts.iter().map(|c| format!("{} {}", c.count, word(c.reason().as_str_name(), "REASON_"))).collect();
        say!("  dropped: {}", counts.join(", "));
    }
    for verdict in &trace.candidates {
        let reason = match verdict.reason() {
            Reason::Unspecified => "wins".to_owned(),
            reason => word(reason.as_str_name(), "REASON_"),
        };
        let detail = if verdict.detail.is_empty() { String::new() } else { format!(" ({})", verdict.detail) };
        say!("    {:<28} {:<12} {reason}{detail}", verdict.offer, verdict.channel);
    }
}

/// Prints the answer of a placement.
pub fn answer(answer: &PlacementAnswer) {
    let place = if answer.placement.is_empty() { "open question" } else { &answer.placement };
    let silence = match answer.silence_reason() {
        SilenceReason::Unspecified => String::new(),
        reason => format!(" ({})", word(reason.as_str_name(), "SILENCE_REASON_")),
    };
    match answer.status() {
        PlacementStatus::Empty => say!("  {place}: nothing to say{silence}"),
        PlacementStatus::Fallback => say!("  {place}: fallback{silence}"),
        PlacementStatus::UnknownPlacement => say!("  {place}: the rules have no such placement"),
        _ => {}
    }
    for presentation in answer.presentations.iter().filter(|p| !p.offer.is_empty()) {
        self::presentation(place, presentation);
    }
}

fn presentation(place: &str, p: &Presentation) {
    say!("  {place}: {} through {} ({})", p.offer, p.channel, p.language);
    if let Some(f) = &p.factors {
        say!(
            "    net priority {:.3} = propensity {:.3} x (value {:.2} - cost {:.3}) x {:.3}",
            f.net_priority,
            f.propensity,
            f.value,
            f.channel_cost,
            f.context_weight * f.preference * f.lever
        );
    }
    let message = p.message.clone().unwrap_or_default();
    let talk_track = p.agent.as_ref().map_or("", |a| a.talk_track.as_str());
    for (label, text) in [("subject", message.subject.as_str()), ("text", &message.text), ("say", talk_track)] {
        if !text.is_empty() {
            say!("    {label}: {}", text.trim().replace('\n', " "));
        }
    }
}

fn word(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_lowercase().replace('_', " ")
}
