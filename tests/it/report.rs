//! The report adds up: what was decided, what followed, both arms; and a
//! restart keeps it.

use std::{process::Command, sync::Arc};

use rapport::proto::{
    GetReportRequest, GetReportResponse, Lift, Money, OutcomeType, RecordRequest, RecordStatus, ReportRow,
    RespondRequest, SilenceReason,
};
use serde_json::{Value, json};

use crate::harness::{Place, SHOP, Server, eventually, message, offers_of};

const CUSTOMERS: usize = 40;

/// One customer of the test, and the token of what was shown.
struct Asked {
    customer: String,
    /// `None` in the holdout.
    token: Option<String>,
}

fn money(amount: &str) -> Option<Money> {
    Some(Money { amount: amount.to_owned(), currency: "GBP".to_owned() })
}

fn outcome(asked: &Asked, kind: &str, rest: Value) -> Value {
    let mut outcome = json!({"presentationToken": asked.token.as_deref().expect("was shown"), "type": kind});
    outcome.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
    json!({"outcome": outcome})
}

fn purchase(asked: &Asked, number: usize, amount: &str) -> Value {
    json!({
        "eventId": format!("{}-{number}", asked.customer),
        "customer": {
            "identities": [{"type": "customer_id", "value": asked.customer}],
            "type": "purchase",
            "amount": {"amount": amount, "currency": "GBP"},
        },
    })
}

async fn record(server: &Server, events: &[Value], status: RecordStatus) {
    let request: RecordRequest = message(json!({"events": events}));
    let reply = server.events().await.record(request).await.expect("a reply").into_inner();
    assert!(reply.results.iter().all(|r| r.status() == status), "{reply:?}");
}

async fn ask_everybody(server: &Server) -> Vec<Asked> {
    let mut all = Vec::with_capacity(CUSTOMERS);
    for number in 0..CUSTOMERS {
        let customer = format!("report-{number}");
        server.customer(&customer, json!({})).await;
        let question = json!({
            "identities": [{"type": "customer_id", "value": customer}],
            "placements": [{"placement": "side_bar"}],
        });
        let answer = server.decide(question).await.expect("an answer");
        let token = answer.placements[0].presentations.first().map(|p| p.presentation_token.clone());
        match &token {
            Some(_) => assert_eq!(offers_of(&answer, "side_bar"), ["autumn"]),
            None => assert_eq!(answer.placements[0].silence_reason(), SilenceReason::Holdout),
        }
        let view = server.view("customer_id", &customer).await.expect("the customer");
        assert_eq!(view.arm, if token.is_some() { "treated" } else { "holdout" });
        all.push(Asked { customer, token });
    }
    all
}

async fn report(server: &Server) -> GetReportResponse {
    server.rulesets().await.get_report(GetReportRequest {}).await.expect("a report").into_inner()
}

/// The lift without its estimates, whose last digits JSON may lose.
fn counts_of(report: &GetReportResponse) -> Lift {
    let lift = report.lift.clone().expect("a lift");
    Lift { difference: 0.0, difference_low: 0.0, difference_high: 0.0, ..lift }
}

