//! JSON over HTTP: the canonical JSON of the same messages on the same port,
//! and the links people follow.

pub mod agents;
pub mod demo;
pub mod finish;
pub mod ingest;
pub mod json;
pub mod links;
pub mod openapi;
pub mod path;
pub mod subscribe;
pub mod watch;
pub mod web;

#[cfg(test)]
mod tests;

use std::future::Future;

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, Method, StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, any, get, post},
};
use serde::{Serialize, de::DeserializeOwned};
use tonic::{Code, Status};

use crate::{
    grpc::{Api, Caller, Entering, MESSAGE_BYTES_MAX, Newcomer, PROFILE_BYTES_MAX, RULES_BYTES_MAX, Sight, status},
    proto,
};

/// Every route and its method.
pub const ROUTES: [(&str, &str); 37] = [
    ("POST", "/v1/decide"),
    ("POST", "/v1/respond"),
    ("POST", "/v1/explain"),
    ("POST", "/v1/events"),
    ("POST", "/v1/events:stream"),
    ("POST", "/v1/events:subscribe"),
    ("POST", "/v1/customers:timeline"),
    ("POST", "/v1/customers:merge"),
    ("POST", "/v1/customers:merges"),
    ("POST", "/v1/customers:undoMerge"),
    ("POST", "/v1/customers:erase"),
    ("POST", "/v1/customers:export"),
    ("GET", "/v1/analysis"),
    ("POST", "/v1/customers:get"),
    ("POST", "/v1/customers:upsert"),
    ("POST", "/v1/customers:doNotContact"),
    ("POST", "/v1/customers:lookup"),
    ("POST", "/v1/customers:watch"),
    ("GET", "/v1/ruleset:active"),
    ("GET", "/v1/offers"),
    ("GET", "/v1/report"),
    ("POST", "/v1/pauses:pause"),
    ("POST", "/v1/pauses:resume"),
    ("GET", "/v1/pauses"),
    ("POST", "/v1/revisions:validate"),
    ("POST", "/v1/revisions:reach"),
    ("POST", "/v1/revisions:publish"),
    ("POST", "/v1/revisions:rollback"),
    ("GET", "/v1/revisions"),
    ("POST", "/v1/revisions:get"),
    ("POST", "/v1/revisions:diff"),
    ("GET", "/v1/audit"),
    ("GET", "/openapi.json"),
    ("GET", "/c/{token}"),
    ("GET", "/rapport.js"),
    ("GET", "/rapport.d.ts"),
    ("GET", "/"),
];

/// The routes over these calls.
pub fn router(api: &Api) -> Router {
    let link_api = api.clone();
    let index = index(api.app().public_url());
    publishing(api)
        .route("/v1/decide", decide(api))
        .route("/v1/respond", call(api, |api, body| async move { api.respond(body).await }))
        .route("/v1/explain", call(api, |api, body| async move { api.explain(body).await }))
        .route("/v1/events", record(api))
        .route("/v1/customers:get", seen(api, |api, sight, body| async move { api.get_customer(sight, body).await }))
        .route(
            "/v1/customers:upsert",
            call_up_to(api, PROFILE_BYTES_MAX, |api, body| async move { api.upsert_customer(body).await }),
        )
        .route("/v1/customers:doNotContact", call(api, |api, body| async move { api.do_not_contact(body).await }))
        .route("/v1/customers:lookup", call(api, |api, body| async move { api.lookup(body).await }))
        .route("/v1/customers:watch", watch::route(api))
        .route("/v1/events:stream", ingest::route(api))
        .route("/v1/events:subscribe", subscribe::route(api))
        .route("/v1/customers:timeline", seen(api, |api, sight, body| async move { api.timeline(sight, body).await }))
        .route("/v1/customers:merge", call(api, |api, body| async move { api.merge(body).await }))
        .route("/v1/customers:merges", seen(api, |api, sight, body| async move { api.merges_seen(sight, body).await }))
        .route("/v1/customers:undoMerge", call(api, |api, body| async move { api.undo_merge(body).await }))
        .route("/v1/customers:erase", call(api, |api, body| async move { api.erase(body).await }))
        .route("/v1/customers:export", call(api, |api, body| async move { api.export_customer(body).await }))
        .route("/v1/analysis", look(api, |api, _| Ok(api.analysis(&proto::GetAnalysisRequest { start: false }))))
        .route("/v1/ruleset:active", look(api, |api, _| Ok(api.revision())))
        .route(
            "/v1/offers",
            look(api, |api, request| {
                let (page_size, page_token) = page(request)?;
                api.offers(&proto::ListOffersRequest { page_size, page_token })
            }),
        )
        .route("/v1/report", look(api, |api, _| Ok(api.report())))
        .route("/openapi.json", get(|asked: HeaderMap| async move { openapi::serve(&asked) }))
        .route(
            "/c/{token}",
            any(move |request: Request| async move { links::follow(&link_api, &request.into_parts().0).await }),
        )
        .merge(web::router())
        .route("/", get(|| async move { ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], index) }))
        .fallback(not_found)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn(finish::finish))
}

