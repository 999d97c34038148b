//! Stage 7: the content of the winners. Templates, data fields, traceable
//! links, signed tokens, and how long all of it is good for.

use std::sync::Arc;

use jiff::tz::TimeZone;

use crate::{
    domain::{
        AgentView, ChannelVerdict, Decision, Factors, LinkRef, Message, OfferId, PlacementAnswer, PlacementStatus,
        Presentation, PresentationRef, Purpose, Reason, SilenceReason, Timestamp, Value, ValueRef, View, stable_hash32,
        time::DAY_US,
    },
    rules::{
        Channel, DataTemplate, Offer, Placement, QuietHours, Template, Treatment,
        template::{RenderError, Scope},
    },
};

use super::{
    Composed, Denied, Inputs, RankedPlacement, Ranking, Scratch, Winner, calendar, facts, reach::Opening, trace,
    visitor::Addressee,
};

/// How long after the decision outcomes are taken at least, microseconds.
pub const OUTCOMES_TAKEN_US: i64 = 30 * DAY_US;

/// Renders the winners. One that cannot be rendered is left out and named in
/// [`Composed::failed`].
pub(super) fn compose(inputs: &Inputs<'_>, ranking: &Ranking, scratch: &mut Scratch) -> Composed {
    // filled again: the ranking may be of other inputs than the scratch's last
    let (blank, cells) = (&inputs.snapshot.plan.blank, &mut scratch.cells);
    facts::fill(inputs, facts::Profiling::of(inputs), blank, cells);
    let addressee = Addressee::of(inputs);
    let visitor_id = addressee.visitor_id(inputs);
    let desk = Desk { inputs, facts: facts::over(inputs, cells), addressee };
    let mut failed = Vec::new();
    let mut placements = Vec::with_capacity(ranking.placements.len());
    for (at, ranked) in ranking.placements.iter().enumerate() {
        let winners = ranking.winners_of(at);
        let mut presentations = Vec::with_capacity(winners.len().max(1));
        for winner in winners {
            match desk.present(ranked, winner, ranking) {
                Ok(presentation) => presentations.push(presentation),
                Err(_) => {
                    failed.push(Denied { offer: winner.offer, record: winner.record.1, reason: Reason::RenderFailed })
                }
            }
        }
        placements.push(desk.answer(at, ranked, presentations));
    }
    let decision = Decision {
        id: inputs.decision_id,
        matched: inputs.matched,
        placements,
        ruleset: inputs.snapshot.ruleset.hash,
        level: ranking.level,
        degraded: inputs.degraded,
        dropped: ranking.dropped.to_vec(),
        consistency_token: inputs.consistency_token.to_owned(),
        trace: trace::report(ranking, inputs.request.trace),
        decided_at: inputs.now,
        visitor_id,
    };
    Composed { decision, failed }
}

/// How long a presentation is good for.
struct Times {
    valid_until: Timestamp,
    send_by: Option<Timestamp>,
}

/// What content is made with.
struct Desk<'a> {
    inputs: &'a Inputs<'a>,
    facts: crate::domain::Facts<'a>,
    addressee: Addressee,
}