/// Waits until the report is as wanted: decisions are recorded behind their
/// answers.
async fn reports(server: &Server, rows: &[ReportRow], lift: &Lift) {
    let wanted = format!("the report {rows:#?}\n{lift:#?}");
    eventually(&wanted, || async {
        let found = report(server).await;
        (counts_of(&found) == *lift && found.rows == rows).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_report_adds_up() {
    let place = Arc::new(Place::empty());
    place.write_rule("shop.yaml", &SHOP.replace(r#"holdout: { share: 0.0, salt"#, r#"holdout: { share: 0.4, salt"#));
    let mut server = Server::start(&place);
    let all = ask_everybody(&server).await;
    let (treated, held): (Vec<&Asked>, Vec<&Asked>) = all.iter().partition(|a| a.token.is_some());
    assert!(treated.len() > 11 && held.len() > 2, "{} treated, {} held out", treated.len(), held.len());

    let mut events: Vec<Value> = treated.iter().map(|a| outcome(a, "OUTCOME_TYPE_IMPRESSION", json!({}))).collect();
    for asked in &treated[..4] {
        events.push(outcome(asked, "OUTCOME_TYPE_CLICK", json!({})));
        events.push(outcome(asked, "OUTCOME_TYPE_ACCEPT", json!({})));
    }
    for asked in &treated[4..7] {
        events.push(outcome(asked, "OUTCOME_TYPE_DECLINE", json!({"reasonCode": "not_interested"})));
    }
    for asked in &treated[7..9] {
        let value = json!({"value": {"amount": "12.50", "currency": "GBP"}});
        events.push(outcome(asked, "OUTCOME_TYPE_CONVERSION", value));
    }
    let value = json!({"value": {"amount": "5.00", "currency": "GBP"}});
    events.push(outcome(treated[0], "OUTCOME_TYPE_CONVERSION", value));
    events.push(purchase(treated[9], 0, "20.00"));
    events.push(purchase(held[0], 0, "10.00"));
    events.push(purchase(held[0], 1, "50.00"));
    record(&server, &events, RecordStatus::Recorded).await;
    record(&server, &events, RecordStatus::Duplicate).await;
    decline_on_the_phone(&server, treated[10]).await;

    let people = treated.len() as u64;
    let rows = [ReportRow {
        offer: "autumn".to_owned(),
        channel: "web".to_owned(),
        // the phone call asked once more
        eligible: CUSTOMERS as u64 + 1,
        decided: people,
        impressions: people,
        accepts: 6,
        declines: 4,
        revenue: money("30.00"),
    }];
    let lift = Lift {
        treated: people,
        treated_converted: 4,
        holdout: held.len() as u64,
        holdout_converted: 1,
        treated_revenue: money("50.00"),
        holdout_revenue: money("60.00"),
        ..Lift::default()
    };
    reports(&server, &rows, &lift).await;
    printed(&server, &report(&server).await);

    for _ in 0..2 {
        server.kill();
        server = Server::start(&place);
        reports(&server, &rows, &lift).await;
    }
    record(&server, &events, RecordStatus::Duplicate).await;
    reports(&server, &rows, &lift).await;
}

async fn decline_on_the_phone(server: &Server, asked: &Asked) {
    let respond = RespondRequest {
        presentation_token: asked.token.clone().expect("was shown"),
        outcome: OutcomeType::Decline.into(),
        reason_code: "too_expensive".to_owned(),
        agent_id: "agent-7".to_owned(),
        call_id: "call-42".to_owned(),
        ..RespondRequest::default()
    };
    // the answer needs the stored decision, which is recorded behind its own answer
    let reply = eventually("the stored decision", || {
        let respond = respond.clone();
        async { server.decisions().await.respond(respond).await.ok() }
    });
    let again = reply.await.into_inner().decision.expect("the re-ranked answer");
    assert!(offers_of(&again, "side_bar").is_empty());
}

/// `rapport report` prints what the service says.
fn printed(server: &Server, report: &GetReportResponse) {
    let run = |json: &[&str]| {
        let address = format!("http://{}", server.address);
        let output = Command::new(env!("CARGO_BIN_EXE_rapport"))
            .args(["report", "--address", &address])
            .args(json)
            .output()
            .expect("running the report");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    };
    let told: GetReportResponse = serde_json::from_str(&run(&["--json"])).expect("a report as JSON");
    assert_eq!((&told.rows, counts_of(&told)), (&report.rows, counts_of(report)));
    let text = run(&[]);
    let row = text.lines().find(|line| line.starts_with("autumn")).expect("a row of the offer");
    let words: Vec<&str> = row.split_whitespace().collect();
    let counts = &report.rows[0];
    let wanted = [counts.eligible, counts.decided, counts.impressions, counts.accepts, counts.declines];
    assert_eq!(words[2..7], wanted.map(|n| n.to_string()));
    assert_eq!(words[7..], ["30.00", "GBP"]);
    assert!(text.contains("lift: "), "{text}");
}
