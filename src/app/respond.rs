//! Two-way dialogue: record what a person answered, answer the same question
//! again.

use std::sync::Arc;

use crate::{
    decide::Snapshot,
    domain::{DecisionId, Intent, OfferId, OfferSlot, OutcomeType, RecordRef, Request, Trace, View},
    rules::{ChannelKind, Ruleset},
    store::{ReceiptStatus, StoreError, StoredDecision, Submission, Target, WinnerRecord},
    telemetry::Class,
};

use super::{
    App, AppError, OutcomeInput, RespondInput, Responded,
    decide::Question,
    idempotency::{Answer, Ticket},
    terms::Terms,
};

impl App {
    /// Records an answer and answers the same question again. Offers still
    /// shown keep their order unless policy removed one.
    ///
    /// # Errors
    /// A forged or expired token, an undeclared reason code, a full log; or the
    /// outcome is recorded but its decision is no longer kept.
    pub async fn respond(self: &Arc<Self>, input: RespondInput) -> Result<Responded, AppError> {
        let RespondInput { outcome, request_id, view, trace } = input;
        let answered = outcome.outcome;
        let ticket = Ticket::of_response(&request_id, body_of(&outcome, &request_id, (view, trace)));
        let checked = self.outcome(outcome).map_err(|wrong| AppError::invalid(wrong.field, wrong.why))?;
        let (presentation, strength) = (checked.presentation, checked.submission.strength);
        // nobody's history could hold the offer back
        let no_history = matches!(checked.submission.target, Target::Anonymous);

        // before anything is recorded: a request id used with another body changes nothing
        let entry = self.take_ticket(&ticket, &request_id)?;
        let recorded = self.record_answer(checked.submission).await;
        let (stored, receipt) = match recorded {
            Ok(receipt) => (self.answered_decision(presentation.decision).await, receipt),
            Err(error) => (Err(error), Answered::default()),
        };
        let stored = stored.inspect_err(|_| self.request_ids.forget(&ticket, &entry))?;
        let request = Request {
            request_id: ticket.stored.clone(),
            view,
            trace,
            consistency_token: Box::default(),
            ..stored.record.request.clone()
        };
        let request = self.named_again(request);
        let excluded = Some(presentation.offer).filter(|_| no_history && ends(answered));
        let about = (presentation.offer, presentation.record);
        let again = self.answer_again(request, &stored, (about, excluded));
        let decision = self.once(&ticket, &entry, again).await?;
        let Answered { duplicate, consistency_token } = receipt;
        Ok(Responded { decision, duplicate, strength, consistency_token })
    }

    async fn record_answer(&self, submission: Submission) -> Result<Answered, AppError> {
        let outcome = submission.outcome();
        let receipt = self.store.record(vec![submission]).await.pop().ok_or(StoreError::Closed)?;
        let duplicate = match receipt.status {
            ReceiptStatus::Recorded => false,
            ReceiptStatus::Duplicate => true,
            ReceiptStatus::Conflict => {
                return Err(AppError::AlreadyExists(
                    "this presentation was already answered with another reason or value; ask for a new decision"
                        .to_owned(),
                ));
            }
            ReceiptStatus::Refused(why) => return Err(AppError::FailedPrecondition(why)),
            ReceiptStatus::Exhausted => {
                return Err(AppError::Exhausted("the event log is full; free disk space, then send it again".into()));
            }
        };
        if let (false, Some(outcome)) = (duplicate, outcome) {
            self.metrics.outcome(outcome);
        }
        Ok(Answered { duplicate, consistency_token: self.token_of_receipt(&receipt) })
    }

    async fn answered_decision(&self, id: DecisionId) -> Result<StoredDecision, AppError> {
        self.store.decision(id).await?.ok_or_else(|| {
            AppError::FailedPrecondition(format!(
                "the answer is recorded, but decision `{id}` is no longer kept; ask for a new decision"
            ))
        })
    }

    /// The visitor whose id was made with the first answer has it by now.
    fn named_again(&self, mut request: Request) -> Request {
        if let Some(visitor) = request.visitor.filter(|_| request.identities.is_empty()) {
            request.identities.push(self.visitor_identity(visitor));
        }
        request
    }

    async fn answer_again(
        &self,
        mut request: Request,
        stored: &StoredDecision,
        (answered, excluded): (Shown, Option<OfferId>),
    ) -> Result<Answer, AppError> {
        let snapshot = self.current();
        // the log keeps the types of identities; how they are shared is in the rules
        for identity in &mut request.identities {
            identity.sharing = snapshot.ruleset.schema.sharing(identity.kind);
        }
        if let Some(offer) = excluded {
            request.exclude_offers.push(offer);
            request.exclude_offers.sort_unstable();
        }
        let keep_order = kept(&snapshot, stored, answered);
        self.release_unanswered(&snapshot, stored, answered);
        let (class, terms) = (Class::Interactive, Terms::default());
        let question = Question { snapshot: &snapshot, request, keep_order: &keep_order, class, terms };
        let about = question.request.identities.iter().map(|one| one.hash).collect();
        Ok(Answer::of(Arc::new(self.answer(question).await), Intent::Present, about))
    }
}

