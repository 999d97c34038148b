//! What clients know: what they sent, and what was promised of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rapport::proto::{
    AckStrength, ChangeKind, GetReportRequest, OutcomeType, RecordRequest, RecordStatus, SubscribeRequest,
    SubscribeResponse,
};
use serde_json::{Value, json};

use super::replica::Replica;
use crate::harness::{Server, message};

/// Events of one call when everything is sent again.
const BATCH_LEN: usize = 100;
/// How long replicas may take to agree.
const AGREE_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// What names an event or an outcome in what the service tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// An event of a customer, by the number in its id and amount.
    Event(usize),
    /// What followed the presentation of a decision.
    Outcome {
        /// The decision.
        decision_id: String,
        /// The outcome as the timeline has it: `accept`.
        kind: &'static str,
    },
}

/// What a client sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What it is.
    pub name: Name,
    /// Whose it is; a number of a customer.
    pub customer: usize,
    /// The event as JSON of the API.
    pub event: Value,
}

/// What came of sending it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Promised with this strength.
    Acknowledged(AckStrength),
    /// No answer, or one that promises nothing: it may be there.
    Unanswered,
}

/// Everything that was sent; shared by those who send.
#[derive(Default)]
pub struct Ledger {
    entries: Mutex<Vec<(Sent, Fate)>>,
}

impl Ledger {
    /// Notes what came of sending something.
    pub fn note(&self, sent: Sent, fate: Fate) {
        self.lock().push((sent, fate));
    }

    /// How many were promised.
    pub fn acknowledged(&self) -> usize {
        self.lock().iter().filter(|(_, fate)| *fate != Fate::Unanswered).count()
    }

    /// How many were promised with a strength.
    pub fn acknowledged_with(&self, strength: AckStrength) -> usize {
        self.lock().iter().filter(|(_, fate)| *fate == Fate::Acknowledged(strength)).count()
    }

    /// How many had no answer.
    pub fn unanswered(&self) -> usize {
        self.lock().iter().filter(|(_, fate)| *fate == Fate::Unanswered).count()
    }

    /// Names of what was promised, of those that a condition holds for.
    pub fn promised(&self, holds: impl Fn(AckStrength) -> bool) -> BTreeSet<Name> {
        let entries = self.lock();
        let promised = entries.iter().filter(|(_, fate)| matches!(fate, Fate::Acknowledged(ack) if holds(*ack)));
        promised.map(|(sent, _)| sent.name.clone()).collect()
    }

    /// Names of everything that was sent.
    pub fn sent(&self) -> BTreeSet<Name> {
        self.lock().iter().map(|(sent, _)| sent.name.clone()).collect()
    }

    /// Sends what was not acknowledged until it is.
    pub async fn send_again(&self, server: &Server) {
        let open: Vec<Sent> = {
            let entries = self.lock();
            entries.iter().filter(|(_, fate)| *fate == Fate::Unanswered).map(|(sent, _)| sent.clone()).collect()
        };
        resend(server, &open, &[RecordStatus::Recorded, RecordStatus::Duplicate]).await;
        for (_, fate) in self.lock().iter_mut().filter(|(_, fate)| *fate == Fate::Unanswered) {
            *fate = Fate::Acknowledged(AckStrength::Process);
        }
    }

    /// Everything that was promised is a repetition when it is sent once more:
    /// the last so many of them.
    pub async fn all_are_repetitions(&self, server: &Server, most: usize) {
        let promised: Vec<Sent> = {
            let entries = self.lock();
            let promised = entries.iter().rev().filter(|(_, fate)| *fate != Fate::Unanswered);
            promised.take(most).map(|(sent, _)| sent.clone()).collect()
        };
        resend(server, &promised, &[RecordStatus::Duplicate]).await;
    }

