//! The page of `rapport demo`: a shop and an agent's desktop side by side. Only
//! that command serves it; it uses nothing but the calls that everybody has.

use axum::{
    Router,
    http::{HeaderName, HeaderValue, header},
    response::IntoResponse,
    routing::get,
};
use serde_json::json;

/// Who may call in the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What to expect of the call, for people.
    pub label: String,
    /// The number that calls, E.164.
    pub phone: String,
}

/// Of the page itself: nothing from elsewhere, nothing inline, shown in no frame.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Of the shop, which the page shows in a frame.
const SHOP_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// A file of the page: where, of what type, under which policy, what.
struct File(&'static str, &'static str, &'static str, &'static str);

const FILES: [File; 16] = [
    File("/demo", HTML, PAGE_POLICY, include_str!("page/demo.html")),
    File("/demo/demo.css", CSS, PAGE_POLICY, include_str!("page/demo.css")),
    File("/demo/icon.svg", PICTURE, PAGE_POLICY, include_str!("page/icon.svg")),
    File("/demo/demo.js", SCRIPT, PAGE_POLICY, include_str!("page/demo.js")),
    File("/demo/actions.js", SCRIPT, PAGE_POLICY, include_str!("page/actions.js")),
    File("/demo/api.js", SCRIPT, PAGE_POLICY, include_str!("page/api.js")),
    File("/demo/dom.js", SCRIPT, PAGE_POLICY, include_str!("page/dom.js")),
    File("/demo/person.js", SCRIPT, PAGE_POLICY, include_str!("page/person.js")),
    File("/demo/phone.js", SCRIPT, PAGE_POLICY, include_str!("page/phone.js")),
    File("/demo/shopfront.js", SCRIPT, PAGE_POLICY, include_str!("page/shopfront.js")),
    File("/demo/timeline.js", SCRIPT, PAGE_POLICY, include_str!("page/timeline.js")),
    File("/demo/trace.js", SCRIPT, PAGE_POLICY, include_str!("page/trace.js")),
    File("/demo/words.js", SCRIPT, PAGE_POLICY, include_str!("page/words.js")),
    File("/demo/shop", HTML, SHOP_POLICY, include_str!("page/shop.html")),
    File("/demo/shop.css", CSS, SHOP_POLICY, include_str!("page/shop.css")),
    File("/demo/shop.js", SCRIPT, SHOP_POLICY, include_str!("page/shop.js")),
];

/// The routes of the page, with those who may call.
pub fn router(callers: &[Caller]) -> Router {
    let listed: Vec<_> = callers.iter().map(|c| json!({"label": c.label, "phone": c.phone})).collect();
    let callers = json!({"callers": listed}).to_string();
    let mut router =
        Router::new().route("/demo/callers.json", get(async move || answer("application/json", PAGE_POLICY, callers)));
    for File(path, kind, policy, text) in FILES {
        router = router.route(path, get(async move || answer(kind, policy, text)));
    }
    router
}

fn answer(kind: &'static str, policy: &'static str, body: impl IntoResponse) -> impl IntoResponse {
    let headers: [(HeaderName, HeaderValue); 5] = [
        (header::CONTENT_TYPE, HeaderValue::from_static(kind)),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        // an edit of the page is seen at the next look
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-store")),
    ];
    (headers, body)
}

#[cfg(test)]
mod tests;
