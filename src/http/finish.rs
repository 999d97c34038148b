//! What every JSON answer gets on its way out: nobody keeps it, and it is
//! compressed where that pays.

use std::io::Write;

use axum::{
    body::{self, Body},
    extract::Request,
    http::{
        HeaderMap, HeaderValue,
        header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY},
    },
    middleware::Next,
    response::Response,
};
use flate2::{Compression, write::GzEncoder};
use http_body::Body as _;

/// Answers about people and rules are of the moment and for the caller alone.
pub const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-store");

/// Answers of fewer bytes fit one packet as they are.
pub const GZIP_BYTES_MIN: u64 = 1_400;
/// Answers of more bytes would hold up a serving thread for milliseconds.
pub const GZIP_BYTES_MAX: u64 = 1 << 20;

/// Passes a request on and finishes its answer.
pub async fn finish(request: Request, next: Next) -> Response {
    let of_the_api = request.uri().path().starts_with("/v1/");
    let gzip = takes_gzip(request.headers());
    let mut response = next.run(request).await;
    if of_the_api {
        response.headers_mut().entry(CACHE_CONTROL).or_insert(PRIVATE);
    }
    if !is_worth_it(&response) {
        return response;
    }
    response.headers_mut().append(VARY, HeaderValue::from_static("accept-encoding"));
    if gzip { compressed(response).await } else { response }
}

/// Whether an answer is text of a size for which compressing pays. One that is
/// sent as it comes about has no size, and one that varies chose its form itself.
fn is_worth_it(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let text = ["text/", "application/json", "application/javascript"].iter().any(|text| kind.starts_with(text));
    let size = response.body().size_hint().exact().unwrap_or_default();
    let chosen = response.headers().contains_key(VARY) || response.headers().contains_key(CONTENT_ENCODING);
    text && !chosen && (GZIP_BYTES_MIN..=GZIP_BYTES_MAX).contains(&size)
}

async fn compressed(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = body::to_bytes(body, usize::MAX).await else {
        // INVARIANT: the body is in memory; there is nothing that could fail
        return Response::from_parts(parts, Body::empty());
    };
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 2), Compression::fast());
    let Some(smaller) = encoder.write_all(&bytes).ok().and_then(|()| encoder.finish().ok()) else {
        return Response::from_parts(parts, Body::from(bytes));
    };
    parts.headers.remove(CONTENT_LENGTH);
    // other bytes with the same meaning (RFC 9110, section 8.8.1)
    let weak = parts.headers.get(ETAG).and_then(|tag| tag.to_str().ok()).filter(|tag| !tag.starts_with("W/"));
    if let Some(weak) = weak.and_then(|tag| HeaderValue::from_str(&format!("W/{tag}")).ok()) {
        parts.headers.insert(ETAG, weak);
    }
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(parts, Body::from(smaller))
}

/// Whether the caller can read gzip (RFC 9110, section 12.5.3): it names it, or
/// everything, with a weight above 0.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let mut any = false;
    for value in headers.get_all(ACCEPT_ENCODING) {
        for entry in value.to_str().unwrap_or_default().split(',') {
            let (coding, weight) = entry.split_once(';').unwrap_or((entry, ""));
            let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.trim().parse::<f32>().ok());
            let taken = weight.unwrap_or(1.0) > 0.0;
            match coding.trim() {
                "gzip" | "x-gzip" => return taken,
                "*" => any = taken,
                _ => {}
            }
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        let takes =
            |text: &'static str| takes_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(text))]));
        for text in ["gzip", "gzip, deflate, br, zstd", "br;q=1.0, gzip;q=0.8", "*", "identity;q=0.5, *;q=0.1"] {
            assert!(takes(text), "{text}");
        }
        for text in ["", "br", "gzip;q=0", "gzip; q=0.0, *", "*;q=0"] {
            assert!(!takes(text), "{text}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
