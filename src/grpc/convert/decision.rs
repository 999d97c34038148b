//! The answer.

use crate::{
    app::ExplainedVerdict,
    domain::{
        AgentView, ChannelVerdict, Currency, Decision, Factors, Match, PlacementAnswer, Presentation, Purpose, Reason,
        Trace, TraceReport, Verdict, View,
    },
    grpc::structs::Struct,
    proto,
    rules::{FailedLiteral, Truth},
};

use super::{reading::timestamp, value};

/// What of an answer is shown.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// How much of each presentation.
    pub view: View,
    /// How much of the verdicts.
    pub trace: Trace,
    /// The currency of its money.
    pub currency: &'a Currency,
}

/// An answer on the wire.
pub fn write(decision: &Decision, shown: Shown<'_>) -> proto::DecideResponse {
    proto::DecideResponse {
        decision_id: decision.id.to_string(),
        r#match: matched(decision.matched) as i32,
        placements: decision.placements.iter().map(|answer| placement(answer, shown)).collect(),
        ruleset_revision: decision.ruleset.to_string(),
        level: decision.level as i32,
        degraded: decision.degraded.iter().map(|flag| flag as i32).collect(),
        dropped_inputs: decision.dropped.iter().map(|what| what.name().to_owned()).collect(),
        consistency_token: decision.consistency_token.clone(),
        trace: trace(&decision.trace, shown),
        decided_at: Some(timestamp(decision.decided_at)),
        visitor_id: decision.visitor_id.clone(),
    }
}

pub(super) fn matched(matched: Match) -> proto::Match {
    match matched {
        Match::Known => proto::Match::Known,
        Match::Anonymous => proto::Match::Anonymous,
        Match::New => proto::Match::New,
        Match::Ambiguous => proto::Match::Ambiguous,
    }
}

fn placement(answer: &PlacementAnswer, shown: Shown<'_>) -> proto::PlacementAnswer {
    let ranked = (1..).zip(&answer.presentations);
    proto::PlacementAnswer {
        placement: answer.placement.to_string(),
        status: answer.status as i32,
        silence_reason: answer.silence.map_or(0, |reason| reason as i32),
        presentations: ranked.map(|(rank, one)| presentation(rank, one, shown)).collect(),
    }
}

fn presentation(rank: u32, one: &Presentation, shown: Shown<'_>) -> proto::Presentation {
    proto::Presentation {
        offer: one.offer.to_string(),
        treatment: one.treatment.to_string(),
        channel: one.channel.to_string(),
        language: one.language.to_string(),
        rank,
        message: Some(proto::Message {
            subject: one.message.subject.clone(),
            text: one.message.text.clone(),
            html: one.message.html.clone(),
        }),
        data: data(one, shown.currency),
        items: Vec::new(),
        image: one.image.to_string(),
        link: one.links.first().map_or_else(String::new, |(_, url)| url.clone()),
        links: one.links.iter().map(|(name, url)| (name.to_string(), url.clone())).collect(),
        presentation_token: one.token.clone(),
        valid_until: Some(timestamp(one.valid_until)),
        not_before: one.not_before.map(timestamp),
        send_by: one.send_by.map(timestamp),
        purpose: purpose(one.purpose) as i32,
        issue: one.issue.to_string(),
        group: one.group.to_string(),
        name: one.name.to_string(),
        agent: if shown.view >= View::Agent { one.agent.as_ref().map(agent) } else { None },
        factors: if shown.view == View::Full { Some(factors(&one.factors)) } else { None },
        other_channels: one.other_channels.iter().map(channel_verdict).collect(),
        record_key: one.record_key.to_string(),
    }
}

fn data(one: &Presentation, currency: &Currency) -> Option<Struct> {
    if one.data.is_empty() {
        return None;
    }
    Some(one.data.iter().map(|(name, v)| (name.to_string(), value::write_json(currency, v))).collect())
}

/// A purpose on the wire.
pub fn purpose(purpose: Purpose) -> proto::Purpose {
    match purpose {
        Purpose::Marketing => proto::Purpose::Marketing,
        Purpose::Service => proto::Purpose::Service,
    }
}

pub(super) fn agent(agent: &AgentView) -> proto::AgentView {
    let reason = |(code, label): &(std::sync::Arc<str>, std::sync::Arc<str>)| proto::DeclineReason {
        code: code.to_string(),
        label: label.to_string(),
    };
    proto::AgentView {
        talk_track: agent.talk_track.clone(),
        reason: agent.reason.clone(),
        accept_label: agent.accept_label.clone(),
        decline_label: agent.decline_label.clone(),
        decline_reasons: agent.decline_reasons.iter().map(reason).collect(),
    }
}

pub(super) fn factors(factors: &Factors) -> proto::Factors {
    proto::Factors {
        propensity: factors.propensity,
        value: factors.value,
        channel_cost: factors.channel_cost,
        context_weight: factors.context_weight,
        preference: factors.preference,
        lever: factors.lever,
        net_priority: factors.net_priority,
        choice_probability: factors.choice_probability,
        propensity_evidence: factors.evidence,
    }
}

pub(super) fn channel_verdict(verdict: &ChannelVerdict) -> proto::ChannelVerdict {
    proto::ChannelVerdict {
        channel: verdict.channel.to_string(),
        reason: i32::from(verdict.reason as u8),
        net_priority: verdict.net_priority,
    }
}

fn trace(report: &TraceReport, shown: Shown<'_>) -> Option<proto::TraceReport> {
    if shown.trace == Trace::None {
        return None;
    }
    let count =
        |(reason, count): &(Reason, u32)| proto::ReasonCount { reason: i32::from(*reason as u8), count: *count };
    let candidates = if shown.trace == Trace::Full { report.candidates.as_slice() } else { &[] };
    Some(proto::TraceReport {
        counts: report.counts.iter().map(count).collect(),
        candidates: candidates.iter().map(|one| verdict(one, Vec::new())).collect(),
    })
}

pub(super) fn verdict(verdict: &Verdict, failed: Vec<proto::FailedLiteral>) -> proto::CandidateVerdict {
    proto::CandidateVerdict {
        offer: verdict.offer.to_string(),
        channel: verdict.channel.as_ref().map_or_else(String::new, |c| c.to_string()),
        placement: verdict.placement.to_string(),
        stage: i32::from(verdict.stage as u8),
        reason: verdict.reason.map_or(0, |reason| i32::from(reason as u8)),
        detail: verdict.detail.clone(),
        factors: verdict.factors.as_ref().map(factors),
        failed,
        record_key: verdict.record_key.to_string(),
    }
}

/// An explained verdict on the wire.
pub fn explained(one: &ExplainedVerdict) -> proto::CandidateVerdict {
    let failed = one.failed.iter().map(|(condition, literal)| failed_literal(condition, literal)).collect();
    verdict(&one.verdict, failed)
}

fn failed_literal(condition: &str, literal: &FailedLiteral) -> proto::FailedLiteral {
    let truth = match literal.truth {
        Truth::False => proto::Truth::False,
        Truth::Unknown => proto::Truth::Unknown,
        Truth::True => proto::Truth::True,
    };
    proto::FailedLiteral {
        condition: condition.to_owned(),
        text: literal.text.to_string(),
        position: literal.position.to_string(),
        value_read: literal.value_read.clone(),
        truth: truth as i32,
    }
}
