//! At the edge: who calls, from which page, and whether that caller may.
//!
//! A service calls with a secret key, or with none where there are no keys. A
//! page calls with a key that everybody can read, or with none, from an origin
//! that is permitted; it may call [`FOR_BROWSERS`](super::roles::FOR_BROWSERS)
//! only, and what it may say there is narrowed when its message is read.

pub mod address;
pub mod cors;
pub mod origins;
pub mod pace;
pub mod refusal;

use axum::http::{
    HeaderMap, Method, Request, Response, Version,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
};
use tonic::body::Body;

use crate::{
    app::Click,
    config::ServeConfig,
    grpc::{Agent, Caller, Sight, unary},
    http::agents::{self, Program},
    telemetry::metrics,
};

use super::{
    keys::{self, Keys},
    roles::{Role, is_for_browsers, role_of},
};
use cors::Cors;
use origins::{Origins, Page};
use pace::{Holder, Pace, Source};
use refusal::Refusal;

/// What decides who is let in.
pub struct Edge {
    keys: Option<Keys>,
    origins: Origins,
    pace: Pace,
    trusted_proxies: usize,
    /// The host of the public URL.
    public_host: String,
}

/// A caller who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Who it is.
    pub caller: Caller,
    /// Where a browser asks from.
    pub source: Option<Source>,
    /// What it counts as when it follows a link.
    pub click: Click,
    /// What it may see of personal data.
    pub sight: Sight,
}

impl Admitted {
    const SERVICE: Self = Self { caller: Caller::Service, source: None, click: Click::Ignored, sight: Sight::Whole };
}

impl Edge {
    /// As the settings say.
    pub fn new(config: &ServeConfig, keys: Option<Keys>) -> Self {
        let authority = config.public_url.split_once("://").map_or("", |(_, rest)| rest);
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        Self {
            keys,
            origins: Origins::new(&config.cors_origins),
            pace: Pace::new(config.browser_rate),
            trusted_proxies: config.trusted_proxies,
            public_host: origins::host_of(authority).to_owned(),
        }
    }

    /// Who calls, when that caller may. A call of a service over HTTP/2 without
    /// keys costs the look for two headers; with keys, the comparison beside.
    ///
    /// # Errors
    /// The key, the origin or the host is not permitted here, or a browser asks
    /// too fast.
    pub fn admit<B>(&self, request: &Request<B>) -> Result<Admitted, Refusal> {
        if request.uri().path().starts_with(LINKS) {
            return Ok(self.follower(request));
        }
        let page = Page::of(request.headers());
        match &self.keys {
            // no browser speaks HTTP/2 in the clear
            None if page.is_none() && request.version() == Version::HTTP_2 => Ok(Admitted::SERVICE),
            None => self.admit_without_keys(request, page),
            Some(keys) => self.admit_by_key(keys, request, page),
        }
    }

    fn admit_by_key<B>(&self, keys: &Keys, request: &Request<B>, page: Page<'_>) -> Result<Admitted, Refusal> {
        let path = request.uri().path();
        let needed = role_of(path);
        if needed == Role::Public {
            return Ok(Admitted::SERVICE);
        }
        let holder = holder(keys, request)?;
        if holder.role != Role::Browser {
            return match holder.role {
                _ if !page.is_none() => Err(refusal::secret_key_in_browser()),
                role if role < needed => Err(refusal::role_too_low()),
                _ if holder.sees_personal => Ok(Admitted::SERVICE),
                _ => Ok(Admitted { sight: Sight::Masked, ..Admitted::SERVICE }),
            };
        }
        if !is_for_browsers(path) {
            return Err(refusal::not_for_browsers());
        }
        match page.origin {
            Some(origin) if self.origins.has(origin) => self.browser(request, Holder::Key(holder.index)),
            origin => Err(refusal::origin_not_allowed(origin)),
        }
    }

    fn admit_without_keys<B>(&self, request: &Request<B>, page: Page<'_>) -> Result<Admitted, Refusal> {
        let path = request.uri().path();
        if role_of(path) == Role::Public {
            return Ok(Admitted::SERVICE);
        }
        match page.origin {
            Some(origin) if origins::is_own(origin, request) => Ok(Admitted::SERVICE),
            Some(origin) if !self.origins.has(origin) => Err(refusal::origin_not_allowed(Some(origin))),
            Some(_) if !is_for_browsers(path) => Err(refusal::not_for_browsers()),
            Some(origin) => self.browser(request, Holder::Origin(origin.as_bytes())),
            None if page.is_foreign() => Err(refusal::origin_not_allowed(None)),
            None if self.is_misled(request) => Err(refusal::foreign_host()),
            None => Ok(Admitted::SERVICE),
        }
    }