    /// Waits until the replica tells everything that was sent, once, and counts
    /// it so; everything must have been acknowledged.
    pub async fn agrees(&self, replica: &Replica, what: &str) {
        assert_eq!(self.unanswered(), 0, "{what}: send it again first");
        let sent = self.sent();
        let begun = Instant::now();
        loop {
            let told = told(replica.server()).await;
            let wrong = told.difference_to(&sent).or(self.miscounted(replica.server()).await);
            let Some(wrong) = wrong else { return };
            let log = || replica.server().log();
            assert!(begun.elapsed() < AGREE_TIMEOUT, "{what}: {wrong}, after {AGREE_TIMEOUT:?}:\n{}", log());
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until profiles count everything that was sent, on a replica that came
    /// later and was told only of what followed.
    pub async fn profiles_agree(&self, replica: &Replica, what: &str) {
        let begun = Instant::now();
        for (customer, wanted) in self.events_by_customer(|_| true) {
            loop {
                let is = events_of(replica.server(), customer).await;
                if is == wanted {
                    break;
                }
                let log = || replica.server().log();
                let late = begun.elapsed() > AGREE_TIMEOUT;
                assert!(!late, "{what}: customer {customer} counts {is} events of {wanted}:\n{}", log());
                tokio::time::sleep(POLL_INTERVAL).await;
            }
        }
    }

    /// Every event that is told is counted in its customer's profile, and none
    /// that was not sent.
    pub async fn counts_at_least(&self, replica: &Replica, told: &Told) {
        let (all, there) =
            (self.events_by_customer(|_| true), self.events_by_customer(|name| told.0.contains_key(name)));
        for (customer, sent) in all {
            let (is, least) = (events_of(replica.server(), customer).await, there.get(&customer).copied().unwrap_or(0));
            assert!((least..=sent).contains(&is), "customer {customer} counts {is} events, {least} told, {sent} sent");
        }
    }

    /// What profiles count of those whose names are given, for people to read.
    pub async fn counted_of(&self, replica: &Replica, names: &[&Name]) -> String {
        let customers: BTreeSet<usize> = {
            let entries = self.lock();
            entries.iter().filter(|(sent, _)| names.contains(&&sent.name)).map(|(sent, _)| sent.customer).collect()
        };
        let (all, mut text) = (self.events_by_customer(|_| true), String::new());
        for customer in customers {
            let is = events_of(replica.server(), customer).await;
            text += &format!("customer {customer} counts {is} events of {:?} sent; ", all.get(&customer));
        }
        text
    }

    /// How many different events of each customer there are of which something
    /// holds.
    fn events_by_customer(&self, holds: impl Fn(&Name) -> bool) -> BTreeMap<usize, u64> {
        let entries = self.lock();
        let names: BTreeMap<&Name, usize> = entries.iter().map(|(sent, _)| (&sent.name, sent.customer)).collect();
        let mut found: BTreeMap<usize, u64> = BTreeMap::new();
        for (_, customer) in names.into_iter().filter(|(name, _)| matches!(name, Name::Event(_)) && holds(name)) {
            *found.entry(customer).or_default() += 1;
        }
        found
    }

    /// What counters of profiles and tallies have other than they should.
    async fn miscounted(&self, server: &Server) -> Option<String> {
        for (customer, wanted) in self.events_by_customer(|_| true) {
            let is = events_of(server, customer).await;
            if is != wanted {
                return Some(format!("customer {customer} counts {is} events of {wanted}"));
            }
        }
        let accepts =
            self.sent().iter().filter(|name| matches!(name, Name::Outcome { kind: "accept", .. })).count() as u64;
        let report = server.rulesets().await.get_report(GetReportRequest {}).await.expect("a report").into_inner();
        let told: u64 = report.rows.iter().map(|row| row.accepts).sum();
        (told != accepts).then(|| format!("the report has {told} accepts of {accepts}"))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Sent, Fate)>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Events that the profile of a customer counts.
async fn events_of(server: &Server, customer: usize) -> u64 {
    let view = server.view("customer_id", &format!("load-{customer}")).await;
    view.map_or(0, |view| view.events.iter().map(|total| total.count).sum())
}

async fn resend(server: &Server, sent: &[Sent], allowed: &[RecordStatus]) {
    let mut client = server.events().await;
    for chunk in sent.chunks(BATCH_LEN) {
        let request: RecordRequest = message(json!({"events": chunk.iter().map(|s| &s.event).collect::<Vec<_>>()}));
        let reply = client.record(request).await.expect("events are taken again").into_inner();
        for (sent, result) in chunk.iter().zip(&reply.results) {
            assert!(allowed.contains(&result.status()), "{:?} sent again: {result:?}\n{}", sent.name, server.log());
        }
    }
}

/// What a replica tells, each with how often.
#[derive(Default)]
pub struct Told(pub BTreeMap<Name, u64>);

impl Told {
    /// How it differs from what should be told once each; none when it does not.
    pub fn difference_to(&self, wanted: &BTreeSet<Name>) -> Option<String> {
        let lost: Vec<_> = wanted.iter().filter(|name| !self.0.contains_key(name)).collect();
        let twice: Vec<_> = self.0.iter().filter(|(_, times)| **times > 1).collect();
        let unknown: Vec<_> = self.0.keys().filter(|name| !wanted.contains(name)).collect();
        let some = |names: &[&Name]| format!("{:?}", names.iter().take(3).collect::<Vec<_>>());
        if lost.is_empty() && twice.is_empty() && unknown.is_empty() {
            return None;
        }
        let (lost_len, twice_len, unknown_len) = (lost.len(), twice.len(), unknown.len());
        Some(format!(
            "of {} sent, {lost_len} are lost {}, {twice_len} told twice, {unknown_len} unknown {}",
            wanted.len(),
            some(&lost),
            some(&unknown)
        ))
    }

    /// Those that are not told.
    pub fn lost<'n>(&self, wanted: &'n BTreeSet<Name>) -> Vec<&'n Name> {
        wanted.iter().filter(|name| !self.0.contains_key(name)).collect()
    }

    /// Those that are told more than once.
    pub fn twice(&self) -> Vec<&Name> {
        self.0.iter().filter(|(_, times)| **times > 1).map(|(name, _)| name).collect()
    }
}

/// Everything that a replica has committed by now.
pub async fn told(server: &Server) -> Told {
    let request: SubscribeRequest = message(json!({
        "cursor": "0", "untilNow": true, "kinds": ["CHANGE_KIND_EVENT", "CHANGE_KIND_OUTCOME"],
    }));
    let mut stream = server.events().await.subscribe(request).await.expect("subscribing").into_inner();
    let mut told = Told::default();
    loop {
        let message = stream.message().await.unwrap_or_else(|status| panic!("{status}\n{}", server.log()));
        let Some(message) = message else { return told };
        if let Some(name) = name_of(&message) {
            *told.0.entry(name).or_default() += 1;
        }
    }
}

fn name_of(told: &SubscribeResponse) -> Option<Name> {
    let entry = told.entry.as_ref()?;
    match told.kind() {
        ChangeKind::Event => {
            let amount = entry.amount.as_ref()?;
            Some(Name::Event(amount.amount.replace('.', "").parse().ok()?))
        }
        ChangeKind::Outcome => {
            let kind = KINDS.iter().find(|(_, kind)| *kind == entry.r#type)?.1;
            Some(Name::Outcome { decision_id: entry.decision_id.clone(), kind })
        }
        _ => None,
    }
}

/// Outcomes that clients send, and how they are told.
pub const KINDS: [(OutcomeType, &str); 2] = [(OutcomeType::Impression, "impression"), (OutcomeType::Accept, "accept")];
