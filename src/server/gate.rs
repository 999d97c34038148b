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
    proto::decision_service_server::DecisionServiceServer,
    telemetry::metrics,
};

use super::{catch::catch, keys::Keys, roles::role_of};

const GRPC_STATUS: &str = "grpc-status";
const DECISIONS: &str = "/rapport.v1.DecisionService/";

/// What all gates of a service share.
pub struct Limits {
    /// Who may call; `None` when everybody may.
    pub keys: Option<Keys>,
    /// Most requests answered at the same time.
    pub in_flight_max: usize,
    in_flight: AtomicUsize,
}

impl Limits {
    /// With nothing in flight.
    pub fn new(keys: Option<Keys>, in_flight_max: usize) -> Self {
        Self { keys, in_flight_max, in_flight: AtomicUsize::new(0) }
    }

    /// Requests being answered.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn enter(self: &Arc<Self>) -> Result<Entered, Status> {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        let entered = Entered(Arc::clone(self));
        if before < self.in_flight_max {
            return Ok(entered);
        }
        metrics().shed.increment(1);
        Err(status::overloaded(self.in_flight_max))
    }
}

/// A request in flight.
struct Entered(Arc<Limits>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Puts a [`Gate`] in front of the routes.
#[derive(Clone)]
pub struct GateLayer {
    /// What all gates share.
    pub limits: Arc<Limits>,
    /// The decision service, called without the detour over the routes.
    pub decisions: DecisionServiceServer<Api>,
    /// What `Decide` is answered by.
    pub api: Api,
}

impl Layer<Routes> for GateLayer {
    type Service = Gate;

    fn layer(&self, routes: Routes) -> Gate {
        Gate {
            limits: Arc::clone(&self.limits),
            decisions: self.decisions.clone(),
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
        self.limits.enter()
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
