//! `/openapi.json` describes what the service answers and what the readme shows.

use serde_json::{Value, json};

use crate::{
    harness::{Server, repository},
    web,
};

/// The document of a running service.
fn document(server: &Server) -> Value {
    let reply = web::get(server.address, "/openapi.json", &[]);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    reply.json()
}

/// Makes every object of answers refuse fields that it does not describe, and
/// leaves out what must be there where an example is shortened.
fn tightened(value: &mut Value, shortened: bool) {
    if let Value::Object(fields) = value {
        if fields.contains_key("properties") && !fields.contains_key("additionalProperties") {
            fields.insert("additionalProperties".to_owned(), json!(false));
        }
        if shortened && fields.contains_key("properties") {
            fields.remove("required");
        }
    }
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|value| tightened(value, shortened)),
        Value::Array(values) => values.iter_mut().for_each(|value| tightened(value, shortened)),
        _ => {}
    }
}

/// What is wrong with a value by a schema of the document.
fn wrong(document: &Value, schema: &Value, value: &Value, shortened: bool) -> Vec<String> {
    let mut whole = json!({"components": document["components"], "allOf": [schema]});
    tightened(&mut whole["components"]["schemas"], shortened);
    let validator = jsonschema::validator_for(&whole).expect("a schema");
    let left_out = |path: &str| shortened && value.pointer(path) == Some(&json!("..."));
    let errors = validator.iter_errors(value).map(|error| (error.instance_path().to_string(), error));
    errors.filter(|(path, _)| !left_out(path)).map(|(path, error)| format!("{path}: {error}")).collect()
}

fn request_schema<'d>(document: &'d Value, path: &str) -> &'d Value {
    &document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
}

fn answer_schema<'d>(document: &'d Value, method: &str, path: &str) -> &'d Value {
    &document["paths"][path][method]["responses"]["200"]["content"]["application/json"]["schema"]
}

/// Calls the service and holds the answer against the document.
fn holds(server: &Server, document: &Value, (method, path): (&str, &str), body: &Value) -> Value {
    let reply = match method {
        "get" => web::get(server.address, path, &[]),
        _ => {
            let refused = wrong(document, request_schema(document, path), body, false);
            assert!(refused.is_empty(), "{path} is asked with {body}: {refused:?}");
            web::post(server.address, path, body)
        }
    };
    assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    let answer = reply.json();
    let refused = wrong(document, answer_schema(document, method, path), &answer, false);
    assert!(refused.is_empty(), "{path} answers {answer:#}: {refused:#?}");
    answer
}

#[tokio::test]
async fn answers_are_as_described() {
    let server = Server::shared();
    let document = document(&server);
    server.customer("openapi-1", json!({})).await;
    let who = json!([{"type": "customer_id", "value": "openapi-1"}]);
    let question = json!({
        "identities": who, "placements": [{"placement": "agent_desktop"}, {"placement": "nowhere"}],
        "view": "VIEW_FULL", "trace": "TRACE_FULL", "assurance": "ASSURANCE_CLAIMED",
    });
    let decided = holds(&server, &document, ("post", "/v1/decide"), &question);
    let open = json!({"identities": who, "trace": "TRACE_SUMMARY", "sendWindow": {"until": "2100-01-01T00:00:00Z"}});
    holds(&server, &document, ("post", "/v1/decide"), &open);
    holds(&server, &document, ("post", "/v1/decide"), &json!({"placements": [{"placement": "home_hero"}]}));
    let token = decided["placements"][0]["presentations"][0]["presentationToken"].clone();
    let outcome = json!({"events": [
        {"outcome": {"presentationToken": token, "type": "OUTCOME_TYPE_IMPRESSION"}},
        {"eventId": "openapi-1", "customer": {
            "identities": who, "type": "purchase", "amount": {"amount": "12.50", "currency": "GBP"},
        }},
        {"outcome": {"presentationToken": "forged", "type": "OUTCOME_TYPE_CLICK"}},
    ]});
    holds(&server, &document, ("post", "/v1/events"), &outcome);
    let declined = json!({
        "presentationToken": token, "outcome": "OUTCOME_TYPE_DECLINE", "reasonCode": "not_interested",
    });
    holds(&server, &document, ("post", "/v1/respond"), &declined);
    holds(&server, &document, ("post", "/v1/customers:get"), &json!({"identities": who}));
    let upsert = json!({"identities": who, "consents": [
        {"purpose": "CONSENT_PURPOSE_PROFILING", "permission": "PERMISSION_GRANTED"},
    ]});
    holds(&server, &document, ("post", "/v1/customers:upsert"), &upsert);
    for path in ["/v1/report", "/v1/offers", "/v1/ruleset:active", "/v1/pauses", "/v1/revisions", "/v1/audit"] {
        holds(&server, &document, ("get", path), &Value::Null);
    }
    let pause = json!({"kind": "PAUSE_KIND_OFFER", "id": "no_such_offer"});
    assert_eq!(wrong(&document, request_schema(&document, "/v1/pauses:pause"), &pause, false), Vec::<String>::new());
}