impl Desk<'_> {
    fn placement(&self, ranked: &RankedPlacement) -> Option<&Placement> {
        ranked.placement.and_then(|slot| self.inputs.snapshot.ruleset.placements.get(slot.index()))
    }

    fn answer(&self, at: usize, ranked: &RankedPlacement, presentations: Vec<Presentation>) -> PlacementAnswer {
        let asked = self.inputs.request.placements.get(at);
        let placement = self.placement(ranked);
        let mut answer = PlacementAnswer {
            placement: match (placement, asked) {
                (Some(placement), _) => placement.name.clone(),
                (None, Some(ask)) => ask.name.as_ref().into(),
                (None, None) => Arc::default(),
            },
            status: ranked.status,
            silence: ranked.silence,
            presentations,
        };
        if answer.presentations.is_empty() && answer.status == PlacementStatus::Ok {
            // Nothing that won could be rendered.
            answer.silence = Some(SilenceReason::NothingEligible);
            answer.status = match placement.and_then(|p| p.fallback.as_ref()) {
                Some(_) => PlacementStatus::Fallback,
                None => PlacementStatus::Empty,
            };
        }
        if let (PlacementStatus::Fallback, Some(placement)) = (answer.status, placement) {
            answer.presentations = vec![self.fallback(placement)];
        }
        answer
    }

    /// The declared fallback: a presentation without offer and token, whose
    /// `data` holds the declared values. No outcome can be reported for it.
    fn fallback(&self, placement: &Placement) -> Presentation {
        let rules = &self.inputs.snapshot.ruleset;
        let channel = rules.channel(placement.channel);
        Presentation {
            offer_id: OfferId::default(),
            channel_id: channel.id,
            offer: Arc::default(),
            record_key: Arc::default(),
            treatment: Arc::default(),
            channel: channel.name.clone(),
            language: rules.default_language.clone(),
            message: Message::default(),
            data: placement.fallback.clone().unwrap_or_default(),
            image: Arc::default(),
            links: Vec::new(),
            token: String::new(),
            valid_until: self.inputs.now.plus_us(channel.valid_us),
            not_before: None,
            send_by: None,
            purpose: Purpose::Service,
            issue: Arc::default(),
            group: Arc::default(),
            name: Arc::default(),
            agent: None,
            factors: Factors::default(),
            other_channels: Vec::new(),
        }
    }

    fn present(
        &self,
        ranked: &RankedPlacement,
        winner: &Winner,
        ranking: &Ranking,
    ) -> Result<Presentation, RenderError> {
        let rules = &self.inputs.snapshot.ruleset;
        let (offer, channel) = (rules.offer(winner.offer), rules.channel(winner.channel));
        let Some(treatment) = offer.treatments.get(usize::from(winner.treatment)) else {
            return Err(RenderError { message: format!("offer `{}` has no such treatment", offer.name_id) });
        };
        let reference = self.reference(offer, channel, winner);
        let links = self.links(&reference, treatment);
        let facts = self.facts.with_record(winner.record.0);
        let scope = Scope {
            facts: &facts,
            offer_name: &offer.name,
            links: &links,
            currency: rules.currency,
            language: &treatment.language,
        };
        let open = self.inputs.request.placements.is_empty();
        let times = self.times(offer, channel, winner);
        Ok(Presentation {
            offer_id: offer.id,
            channel_id: channel.id,
            offer: offer.name_id.clone(),
            record_key: trace::record_key(self.inputs.profile, winner.record.0),
            treatment: treatment.name.clone(),
            channel: channel.name.clone(),
            language: treatment.language.clone(),
            message: message(treatment, &scope)?,
            data: data(treatment, self.placement(ranked), &scope)?,
            image: treatment.image.clone(),
            token: self.inputs.signer.presentation_token(&reference, self.addressee.holder),
            valid_until: times.valid_until,
            not_before: winner.not_before,
            send_by: times.send_by,
            purpose: offer.purpose,
            issue: rules.issues.get(offer.issue.index()).map(|i| i.name.clone()).unwrap_or_default(),
            group: rules.groups.get(offer.group.index()).cloned().unwrap_or_default(),
            name: offer.name.clone(),
            agent: self.agent(offer, treatment, &scope)?,
            factors: winner.factors,
            other_channels: if open { self.other_channels(ranking) } else { Vec::new() },
            links,
        })
    }

    /// All of it runs from the first moment the presentation may be used, ends
    /// with the offer, and what is sent is sent before quiet hours begin and
    /// within the send window.
    fn times(&self, offer: &Offer, channel: &Channel, winner: &Winner) -> Times {
        let start = winner.starts_at(self.inputs.now);
        let ends = |at: Timestamp| offer.schedule.1.map_or(at, |end| at.min(end));
        let valid_until = ends(start.plus_us(channel.valid_us));
        if !self.inputs.request.placements.is_empty() {
            return Times { valid_until, send_by: None };
        }
        let sent = ends(start.plus_us(channel.send_within_us));
        let wished = super::contact::wished_hours(self.inputs.profile, channel);
        let hours = [channel.quiet_hours.as_ref(), wished.as_ref()].into_iter().flatten();
        let quiet = hours.filter_map(|hours| self.quiet_from(hours, start)).min();
        let window = match Opening::of(self.inputs.request, channel) {
            Opening::Ours => self.inputs.request.send_window.until,
            Opening::Theirs => None,
        };
        let send_by = [quiet, window].into_iter().flatten().fold(sent, Timestamp::min).max(start);
        Times { valid_until: valid_until.max(send_by), send_by: Some(send_by) }
    }

    /// The next beginning of quiet hours, in the customer's zone.
    fn quiet_from(&self, hours: &QuietHours, after: Timestamp) -> Option<Timestamp> {
        let rules = &self.inputs.snapshot.ruleset;
        let named = match rules.time_zone_attribute.map(|slot| self.facts.get(slot)) {
            Some(ValueRef::Text(name)) => TimeZone::get(name).ok(),
            _ => None,
        };
        calendar::quiet_from(hours, after, named.as_ref().unwrap_or(&rules.time_zone))
    }

    fn reference(&self, offer: &Offer, channel: &Channel, winner: &Winner) -> PresentationRef {
        let taken_us = OUTCOMES_TAKEN_US.max(channel.valid_us).max(channel.reserve_us);
        PresentationRef {
            decision: self.inputs.decision_id,
            customer: self.addressee.customer,
            offer: offer.id,
            channel: channel.id,
            record: winner.record.1,
            expires_at: winner.starts_at(self.inputs.now).plus_us(taken_us),
        }
    }

    fn links(&self, reference: &PresentationRef, treatment: &Treatment) -> Vec<(Arc<str>, String)> {
        let language = stable_hash32(&treatment.language);
        let url = |name: &Arc<str>| {
            let link = LinkRef { presentation: *reference, language, link: stable_hash32(name) };
            (name.clone(), self.inputs.signer.link_url(&link, self.addressee.holder))
        };
        treatment.links.iter().map(|(name, _)| url(name)).collect()
    }

    fn agent(&self, offer: &Offer, treatment: &Treatment, scope: &Scope<'_>) -> Result<Option<AgentView>, RenderError> {
        if self.inputs.request.view < View::Agent {
            return Ok(None);
        }
        let rules = &self.inputs.snapshot.ruleset;
        let choose = Languages { wanted: &treatment.language, default: &rules.default_language };
        let labels = choose.of(&offer.labels, |l| &l.0);
        let reason = choose.of(&offer.reasons, |r| &r.0);
        let label = |labels: &[(Arc<str>, Arc<str>)], code: &Arc<str>| {
            choose.of(labels, |l| &l.0).map_or_else(|| code.clone(), |l| l.1.clone())
        };
        Ok(Some(AgentView {
            talk_track: render(treatment.talk_track.as_ref(), scope)?,
            reason: render(reason.map(|r| &r.1), scope)?,
            accept_label: labels.map(|l| l.1.to_string()).unwrap_or_default(),
            decline_label: labels.map(|l| l.2.to_string()).unwrap_or_default(),
            decline_reasons: rules
                .decline_reasons
                .iter()
                .map(|r| (r.code.clone(), label(&r.labels, &r.code)))
                .collect(),
        }))
    }

    fn other_channels(&self, ranking: &Ranking) -> Vec<ChannelVerdict> {
        let rules = &self.inputs.snapshot.ruleset;
        let verdict = |other: &super::OtherChannel| ChannelVerdict {
            channel: rules.channel(other.channel).name.clone(),
            reason: other.reason,
            net_priority: other.net_priority,
        };
        ranking.other_channels.iter().map(verdict).collect()
    }
}

