//! What a customer wishes and who may see it, over the wire.

use std::sync::Arc;

use rapport::proto::{
    Customer, GetCustomerRequest, OutcomeType, RecordRequest, RecordResponse, RecordStatus, UpsertCustomerRequest,
    WatchCustomerRequest, customer_service_client::CustomerServiceClient,
};
use serde_json::{Value, json};
use tonic::{Code, Request, transport::Channel};

use crate::{
    edge,
    harness::{Place, Server, eventually, message},
    web,
};

/// Rules whose attribution windows end at once.
const SHORT: &str = r#"
placements: [ { id: short_slot, channel: web, slots: 1 } ]
offers:
  - id: short
    purpose: service
    issue: serve
    group: seasonal
    value: 5
    attribution: 1s
    placements: [short_slot]
    open: false
    treatments: { web: { en: { text: "Now or never" } } }
"#;

fn identities(id: &str) -> Value {
    json!([{"type": "customer_id", "value": id}])
}

async fn view_as(channel: Channel, key: &str, body: Value) -> Result<Customer, tonic::Status> {
    let mut request = Request::new(message::<GetCustomerRequest>(body));
    request.metadata_mut().insert("x-api-key", key.parse().expect("a key"));
    let answer = CustomerServiceClient::new(channel).get_customer(request).await?;
    Ok(answer.into_inner().customer.expect("a view"))
}

#[tokio::test]
async fn wishes_show_in_the_view_and_hold_in_the_next_decision() {
    let server = Server::shared();
    server.customer("wishes", json!({"email_address": "w@example.org"})).await;
    let upsert = async |body: Value| {
        let request: UpsertCustomerRequest = message(body);
        server.customers().await.upsert_customer(request).await
    };
    let consent = json!([{"purpose": "CONSENT_PURPOSE_MARKETING", "permission": "PERMISSION_GRANTED"}]);
    let wishes = json!({"channel": "email", "language": "de", "quietHours": "21:00-08:00", "contactsPerWeekMax": 1});
    upsert(json!({"identities": identities("wishes"), "consents": consent, "preferences": wishes}))
        .await
        .expect("a write");
    let view = server.view("customer_id", "wishes").await.expect("a view");
    assert_eq!(serde_json::to_value(&view.preferences).expect("JSON"), wishes);

    let question = json!({"identities": identities("wishes"), "placements": [{"placement": "home_hero"}]});
    let answer = server.decide(question.clone()).await.expect("an answer");
    assert_eq!(answer.placements[0].presentations[0].language, "de");
    let none = json!({"channel": "-", "language": "-", "quietHours": "-", "contactsPerWeekMax": 0});
    upsert(json!({"identities": identities("wishes"), "preferences": none})).await.expect("a write");
    let answer = server.decide(question).await.expect("an answer");
    assert_eq!(answer.placements[0].presentations[0].language, "en");
    let open = json!({"identities": identities("wishes"), "allowedChannels": ["email"]});
    assert!(server.decide(open.clone()).await.expect("an answer").placements[0].presentations.is_empty());
    upsert(json!({"identities": identities("wishes"), "preferences": {"contactsPerWeekMax": -1}}))
        .await
        .expect("a write");
    assert!(!server.decide(open).await.expect("an answer").placements[0].presentations.is_empty());

    let wrong = json!({"channel": "fax", "quietHours": "late", "contactsPerWeekMax": 1001});
    let refused = upsert(json!({"identities": identities("wishes"), "preferences": wrong})).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    let records = json!([{"name": "nothing", "records": [{"key": "1"}]}]);
    let refused = upsert(json!({"identities": identities("wishes"), "records": records})).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn only_the_fields_that_are_asked_for_are_shown() {
    let server = Server::shared();
    server.customer("fields", json!({"first_name": "Ann"})).await;
    let ask =
        |fields: Value| message::<GetCustomerRequest>(json!({"identities": identities("fields"), "fields": fields}));
    let mut customers = server.customers().await;
    let view = customers.get_customer(ask(json!(["attributes", "arm"]))).await.expect("a view").into_inner();
    let view = view.customer.expect("a view");
    assert!(view.attributes.contains_key("first_name") && view.arm == "treated");
    let only = Customer { attributes: view.attributes.clone(), arm: view.arm.clone(), ..Customer::default() };
    assert_eq!(view, only);
    let refused = customers.get_customer(ask(json!(["atributes"]))).await.expect_err("refused");
    assert!(refused.code() == Code::InvalidArgument, "{refused}");
    let watch = json!({"identities": identities("fields"), "fields": ["arm"]});
    let mut changes =
        customers.watch_customer(message::<WatchCustomerRequest>(watch)).await.expect("a watch").into_inner();
    let first = changes.message().await.expect("a change").expect("a view").customer.expect("a view");
    assert_eq!(first, Customer { arm: view.arm, ..Customer::default() });
}

#[tokio::test]
async fn personal_data_is_masked_for_a_key_that_may_not_see_it() {
    let server = edge::server_with_keys(&[]);
    let upsert = json!({"identities": [{"type": "email", "value": "ann.lee@example.org"}], "attributes": {"first_name": "Ann", "country": "GB"}});
    let mut request = Request::new(message::<UpsertCustomerRequest>(upsert));
    request.metadata_mut().insert("x-api-key", "sk_admin".parse().expect("a key"));
    server.customers().await.upsert_customer(request).await.expect("a write");
    let wanted = json!({"identities": [{"type": "email", "value": "ann.lee@example.org"}]});
    let text = |view: &Customer| serde_json::to_string(view).expect("JSON");

    let whole = text(&view_as(server.channel().await, "sk_admin", wanted.clone()).await.expect("a view"));
    assert!(whole.contains("ann.lee@example.org") && whole.contains("\"Ann\""), "{whole}");
    let masked = text(&view_as(server.channel().await, "sk_record", wanted.clone()).await.expect("a view"));
    assert!(!masked.contains("lee") && !masked.contains("Ann"), "{masked}");
    assert!(masked.contains("a***@e***.org") && masked.contains("A***") && masked.contains("\"GB\""), "{masked}");

    // the same over JSON and while watching
    for (key, sees) in [("sk_admin", true), ("sk_record", false)] {
        let headers = [("content-type", "application/json"), ("x-api-key", key)];
        let body = wanted.to_string();
        let said = web::call(server.address, "POST", "/v1/customers:get", &headers, body.as_bytes());
        let said = String::from_utf8_lossy(&said.bytes).into_owned();
        assert!(said.contains("\"GB\"") && said.contains("ann.lee@example.org") == sees, "{key}: {said}");
        let mut request = Request::new(message::<WatchCustomerRequest>(wanted.clone()));
        request.metadata_mut().insert("x-api-key", key.parse().expect("a key"));
        let mut changes = server.customers().await.watch_customer(request).await.expect("a watch").into_inner();
        let first = changes.message().await.expect("a change").expect("a view").customer.expect("a view");
        assert_eq!(text(&first).contains("ann.lee@example.org"), sees, "{key}: {first:?}");
    }
}

async fn outcomes(server: &Server, event: Value) -> RecordResponse {
    let request: RecordRequest = message(json!({"events": [event]}));
    server.events().await.record(request).await.expect("a reply").into_inner()
}

#[tokio::test]
async fn nothing_answered_becomes_no_response_over_a_restart() {
    let place = Arc::new(Place::new());
    place.write_rule("short.yaml", SHORT);
    let mut server = Server::start(&place);
    server.customer("short", json!({})).await;
    let question = json!({"identities": identities("short"), "placements": [{"placement": "short_slot"}]});
    let answer = server.decide(question).await.expect("an answer");
    let token = answer.placements[0].presentations[0].presentation_token.clone();
    let shown = json!({"outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_IMPRESSION"}});
    outcomes(&server, shown).await;
    server.kill();
    let server = Server::start(&place);
    let silent = |view: &Customer| view.interactions[0].outcomes.contains(&(OutcomeType::NoResponse as i32));
    eventually("no response", || async { server.view("customer_id", "short").await.filter(silent) }).await;
    let late = json!({"eventId": "late", "outcome": {"customer": identities("short"), "offer": "short", "type": "OUTCOME_TYPE_ACCEPT"}});
    let corrects = outcomes(&server, late).await;
    assert_eq!(corrects.results[0].status(), RecordStatus::Recorded, "{corrects:?}");
    let again = json!({"outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_ACCEPT"}});
    assert_eq!(outcomes(&server, again).await.results[0].status(), RecordStatus::Recorded);
    let view = server.view("customer_id", "short").await.expect("a view");
    assert!(silent(&view) && view.interactions[0].outcomes.contains(&(OutcomeType::Accept as i32)));
}