#[tokio::test]
async fn refusals_are_as_described() {
    let server = Server::shared();
    let document = document(&server);
    let status = &document["components"]["responses"]["Error"]["content"]["application/json"]["schema"];
    let refused = [
        web::post(server.address, "/v1/decide", &json!({"placments": []})),
        web::post(
            server.address,
            "/v1/decide",
            &json!({"assurance": "ASSURANCE_VERIFIED", "languages": ["en_GB", ""]}),
        ),
        web::post(server.address, "/v1/explain", &json!({"decisionId": "0198c5d2-0000-7000-8000-000000000000"})),
        web::post(server.address, "/v1/nothing", &json!({})),
        web::get(server.address, "/v1/decide", &[]),
        web::call(server.address, "POST", "/v1/decide", &[("content-type", "text/csv")], b"a,b"),
    ];
    for reply in refused {
        assert!(reply.status >= 400, "{reply:?}");
        assert_eq!(wrong(&document, status, &reply.json(), false), Vec::<String>::new(), "{}", reply.body);
    }
}

#[tokio::test]
async fn the_document_is_sent_once_to_who_keeps_it() {
    let server = Server::shared();
    let first = web::get(server.address, "/openapi.json", &[]);
    let tag = first.header("etag").expect("an entity tag").to_owned();
    assert!(first.header("cache-control").is_some_and(|value| value.starts_with("public")), "{first:?}");
    let again = web::get(server.address, "/openapi.json", &[("if-none-match", &tag)]);
    assert_eq!((again.status, again.body.as_str()), (304, ""));
}

/// An example of the readme: the path, the body, the answer shown after it.
#[derive(Debug)]
struct Example {
    path: String,
    body: Value,
    answer: Option<Value>,
}

/// The calls of a text with a JSON body. What is left out of an answer is written
/// as `...`.
fn examples(readme: &str) -> Vec<Example> {
    let mut all = Vec::new();
    for call in readme.split("curl ").skip(1) {
        let line = call.lines().next().unwrap_or_default();
        let Some((_, rest)) = line.split_once("/v1/") else { continue };
        let path: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == ':').collect();
        let Some((body, after)) = call.split_once("-d '").and_then(|(_, rest)| rest.split_once('\'')) else { continue };
        let body = serde_json::from_str(body).unwrap_or_else(|why| panic!("/v1/{path}: {why} in {body}"));
        all.push(Example { path: format!("/v1/{path}"), body, answer: answer(after) });
    }
    all
}

/// The first object that is set off from the text, before the next heading.
fn answer(after: &str) -> Option<Value> {
    let section = after.split("\n#").next().unwrap_or_default();
    let mut lines = section.lines().skip_while(|line| line.trim_end() != "    {" && line.trim_end() != "{");
    let first = lines.next()?;
    let indent = first.len() - first.trim_start().len();
    let end = format!("{}}}", " ".repeat(indent));
    let mut text = String::from("{\n");
    for line in lines {
        text.push_str(line);
        text.push('\n');
        if line.trim_end() == end {
            break;
        }
    }
    let text = text.replace(", ...", "").replace("...\n", "\n");
    Some(serde_json::from_str(&text).unwrap_or_else(|why| panic!("an answer of the readme: {why} in {text}")))
}

