//! Where a call goes once it was let in.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{
    body,
    http::{Request, Response, StatusCode, header::CONTENT_TYPE},
};
use tokio::time::timeout;
use tonic::{Code, Status, body::Body, service::Routes};
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service};

use crate::{
    grpc::{Api, BROWSER_BYTES_MAX, Caller, MESSAGE_BYTES_MAX, PROFILE_BYTES_MAX, RULES_BYTES_MAX, status::with_info},
    http::json,
    proto::{
        customer_service_server::CustomerServiceServer, decision_service_server::DecisionServiceServer,
        event_service_server::EventServiceServer, ruleset_service_server::RulesetServiceServer,
    },
};

use super::wire::Wire;

/// The decision service.
pub const DECISIONS: &str = "/rapport.v1.DecisionService/";
/// Most bytes of a page's gRPC message as it travels: base64 takes a third more.
const PAGE_RPC_BYTES_MAX: usize = 2 * BROWSER_BYTES_MAX;
const EVENTS: &str = "/rapport.v1.EventService/";
/// Calls whose messages may carry rule files; every other message is short.
pub const WITH_FILES: [&str; 3] = [
    "/rapport.v1.RulesetService/ValidateRevision",
    "/rapport.v1.RulesetService/EvaluateReach",
    "/rapport.v1.RulesetService/PublishRevision",
];

/// The call whose message may be a whole profile.
pub const WITH_PROFILE: &str = "/rapport.v1.CustomerService/UpsertCustomer";

/// Every gRPC service and every route, each for messages of its size.
#[derive(Clone)]
pub struct Calls {
    /// The decision service, called without the detour over the routes.
    pub decisions: DecisionServiceServer<Api>,
    /// The service of the rules for messages that may carry rule files.
    pub rules: RulesetServiceServer<Api>,
    /// The service of customers for messages that may be a whole profile.
    pub profiles: CustomerServiceServer<Api>,
    /// Everything.
    pub routes: Routes,
    decisions_for_browsers: DecisionServiceServer<Api>,
    events_for_browsers: EventServiceServer<Api>,
}

type Answer = Result<Response<Body>, Infallible>;
type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Calls {
    /// Over these calls, with no routes yet.
    pub fn new(api: &Api) -> Self {
        Self {
            decisions: DecisionServiceServer::new(api.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
            rules: RulesetServiceServer::new(api.clone()).max_decoding_message_size(RULES_BYTES_MAX),
            profiles: CustomerServiceServer::new(api.clone()).max_decoding_message_size(PROFILE_BYTES_MAX),
            routes: Routes::default(),
            decisions_for_browsers: DecisionServiceServer::new(api.clone())
                .max_decoding_message_size(BROWSER_BYTES_MAX),
            events_for_browsers: EventServiceServer::new(api.clone()).max_decoding_message_size(BROWSER_BYTES_MAX),
        }
    }

    /// The same with these routes.
    pub fn over(self, routes: Routes) -> Self {
        Self { routes, ..self }
    }

    /// Answers a call however it is written.
    pub async fn answer(mut self, wire: Wire, request: Request<Body>) -> Answer {
        let mut request = match of_page(wire, request).await {
            Ok(request) => request,
            Err(refused) => return Ok(refused),
        };
        match wire {
            Wire::Json | Wire::Grpc => self.call(request).await,
            Wire::GrpcWeb(encoding) => {
                // what follows compares whole content types
                request.headers_mut().insert(CONTENT_TYPE, encoding.content_type());
                GrpcWebLayer::new().layer(self).call(request).await
            }
        }
    }

    fn call_grpc(&mut self, request: Request<Body>) -> Answering {
        let path = request.uri().path();
        match Caller::of(request.extensions()) {
            Caller::Browser(_) if path.starts_with(DECISIONS) => self.decisions_for_browsers.call(request),
            Caller::Browser(_) if path.starts_with(EVENTS) => self.events_for_browsers.call(request),
            _ if path.starts_with(DECISIONS) => self.decisions.call(request),
            _ if WITH_FILES.contains(&path) => self.rules.call(request),
            _ if path == WITH_PROFILE => self.profiles.call(request),
            _ => self.call_route(request),
        }
    }

    fn call_route(&self, request: Request<Body>) -> Answering {
        let mut routes = self.routes.clone();
        Box::pin(async move { routes.call(request).await })
    }
}

/// The call of a page ready to be read: gRPC with its whole message, which is
/// short and may not take long, and JSON on its own paths only. Calls of
/// services stay as they are.
async fn of_page(wire: Wire, request: Request<Body>) -> Result<Request<Body>, Response<Body>> {
    if Caller::of(request.extensions()) == Caller::Service {
        return Ok(request);
    }
    let encoding = match wire {
        Wire::Json => return refused_as_rpc(request.uri().path()).map_or(Ok(request), Err),
        Wire::Grpc => None,
        Wire::GrpcWeb(encoding) => Some(encoding),
    };
    let (head, body) = request.into_parts();
    let reading = body::to_bytes(body::Body::new(body), PAGE_RPC_BYTES_MAX);
    let status = match timeout(json::PAGE_BODY_WITHIN, reading).await {
        Ok(Ok(bytes)) => return Ok(Request::from_parts(head, Body::new(body::Body::from(bytes)))),
        Ok(Err(_)) => {
            Status::out_of_range(format!("the message is incomplete, or longer than {BROWSER_BYTES_MAX} bytes"))
        }
        Err(_) => json::slow_page(),
    };
    Err(match encoding {
        None => status.into_http(),
        Some(encoding) => encoding.refused(status),
    })
}

/// Refuses what is on the path of a gRPC method and is no gRPC: its message
/// would be read as one, past the bounds of pages.
fn refused_as_rpc(path: &str) -> Option<Response<Body>> {
    if !path.starts_with(DECISIONS) && !path.starts_with(EVENTS) {
        return None;
    }
    let message = "the content type is not that of gRPC-web: send it so, or JSON to `/v1/decide` and `/v1/events`";
    let status = with_info(Code::InvalidArgument, "CONTENT_TYPE", message);
    Some(json::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, &status).map(Body::new))
}

impl Service<Request<Body>> for Calls {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Answering {
        match Wire::of(request.headers()) {
            Wire::Json => self.call_route(request),
            Wire::Grpc | Wire::GrpcWeb(_) => self.call_grpc(request),
        }
    }
}
