//! The operations of the document, from the routes there are.

use serde_json::{Map, Value as Json, json};

use crate::http::ROUTES;

use super::{
    descriptors::{Call, Descriptors},
    operations::Operation,
    schemas::{Schemas, Side},
};

/// The path items of every route in the table of operations.
pub fn paths(descriptors: &Descriptors, schemas: &mut Schemas<'_>) -> Map<String, Json> {
    let mut paths: Map<String, Json> = Map::new();
    for (method, path) in ROUTES {
        let Some(operation) = Operation::of(method, path) else { continue };
        let Some(described) = describe(operation, descriptors, schemas) else { continue };
        let item = paths.entry(path).or_insert_with(|| json!({}));
        if let Json::Object(item) = item {
            item.insert(method.to_ascii_lowercase(), described);
        }
    }
    paths
}

fn describe(operation: Operation, descriptors: &Descriptors, schemas: &mut Schemas<'_>) -> Option<Json> {
    // A call that streams is described by no other kind of operation.
    let streams = matches!(operation, Operation::Stream(_) | Operation::Lines(..));
    let call = operation.call().and_then(|name| descriptors.call(name)).filter(|call| call.streams == streams);
    Some(match operation {
        Operation::Link => link(),
        Operation::File(kind, about) => file(kind, about),
        Operation::Call(_) => posted(call?, schemas, From::Services),
        Operation::BrowserCall(_) => posted(call?, schemas, From::Browsers),
        Operation::Stream(_) => {
            let call = call?;
            let body = schemas.message(&call.request, Side::Read);
            streamed(call, json!({"application/json": {"schema": body}}), schemas)
        }
        Operation::Lines(_, line) => {
            let line = schemas.message(&descriptors.full_name(line), Side::Read);
            let about = json!({"schema": line});
            streamed(call?, json!({"application/x-ndjson": about}), schemas)
        }
        Operation::Look(_) => looked(call?, descriptors, schemas),
    })
}

/// Who may make a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// Services with a secret key.
    Services,
    /// And pages with a publishable key.
    Browsers,
}

/// What all calls have.
fn head(call: &Call) -> Map<String, Json> {
    let mut id = call.name.clone();
    if let Some(first) = id.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    let summary = call.comment.split(". ").next().unwrap_or_default().trim_end_matches('.');
    Map::from_iter([
        ("operationId".to_owned(), json!(id)),
        ("tags".to_owned(), json!([call.service])),
        ("summary".to_owned(), json!(summary)),
        (
            "description".to_owned(),
            json!(format!("{}\n\ngRPC: `rapport.v1.{}/{}`.", call.comment, call.service, call.name)),
        ),
        ("security".to_owned(), json!([{"bearer": []}, {"apiKey": []}, {}])),
    ])
}

fn posted(call: &Call, schemas: &mut Schemas<'_>, from: From) -> Json {
    let mut operation = head(call);
    let body = schemas.message(&call.request, Side::Read);
    let mut content = json!({"application/json": {"schema": body.clone()}});
    if let (From::Browsers, Json::Object(kinds)) = (from, &mut content) {
        kinds.insert("text/plain".to_owned(), json!({"schema": body}));
        operation.insert(
            "security".to_owned(),
            json!([{"bearer": []}, {"apiKey": []}, {"publishableKey": []}, {"publishableHeader": []}, {}]),
        );
    }
    operation.insert("requestBody".to_owned(), json!({"required": true, "content": content}));
    operation.insert("responses".to_owned(), answers("application/json", schemas.message(&call.answer, Side::Written)));
    Json::Object(operation)
}

fn streamed(call: &Call, content: Json, schemas: &mut Schemas<'_>) -> Json {
    let mut operation = head(call);
    let mut body = json!({"required": true, "content": content});
    if content.get("application/x-ndjson").is_some() {
        body["description"] = json!("One JSON object a line, as many as you like; the schema is that of a line.");
    }
    operation.insert("requestBody".to_owned(), body);
    let mut answers = answers("application/x-ndjson", schemas.message(&call.answer, Side::Written));
    answers["200"]["description"] = json!(
        "One JSON object a line, each sent at once; the schema is that of a line. An empty line says nothing new."
    );
    operation.insert("responses".to_owned(), answers);
    Json::Object(operation)
}

fn looked(call: &Call, descriptors: &Descriptors, schemas: &mut Schemas<'_>) -> Json {
    let mut operation = head(call);
    let mut parameters = Vec::new();
    for field in descriptors.message(&call.request).into_iter().flat_map(|message| &message.fields) {
        let schema = schemas.field(field, Side::Read);
        let (name, same) = (field.descriptor.json_name(), field.descriptor.name());
        parameters.push(json!({"name": name, "in": "query", "description": field.comment, "schema": schema}));
        if same != name {
            let about = format!("The same as `{name}`.");
            parameters.push(json!({"name": same, "in": "query", "description": about, "schema": schema}));
        }
    }
    if !parameters.is_empty() {
        operation.insert("parameters".to_owned(), Json::Array(parameters));
    }
    operation.insert("responses".to_owned(), answers("application/json", schemas.message(&call.answer, Side::Written)));
    Json::Object(operation)
}

fn answers(kind: &str, schema: Json) -> Json {
    json!({
        "200": {"description": "The answer.", "content": {kind: {"schema": schema}}},
        "default": {"$ref": "#/components/responses/Error"},
    })
}

fn link() -> Json {
    let text = |about: &str| json!({"description": about, "content": {"text/plain": {"schema": {"type": "string"}}}});
    json!({
        "operationId": "followLink",
        "tags": ["Links"],
        "summary": "Follows a traceable link of a presentation",
        "description": "Sends the person to the URL of the rules and counts a click. A browser that looks ahead is not \
                        counted.",
        "security": [{}],
        "parameters": [{
            "name": "token", "in": "path", "required": true, "schema": {"type": "string"},
            "description": "The token of the link, as it stood in the presentation.",
        }],
        "responses": {
            "302": {
                "description": "On to the URL of the rules.",
                "headers": {"Location": {"schema": {"type": "string", "format": "uri"}}},
            },
            "404": text("There is no such link."),
            "410": text("The link is no longer valid."),
        },
    })
}

fn file(kind: &str, about: &str) -> Json {
    let schema = if kind == "application/json" { json!({"type": "object"}) } else { json!({"type": "string"}) };
    json!({
        "tags": ["Files"],
        "summary": about.trim_end_matches('.'),
        "security": [{}],
        "responses": {"200": {"description": about, "content": {kind: {"schema": schema}}}},
    })
}
