//! In front of every call: who it is, room, panics, the count of errors.

use std::{
    convert::Infallible,
    future::{Future, ready},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::http::{HeaderValue, Request, Response, header::RETRY_AFTER};
use tonic::{Code, Status, body::Body, service::Routes};
use tower::{Layer, Service};

use crate::{
    grpc::{
        Api, Caller, Entering, Newcomer, Sight,
        admission::{self, Offered, Turns, Urgency},
        status, stream, unary,
    },
    http::json,
    telemetry::{CallClass, metrics},
};

use super::{
    calls::{Calls, DECISIONS, WITH_FILES, WITH_PROFILE},
    catch::catch,
    edge::{Admitted, Edge, cors::Cors, refusal::Refusal},
    waiting,
    wire::Wire,
};

const GRPC_STATUS: &str = "grpc-status";
const GRPC_DETAILS: &str = "grpc-status-details-bin";
/// Calls that ask for decisions.
const QUESTIONS: [&str; 3] = [unary::DECIDE, stream::DECIDE_STREAM, "/v1/decide"];
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
/// Most calls about pauses at the same time; their room is never taken by
/// others.
pub const PAUSES_IN_FLIGHT_MAX: usize = 64;

/// Pages may take one in so many of the requests that are answered at the same
/// time.
pub const PAGES_SHARE: usize = 4;

/// What all gates of a service share.
pub struct Limits {
    /// Most requests of services answered at the same time, but for pauses and
    /// probes.
    pub in_flight_max: usize,
    in_flight: [AtomicUsize; 4],
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
    /// Of pages, whose key everybody can read: they leave room for services.
    Pages,
}

impl Room {
    fn of(path: &str, caller: Caller) -> Self {
        if caller != Caller::Service {
            Room::Pages
        } else if path.starts_with(DECISIONS) {
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
    pub fn new(in_flight_max: usize) -> Self {
        Self { in_flight_max, in_flight: Default::default() }
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
            Room::Pages => (self.in_flight_max / PAGES_SHARE).max(1),
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

/// What the gates of all threads share.
#[derive(Clone)]
pub struct Gates {
    /// How many are let in.
    pub limits: Arc<Limits>,
    /// Who is let in.
    pub edge: Arc<Edge>,
    /// What is called without the detour over the routes.
    pub calls: Calls,
    /// What `Decide` is answered by.
    pub api: Api,
}

/// Puts a [`Gate`] in front of the routes of one thread.
#[derive(Clone)]
pub struct GateLayer {
    /// What all gates share.
    pub gates: Gates,
    /// The turns of the thread.
    pub turns: Arc<Turns>,
}

impl Layer<Routes> for GateLayer {
    type Service = Gate;

    fn layer(&self, routes: Routes) -> Gate {
        let Gates { limits, edge, calls, api } = self.gates.clone();
        Gate { limits, edge, calls: calls.over(routes.prepare()), api, turns: Arc::clone(&self.turns) }
    }
}

/// In front of every call.
#[derive(Clone)]
pub struct Gate {
    limits: Arc<Limits>,
    edge: Arc<Edge>,
    calls: Calls,
    api: Api,
    turns: Arc<Turns>,
}

type Answer = Result<Response<Body>, Infallible>;

impl Service<Request<Body>> for Gate {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(permitted) = self.edge.preflight(&request) {
            let answer = permitted.unwrap_or_else(|refusal| counted(Cors::Varies.on(refused(Wire::Json, &refusal))));
            return Box::pin(ready(Ok(answer)));
        }
        let wire = Wire::of(request.headers());
        let (admitted, entered) = match self.admit(&request) {
            Ok(let_in) => let_in,
            Err(refusal) => return Box::pin(ready(Ok(self.refused(&request, &refusal)))),
        };
        let entering = Entering::now(&self.turns, request.headers());
        if wire != Wire::Grpc || admitted.caller != Caller::Service {
            return self.call_of_a_page(request, (admitted, entering), entered);
        }
        // futures of their own size: that of a decision is the small one
        let path = request.uri().path();
        if path == stream::DECIDE_STREAM && unary::is_plain(&request) {
            // its questions are counted one by one, apart from calls that somebody waits for
            return Box::pin(ready(Ok(counted(stream::open(&self.api, entering, request)))));
        }
        let line = line_of(path, admitted.caller, &entered);
        let entered = (entered, self.api.traffic().call());
        if path == unary::DECIDE && unary::is_plain(&request) {
            let api = self.api.clone();
            return Box::pin(answer(wire, entered, async move { Ok(unary::decide(&api, entering, request).await) }));
        }
        let line = line.map(|class| (class, entering.clone()));
        if path.starts_with(DECISIONS) {
            request.extensions_mut().insert(entering);
            Box::pin(answer(wire, entered, in_turn(wire, line, self.calls.decisions.call(request))))
        } else if WITH_FILES.contains(&path) {
            Box::pin(answer(wire, entered, in_turn(wire, line, self.calls.rules.call(request))))
        } else if path == WITH_PROFILE {
            Box::pin(answer(wire, entered, in_turn(wire, line, self.calls.profiles.call(request))))
        } else {
            if admitted.sight != Sight::Whole {
                request.extensions_mut().insert(admitted.sight);
            }
            let mut routes = self.calls.routes.clone();
            let call = async move { routes.call(request).await.map_err(never) };
            Box::pin(answer(wire, entered, in_turn(wire, line, call)))
        }
    }
}

impl Gate {
    fn admit(&self, request: &Request<Body>) -> Result<(Admitted, Entered), Refusal> {
        let admitted = self.edge.admit(request)?;
        if self.api.app().store.is_waiting() {
            waiting::check(request.uri().path())?;
        }
        Ok((admitted, self.limits.enter(Room::of(request.uri().path(), admitted.caller))?))
    }

    /// A call as pages make them: JSON, gRPC-web, and whatever a browser sends.
    fn call_of_a_page(
        &self,
        mut request: Request<Body>,
        (admitted, entering): (Admitted, Entering),
        entered: Entered,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let wire = Wire::of(request.headers());
        let cors = self.edge.cors(request.headers(), request.uri().path());
        if admitted.caller != Caller::Service {
            request.extensions_mut().insert(admitted.caller);
        }
        if admitted.sight != Sight::Whole {
            request.extensions_mut().insert(admitted.sight);
        }
        request.extensions_mut().insert(admitted.click);
        let (edge, calls) = (Arc::clone(&self.edge), self.calls.clone());
        let line = line_of(request.uri().path(), admitted.caller, &entered).map(|class| (class, entering.clone()));
        request.extensions_mut().insert(entering);
        let entered = (entered, self.api.traffic().call());
        Box::pin(async move {
            let call = in_turn(wire, line, calls.answer(wire, request));
            let Ok(mut response) = answer(wire, entered, call).await;
            if let (Some(Newcomer), Some(source)) = (response.extensions_mut().remove(), admitted.source) {
                edge.newcomer(source);
            }
            Ok(cors.on(response))
        })
    }

    /// The answer to a call that is not let in. A page of a permitted origin may
    /// read why.
    fn refused(&self, request: &Request<Body>, refusal: &Refusal) -> Response<Body> {
        let cors = self.edge.cors(request.headers(), request.uri().path());
        counted(cors.on(refused(Wire::of(request.headers()), refusal)))
    }
}

/// Answers a call that was let in, whatever happens in it.
async fn answer(wire: Wire, entered: impl Send, call: impl Future<Output = Answer>) -> Answer {
    let response = match catch(call).await {
        Ok(Ok(response)) => response,
        Err(_) => {
            metrics().panics.increment(1);
            refused(wire, &status::panicked().into())
        }
    };
    drop(entered);
    Ok(counted(response))
}

/// The class of a call that takes its turn here. Questions take theirs once they
/// are read, for they say of which class they are; who stops things and who
/// looks whether the service lives does not wait.
fn line_of(path: &str, caller: Caller, entered: &Entered) -> Option<CallClass> {
    let waits_here = matches!(entered.room, Room::Calls | Room::Pages) && !QUESTIONS.contains(&path);
    waits_here.then(|| admission::of_path(path, caller))
}

/// A call that is begun when it is its turn.
async fn in_turn(wire: Wire, line: Option<(CallClass, Entering)>, call: impl Future<Output = Answer>) -> Answer {
    let Some((class, entering)) = line else { return call.await };
    match entering.turn(Urgency { class, time_budget_ms: 0 }, Offered::Whole).await {
        Ok(turn) => turn.run(pin!(call)).await,
        Err(away) => Ok(refused(wire, &status::turned_away(&away).into())),
    }
}

fn never(never: Infallible) -> Infallible {
    never
}

fn refused(wire: Wire, refusal: &Refusal) -> Response<Body> {
    let mut response = match wire {
        Wire::Json => json::refused(&refusal.status).map(Body::new),
        Wire::Grpc => refusal.status.clone().into_http(),
        Wire::GrpcWeb(encoding) => encoding.refused(refusal.status.clone()),
    };
    if let Some(seconds) = refusal.retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
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
    // what the service says itself comes with details
    if code == Code::OutOfRange as i32 && !response.headers().contains_key(GRPC_DETAILS) {
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
    use crate::{
        grpc::Agent,
        server::{
            calls::{WITH_FILES, WITH_PROFILE},
            roles::TABLE,
        },
    };

    fn of(path: &str) -> Room {
        Room::of(path, Caller::Service)
    }

    #[test]
    fn pages_leave_room_for_services() {
        let limits = Arc::new(Limits::new(8));
        let page = || limits.enter(Room::of("/v1/decide", Caller::Browser(Agent::Person)));
        let pages: Vec<_> = (0..2).map(|_| page().ok()).collect();
        assert!(pages.iter().all(Option::is_some) && page().is_err());
        let services: Vec<_> = (0..8).map(|_| limits.enter(of("/v1/decide")).ok()).collect();
        assert!(services.iter().all(Option::is_some) && limits.enter(Room::Calls).is_err());
        drop(services);
        assert!(page().is_err());
        drop(pages);
        assert!(page().is_ok());
    }

    #[test]
    fn pauses_and_probes_have_room_when_all_else_is_full() {
        let limits = Arc::new(Limits::new(1));
        let decide = || limits.enter(of("/rapport.v1.DecisionService/Decide"));
        let held = decide().ok();
        assert!(held.is_some() && decide().is_err());
        let pauses: Vec<_> = PAUSES.into_iter().cycle().take(PAUSES_IN_FLIGHT_MAX).collect();
        let pausing: Vec<_> = pauses.iter().map(|path| limits.enter(of(path)).ok()).collect();
        assert!(pausing.iter().all(Option::is_some) && limits.enter(Room::Pauses).is_err());
        assert!(limits.enter(of("/grpc.health.v1.Health/Check")).is_ok());
        assert_eq!(limits.in_flight(), 1 + PAUSES_IN_FLIGHT_MAX);
        drop((held, pausing));
        assert!(limits.in_flight() == 0 && decide().is_ok());
    }

    #[test]
    fn every_path_that_is_named_here_is_one() {
        for path in PAUSES.into_iter().chain(WITH_FILES).chain([WITH_PROFILE]) {
            assert!(TABLE.iter().any(|(entry, _)| *entry == path), "{path}");
        }
        assert_eq!(of("/v1/decide"), Room::Calls);
    }
}
