//! What a web page loads: `rapport.js`, its TypeScript types, and the tag that
//! a page carries.

use std::{io::Write, sync::LazyLock};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
    routing::get,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha384};

/// The script, as it is served and as it is read. Whatever fails in it, the page
/// goes on.
const SCRIPT: &str = include_str!("rapport.js");
/// Its types.
const TYPES: &str = include_str!("rapport.d.ts");
/// How long browsers and proxies use a copy without asking again.
const CACHE: HeaderValue = HeaderValue::from_static("public, max-age=300");
/// Hexadecimal digits of an entity tag.
const TAG_HEX_DIGITS: usize = 16;
const JAVASCRIPT: HeaderValue = HeaderValue::from_static("text/javascript; charset=utf-8");
const TYPESCRIPT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

static SCRIPT_FILE: LazyLock<File> = LazyLock::new(|| File::new(SCRIPT, JAVASCRIPT));
static TYPES_FILE: LazyLock<File> = LazyLock::new(|| File::new(TYPES, TYPESCRIPT));

/// The routes of what web pages load.
pub fn router() -> Router {
    Router::new()
        .route("/rapport.js", get(|headers: HeaderMap| async move { SCRIPT_FILE.answer(&headers) }))
        .route("/rapport.d.ts", get(|headers: HeaderMap| async move { TYPES_FILE.answer(&headers) }))
}

/// The SHA-384 of the script for the `integrity` attribute (W3C Subresource
/// Integrity).
pub fn integrity() -> String {
    format!("sha384-{}", STANDARD.encode(Sha384::digest(SCRIPT)))
}

/// The complete tag for pages that reach the service at a URL.
pub fn script_tag(public_url: &str) -> String {
    let src = public_url.trim_end_matches('/').replace('&', "&amp;").replace('"', "&quot;");
    let integrity = integrity();
    format!(
        r#"<script src="{src}/rapport.js" integrity="{integrity}" crossorigin="anonymous" data-key="PUBLISHABLE_KEY" async></script>"#
    )
}

/// A text that does not change while the service runs.
struct File {
    plain: Bytes,
    zipped: Option<Bytes>,
    kind: HeaderValue,
    tag: HeaderValue,
}

impl File {
    fn new(text: &'static str, kind: HeaderValue) -> Self {
        let hash = Sha384::digest(text);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).take(TAG_HEX_DIGITS / 2).collect();
        // weak: it stands for the text, whichever way it is encoded
        let tag = HeaderValue::try_from(format!("W/\"{hex}\"")).unwrap_or(HeaderValue::from_static("W/\"\""));
        Self { plain: Bytes::from_static(text.as_bytes()), zipped: zip(text.as_bytes()), kind, tag }
    }

    fn answer(&self, asked: &HeaderMap) -> Response {
        let fresh = values(asked, &header::IF_NONE_MATCH).any(|tag| tag == "*" || Some(tag) == self.tag.to_str().ok());
        let zipped = self.zipped.as_ref().filter(|_| takes_gzip(asked));
        let body = match zipped {
            _ if fresh => Body::empty(),
            Some(zipped) => Body::from(zipped.clone()),
            None => Body::from(self.plain.clone()),
        };
        let mut response = Response::new(body);
        if fresh {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        let headers = response.headers_mut();
        if zipped.is_some() && !fresh {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        headers.insert(header::CONTENT_TYPE, self.kind.clone());
        headers.insert(header::CACHE_CONTROL, CACHE);
        headers.insert(header::ETAG, self.tag.clone());
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        // any page may load it, and check its integrity, which needs CORS
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        response
    }
}

/// The comma-separated values of a header, without weights.
fn values<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',').map(str::trim))
}

/// Whether a browser takes gzip (RFC 9110, section 12.5.3).
fn takes_gzip(asked: &HeaderMap) -> bool {
    values(asked, &header::ACCEPT_ENCODING).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

fn zip(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn asking(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::HeaderName::from_static(name), value.parse().unwrap())])
    }

    async fn body(response: Response) -> Bytes {
        axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap()
    }

    #[test]
    fn the_script_is_small() {
        let zipped = SCRIPT_FILE.zipped.as_ref().unwrap();
        assert!(zipped.len() <= 4_000, "{} bytes zipped", zipped.len());
        let mut text = String::new();
        flate2::read::GzDecoder::new(&zipped[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, SCRIPT);
    }

    #[test]
    fn the_script_needs_nothing_that_a_strict_policy_forbids() {
        for banned in [
            "eval(",
            "new Function",
            "innerHTML",
            "outerHTML",
            "insertAdjacent",
            "document.write",
            "setAttribute('style'",
        ] {
            assert!(!SCRIPT.contains(banned), "{banned}");
        }
        assert!(!SCRIPT.contains("http://") && !SCRIPT.contains("https://"));
    }

    #[tokio::test]
    async fn it_is_served_zipped_where_that_is_taken() {
        let response = SCRIPT_FILE.answer(&asking("accept-encoding", "br, GZIP;q=0.5"));
        assert_eq!(response.headers()["content-encoding"], "gzip");
        assert_eq!(response.headers()["content-type"], "text/javascript; charset=utf-8");
        assert_eq!(response.headers()["cache-control"], "public, max-age=300");
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert_eq!(response.headers()["cross-origin-resource-policy"], "cross-origin");
        assert_eq!(body(response).await, SCRIPT_FILE.zipped.clone().unwrap());
        for asked in [HeaderMap::new(), asking("accept-encoding", "br, gzip;q=0")] {
            let response = SCRIPT_FILE.answer(&asked);
            assert!(!response.headers().contains_key("content-encoding"));
            assert_eq!(body(response).await, SCRIPT);
        }
    }

    #[tokio::test]
    async fn a_copy_that_is_fresh_is_not_sent_again() {
        let tag = TYPES_FILE.tag.to_str().unwrap();
        let response = TYPES_FILE.answer(&asking("if-none-match", &format!("\"x\", {tag}")));
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(response.headers()["etag"], tag);
        assert!(body(response).await.is_empty());
        let response = TYPES_FILE.answer(&asking("if-none-match", "\"x\""));
        assert_eq!((response.status(), body(response).await), (StatusCode::OK, TYPES_FILE.plain.clone()));
        assert_ne!(SCRIPT_FILE.tag, TYPES_FILE.tag);
    }

    #[test]
    fn the_tag_carries_the_hash_of_what_is_served() {
        let hash = STANDARD.encode(Sha384::digest(&SCRIPT_FILE.plain));
        let tag = script_tag("https://decide.example/\"&");
        assert!(tag.contains(&format!(r#"integrity="sha384-{hash}" crossorigin="anonymous""#)), "{tag}");
        assert!(tag.starts_with(r#"<script src="https://decide.example/&quot;&amp;/rapport.js" "#), "{tag}");
    }
}
