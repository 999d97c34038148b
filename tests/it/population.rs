//! Rules tried on people: publishes are judged on real customers, and rules are
//! tried out on files of people.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
};

use rapport::proto::{
    EvaluateReachRequest, GetActiveRevisionRequest, ListAuditRequest, OfferChange, PublishRevisionRequest,
    RollbackRevisionRequest, RuleFile, ValidateRevisionRequest,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::harness::{Place, Server, eventually};

const CUSTOMERS: usize = 40;

const RULES: &str = r#"
settings: { currency: GBP }
attributes:
  - { id: age, type: int }
  - { id: country, type: string }
context: [ { id: basket_value, type: money } ]
segments:
  - { id: young, when: "p.age < 10" }
channels: [ { id: web, kind: self_service, require: [text] } ]
placements: [ { id: hero, channel: web } ]
issues: [ { id: sell } ]
groups: [ { id: all } ]
policies:
  reach: { max_gain_share: 0.25, max_loss_share: 0.25, min_sample: 20 }
offers:
  - id: tea
    purpose: marketing
    issue: sell
    group: all
    value: 5
    placements: [hero]
    eligibility: "p.age < 4"
    treatments: { web: { en: { text: "Tea" } } }
  - id: cake
    purpose: marketing
    issue: sell
    group: all
    value: 5
    placements: [hero]
    eligibility: "p.country == 'DE' && ctx.basket_value > money('10')"
    treatments: { web: { en: { text: "Cake" } } }
"#;

fn files(text: &str) -> Vec<RuleFile> {
    vec![RuleFile { path: "all.yaml".to_owned(), text: text.to_owned() }]
}

/// A service with customers aged 0 to 39.
async fn service() -> (Arc<Place>, Server) {
    let place = Arc::new(Place::empty());
    place.write_rule("all.yaml", RULES);
    let server = Server::start(&place);
    for age in 0..CUSTOMERS {
        server.customer(&format!("c{age}"), json!({"age": age, "country": "DE"})).await;
    }
    (place, server)
}

async fn active(server: &Server) -> String {
    let active = server.rulesets().await.get_active_revision(GetActiveRevisionRequest {}).await;
    active.expect("a revision").into_inner().revision
}

#[tokio::test]
async fn an_offer_that_suddenly_reaches_everybody_is_refused_unless_forced() {
    let (_place, server) = service().await;
    let before = active(&server).await;
    let everybody = RULES.replace("p.age < 4", "p.age < 400");
    let publish = PublishRevisionRequest {
        files: files(&everybody),
        expected_revision: before.clone(),
        author: "ann".to_owned(),
        comment: "more tea".to_owned(),
        ..PublishRevisionRequest::default()
    };
    let refused = server.rulesets().await.publish_revision(publish.clone()).await.expect_err("too many gain");
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert_eq!(active(&server).await, before);

    let validate = ValidateRevisionRequest { files: files(&everybody) };
    let answer = server.rulesets().await.validate_revision(validate).await.expect("a report").into_inner();
    assert!(!answer.acceptable);
    let report = answer.report.expect("a report");
    let told = report.reach_violations.join("\n");
    assert!(told.contains("`tea` gains 36 of 40 people (90 %)") && told.contains("`max_gain_share`"), "{told}");
    let population = report.population.expect("a comparison");
    assert_eq!((population.profiles, population.ranked, population.offers_unchanged), (40, 40, 1));
    let tea = &population.offers[0];
    assert_eq!((tea.offer.as_str(), tea.eligible_before, tea.eligible_after), ("tea", 4, 40));
    assert_eq!((tea.winners_before, tea.winners_after, tea.change()), (4, 40, OfferChange::Kept));
    assert_eq!((tea.segments[0].segment.as_str(), tea.segments[0].gained), ("young", 6));

    let forced = PublishRevisionRequest { force: true, force_reason: "tea week".to_owned(), ..publish };
    let published = server.rulesets().await.publish_revision(forced).await.expect("forced").into_inner();
    assert!(published.changed);
    // going back is not judged: it needs no force
    let back = RollbackRevisionRequest {
        revision: before.clone(),
        expected_revision: published.revision.clone(),
        ..RollbackRevisionRequest::default()
    };
    let undone = server.rulesets().await.rollback_revision(back).await.expect("rolled back").into_inner();
    let report = undone.report.expect("a report");
    assert!(report.reach_violations.is_empty() && report.population.is_some_and(|p| p.lost == 36));
    assert!(report.notes.iter().any(|note| note.contains("`tea` loses 36 of 40")), "{:?}", report.notes);
    assert_eq!(active(&server).await, before);
    let audit = server.rulesets().await.list_audit(ListAuditRequest::default()).await.expect("the audit list");
    let entries = audit.into_inner().entries;
    let entry = entries.iter().find(|entry| entry.force_reason == "tea week").expect("an entry of the force");
    assert_eq!(entry.author, "ann");
    assert!(entry.overridden.iter().any(|line| line.contains("`tea` gains 36")), "{entry:?}");
}

#[tokio::test]
async fn an_edit_of_the_directory_is_judged_too_and_small_changes_pass() {
    let (place, server) = service().await;
    place.write_rule("all.yaml", &RULES.replace("p.age < 4", "p.age >= 0"));
    let refused = eventually("the refused edit", || async {
        let active = server.rulesets().await.get_active_revision(GetActiveRevisionRequest {}).await;
        let errors = active.expect("a revision").into_inner().refused_errors;
        (!errors.is_empty()).then_some(errors)
    })
    .await;
    assert!(refused.iter().any(|line| line.contains("`tea` gains 36 of 40 people")), "{refused:?}");
    let before = active(&server).await;
    place.write_rule("all.yaml", &RULES.replace("p.age < 4", "p.age < 8"));
    eventually("the small edit", || async { (active(&server).await != before).then_some(()) }).await;
}

#[tokio::test]
async fn the_service_tells_whom_an_edit_would_reach() {
    let (_place, server) = service().await;
    let edited = EvaluateReachRequest { files: files(&RULES.replace("p.age < 4", "p.age > 1 && p.age < 12")) };
    let told = server.rulesets().await.evaluate_reach(edited).await.expect("an answer").into_inner();
    assert_eq!((told.profiles, told.offers.len(), told.offers_unchanged), (40, 1, 1), "{told:?}");
    let tea = &told.offers[0];
    assert_eq!((tea.before, tea.after, tea.gained, tea.lost), (4, 10, 8, 2));
    assert_eq!((tea.segments[0].segment.as_str(), tea.segments[0].gained, tea.segments[0].lost), ("young", 6, 2));
    let wrong = EvaluateReachRequest { files: files(&RULES.replace("p.age < 4", "p.agee < 4")) };
    let told = server.rulesets().await.evaluate_reach(wrong).await.expect("an answer").into_inner();
    assert!(told.errors[0].contains("all.yaml:") && told.errors[0].contains("p.agee"), "{told:?}");
}

fn rapport(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a command answers to lines: standard output, standard error, success.
fn answered(args: &[&str], lines: &str) -> (String, String, bool) {
    let mut child = rapport(args).spawn().expect("starting the command");
    child.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("writing the lines");
    let output = child.wait_with_output().expect("its output");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (text(output.stdout), text(output.stderr), output.status.success())
}

#[test]
fn eligible_answers_every_line_in_order() {
    let place = Place::empty();
    place.write_rule("all.yaml", RULES);
    let rules = place.rules();
    let rules = rules.to_str().expect("a path");
    let people = r#"{"id": "a", "p": {"age": 3, "country": "DE"}, "ctx": {"basket_value": 12.5}}
{"id": "b", "age": 3, "basket_value": "9.99", "country": "DE"}
{"identities": [{"type": "customer_id", "value": "c"}], "attributes": {"age": 70, "country": "DE"}, "consents": []}

{"p": {"age": 1}, "at": "2026-01-01"}
"#;
    let base = ["eligible", "--rules", rules, "--profiles", "-"];
    let (out, err, ok) = answered(&base, people);
    assert_eq!((out.as_str(), ok), ("a: cake, tea\nb: tea\nc: \nline 5: tea\n", true), "{err}");
    let (out, _, ok) = answered(&[&base[..], &["--json", "--unknown"]].concat(), people);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(ok);
    assert_eq!(lines[0], json!({"id": "a", "eligible": ["cake", "tea"], "unknown": []}));
    assert_eq!(lines[2], json!({"id": "c", "eligible": [], "unknown": ["cake"]}));
    assert!(out.starts_with(r#"{"id":"a","eligible":["cake","tea"]"#), "{out}");
    let (out, _, _) = answered(&[&base[..], &["--explain", "cake"]].concat(), people);
    assert!(out.contains("b: not eligible for cake\n") && out.contains("all.yaml:30:"), "{out}");
    assert!(out.contains("`ctx.basket_value > money('10')` is false: ctx.basket_value = 9.99 GBP"), "{out}");
}

#[test]
fn eligible_tells_mistakes_at_their_lines_and_goes_on() {
    let place = Place::empty();
    place.write_rule("all.yaml", RULES);
    let rules = place.rules();
    let base = ["eligible", "--rules", rules.to_str().expect("a path"), "--profiles", "-"];
    let people = "{\"id\": 1, \"p\": {\"agee\": 3}}\n{\"id\": 2, \"p\": {\"age\": \"3\"}}\nnothing\n[]\n{\"id\": 5, \"age\": 3}\n{\"eventId\": \"1\", \"customer\": {}}\n";
    let (out, err, ok) = answered(&base, people);
    assert_eq!((out.as_str(), ok), ("5: tea\n", false));
    for wanted in [
        "standard input:1: unknown attribute `p.agee`; did you mean `p.age`",
        "standard input:2: `p.age` (int) is a string",
        "standard input:3: not valid JSON",
        "standard input:4: not a person",
        "standard input:6: an event, not a person",
        "5 of 6 lines refused",
    ] {
        assert!(err.contains(wanted), "{wanted} in {err}");
    }
    let (out, _, _) = answered(&[&base[..], &["--lenient", "--json"]].concat(), people);
    assert_eq!(out.lines().next(), Some(r#"{"id":"1","eligible":[]}"#), "{out}");
    assert!(out.lines().nth(1).is_some_and(|line| line.contains("error")), "{out}");
}

/// A command that is ended with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn reach_tells_at_each_save_who_gains_and_who_loses() {
    let place = Place::empty();
    place.write_rule("all.yaml", RULES);
    let rules = place.rules();
    let people = tempfile::NamedTempFile::new().expect("a file");
    for age in 0..CUSTOMERS {
        writeln!(people.as_file(), "{}", json!({"id": age, "p": {"age": age}})).expect("a line");
    }
    let (dir, file) = (rules.to_str().expect("a path"), people.path().to_str().expect("a path"));
    let mut command = rapport(&["reach", "--watch", dir, "--profiles", file, "--json"]);
    let mut running = Running(command.stderr(Stdio::inherit()).spawn().expect("starting the watch"));
    let mut lines = BufReader::new(running.0.stdout.take().expect("a pipe")).lines();
    let look = |lines: &mut std::io::Lines<BufReader<ChildStdout>>| -> Value {
        serde_json::from_str(&lines.next().expect("a look").expect("a line")).expect("JSON")
    };
    let first = look(&mut lines);
    assert_eq!(first["profiles"], "40", "{first}");
    let tea = first["offers"].as_array().and_then(|all| all.iter().find(|offer| offer["offer"] == "tea"));
    assert_eq!(tea.map(|tea| &tea["after"]), Some(&json!("4")), "{first}");

    place.write_rule("all.yaml", &RULES.replace("p.age < 4", "p.age < 14"));
    let second = look(&mut lines);
    assert_eq!((&second["offers"][0]["gained"], &second["offersUnchanged"]), (&json!("10"), &json!("1")), "{second}");
    let young = json!([{"segment": "young", "gained": "6", "lost": "0"}]);
    assert_eq!(second["offers"][0]["segments"], young, "{second}");

    place.write_rule("all.yaml", &RULES.replace("p.age < 4", "p.age <"));
    assert!(look(&mut lines)["errors"][0].as_str().is_some_and(|error| error.contains("all.yaml:")));
    place.write_rule("all.yaml", &RULES.replace("p.age < 4", "p.age < 12"));
    assert_eq!(look(&mut lines)["offers"][0]["lost"], "2", "a mistake is not what the next save is compared with");
}