/// A question; a browser's may be one of a new visitor.
fn decide(api: &Api) -> MethodRouter {
    let api = api.clone();
    post(move |request: Request| async move {
        let (caller, entering) = (Caller::of(request.extensions()), Entering::of(request.extensions()));
        let question: proto::DecideRequest = match json::read(request, MESSAGE_BYTES_MAX).await {
            Ok(question) => question,
            Err(refused) => return refused,
        };
        let newcomer = Newcomer::of(api.app(), caller, &question.visitor_id);
        let answer = api.decide_in_turn(entering, caller, question).await;
        let answered = answer.is_ok();
        let mut response = json::answer(answer);
        if let Some(newcomer) = newcomer.filter(|_| answered) {
            response.extensions_mut().insert(newcomer);
        }
        response
    })
}

fn record(api: &Api) -> MethodRouter {
    let api = api.clone();
    post(move |request: Request| async move {
        let caller = Caller::of(request.extensions());
        match json::read(request, MESSAGE_BYTES_MAX).await {
            Ok(events) => json::answer(api.record(caller, events).await),
            Err(refused) => refused,
        }
    })
}

/// A call whose answer shows as much of a person as the caller may see.
fn seen<Q, A, F, R>(api: &Api, handler: F) -> MethodRouter
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + 'static,
    F: Fn(Api, Sight, Q) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<A, Status>> + Send + 'static,
{
    let api = api.clone();
    post(move |request: Request| async move {
        let sight = Sight::of(request.extensions());
        match json::read(request, MESSAGE_BYTES_MAX).await {
            Ok(message) => json::answer(handler(api, sight, message).await),
            Err(refused) => refused,
        }
    })
}

/// The routes that change the rules, and those that stop things at once.
fn publishing(api: &Api) -> Router {
    Router::new()
        .route("/v1/pauses:pause", call(api, |api, body| async move { api.pause(body).await }))
        .route("/v1/pauses:resume", call(api, |api, body| async move { api.resume(body).await }))
        .route("/v1/pauses", look(api, |api, _| Ok(api.pauses())))
        .route("/v1/revisions:validate", call_long(api, |api, body| async move { api.validate_revision(body).await }))
        .route("/v1/revisions:reach", call_long(api, |api, body| async move { api.evaluate_reach(body).await }))
        .route("/v1/revisions:publish", call_long(api, |api, body| async move { api.publish_revision(body).await }))
        .route("/v1/revisions:rollback", call(api, |api, body| async move { api.rollback_revision(body).await }))
        .route("/v1/revisions:get", call(api, |api, body| async move { api.get_revision(body).await }))
        .route("/v1/revisions:diff", call(api, |api, body| async move { api.diff_revisions(body).await }))
        .route(
            "/v1/revisions",
            browse(api, |api, (page_size, page_token)| async move {
                api.revisions(proto::ListRevisionsRequest { page_size, page_token }).await
            }),
        )
        .route(
            "/v1/audit",
            browse(api, |api, (page_size, page_token)| async move {
                api.audit(proto::ListAuditRequest { page_size, page_token }).await
            }),
        )
}

