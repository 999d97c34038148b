//! Rules are swapped whole, under load, without a failed request.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rapport::proto::{DecideRequest, DecideResponse, GetActiveRevisionRequest};
use serde_json::json;

use crate::harness::{Place, Server, eventually, message};

const CLIENTS: usize = 10;
/// Each client asks this often: 1,000 requests/s together.
const INTERVAL: Duration = Duration::from_millis(10);
const EDITS: usize = 5;
const BETWEEN_EDITS: Duration = Duration::from_millis(600);
const EFFECTIVE_WITHIN: Duration = Duration::from_secs(1);

const RULES: &str = r#"
settings: { currency: GBP, default_language: en, time_zone: Europe/London }
channels:
  - { id: web, kind: self_service, base_rate: 0.05, require: [text] }
placements:
  - { id: left, channel: web, slots: 1 }
  - { id: right, channel: web, slots: 1 }
issues: [ { id: grow } ]
groups: [ { id: all } ]
policies:
  holdout: { share: 0.0, salt: "reload" }
  exploration: { share: 0.0 }
"#;

/// Two offers whose texts both carry the revision's number.
pub fn rules(revision: usize) -> String {
    let mut text = RULES.to_owned();
    text.push_str("offers:\n");
    for side in ["left", "right"] {
        text.push_str(&format!(
            "  - id: {side}_offer\n    name: {side}\n    purpose: marketing\n    issue: grow\n    group: all\n    \
             value: {value}\n    placements: [{side}]\n    treatments:\n      web:\n        en: {{ text: \"{revision}\" }}\n",
            value = revision + 1,
        ));
    }
    text
}

/// When it was asked and answered, the revision's hash, and the number in the content.
struct Seen {
    asked: Instant,
    answered: Instant,
    hash: String,
    number: usize,
}

/// The one number an answer carries. Mixing two revisions fails.
fn number_of(answer: &DecideResponse) -> usize {
    let texts: Vec<&str> = answer
        .placements
        .iter()
        .map(|p| p.presentations[0].message.as_ref().expect("a message").text.as_str())
        .collect();
    assert_eq!(texts.len(), 2);
    assert_eq!(texts[0], texts[1], "an answer mixes two revisions: {answer:?}");
    texts[0].parse().expect("a number in the content")
}

async fn ask(server: Arc<Server>, stop: Arc<AtomicBool>) -> Vec<Seen> {
    let mut client = server.decisions().await;
    let request: DecideRequest = message(json!({"placements": [{"placement": "left"}, {"placement": "right"}]}));
    let mut seen = Vec::new();
    let mut ticks = tokio::time::interval(INTERVAL);
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let asked = Instant::now();
        let answer = client.decide(request.clone()).await.expect("no request fails during a reload").into_inner();
        seen.push(Seen { asked, answered: Instant::now(), number: number_of(&answer), hash: answer.ruleset_revision });
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_are_swapped_whole_under_load() {
    let place = Arc::new(Place::empty());
    place.write_rule("all.yaml", &rules(0));
    let server = Arc::new(Server::start(&place));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS).map(|_| tokio::spawn(ask(Arc::clone(&server), Arc::clone(&stop)))).collect();

    let mut edits = Vec::new();
    for revision in 1..=EDITS {
        tokio::time::sleep(BETWEEN_EDITS).await;
        place.write_rule("all.yaml", &rules(revision));
        edits.push((revision, Instant::now()));
    }
    tokio::time::sleep(EFFECTIVE_WITHIN + BETWEEN_EDITS).await;
    stop.store(true, Ordering::Relaxed);
    let mut seen = Vec::new();
    for client in clients {
        seen.extend(client.await.expect("the client ends"));
    }

    let mut numbers: HashMap<&str, usize> = HashMap::new();
    for one in &seen {
        let number = *numbers.entry(one.hash.as_str()).or_insert(one.number);
        assert_eq!(number, one.number, "revision `{}` has two contents", one.hash);
    }
    for (revision, edited) in edits {
        let first = seen.iter().filter(|s| s.number >= revision).map(|s| s.answered).min();
        let after = first.expect("the edit became effective").saturating_duration_since(edited);
        assert!(after <= EFFECTIVE_WITHIN, "edit {revision} was effective after {after:?}");
        let late = seen.iter().find(|s| s.number < revision && s.asked > edited + EFFECTIVE_WITHIN);
        assert!(late.is_none(), "an answer of old rules a second after edit {revision}");
    }
}

#[tokio::test]
async fn a_broken_edit_is_refused_and_the_old_rules_serve_on() {
    let place = Arc::new(Place::empty());
    place.write_rule("all.yaml", &rules(7));
    let server = Server::start(&place);
    place.write_rule("all.yaml", &rules(8).replace("purpose: marketing", "purpos: marketing"));
    let mut client = server.rulesets().await;
    let errors = eventually("the refused errors", || {
        let mut client = client.clone();
        async move {
            let active = client.get_active_revision(GetActiveRevisionRequest {}).await.expect("a revision");
            let errors = active.into_inner().refused_errors;
            (!errors.is_empty()).then_some(errors)
        }
    })
    .await;
    assert!(errors.iter().any(|e| e.contains("all.yaml:") && e.contains("purpos")), "{errors:?}");
    let question = json!({"placements": [{"placement": "left"}, {"placement": "right"}]});
    assert_eq!(number_of(&server.decide(question.clone()).await.expect("an answer")), 7);

    place.write_rule("all.yaml", &rules(9));
    eventually("the repaired rules", || async {
        (number_of(&server.decide(question.clone()).await.expect("an answer")) == 9).then_some(())
    })
    .await;
    let active = client.get_active_revision(GetActiveRevisionRequest {}).await.expect("a revision").into_inner();
    assert!(active.refused_errors.is_empty(), "{active:?}");
}