/// Whether an offer is not asked again after this answer.
fn ends(answered: OutcomeType) -> bool {
    matches!(answered, OutcomeType::Decline | OutcomeType::Dismiss | OutcomeType::Accept)
}

impl App {
    /// The answer before gives way to the one after: what both show must not
    /// stand in its own way by the reservation of the first.
    fn release_unanswered(&self, snapshot: &Snapshot, stored: &StoredDecision, answered: Shown) {
        let customer = stored.record.customer.as_ref().map(|customer| self.store.live(customer.profile.key));
        for (offer, record) in given_way(&snapshot.ruleset, &stored.record.winners, answered) {
            self.store.ledger().release(customer, stored.record.id, (offer, Some(record)));
        }
    }
}

/// An offer, and the record that it spoke of.
type Shown = (OfferId, RecordRef);

fn shown(winner: &WinnerRecord) -> Shown {
    (winner.offer, winner.record)
}

/// What an answered decision showed and the next answer takes the place of.
///
/// INVARIANT: none that can still reach somebody beside the next answer. A mailer
/// may hold what is for an outbound channel (or one that the rules no longer
/// have), and what counted at the decision is a contact already; a release takes
/// back an offer on all channels of the decision, so one such presentation keeps
/// the offer.
fn given_way(ruleset: &Ruleset, winners: &[WinnerRecord], answered: Shown) -> Vec<Shown> {
    let stays = |winner: &WinnerRecord| {
        let channel = ruleset.channel_slots.get(&winner.channel).map(|slot| ruleset.channel(*slot));
        winner.counts_now || channel.is_none_or(|channel| channel.kind == ChannelKind::Outbound)
    };
    let kept: Vec<Shown> = winners.iter().filter(|winner| stays(winner)).map(shown).collect();
    winners.iter().map(shown).filter(|one| *one != answered && !kept.contains(one)).collect()
}

/// What became of a recorded answer.
#[derive(Default)]
struct Answered {
    duplicate: bool,
    /// The customer's state afterwards.
    consistency_token: String,
}

/// What was shown before, in its order, without what was answered.
fn kept(snapshot: &Snapshot, stored: &StoredDecision, answered: Shown) -> Vec<(OfferSlot, RecordRef)> {
    let shown = stored.record.winners.iter().map(shown).filter(|one| *one != answered);
    shown.filter_map(|(offer, record)| Some((*snapshot.ruleset.offer_slots.get(&offer)?, record))).collect()
}

/// The hash of what a call says. What the agent adds belongs to it where a
/// request id names the call; else the presentation and the answer do, and who
/// repeats the answer with another note repeats it.
fn body_of(said: &OutcomeInput, request_id: &str, (view, trace): (View, Trace)) -> u64 {
    let rest = (said.value, view as u8, trace as u8);
    let mut body = format!("{}\0{}\0{}\0{rest:?}", said.token, said.outcome.name(), said.reason_code);
    let added = (&*said.agent, &*said.call, &*said.note);
    if !request_id.is_empty() && added != ("", "", "") {
        body.push_str(&format!("\0{added:?}"));
    }
    xxhash_rust::xxh3::xxh3_64(body.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::ChannelId, rules};

    const RULES: &str = concat!(
        "settings: { currency: GBP }\n",
        "channels: [ { id: web, kind: self_service, require: [text], counts_on: impression } ]\n",
        "placements: [ { id: hero, channel: web } ]\n",
        "issues: [ { id: serve } ]\n",
        "groups: [ { id: all } ]\n",
        "offers:\n",
        "  - { id: save, purpose: service, issue: serve, group: all, value: 5, placements: [hero], treatments: { web: { en: { text: a } } } }\n",
    );

    #[test]
    fn what_is_shown_gives_way_record_by_record() {
        let files = [rules::SourceFile { path: "all.yaml".into(), text: RULES.into() }];
        let ruleset = rules::compile(&files).unwrap();
        let offer = OfferId::of("save");
        let winner = |record, counts_now| WinnerRecord {
            placement: 0,
            offer,
            channel: ChannelId::of("web"),
            record: RecordRef(record),
            net_priority: 1.0,
            probability: 1.0,
            counts_now,
            reserved_until: None,
        };
        let winners = [winner(1, false), winner(2, false), winner(3, false), winner(4, true)];
        let gone = given_way(&ruleset, &winners, (offer, RecordRef(1)));
        assert_eq!(gone, [(offer, RecordRef(2)), (offer, RecordRef(3))]);
    }
}