/// A call: JSON of a message in, JSON of a message out.
fn call<Q, A, F, R>(api: &Api, handler: F) -> MethodRouter
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + 'static,
    F: Fn(Api, Q) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<A, Status>> + Send + 'static,
{
    call_up_to(api, MESSAGE_BYTES_MAX, handler)
}

/// A call whose message may carry rule files.
fn call_long<Q, A, F, R>(api: &Api, handler: F) -> MethodRouter
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + 'static,
    F: Fn(Api, Q) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<A, Status>> + Send + 'static,
{
    call_up_to(api, RULES_BYTES_MAX, handler)
}

fn call_up_to<Q, A, F, R>(api: &Api, bytes_max: usize, handler: F) -> MethodRouter
where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + 'static,
    F: Fn(Api, Q) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<A, Status>> + Send + 'static,
{
    let api = api.clone();
    post(move |request: Request| async move {
        match json::read(request, bytes_max).await {
            Ok(message) => json::answer(handler(api, message).await),
            Err(refused) => refused,
        }
    })
}

/// A look: nothing in but the query.
fn look<A, F>(api: &Api, handler: F) -> MethodRouter
where
    A: Serialize + 'static,
    F: Fn(&Api, &Request) -> Result<A, Status> + Clone + Send + Sync + 'static,
{
    let api = api.clone();
    get(move |request: Request| async move { json::answer(handler(&api, &request)) })
}

/// A look at a page of a long list.
fn browse<A, F, R>(api: &Api, handler: F) -> MethodRouter
where
    A: Serialize + 'static,
    F: Fn(Api, (i32, String)) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<A, Status>> + Send + 'static,
{
    let api = api.clone();
    get(move |request: Request| async move {
        match page(&request) {
            Ok(page) => json::answer(handler(api, page).await),
            Err(refused) => json::refused(&refused),
        }
    })
}

/// The size and token of the page that a query asks for:
/// `?pageSize=10&pageToken=winback`.
fn page(request: &Request) -> Result<(i32, String), Status> {
    let (mut page_size, mut page_token) = (0, String::new());
    for pair in request.uri().query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "pageSize" | "page_size" => {
                page_size = value.parse().map_err(|_| status::undecodable("`pageSize` is not a whole number"))?;
            }
            "pageToken" | "page_token" => page_token = value.to_owned(),
            _ => return Err(status::undecodable("the query has an unknown field: give `pageSize` or `pageToken`")),
        }
    }
    Ok((page_size, page_token))
}

fn index(public_url: &str) -> String {
    let mut text = String::from("Rapport: which message, through which channel, and why.\n\n");
    for (method, path) in ROUTES {
        text.push_str(method);
        text.push(' ');
        text.push_str(path);
        text.push('\n');
    }
    text.push_str("\nThe same calls over gRPC on this port, with reflection.\n\nFor web pages:\n");
    text.push_str(&web::script_tag(public_url));
    text.push('\n');
    text
}

async fn not_found(request: Request) -> Response {
    if is_grpc(request.headers()) {
        return status::with_info(Code::Unimplemented, "UNKNOWN_METHOD", "there is no such method").into_http();
    }
    let message = "there is no such path: see `GET /` for those there are";
    json::error(StatusCode::NOT_FOUND, &status::with_info(Code::NotFound, "UNKNOWN_PATH", message))
}

/// The methods that a path does take stand in `allow`, which the router adds.
async fn wrong_method(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let message = format!("the path does not take `{}`: see `GET /`", method.as_str().escape_debug());
    let status = status::with_info(Code::Unimplemented, "WRONG_METHOD", &message);
    json::error(StatusCode::METHOD_NOT_ALLOWED, &status).into_response()
}

/// Whether a request is a gRPC call.
pub fn is_grpc(headers: &axum::http::HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}
