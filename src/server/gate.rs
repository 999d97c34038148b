//! In front of every call: keys, room, panics, the count of errors.

use std::{
    convert::Infallible,
    future::{Future, ready},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::http::{HeaderValue, Request, Response};
use tonic::{Code, Status, body::Body, service::Routes};
use tower::{Layer, Service};

use crate::{
    grpc::{Api, status, unary},
    http::{is_grpc, json},
    proto::{decision_service_server::DecisionServiceServer, ruleset_service_server::RulesetServiceServer},
    telemetry::metrics,
};

use super::{catch::catch, keys::Keys, roles::role_of};

const GRPC_STATUS: &str = "grpc-status";
const DECISIONS: &str = "/rapport.v1.DecisionService/";
const HEALTH: &str = "/grpc.health.v1.Health/";
/// What stops things at once, on both transports.
const PAUSES: [&str; 6] = [
    "/rapport.v1.RulesetService/Pause",
    "/rapport.v1.RulesetService/Resume",
    "/rapport.v1.RulesetService/ListPauses",
    "/v1/pauses:pause",
    "/v1/pauses:resume",
    "/v1/pauses",
];
/// Calls whose messages may carry rule files; every other message is short.
const WITH_FILES: [&str; 3] = [
    "/rapport.v1.RulesetService/ValidateRevision",
    "/rapport.v1.RulesetService/EvaluateReach",
    "/rapport.v1.RulesetService/PublishRevision",
];
/// Most calls about pauses at the same time; their room is never taken by
/// others.
pub const PAUSES_IN_FLIGHT_MAX: usize = 64;

/// What all gates of a service share.
pub struct Limits {
    /// Who may call; `None` when everybody may.
    pub keys: Option<Keys>,
    /// Most requests answered at the same time, but for pauses and probes.
    pub in_flight_max: usize,
    in_flight: [AtomicUsize; 3],
}

/// What a request takes room from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    /// Shared by most.
    Calls,
    /// Kept free for who must stop something while all else is full.
    Pauses,
    /// A probe must tell that the service lives when it is busy; it costs no
    /// more than a refusal.
    Probes,
}

impl Room {
    fn of(path: &str) -> Self {
        if path.starts_with(DECISIONS) {
            Room::Calls
        } else if PAUSES.contains(&path) {
            Room::Pauses
        } else if path.starts_with(HEALTH) {
            Room::Probes
        } else {
            Room::Calls
        }
    }
}

impl Limits {
    /// With nothing in flight.
    pub fn new(keys: Option<Keys>, in_flight_max: usize) -> Self {
        Self { keys, in_flight_max, in_flight: Default::default() }
    }

