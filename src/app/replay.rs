//! A stored decision, made again from what it read: the same bytes, and the
//! verdict on every candidate.

use std::sync::Arc;

use crate::{
    decide::{self, Denied, Inputs, Scratch, Snapshot},
    domain::{
        Decision, DecisionId, OfferSlot, PlacementStatus, Profile, Reason, RecordRef, Request, Timestamp, Trace,
        Verdict, View,
    },
    learn,
    predict::BaseModel,
    store::StoredDecision,
};

use super::{App, AppError, ExplainedVerdict, Explanation, digest};

impl App {
    /// Replays a stored decision and explains the verdicts.
    ///
    /// # Errors
    /// There is no such decision, or its ruleset or key is gone.
    pub async fn explain(self: &Arc<Self>, id: DecisionId, offer: Option<&str>) -> Result<Explanation, AppError> {
        let stored = self.stored(id).await?;
        let (app, offer) = (Arc::clone(self), offer.map(str::to_owned));
        off_the_worker(move || app.explain_stored(&stored, offer.as_deref())).await
    }

    /// Visits stored decisions, explained, oldest first, until the visitor
    /// answers false; those of erased customers are passed over. Blocking: call it off the serving threads.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn export(
        &self,
        from: Option<Timestamp>,
        until: Option<Timestamp>,
        visit: &mut dyn FnMut(Explanation) -> bool,
    ) -> Result<(), AppError> {
        let mut failed = None;
        self.store.scan_decisions(from, until, &mut |stored| {
            if stored.erased {
                return true;
            }
            match self.explain_stored(&stored, None) {
                Ok(explanation) => visit(explanation),
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// The answer of a logged decision, made again: the same bytes.
    ///
    /// # Errors
    /// The decision, its ruleset or its key is gone; other bytes come out.
    pub(super) async fn replay_answer(self: &Arc<Self>, id: DecisionId) -> Result<Arc<Decision>, AppError> {
        let stored = self.stored(id).await?;
        let app = Arc::clone(self);
        off_the_worker(move || app.replay_stored(&stored)).await
    }

    fn replay_stored(&self, stored: &StoredDecision) -> Result<Arc<Decision>, AppError> {
        if !stored.pauses_known {
            let id = stored.record.id;
            return Err(AppError::FailedPrecondition(format!(
                "the answer `{id}` of this request id cannot be made again: the log has lost what was paused then; \
                 ask with a new request id"
            )));
        }
        let replay = self.prepare(stored)?;
        let (decision, _) = self.run(&replay, &stored.record.request, &mut Scratch::default())?;
        if digest::decision(&decision) != stored.record.digest {
            let id = stored.record.id;
            return Err(AppError::FailedPrecondition(format!(
                "the answer `{id}` of this request id cannot be made again as it was; ask with a new request id"
            )));
        }
        Ok(Arc::new(decision))
    }

    async fn stored(&self, id: DecisionId) -> Result<StoredDecision, AppError> {
        let gone = || AppError::NotFound(format!("no decision `{id}` is kept; it is unknown or older than the log"));
        let stored = self.store.decision(id).await?.ok_or_else(gone)?;
        if stored.erased {
            return Err(AppError::Erased(format!(
                "the decision `{id}` was for a customer who was erased: what it read is destroyed"
            )));
        }
        Ok(stored)
    }

    /// Replays twice: as it was asked, to compare, and with everything shown.
    fn explain_stored(&self, stored: &StoredDecision, offer: Option<&str>) -> Result<Explanation, AppError> {
        let replay = self.prepare(stored)?;
        let ruleset = &replay.snapshot.ruleset;
        if let Some(wanted) = offer
            && ruleset.offer_by_name(wanted).is_none()
        {
            let revision = ruleset.hash;
            return Err(AppError::NotFound(format!("revision `{revision}` of this decision has no offer `{wanted}`")));
        }
        let mut scratch = Scratch::default();
        let (same, _) = self.run(&replay, &stored.record.request, &mut scratch)?;
        let identical = digest::decision(&same) == stored.record.digest;
        let shown = Request { view: View::Full, trace: Trace::Full, ..stored.record.request.clone() };
        let (decision, failed) = self.run(&replay, &shown, &mut scratch)?;
        let wanted = decision.trace.candidates.iter().filter(|v| offer.is_none_or(|o| *v.offer == *o));
        let verdicts: Vec<ExplainedVerdict> =
            wanted.map(|v| ExplainedVerdict { verdict: v.clone(), failed: failed.of(v) }).collect();
        let lines = lines(&decision, &verdicts, (identical, stored.pauses_known));
        let holdout = decide::in_holdout(ruleset, replay.profile.arm_key) && stored.record.customer.is_some();
        Ok(Explanation { decision, verdicts, identical, lines, holdout })
    }

    fn prepare<'a>(&'a self, stored: &'a StoredDecision) -> Result<Replay<'a>, AppError> {
        let ruleset = self.ruleset(stored.record.ruleset)?;
        let slot = |id| ruleset.offer_slots.get(id).copied();
        let exhausted = stored.record.exhausted.iter().filter_map(slot).collect();
        let kept = stored.record.keep_order.iter();
        let keep_order = kept.filter_map(|(offer, record)| Some((slot(offer)?, *record))).collect();
        let denied = stored.record.denied.iter();
        let denied = denied
            .filter_map(|one| {
                let offer = slot(&one.offer)?;
                Some(Denied { offer, record: one.record, reason: one.reason })
            })
            .collect();
        let models = Arc::new(learn::response_rates(&stored.tallies, &ruleset));
        let base = self.base_of(stored.record.base_version)?;
        let profile = stored.record.customer.as_ref().map_or(&self.anonymous, |c| &c.profile);
        Ok(Replay {
            stored,
            snapshot: Snapshot::new(ruleset, models, Arc::clone(&stored.record.pauses)).with_base(base),
            profile,
            exhausted,
            denied,
            keep_order,
        })
    }

    /// The analysis of the base that a decision read.
    fn base_of(&self, version: u64) -> Result<Arc<BaseModel>, AppError> {
        let current = self.current();
        if version == current.base.version {
            return Ok(Arc::clone(&current.base));
        }
        if version == 0 {
            return Ok(Arc::default());
        }
        let gone = || AppError::FailedPrecondition(format!("analysis `{version}` that this decision read is not kept"));
        self.store.base(version)?.map(Arc::new).ok_or_else(gone)
    }

    fn run<'a>(
        &self,
        replay: &'a Replay<'_>,
        request: &'a Request,
        scratch: &mut Scratch,
    ) -> Result<(Decision, Failed), AppError> {
        let record = &replay.stored.record;
        let signer = self.keys.signer(record.signing_key, &record.public_url).ok_or_else(|| {
            AppError::FailedPrecondition(format!("signing key `{}` of this decision is gone", record.signing_key))
        })?;
        let inputs = Inputs {
            snapshot: &replay.snapshot,
            profile: replay.profile,
            matched: record.matched,
            request,
            now: record.now,
            decision_id: record.id,
            reservations: &record.reservations,
            exhausted: &replay.exhausted,
            denied: &replay.denied,
            keep_order: &replay.keep_order,
            degraded: record.degraded,
            consistency_token: &record.consistency_token,
            signer: &signer,
        };
        let ranking = decide::rank(&inputs, scratch);
        let decision = decide::compose(&inputs, &ranking, scratch).decision;
        let failed = Failed::new(&inputs, &decision.trace.candidates);
        Ok((decision, failed))
    }
}

/// Replays where it keeps nobody waiting.
async fn off_the_worker<T: Send + 'static>(
    replay: impl FnOnce() -> Result<T, AppError> + Send + 'static,
) -> Result<T, AppError> {
    let replayed = tokio::task::spawn_blocking(replay).await;
    replayed.map_err(|_| AppError::Unavailable("the replay was interrupted: ask again".to_owned()))?
}

/// What a stored decision was a function of, laid out again.
struct Replay<'a> {
    stored: &'a StoredDecision,
    snapshot: Snapshot,
    profile: &'a Profile,
    exhausted: Vec<OfferSlot>,
    denied: Vec<Denied>,
    keep_order: Vec<(OfferSlot, RecordRef)>,
}

