//! Erasing a customer, and handing out everything that is kept of one.

use crate::{
    domain::{CustomerKey, DecisionId, Identity, Profile, Sharing, StoredIdentity, Timestamp},
    store::{Meanwhile, NewErasure, StoredDecision, TimelineEntry},
};

use super::{
    App, AppError, CustomerView,
    timeline::{TimelineInput, customers_of},
};

/// Most entries of the timeline in an export: the newest. There are more only of
/// who was merged many times.
pub const TIMELINE_EXPORTED_MAX: usize = 100_000;
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
    /// Whether there are older entries than these.
    pub more_timeline: bool,
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
    pub async fn erase(self: &std::sync::Arc<Self>, input: EraseInput) -> Result<Erased, AppError> {
        let hot = self.known(&input.identities).await?;
        let profile = &hot.profile;
        let customers = customers_of(profile);
        let timeline = self.store.timeline_len(customers.clone()).await?;
        let meanwhile = self.decided_meanwhile(customers.clone()).await?;
        let alone = self.identities_alone(profile, &customers).await?;
        let at = self.clock.now();
        let id = self.clock.decision_id(at);
        let receipt = |id| Erased {
            id,
            at,
            removed: removed(profile, customers.len() as u64, timeline),
            remaining: remaining(alone + customers.len() as u64, meanwhile),
        };
        if input.validate_only {
            return Ok(receipt(None));
        }
        let erasure = NewErasure { id: id.0, at, reason: input.reason, customer: profile.key };
        let hash = |one: &StoredIdentity| self.store.identity_hash(one.kind, &one.value);
        let erased = profile.identities.iter().map(hash).collect();
        let done = self.store.erase(erasure).await;
        // an answer may name the person; it may be erased although that failed
        self.request_ids.forget_answers(&erased);
        if done?.is_none() {
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
        let (timeline, more_timeline) = self.whole_timeline(identities, TIMELINE_EXPORTED_MAX).await?;
        let (decisions, more_decisions) = self.decisions_of(customers_of(&hot.profile)).await?;
        let view = self.view(&self.current(), &hot.profile);
        Ok(ExportedCustomer { view, timeline, more_timeline, decisions, more_decisions })
    }

    /// Every page of a timeline up to so many entries, and whether there are more.
    async fn whole_timeline(
        &self,
        identities: &[Identity],
        most: usize,
    ) -> Result<(Vec<TimelineEntry>, bool), AppError> {
        let mut timeline = Vec::new();
        let mut after = None;
        while timeline.len() < most {
            let len_max = TIMELINE_PAGE.min(most - timeline.len());
            let (kinds, identities) = (Vec::new(), identities.to_vec());
            let (page, _) =
                self.timeline(TimelineInput { identities, kinds, from: None, until: None, after, len_max }).await?;
            timeline.extend(page.entries);
            after = page.next.map(|next| self.place_of(next));
            if after.is_none() {
                return Ok((timeline, false));
            }
        }
        Ok((timeline, true))
    }

    /// How many identities nobody has but these customers.
    async fn identities_alone(&self, profile: &Profile, customers: &[CustomerKey]) -> Result<u64, AppError> {
        let mut alone = 0;
        for StoredIdentity { kind, value } in &profile.identities {
            let hash = self.store.identity_hash(*kind, value);
            let identity = Identity { kind: *kind, value: value.clone(), hash, sharing: Sharing::Shared };
            let holders = self.store.holders(&identity).await?;
            alone += u64::from(holders.iter().all(|key| customers.contains(key)));
        }
        Ok(alone)
    }

    /// How many decisions the log has that were made while customers were one
    /// with others who live on.
    async fn decided_meanwhile(self: &std::sync::Arc<Self>, customers: Vec<CustomerKey>) -> Result<u64, AppError> {
        let meanwhile = self.store.meanwhile(customers).await?;
        if meanwhile.is_empty() {
            return Ok(0);
        }
        let app = std::sync::Arc::clone(self);
        let scan = tokio::task::spawn_blocking(move || {
            let survivors: Vec<CustomerKey> = meanwhile.iter().map(|one| one.survivor).collect();
            let mut decided = 0;
            app.store.scan_decisions_of(&survivors, &mut |decision| {
                let record = &decision.record;
                let of = record.customer.as_ref().map(|hot| hot.profile.key);
                let inside =
                    |one: &Meanwhile| Some(one.survivor) == of && one.from <= record.now && record.now <= one.until;
                decided += u64::from(meanwhile.iter().any(inside));
                true
            })?;
            Ok(decided)
        });
        scan.await.unwrap_or_else(|_| Err(AppError::Unavailable("the erasure was interrupted: ask again".to_owned())))
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

fn remaining(tombstones: u64, meanwhile: u64) -> Vec<(&'static str, u64, &'static str)> {
    vec![
        (
            "tombstones",
            tombstones,
            "keyed hashes of the identities that nobody else has, and of the keys, so that late events bring nobody back; \
             without the secret of the data directory they name nobody",
        ),
        ("log_records", 0, "events and decisions of the log, sealed with the destroyed keys: nobody can read them"),
        (
            "decisions",
            0,
            "the public parts of decisions: offers, channels, times and probabilities under the customer's former key",
        ),
        (
            "decisions_while_merged",
            meanwhile,
            "decisions made while this customer was merged with one who lives on, sealed with that one's key: they, the \
             timeline of that time, and the identities and attributes that came in it, are that one's and still tell \
             what was known of both; erase that one as well, or take them from its profile",
        ),
        (
            "due",
            0,
            "that presentations wait for an answer, under the customer's former key; forgotten when they are looked at \
             next",
        ),
        ("tallies", 0, "counts per offer and channel, and the models made of them: they name nobody"),
        ("event_ids", 0, "hashes of event ids, to tell repetitions; forgotten after 7 days"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{Event, EventId, EventKind, IdentityTypeId},
        rules::SourceFile,
        store::{Store, StoreConfig, Strength, Submission, Target},
    };

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_timeline_that_is_cut_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let text = "settings: { currency: GBP }\nchannels: [ { id: web, kind: self_service, require: [text] } ]\n";
        let rules = vec![SourceFile { path: "all.yaml".into(), text: text.into() }];
        let store = Store::open(StoreConfig::new(dir.path())).unwrap();
        let app = App::open(store, &Ok(rules), "http://127.0.0.1:7070").unwrap_or_else(|error| panic!("{error}"));
        let kind = IdentityTypeId::of("email");
        let (value, hash) = ("ann@example.org".into(), app.store.identity_hash(kind, "ann@example.org"));
        let ann = [Identity { kind, value, hash, sharing: Sharing::Unique }];
        for n in 1..=5_u64 {
            let at = Timestamp(1_700_000_000_000_000 + n as i64);
            let kind = EventKind::DoNotContact { on: true, reason: "".into() };
            let id = EventId(n.into());
            let event = Event { id, at, received_at: at, identities: Vec::new(), feeds: Vec::new(), kind };
            let target = Target::Identities(ann.to_vec());
            app.store.record(vec![Submission { target, event, content: n, strength: Strength::Process }]).await;
        }
        for (most, len, more) in [(1, 1, true), (4, 4, true), (6, 5, false)] {
            let (timeline, cut) = app.whole_timeline(&ann, most).await.unwrap();
            assert_eq!((timeline.len(), cut), (len, more), "{most}");
        }
    }
}