/// Chooses texts by language: the treatment's, its primary subtag, the default.
struct Languages<'a> {
    wanted: &'a str,
    default: &'a str,
}

impl Languages<'_> {
    fn of<'b, T>(&self, entries: &'b [T], language: impl Fn(&T) -> &Arc<str>) -> Option<&'b T> {
        let find = |wanted: &str| entries.iter().find(|e| **language(e) == *wanted);
        let primary = self.wanted.split('-').next().unwrap_or(self.wanted);
        find(self.wanted).or_else(|| find(primary)).or_else(|| find(self.default)).or_else(|| entries.first())
    }
}

fn message(treatment: &Treatment, scope: &Scope<'_>) -> Result<Message, RenderError> {
    Ok(Message {
        subject: render(treatment.subject.as_ref(), scope)?,
        text: render(treatment.text.as_ref(), scope)?,
        html: render(treatment.html.as_ref(), scope)?,
    })
}

fn render(template: Option<&Template>, scope: &Scope<'_>) -> Result<String, RenderError> {
    template.map_or_else(|| Ok(String::new()), |t| t.render(scope))
}

/// The fields the placement declares; all of them for an open question.
fn data(
    treatment: &Treatment,
    placement: Option<&Placement>,
    scope: &Scope<'_>,
) -> Result<Vec<(Arc<str>, Value)>, RenderError> {
    let declared = |name: &Arc<str>| placement.is_none_or(|p| p.fields.iter().any(|f| f.name == *name));
    let mut fields = Vec::with_capacity(treatment.data.len());
    for (name, template) in treatment.data.iter().filter(|field| declared(&field.0)) {
        let value = match template {
            DataTemplate::Text(template) => Value::Text(template.render(scope)?.into()),
            DataTemplate::Constant(value) => value.clone(),
            DataTemplate::Link(at) => {
                Value::Text(scope.links.get(*at).map(|l| l.1.as_str()).unwrap_or_default().into())
            }
        };
        fields.push((name.clone(), value));
    }
    Ok(fields)
}