#[tokio::test]
async fn an_outcome_without_a_token_needs_an_id_a_customer_and_an_offer() {
    let server = Server::shared();
    server.customer("meant", json!({})).await;
    let said = async |event: Value| outcomes(&server, event).await.results.remove(0);
    let wrong = said(json!({"outcome": {"offer": "welcom", "channel": "wbe", "type": "OUTCOME_TYPE_ACCEPT"}})).await;
    for field in ["`event_id`", "`outcome.customer`", "`outcome.offer`", "`outcome.channel`"] {
        assert!(wrong.error.contains(field), "{wrong:?}");
    }
    let meant = |id: &str, kind: &str| json!({"eventId": id, "outcome": {"customer": identities("meant"), "offer": "autumn", "channel": "web", "type": kind}});
    let none = said(meant("m1", "OUTCOME_TYPE_ACCEPT")).await;
    assert!(none.error.contains("on this channel within its attribution window of 14 days"), "{none:?}");
    let question = json!({"identities": identities("meant"), "placements": [{"placement": "side_bar"}]});
    let answer = server.decide(question).await.expect("an answer");
    let presentation = answer.placements[0].presentations.iter().find(|p| p.offer == "autumn").expect("autumn");
    let shown =
        json!({"outcome": {"presentationToken": presentation.presentation_token, "type": "OUTCOME_TYPE_IMPRESSION"}});
    assert_eq!(said(shown).await.status(), RecordStatus::Recorded);
    assert_eq!(said(meant("m1", "OUTCOME_TYPE_ACCEPT")).await.status(), RecordStatus::Recorded);
    assert_eq!(said(meant("m1", "OUTCOME_TYPE_ACCEPT")).await.status(), RecordStatus::Duplicate);
    assert_eq!(said(meant("m1", "OUTCOME_TYPE_CLICK")).await.status(), RecordStatus::Conflict);
}
