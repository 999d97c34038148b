//! What a caller hears who is not let in.

use std::time::Duration;

use axum::http::HeaderValue;
use tonic::{Code, Status};

use crate::grpc::status::with_info;

/// Why a call is not let in.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The status.
    pub status: Status,
    /// Seconds after which it is worth trying again.
    pub retry_after_s: Option<u64>,
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self { status, retry_after_s: None }
    }
}

fn refusal(code: Code, reason: &str, message: &str) -> Refusal {
    with_info(code, reason, message).into()
}

/// No key came with the call.
pub fn no_key() -> Refusal {
    let message = "the call needs an API key: send `authorization: Bearer KEY` or `x-api-key: KEY`";
    refusal(Code::Unauthenticated, "NO_API_KEY", message)
}

/// The file of keys does not have it.
pub fn unknown_key() -> Refusal {
    refusal(Code::Unauthenticated, "UNKNOWN_API_KEY", "the API key is not known")
}

/// The key is for less.
pub fn role_too_low() -> Refusal {
    let message = "the API key's role does not permit this call: use a key with a higher role";
    refusal(Code::PermissionDenied, "ROLE_TOO_LOW", message)
}

/// A page calls what is not for pages.
pub fn not_for_browsers() -> Refusal {
    let message = "a browser may only decide and record outcomes: make this call from a server, with a secret key";
    refusal(Code::PermissionDenied, "NOT_FOR_BROWSERS", message)
}

/// A page holds a key that nobody may see.
pub fn secret_key_in_browser() -> Refusal {
    let message = "a secret API key was sent by a browser, where everybody can read it: replace the key, and give the \
                   page one with the role `browser`";
    refusal(Code::PermissionDenied, "SECRET_KEY_IN_BROWSER", message)
}

/// A key that nobody may see stands in a URL.
pub fn secret_key_in_query() -> Refusal {
    let message = "a secret API key stands in the query, and URLs are kept in logs: replace the key, and send it in \
                   `authorization` or `x-api-key`; only a key with the role `browser` may stand in a query";
    refusal(Code::PermissionDenied, "SECRET_KEY_IN_QUERY", message)
}

/// A page of an origin that is not permitted; none when it says none.
pub fn origin_not_allowed(origin: Option<&HeaderValue>) -> Refusal {
    let message = match origin.map(|origin| origin.to_str().unwrap_or_default().escape_debug().to_string()) {
        Some(origin) => format!("pages of `{origin}` may not call: name the origin with `--cors-origin`"),
        None => "the call names no `origin`, or one of another site: a browser key works only in pages of the origins \
                 that `--cors-origin` names"
            .to_owned(),
    };
    refusal(Code::PermissionDenied, "ORIGIN_NOT_ALLOWED", &message)
}

/// The service is called by a name that could have been made to lead here.
pub fn foreign_host() -> Refusal {
    let message = "without API keys this service is called by its IP address or as `localhost`: use that, name the \
                   host with `--public-url`, or give `--api-keys`";
    refusal(Code::PermissionDenied, "FOREIGN_HOST", message)
}

/// A browser asks too fast.
pub fn too_fast(wait: Duration) -> Refusal {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let message = format!("too many requests from this address: try again after {seconds} s");
    let status = with_info(Code::ResourceExhausted, "RATE_LIMITED", &message);
    Refusal { status, retry_after_s: Some(seconds) }
}
