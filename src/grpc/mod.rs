//! The gRPC services: thin, over the calls of [`Api`].

pub mod admission;
mod analysis;
pub mod api;
pub mod caller;
pub mod codec;
pub mod convert;
pub mod ingest;
mod merges;
mod privacy;
mod publishing;
mod record;
pub mod status;
pub mod stream;
pub mod structs;
pub mod subscribe;
mod timeline;
pub mod timestamp;
pub mod traffic;
pub mod unary;
mod views;
pub mod watch;

use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, async_trait};

pub use admission::Entering;
pub use api::Api;
pub use caller::{Agent, Caller, Newcomer, Sight};

use crate::app::WATCH_MAX;
use crate::proto::{
    self, analysis_service_server::AnalysisService, customer_service_server::CustomerService,
    decision_service_server::DecisionService, event_service_server::EventService,
    ruleset_service_server::RulesetService,
};

/// Most bytes of a request, on both transports: 1 MiB and room for the names
/// around it, so that a text of 1 MiB is refused by the name of its field.
pub const MESSAGE_BYTES_MAX: usize = (1 << 20) + (64 << 10);

/// Most bytes of a request or answer that carries rule files: ten thousand
/// offers are about 10 MB.
pub const RULES_BYTES_MAX: usize = 64 << 20;

/// Most bytes of a request that writes a customer: a profile that is far too
/// large is read, so that the refusal names each field with its limit.
pub const PROFILE_BYTES_MAX: usize = 12 << 20;

/// Most bytes of a request of a browser: as much as a beacon may carry.
pub const BROWSER_BYTES_MAX: usize = 64 << 10;

type Answer<T> = Result<Response<T>, Status>;

#[async_trait]
impl DecisionService for Api {
    type DecideStreamStream = stream::Decoded;
    type ExportDecisionsStream = ReceiverStream<Result<proto::ExportDecisionsResponse, Status>>;

    async fn decide(&self, request: Request<proto::DecideRequest>) -> Answer<proto::DecideResponse> {
        let (caller, entering) = (Caller::of(request.extensions()), Entering::of(request.extensions()));
        let question = request.into_inner();
        let newcomer = Newcomer::of(self.app(), caller, &question.visitor_id);
        let mut answer = self.decide_in_turn(entering, caller, question).await.map(Response::new)?;
        if let Some(newcomer) = newcomer {
            answer.extensions_mut().insert(newcomer);
        }
        Ok(answer)
    }

    async fn decide_stream(
        &self,
        request: Request<tonic::Streaming<proto::DecideStreamRequest>>,
    ) -> Answer<Self::DecideStreamStream> {
        stream::decoded(self, request).map(Response::new)
    }

    async fn respond(&self, request: Request<proto::RespondRequest>) -> Answer<proto::RespondResponse> {
        Api::respond(self, request.into_inner()).await.map(Response::new)
    }

    async fn explain(&self, request: Request<proto::ExplainRequest>) -> Answer<proto::ExplainResponse> {
        Api::explain(self, request.into_inner()).await.map(Response::new)
    }

    async fn export_decisions(
        &self,
        request: Request<proto::ExportDecisionsRequest>,
    ) -> Answer<Self::ExportDecisionsStream> {
        self.export(request.into_inner()).map(|rows| Response::new(ReceiverStream::new(rows)))
    }
}

#[async_trait]
impl EventService for Api {
    type RecordStreamStream = ingest::Acks;
    type SubscribeStream = ReceiverStream<Result<proto::SubscribeResponse, Status>>;

    async fn record(&self, request: Request<proto::RecordRequest>) -> Answer<proto::RecordResponse> {
        let caller = Caller::of(request.extensions());
        Api::record(self, caller, request.into_inner()).await.map(Response::new)
    }

    async fn record_stream(
        &self,
        request: Request<tonic::Streaming<proto::RecordStreamRequest>>,
    ) -> Answer<Self::RecordStreamStream> {
        ingest::open(self, ingest::Messages::new(request.into_inner())).map(Response::new)
    }

    async fn subscribe(&self, request: Request<proto::SubscribeRequest>) -> Answer<Self::SubscribeStream> {
        let subscription = Api::subscribe(self, request.into_inner()).await?;
        // over HTTP/2 the connection itself is probed
        let messages = subscription.feed(WATCH_MAX, |message| message);
        Ok(Response::new(ReceiverStream::new(messages)))
    }
}

#[async_trait]
impl AnalysisService for Api {
    async fn get_analysis(&self, request: Request<proto::GetAnalysisRequest>) -> Answer<proto::GetAnalysisResponse> {
        Ok(Response::new(self.analysis(request.get_ref())))
    }
}

#[async_trait]
impl CustomerService for Api {
    type WatchCustomerStream = ReceiverStream<Result<proto::WatchCustomerResponse, Status>>;

    async fn lookup(&self, request: Request<proto::LookupRequest>) -> Answer<proto::LookupResponse> {
        Api::lookup(self, request.into_inner()).await.map(Response::new)
    }

