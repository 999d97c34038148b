//! Which pages may call.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{
    HeaderMap, HeaderValue, Request,
    header::{HOST, ORIGIN},
};

/// What a browser says about the page a request is of.
///
/// A browser says where a page is from in `origin` with every call that could
/// change something or be read by another site, and `sec-fetch-site` with every
/// request at all (`sec-fetch-mode` is sent by Node's `fetch` too). A page can
/// set or remove neither.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The origin.
    pub origin: Option<&'a HeaderValue>,
    /// How that origin relates to this service.
    site: Option<&'a HeaderValue>,
}

impl<'a> Page<'a> {
    /// As the headers say.
    pub fn of(headers: &'a HeaderMap) -> Self {
        Self { origin: headers.get(ORIGIN), site: headers.get("sec-fetch-site") }
    }

    /// Whether no browser sent it.
    pub fn is_none(&self) -> bool {
        self.origin.is_none() && self.site.is_none()
    }

    /// Whether it is a page of somebody else, as far as it says without an
    /// origin.
    pub fn is_foreign(&self) -> bool {
        self.site.is_some_and(|site| site != "same-origin" && site != "none")
    }
}

/// The origins that are permitted, as browsers write them.
pub struct Origins(Vec<HeaderValue>);

impl Origins {
    /// Of checked texts.
    pub fn new(origins: &[String]) -> Self {
        Self(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect())
    }

    /// Whether an origin is permitted.
    pub fn has(&self, origin: &HeaderValue) -> bool {
        self.0.contains(origin)
    }
}

/// Whether a page is of this service itself, under a name that cannot be made
/// to lead elsewhere: a site that lets its own name lead here after its page
/// was loaded (DNS rebinding) has the same host in both, but no IP address.
pub fn is_own<B>(origin: &HeaderValue, request: &Request<B>) -> bool {
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let (Some(authority), Some(called)) = (authority, called_as(request)) else { return false };
    authority.eq_ignore_ascii_case(called) && is_fixed(host_of(called))
}

/// The host and port that the caller believes it calls.
pub fn called_as<B>(request: &Request<B>) -> Option<&str> {
    let authority = request.uri().authority().map(|authority| authority.as_str());
    authority.or_else(|| request.headers().get(HOST)?.to_str().ok())
}

/// The host without the port.
pub fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    }
}

/// Whether a host leads to the same machine whatever a name server says.
pub fn is_fixed(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<Ipv4Addr>().is_ok()
        || address.is_some_and(|address| address.parse::<Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(origin: &str, host: &str) -> bool {
        let request = Request::builder().header(HOST, host).body(()).unwrap();
        is_own(&origin.parse().unwrap(), &request)
    }

    #[test]
    fn a_page_is_our_own_under_an_address_only() {
        assert!(own("http://127.0.0.1:7070", "127.0.0.1:7070"));
        assert!(own("http://localhost:7070", "LOCALHOST:7070"));
        assert!(own("http://[::1]:7070", "[::1]:7070"));
        assert!(own("http://192.168.1.9", "192.168.1.9"));
        assert!(!own("http://evil.example:7070", "evil.example:7070"), "a name can be made to lead here");
        assert!(!own("http://127.0.0.1:8080", "127.0.0.1:7070"), "another service of this machine");
        assert!(!own("http://localhost:7070", "127.0.0.1:7070"));
        assert!(!own("http://127.0.0.1.evil.example", "127.0.0.1.evil.example"));
        assert!(!own("null", "127.0.0.1:7070"));
    }

    #[test]
    fn what_only_browsers_say_is_seen() {
        let of = |name: &'static str, value: &'static str| {
            HeaderMap::from_iter([(axum::http::HeaderName::from_static(name), HeaderValue::from_static(value))])
        };
        assert!(Page::of(&HeaderMap::new()).is_none());
        assert!(Page::of(&of("sec-fetch-mode", "cors")).is_none(), "Node's `fetch` sends it");
        assert!(!Page::of(&of("origin", "https://a.example")).is_none());
        for (site, foreign) in [("cross-site", true), ("same-site", true), ("same-origin", false), ("none", false)] {
            let headers = of("sec-fetch-site", site);
            let page = Page::of(&headers);
            assert!(!page.is_none() && page.is_foreign() == foreign, "{site}");
        }
    }
}