type Literals = Vec<(&'static str, crate::rules::FailedLiteral)>;

/// The literals that dropped each offer, or each record of one.
struct Failed(std::collections::HashMap<(Arc<str>, Arc<str>), Literals>);

impl Failed {
    fn new(inputs: &Inputs<'_>, candidates: &[Verdict]) -> Self {
        let dropped = candidates.iter().filter(|v| by_condition(v.reason));
        let literals = |v: &Verdict| {
            let slot = inputs.snapshot.ruleset.offer_by_name(&v.offer)?.slot;
            Some((key(v), decide::failed_literals(inputs, (slot, &v.record_key))))
        };
        Self(dropped.filter_map(literals).collect())
    }

    fn of(&self, verdict: &Verdict) -> Literals {
        match by_condition(verdict.reason) {
            true => self.0.get(&key(verdict)).cloned().unwrap_or_default(),
            false => Vec::new(),
        }
    }
}

fn key(verdict: &Verdict) -> (Arc<str>, Arc<str>) {
    (Arc::clone(&verdict.offer), Arc::clone(&verdict.record_key))
}

/// What an offer is called in a line: with its record, where it has one.
fn named(offer: &str, record_key: &str) -> String {
    if record_key.is_empty() { format!("`{offer}`") } else { format!("`{offer}` for `{record_key}`") }
}

fn by_condition(reason: Option<Reason>) -> bool {
    matches!(reason, Some(Reason::NotEligible | Reason::NotApplicable | Reason::NotSuitable))
}

/// The decision in plain words.
fn lines(decision: &Decision, verdicts: &[ExplainedVerdict], (identical, pauses_known): (bool, bool)) -> Vec<String> {
    let mut lines = Vec::new();
    for answer in &decision.placements {
        let place = if answer.placement.is_empty() { "the open question" } else { &answer.placement };
        for p in &answer.presentations {
            let f = &p.factors;
            lines.push(format!(
                "{place}: {} on `{}` wins with net priority {:.4} = propensity {:.4} x (value {:.2} - cost {:.2}) x context {:.2} x preference {:.2} x lever {:.2}; chosen with probability {:.3}",
                named(&p.offer, &p.record_key), p.channel, f.net_priority, f.propensity, f.value, f.channel_cost, f.context_weight,
                f.preference, f.lever, f.choice_probability
            ));
        }
        if let (Some(silence), PlacementStatus::Empty | PlacementStatus::Fallback) = (answer.silence, answer.status) {
            lines.push(format!("{place}: nothing is said: {}", silence.name()));
        }
    }
    for ExplainedVerdict { verdict, failed } in verdicts {
        let Some(reason) = verdict.reason else { continue };
        let channel = verdict.channel.as_deref().map_or_else(String::new, |c| format!(" on `{c}`"));
        let detail = if verdict.detail.is_empty() { String::new() } else { format!(" ({})", verdict.detail) };
        let what = named(&verdict.offer, &verdict.record_key);
        lines.push(format!("{what}{channel}: {}{detail}", reason.name().replace('_', " ")));
        for (condition, literal) in failed {
            let truth = if literal.truth == crate::rules::Truth::Unknown { "unknown" } else { "false" };
            lines.push(format!(
                "  {}: {condition} `{}` is {truth}: {}",
                literal.position, literal.text, literal.value_read
            ));
        }
    }
    if !pauses_known {
        lines.push("the log has lost what was paused then: the replay was made as if nothing was".to_owned());
    }
    lines.push(match identical {
        true => "the replay equals the answer that was given".to_owned(),
        false => "the replay differs from the answer that was given".to_owned(),
    });
    lines
}