    async fn watch_customer(&self, request: Request<proto::WatchCustomerRequest>) -> Answer<Self::WatchCustomerStream> {
        let sight = Sight::of(request.extensions());
        let watch = Api::watch_customer(self, sight, request.into_inner()).await?;
        // over HTTP/2 the connection itself is probed
        let changes = watch.feed(WATCH_MAX, |change| change);
        Ok(Response::new(ReceiverStream::new(changes)))
    }

    async fn get_customer(&self, request: Request<proto::GetCustomerRequest>) -> Answer<proto::GetCustomerResponse> {
        let sight = Sight::of(request.extensions());
        Api::get_customer(self, sight, request.into_inner()).await.map(Response::new)
    }

    async fn upsert_customer(
        &self,
        request: Request<proto::UpsertCustomerRequest>,
    ) -> Answer<proto::UpsertCustomerResponse> {
        Api::upsert_customer(self, request.into_inner()).await.map(Response::new)
    }

    async fn set_do_not_contact(
        &self,
        request: Request<proto::SetDoNotContactRequest>,
    ) -> Answer<proto::SetDoNotContactResponse> {
        self.do_not_contact(request.into_inner()).await.map(Response::new)
    }

    async fn list_timeline(&self, request: Request<proto::ListTimelineRequest>) -> Answer<proto::ListTimelineResponse> {
        let sight = Sight::of(request.extensions());
        Api::timeline(self, sight, request.into_inner()).await.map(Response::new)
    }

    async fn merge_customers(
        &self,
        request: Request<proto::MergeCustomersRequest>,
    ) -> Answer<proto::MergeCustomersResponse> {
        Api::merge(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_merges(&self, request: Request<proto::ListMergesRequest>) -> Answer<proto::ListMergesResponse> {
        let sight = Sight::of(request.extensions());
        self.merges_seen(sight, request.into_inner()).await.map(Response::new)
    }

    async fn undo_merge(&self, request: Request<proto::UndoMergeRequest>) -> Answer<proto::UndoMergeResponse> {
        Api::undo_merge(self, request.into_inner()).await.map(Response::new)
    }

    async fn erase_customer(
        &self,
        request: Request<proto::EraseCustomerRequest>,
    ) -> Answer<proto::EraseCustomerResponse> {
        Api::erase(self, request.into_inner()).await.map(Response::new)
    }

    async fn export_customer(
        &self,
        request: Request<proto::ExportCustomerRequest>,
    ) -> Answer<proto::ExportCustomerResponse> {
        Api::export_customer(self, request.into_inner()).await.map(Response::new)
    }
}

#[async_trait]
impl RulesetService for Api {
    async fn get_active_revision(
        &self,
        _: Request<proto::GetActiveRevisionRequest>,
    ) -> Answer<proto::GetActiveRevisionResponse> {
        Ok(Response::new(self.revision()))
    }

    async fn list_offers(&self, request: Request<proto::ListOffersRequest>) -> Answer<proto::ListOffersResponse> {
        self.offers(request.get_ref()).map(Response::new)
    }

    async fn get_report(&self, _: Request<proto::GetReportRequest>) -> Answer<proto::GetReportResponse> {
        Ok(Response::new(self.report()))
    }

    async fn pause(&self, request: Request<proto::PauseRequest>) -> Answer<proto::PauseResponse> {
        Api::pause(self, request.into_inner()).await.map(Response::new)
    }

    async fn resume(&self, request: Request<proto::ResumeRequest>) -> Answer<proto::ResumeResponse> {
        Api::resume(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_pauses(&self, _: Request<proto::ListPausesRequest>) -> Answer<proto::ListPausesResponse> {
        Ok(Response::new(self.pauses()))
    }

    async fn validate_revision(
        &self,
        request: Request<proto::ValidateRevisionRequest>,
    ) -> Answer<proto::ValidateRevisionResponse> {
        Api::validate_revision(self, request.into_inner()).await.map(Response::new)
    }

    async fn evaluate_reach(
        &self,
        request: Request<proto::EvaluateReachRequest>,
    ) -> Answer<proto::EvaluateReachResponse> {
        Api::evaluate_reach(self, request.into_inner()).await.map(Response::new)
    }

    async fn publish_revision(
        &self,
        request: Request<proto::PublishRevisionRequest>,
    ) -> Answer<proto::PublishRevisionResponse> {
        Api::publish_revision(self, request.into_inner()).await.map(Response::new)
    }

    async fn rollback_revision(
        &self,
        request: Request<proto::RollbackRevisionRequest>,
    ) -> Answer<proto::RollbackRevisionResponse> {
        Api::rollback_revision(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_revisions(
        &self,
        request: Request<proto::ListRevisionsRequest>,
    ) -> Answer<proto::ListRevisionsResponse> {
        self.revisions(request.into_inner()).await.map(Response::new)
    }

    async fn get_revision(&self, request: Request<proto::GetRevisionRequest>) -> Answer<proto::GetRevisionResponse> {
        Api::get_revision(self, request.into_inner()).await.map(Response::new)
    }

    async fn diff_revisions(
        &self,
        request: Request<proto::DiffRevisionsRequest>,
    ) -> Answer<proto::DiffRevisionsResponse> {
        Api::diff_revisions(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_audit(&self, request: Request<proto::ListAuditRequest>) -> Answer<proto::ListAuditResponse> {
        self.audit(request.into_inner()).await.map(Response::new)
    }
}
