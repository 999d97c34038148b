//! What browsers need to hear before a page of another origin may call (Fetch
//! standard, section 3.3).

use axum::http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, VARY,
    },
};
use tonic::body::Body;

/// Seconds for which a browser need not ask again; each has a limit of its own
/// below it.
const MAX_AGE_S: HeaderValue = HeaderValue::from_static("86400");
const METHODS: HeaderValue = HeaderValue::from_static("POST");
const HEADERS: HeaderValue =
    HeaderValue::from_static("content-type, x-api-key, authorization, accept, grpc-timeout, x-grpc-web, x-user-agent");
/// What a page may read beside the body.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("grpc-status, grpc-message, grpc-status-details-bin, retry-after");
const ORIGIN: HeaderValue = HeaderValue::from_static("origin");

/// What an answer tells a browser about its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    /// Nothing: no page asked.
    Silent,
    /// That another origin would get another answer.
    Varies,
    /// That pages of this origin may read it.
    Allowed(HeaderValue),
}

impl Cors {
    /// Adds the headers to an answer.
    pub fn on(self, mut response: Response<Body>) -> Response<Body> {
        self.add(response.headers_mut());
        response
    }

    fn add(self, headers: &mut HeaderMap) {
        let origin = match self {
            Cors::Silent => return,
            Cors::Varies => None,
            Cors::Allowed(origin) => Some(origin),
        };
        // what everybody may read says so itself
        if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            return;
        }
        headers.append(VARY, ORIGIN);
        if let Some(origin) = origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// The answer that permits what a page is about to send.
pub fn permitted(origin: HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HEADERS);
    headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE_S);
    headers.insert(VARY, ORIGIN);
    response
}