    /// Whether a call to this machine alone uses a name that a name server
    /// answered for: a page that only reads sends no origin to what its browser
    /// takes for its own site.
    fn is_misled<B>(&self, request: &Request<B>) -> bool {
        let Some(called) = origins::called_as(request) else { return false };
        let host = origins::host_of(called);
        let known = origins::is_fixed(host) || host.eq_ignore_ascii_case(&self.public_host);
        !known && request.version() < Version::HTTP_2 && address::over_loopback(request)
    }

    /// Whoever follows a link gets to the page; how often that counts is paced.
    fn follower<B>(&self, request: &Request<B>) -> Admitted {
        let source = self.pace.source(Holder::Link, address::of_client(request, self.trusted_proxies));
        let click = match self.pace.request(source) {
            Err(_) => {
                metrics().clicks_dropped.increment(1);
                Click::Ignored
            }
            Ok(()) if self.pace.is_suspected(source) => Click::OfNobody,
            Ok(()) => Click::Counted,
        };
        Admitted { click, ..Admitted::SERVICE }
    }

    fn browser<B>(&self, request: &Request<B>, holder: Holder<'_>) -> Result<Admitted, Refusal> {
        let source = self.pace.source(holder, address::of_client(request, self.trusted_proxies));
        self.pace.request(source).map_err(|wait| {
            metrics().browsers_limited.increment(1);
            refusal::too_fast(wait)
        })?;
        let suspected = self.pace.is_suspected(source);
        let burst = suspected && is_question(request.uri().path());
        let agent = match agents::program(request.headers()).or_else(|| burst.then_some(Program::Burst)) {
            Some(program) => {
                metrics().program(program as usize);
                Agent::Bot
            }
            None if suspected => Agent::Crowd,
            None => Agent::Person,
        };
        let (caller, source) = (Caller::Browser(agent), Some(source));
        Ok(Admitted { caller, source, click: Click::Ignored, sight: Sight::Masked })
    }

    /// Notes that a browser brought no visitor id.
    pub fn newcomer(&self, source: Source) {
        self.pace.newcomer(source);
    }

    /// What the answer tells a browser about its origin.
    pub fn cors(&self, headers: &HeaderMap, path: &str) -> Cors {
        match headers.get(ORIGIN) {
            Some(origin) if self.origins.has(origin) => Cors::Allowed(origin.clone()),
            _ if is_for_browsers(path) => Cors::Varies,
            _ => Cors::Silent,
        }
    }

    /// The answer to a browser that asks whether a page may call; `None` when
    /// the request is no such question.
    pub fn preflight<B>(&self, request: &Request<B>) -> Option<Result<Response<Body>, Refusal>> {
        if request.method() != Method::OPTIONS || !request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let origin = request.headers().get(ORIGIN)?;
        Some(match (self.origins.has(origin), is_for_browsers(request.uri().path())) {
            (false, _) => Err(refusal::origin_not_allowed(Some(origin))),
            (true, false) => Err(refusal::not_for_browsers()),
            (true, true) => Ok(cors::permitted(origin.clone())),
        })
    }
}

/// Who holds the key of a request. One in the query is looked up even when it
/// is not needed, so that a secret one there never works.
fn holder<B>(keys: &Keys, request: &Request<B>) -> Result<keys::Holder, Refusal> {
    let in_query = keys::in_query(request.uri().query().unwrap_or_default()).map(|key| keys.holder(&key));
    if let Some(Some(holder)) = in_query
        && holder.role != Role::Browser
    {
        return Err(refusal::secret_key_in_query());
    }
    let holder = match keys::presented(request.headers()) {
        Some(key) => keys.holder(key),
        None => in_query.ok_or_else(refusal::no_key)?,
    };
    holder.ok_or_else(refusal::unknown_key)
}

/// Where links lead through.
const LINKS: &str = "/c/";

/// Whether a path asks for a decision.
fn is_question(path: &str) -> bool {
    path == unary::DECIDE || path == "/v1/decide"
}
