//! Erasing a customer, and handing out everything that is kept of one.

use crate::{
    domain::{CustomerKey, DecisionId, Identity, Profile, Timestamp},
    store::{NewErasure, StoredDecision, TimelineEntry},
};

use super::{
    App, AppError, CustomerView,
    timeline::{TimelineInput, customers_of},
};

/// Most entries of the timeline in an export; there are never more.
const TIMELINE_EXPORTED_MAX: usize = crate::store::TIMELINE_ROWS_MAX * 2;
/// Entries read at a time.
const TIMELINE_PAGE: usize = 1_000;
/// Most decisions in an export: the first ones of the log.
pub const DECISIONS_EXPORTED_MAX: usize = 10_000;

/// Whom to erase.
#[derive(Clone, Debug)]
pub struct EraseInput {
    /// Any identities of the customer.
    pub identities: Vec<Identity>,
    /// Why.
    pub reason: Box<str>,
    /// Only tell what would go.
    pub validate_only: bool,
}

/// The receipt.
#[derive(Clone, Debug)]
pub struct Erased {
    /// Names the erasure; `None` when nothing was erased.
    pub id: Option<DecisionId>,
    /// When.
    pub at: Timestamp,
    /// What was removed, or would be, and how many.
    pub removed: Vec<(&'static str, u64)>,
    /// What stays, how many, and why.
    pub remaining: Vec<(&'static str, u64, &'static str)>,
}

/// Everything that is kept of a customer.
#[derive(Clone, Debug)]
pub struct ExportedCustomer {
    /// The one view.
    pub view: CustomerView,
    /// What happened, the newest first.
    pub timeline: Vec<TimelineEntry>,
    /// The decisions that the log still has, the oldest first.
    pub decisions: Vec<StoredDecision>,
    /// Whether the log has more decisions than these.
    pub more_decisions: bool,
}

impl App {
    /// Erases a customer and all who were merged into it: destroys their keys and
    /// removes what is kept of them. Done, on disk, when it answers.
    ///
    /// # Errors
    /// Nobody, or more than one customer, has these identities; there is no room;
    /// the store fails, and the erasure may be done all the same.
    pub async fn erase(&self, input: EraseInput) -> Result<Erased, AppError> {
        let hot = self.known(&input.identities).await?;
        let profile = &hot.profile;
        let customers = customers_of(profile);
        let timeline = self.store.timeline_len(customers.clone()).await?;
        let at = self.clock.now();
        let id = self.clock.decision_id(at);
        let receipt = |id| Erased {
            id,
            at,
            removed: removed(profile, customers.len() as u64, timeline),
            remaining: remaining(profile, customers.len() as u64),
        };
        if input.validate_only {
            return Ok(receipt(None));
        }
        let erasure = NewErasure { id: id.0, at, reason: input.reason, customer: profile.key };
        let done = self.store.erase(erasure).await?;
        // an answer may name the person
        self.request_ids.forget_answers();
        if done.is_none() {
            return Err(AppError::NotFound("no customer has these identities any more".to_owned()));
        }
        self.metrics.erasures.increment(1);
        Ok(receipt(Some(id)))
    }

    /// Everything that is kept of a customer.
    ///
    /// # Errors
    /// As [`App::customer`]; the log cannot be read.
    pub async fn export_customer(
        self: &std::sync::Arc<Self>,
        identities: &[Identity],
    ) -> Result<ExportedCustomer, AppError> {
        let hot = self.known(identities).await?;
        let mut timeline = Vec::new();
        let mut after = None;
        while timeline.len() < TIMELINE_EXPORTED_MAX {
            let input = TimelineInput {
                identities: identities.to_vec(),
                kinds: Vec::new(),
                from: None,
                until: None,
                after,
                len_max: TIMELINE_PAGE,
            };
            let page = self.timeline(input).await?;
            timeline.extend(page.entries);
            after = page.next.map(|next| self.place_of(next));
            if after.is_none() {
                break;
            }
        }
        let (decisions, more_decisions) = self.decisions_of(customers_of(&hot.profile)).await?;
        let view = self.view(&self.current(), &hot.profile);
        Ok(ExportedCustomer { view, timeline, decisions, more_decisions })
    }

    async fn decisions_of(
        self: &std::sync::Arc<Self>,
        customers: Vec<CustomerKey>,
    ) -> Result<(Vec<StoredDecision>, bool), AppError> {
        let app = std::sync::Arc::clone(self);
        let scan = tokio::task::spawn_blocking(move || {
            let (mut decisions, mut more) = (Vec::new(), false);
            app.store.scan_decisions_of(&customers, &mut |decision| {
                more = decisions.len() == DECISIONS_EXPORTED_MAX;
                if !more {
                    decisions.push(decision);
                }
                !more
            })?;
            Ok((decisions, more))
        });
        scan.await.unwrap_or_else(|_| Err(AppError::Unavailable("the export was interrupted: ask again".to_owned())))
    }
}

fn removed(profile: &Profile, customers: u64, timeline: u64) -> Vec<(&'static str, u64)> {
    let len = |list: usize| list as u64;
    vec![
        ("profiles", customers),
        ("data_keys", customers),
        ("identities", len(profile.identities.len())),
        ("attributes", len(profile.attributes.len())),
        ("consents", len(profile.consents.len())),
        ("preferences", len(profile.preferences.len())),
        ("records", len(profile.records.len())),
        ("interactions", len(profile.interactions.len())),
        ("timeline", timeline),
    ]
}

fn remaining(profile: &Profile, customers: u64) -> Vec<(&'static str, u64, &'static str)> {
    vec![
        (
            "tombstones",
            profile.identities.len() as u64 + customers,
            "keyed hashes of the identities and keys, so that late events bring nobody back; without the secret of the \
             data directory they name nobody",
        ),
        ("log_records", 0, "events and decisions of the log, sealed with the destroyed keys: nobody can read them"),
        (
            "decisions",
            0,
            "the public parts of decisions: offers, channels, times and probabilities under the customer's former key",
        ),
        ("tallies", 0, "counts per offer and channel, and the models made of them: they name nobody"),
        ("event_ids", 0, "hashes of event ids, to tell repetitions; forgotten after 7 days"),
    ]
}
