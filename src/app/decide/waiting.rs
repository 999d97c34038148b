//! A decision that waits for what only the store can say which counts over all
//! replicas, and what it takes up again afterwards.

use crate::{
    decide::{Composed, Ranking},
    domain::{Decision, OfferSlot, Reservation},
};

use super::{super::asking::Asking, DeniedList, Round, Worker};

/// How far a decision got.
pub(super) enum Step<'a> {
    /// It is made.
    Decided(Decision),
    /// The store that counts over all replicas must be asked first.
    Asks(Box<Waiting<'a>>),
}

/// What changes from one ranking to the next.
#[derive(Default)]
pub(super) struct Turn {
    pub denied: DeniedList,
    pub refusals: usize,
    /// Whether nobody answered for exact caps and budgets.
    pub is_blind: bool,
}

/// A decision that waits for its claims.
pub(super) struct Waiting<'a> {
    pub round: Round<'a>,
    pub turn: Turn,
    pub ranking: Ranking,
    pub composed: Composed,
    /// What the ranking read.
    pub reservations: Vec<Reservation>,
    pub exhausted: Vec<OfferSlot>,
    pub asks: Option<Box<Asking<'a>>>,
}

impl<'a> Waiting<'a> {
    /// Asks until its time is up.
    pub async fn ask(mut self: Box<Self>) -> Box<Self> {
        let Some(asking) = self.asks.take() else { return self };
        let about = (self.round.question.snapshot, self.round.customer(), &self.ranking);
        let asked = asking.ask(about, self.round.claims_until()).await;
        self.turn.is_blind |= asked.is_blind;
        // what was refused is ranked again when it goes on
        self.composed.failed = asked.refused;
        self
    }

    /// Goes on with what was answered; ranks again when somebody was refused.
    pub fn go_on(mut self: Box<Self>, worker: &mut Worker) -> Step<'a> {
        (worker.reservations, worker.exhausted) =
            (std::mem::take(&mut self.reservations), std::mem::take(&mut self.exhausted));
        let this = &mut *self;
        if !this.composed.failed.is_empty() {
            let lost = std::mem::take(&mut this.composed.failed);
            this.round.again(worker, &mut this.turn, (lost, &mut this.ranking, &mut this.composed));
            if let Some(asking) = this.round.settle(worker, &mut this.turn, (&mut this.ranking, &mut this.composed)) {
                this.asks = Some(asking);
                (this.reservations, this.exhausted) =
                    (std::mem::take(&mut worker.reservations), std::mem::take(&mut worker.exhausted));
                return Step::Asks(self);
            }
        }
        let Waiting { round, turn, ranking, composed, .. } = *self;
        Step::Decided(round.finish(worker, turn, (&ranking, composed)))
    }
}