/// Files with their text: the readme and everything in `docs`.
fn texts() -> Vec<(String, String)> {
    let docs = std::fs::read_dir(repository().join("docs")).expect("docs");
    let mut names: Vec<String> =
        docs.map(|entry| format!("docs/{}", entry.expect("a file").file_name().to_string_lossy())).collect();
    names.retain(|name| name.ends_with(".md"));
    names.sort_unstable();
    names.insert(0, "README.md".to_owned());
    let read = |name: String| (std::fs::read_to_string(repository().join(&name)).expect("a text"), name);
    names.into_iter().map(read).map(|(text, name)| (name, text)).collect()
}

/// Where `curl` is no call.
const NO_CALLS: &[(&str, &str)] = &[
    ("docs/browser.md", "(`tool`: curl, Python, Go, ...)"),
    ("docs/runbook.md", "curl -s http://REPLICA:7071/readyz"),
    ("docs/runbook.md", "curl -s http://REPLICA:7071/metrics"),
];

/// Where `/v1/` is no route.
const NO_ROUTES: &[(&str, &str)] = &[("docs/browser.md", "answer under `/v1/` says")];

/// What the JSON of the texts is, by what its line holds.
const SHOWN: &[(&str, &str, Shown)] = &[
    ("README.md", r#"{"id": "7", "p":"#, Shown::Elsewhere),
    ("docs/batch.md", r#""value": "12748"}]}"#, Shown::Asked("/v1/decide")),
    ("docs/batch.md", r#"{"requestId": "march-17850", "#, Shown::Asked("/v1/decide")),
    ("docs/batch.md", r#"{"requestId":"4f0c93aa15d2e6b7-1","#, Shown::AnsweredLine("/v1/decide")),
    ("docs/batch.md", r#"{"requestId":"march-17850","#, Shown::AnsweredLine("/v1/decide")),
    ("docs/browser.md", r#"{"eventId": "7f3a""#, Shown::Asked("/v1/events")),
    ("docs/browser.md", r#""value": "c-17"}"#, Shown::Asked("/v1/customers:upsert")),
    ("docs/desk.md", r#""type": "match""#, Shown::Asked("/v1/customers:get")),
];

/// What a JSON object of a text is.
#[derive(Clone, Copy, Debug)]
enum Shown {
    /// The body of a call.
    Asked(&'static str),
    /// A line of a batch: a request id and the answer of a call.
    AnsweredLine(&'static str),
    /// None of the interface: a line for `rapport eligible`, which the test of the
    /// readme's trials runs.
    Elsewhere,
}

/// Every JSON object of a text that stands in one line, set off or quoted. What
/// stands in several lines belongs to a call.
fn objects(text: &str) -> Vec<&str> {
    let mut found: Vec<&str> = text.lines().map(str::trim).filter(|line| line.starts_with("{\"")).collect();
    for line in text.lines().filter(|line| !line.trim().starts_with("{\"")) {
        let quoted = line.split('`').skip(1).step_by(2);
        found.extend(quoted.filter(|code| code.starts_with("{\"")));
    }
    found
}

/// What is wrong with a shown object; where it is shortened, `...` stands for
/// any value.
fn faults(document: &Value, shown: Shown, text: &str) -> Vec<String> {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|why| panic!("{why} in {text}"));
    match shown {
        Shown::Asked(path) => wrong(document, request_schema(document, path), &value, false),
        Shown::AnsweredLine(path) => {
            let names: Vec<&String> = value.as_object().expect("an object").keys().collect();
            assert_eq!(names, ["answer", "requestId"], "{text}");
            assert!(value["requestId"].is_string(), "{text}");
            wrong(document, answer_schema(document, "post", path), &value["answer"], true)
        }
        Shown::Elsewhere => Vec::new(),
    }
}

/// The paths that a text names, in order; an empty one where `/v1/` ends it.
fn routes(text: &str) -> Vec<String> {
    let named = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == ':').collect::<String>();
    text.split("/v1/").skip(1).map(named).map(|path| path.trim_end_matches(':').to_owned()).collect()
}

fn skipped(skips: &[(&str, &str)], (name, text): (&str, &str)) -> usize {
    let of_file = skips.iter().filter(|(file, _)| *file == name);
    of_file.inspect(|(_, part)| assert_eq!(text.matches(part).count(), 1, "{name}: `{part}` is not there")).count()
}

#[tokio::test]
async fn everything_that_the_texts_show_is_as_described() {
    let server = Server::shared();
    let document = document(&server);
    let mut used = vec![0; SHOWN.len()];
    for (name, text) in &texts() {
        let calls = examples(text);
        let (curls, none) = (text.matches("curl").count(), skipped(NO_CALLS, (name, text)));
        assert_eq!(calls.len() + none, curls, "{name}: a `curl` is neither checked nor a named skip");
        for call in &calls {
            assert_eq!(mistakes(&document, call), Vec::<String>::new(), "{name}: {call:#?}");
        }
        let (named, none): (Vec<String>, Vec<String>) = routes(text).into_iter().partition(|path| !path.is_empty());
        assert_eq!(none.len(), skipped(NO_ROUTES, (name, text)), "{name}: a `/v1/` is no route and no named skip");
        for path in named {
            assert!(document["paths"][format!("/v1/{path}")].is_object(), "{name}: there is no route /v1/{path}");
        }
        let blocks = text.matches("```json").count();
        let shown = objects(text);
        assert!(shown.len() >= blocks, "{name}: a block of JSON is not found");
        for object in shown {
            let at = SHOWN.iter().position(|(file, part, _)| file == name && object.contains(part));
            let at = at.unwrap_or_else(|| panic!("{name}: say in `SHOWN` what this is: {object}"));
            used[at] += 1;
            assert_eq!(faults(&document, SHOWN[at].2, object), Vec::<String>::new(), "{name}: {object}");
        }
    }
    for ((name, part, shown), used) in SHOWN.iter().zip(used) {
        assert_eq!(used, 1, "{name}: `{part}` ({shown:?}) is shown {used} times");
    }
    // broken ones are found
    let ask = r#"{"identity": [{"type": "customer_id", "value": "1"}]}"#;
    assert!(!faults(&document, Shown::Asked("/v1/decide"), ask).is_empty());
    for answer in [r#"{"placements":[{"status":"EMPTY"}]}"#, r#"{"decision":"..."}"#] {
        let line = format!(r#"{{"requestId":"1","answer":{answer}}}"#);
        assert!(!faults(&document, Shown::AnsweredLine("/v1/decide"), &line).is_empty(), "{answer}");
    }
}

/// What is wrong with an example.
fn mistakes(document: &Value, example: &Example) -> Vec<String> {
    let schema = request_schema(document, &example.path);
    assert!(schema.is_object(), "{} is no call", example.path);
    let mut found = wrong(document, schema, &example.body, false);
    if let Some(answer) = &example.answer {
        found.extend(wrong(document, answer_schema(document, "post", &example.path), answer, true));
    }
    found
}

#[tokio::test]
async fn the_readme_s_examples_are_as_described() {
    let server = Server::shared();
    let document = document(&server);
    let readme = std::fs::read_to_string(repository().join("README.md")).expect("README.md");
    let examples = examples(&readme);
    assert!(examples.len() >= 2, "{examples:?}");
    assert!(examples.iter().any(|example| example.answer.is_some()), "no answer is shown");
    for example in &examples {
        assert_eq!(mistakes(&document, example), Vec::<String>::new(), "{example:#?}");
    }
    // A broken one is found, whichever half is broken.
    let broken = [
        readme.replacen("\"placements\": [{\"placement\": \"home_hero\"}]", "\"placement\": \"home_hero\"", 1),
        readme.replacen("TRACE_SUMMARY", "SUMMARY", 1),
        readme.replacen("\"decisionId\"", "\"decision\"", 1),
        readme.replacen("\"PLACEMENT_STATUS_OK\"", "\"OK\"", 1),
        readme.replacen("\"count\": 3", "\"count\": \"three\"", 1),
    ];
    for (at, text) in broken.iter().enumerate() {
        assert_ne!(*text, readme, "the {at}. break does not apply");
        let found = self::examples(text).iter().flat_map(|example| mistakes(&document, example)).count();
        assert!(found > 0, "the {at}. break is not found");
    }
}