    /// Requests being answered.
    pub fn in_flight(&self) -> usize {
        self.in_flight.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    fn enter(self: &Arc<Self>, room: Room) -> Result<Entered, Status> {
        let max = match room {
            Room::Calls => self.in_flight_max,
            Room::Pauses => PAUSES_IN_FLIGHT_MAX,
            Room::Probes => usize::MAX,
        };
        let before = self.in_flight[room as usize].fetch_add(1, Ordering::Relaxed);
        let entered = Entered { limits: Arc::clone(self), room };
        if before < max {
            return Ok(entered);
        }
        metrics().shed.increment(1);
        Err(status::overloaded(max))
    }
}

/// A request in flight.
struct Entered {
    limits: Arc<Limits>,
    room: Room,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.limits.in_flight[self.room as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// Puts a [`Gate`] in front of the routes.
#[derive(Clone)]
pub struct GateLayer {
    /// What all gates share.
    pub limits: Arc<Limits>,
    /// The decision service, called without the detour over the routes.
    pub decisions: DecisionServiceServer<Api>,
    /// The service of the rules for messages that may carry rule files.
    pub rules: RulesetServiceServer<Api>,
    /// What `Decide` is answered by.
    pub api: Api,
}

impl Layer<Routes> for GateLayer {
    type Service = Gate;

    fn layer(&self, routes: Routes) -> Gate {
        Gate {
            limits: Arc::clone(&self.limits),
            decisions: self.decisions.clone(),
            rules: self.rules.clone(),
            api: self.api.clone(),
            routes: routes.prepare(),
        }
    }
}

/// In front of every call.
#[derive(Clone)]
pub struct Gate {
    limits: Arc<Limits>,
    decisions: DecisionServiceServer<Api>,
    rules: RulesetServiceServer<Api>,
    api: Api,
    routes: Routes,
}

type Answer = Result<Response<Body>, Infallible>;

impl Service<Request<Body>> for Gate {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let grpc = is_grpc(request.headers());
        let entered = match self.admit(&request) {
            Ok(entered) => entered,
            Err(status) => return Box::pin(ready(Ok(counted(refusal(grpc, &status))))),
        };
        // futures of their own size: that of a decision is the small one
        let path = request.uri().path();
        if grpc && path == unary::DECIDE && unary::is_plain(&request) {
            let api = self.api.clone();
            Box::pin(answer(grpc, entered, async move { Ok(unary::decide(&api, request).await) }))
        } else if grpc && path.starts_with(DECISIONS) {
            Box::pin(answer(grpc, entered, self.decisions.call(request)))
        } else if grpc && WITH_FILES.contains(&path) {
            Box::pin(answer(grpc, entered, self.rules.call(request)))
        } else {
            let mut routes = self.routes.clone();
            Box::pin(answer(grpc, entered, async move { routes.call(request).await.map_err(never) }))
        }
    }
}

/// Answers a call that was let in, whatever happens in it.
async fn answer(grpc: bool, entered: Entered, call: impl Future<Output = Answer>) -> Answer {
    let response = match catch(call).await {
        Ok(Ok(response)) => response,
        Err(_) => {
            metrics().panics.increment(1);
            refusal(grpc, &status::panicked())
        }
    };
    drop(entered);
    Ok(counted(response))
}

impl Gate {
    fn admit(&self, request: &Request<Body>) -> Result<Entered, Status> {
        if let Some(keys) = &self.limits.keys {
            keys.permit(request.headers(), role_of(request.uri().path()))?;
        }
        self.limits.enter(Room::of(request.uri().path()))
    }
}

fn never(never: Infallible) -> Infallible {
    never
}

fn refusal(grpc: bool, status: &Status) -> Response<Body> {
    if grpc { status.clone().into_http() } else { json::refused(status).map(Body::new) }
}

/// Counts an error. A message over the size limit is the caller's mistake.
fn counted(mut response: Response<Body>) -> Response<Body> {
    let code = match response.headers().get(GRPC_STATUS) {
        Some(code) => code.to_str().ok().and_then(|code| code.parse().ok()).unwrap_or(Code::Unknown as i32),
        None => response.extensions().get::<Code>().map_or(0, |code| *code as i32),
    };
    if code == 0 {
        return response;
    }
    if code == Code::OutOfRange as i32 {
        response.headers_mut().insert(GRPC_STATUS, HeaderValue::from_static("3"));
        metrics().request_error(Code::InvalidArgument as i32);
    } else {
        metrics().request_error(code);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::roles::TABLE;

    #[test]
    fn pauses_and_probes_have_room_when_all_else_is_full() {
        let limits = Arc::new(Limits::new(None, 1));
        let decide = || limits.enter(Room::of("/rapport.v1.DecisionService/Decide"));
        let held = decide().ok();
        assert!(held.is_some() && decide().is_err());
        let pauses: Vec<_> = PAUSES.into_iter().cycle().take(PAUSES_IN_FLIGHT_MAX).collect();
        let pausing: Vec<_> = pauses.iter().map(|path| limits.enter(Room::of(path)).ok()).collect();
        assert!(pausing.iter().all(Option::is_some) && limits.enter(Room::Pauses).is_err());
        assert!(limits.enter(Room::of("/grpc.health.v1.Health/Check")).is_ok());
        assert_eq!(limits.in_flight(), 1 + PAUSES_IN_FLIGHT_MAX);
        drop((held, pausing));
        assert!(limits.in_flight() == 0 && decide().is_ok());
    }

    #[test]
    fn every_path_that_is_named_here_is_one() {
        for path in PAUSES.into_iter().chain(WITH_FILES) {
            assert!(TABLE.iter().any(|(entry, _)| *entry == path), "{path}");
        }
        assert_eq!(Room::of("/v1/decide"), Room::Calls);
    }
}
