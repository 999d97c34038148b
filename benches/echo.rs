//! The floor: a tonic service that decodes the same `Decide` request and
//! answers a stored response of the same size. Same allocator, same build
//! flags, same runtime layout, TCP_NODELAY; no layers.

use std::{fs, net::SocketAddr, path::Path, pin::Pin, thread};

use anyhow::Context;
use prost::Message;
use rapport::proto::{
    DecideRequest, DecideResponse, DecideStreamRequest, DecideStreamResponse, ExplainRequest, ExplainResponse,
    ExportDecisionsRequest, ExportDecisionsResponse, RespondRequest, RespondResponse,
    decision_service_server::{DecisionService, DecisionServiceServer},
};
use tokio::net::{TcpListener, TcpSocket};
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Server, server::TcpIncoming},
};

use crate::loadgen::target::Layout;

/// Connections waiting to be accepted.
const BACKLOG: u32 = 1024;

#[derive(Clone)]
struct Echo {
    response: DecideResponse,
}

#[tonic::async_trait]
impl DecisionService for Echo {
    type DecideStreamStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<DecideStreamResponse, Status>> + Send>>;
    type ExportDecisionsStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<ExportDecisionsResponse, Status>> + Send>>;

    async fn decide(&self, _request: Request<DecideRequest>) -> Result<Response<DecideResponse>, Status> {
        Ok(Response::new(self.response.clone()))
    }

    async fn decide_stream(
        &self,
        _request: Request<Streaming<DecideStreamRequest>>,
    ) -> Result<Response<Self::DecideStreamStream>, Status> {
        Err(Status::unimplemented("the echo only decides"))
    }

    async fn respond(&self, _request: Request<RespondRequest>) -> Result<Response<RespondResponse>, Status> {
        Err(Status::unimplemented("the echo only decides"))
    }

    async fn explain(&self, _request: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        Err(Status::unimplemented("the echo only decides"))
    }

    async fn export_decisions(
        &self,
        _request: Request<ExportDecisionsRequest>,
    ) -> Result<Response<Self::ExportDecisionsStream>, Status> {
        Err(Status::unimplemented("the echo only decides"))
    }
}

/// Serves until the process ends. Prints its address as Rapport does.
pub fn serve(layout: Layout, response: &Path) -> anyhow::Result<()> {
    let bytes = fs::read(response).with_context(|| format!("reading the response `{}`", response.display()))?;
    let service = DecisionServiceServer::new(Echo { response: DecideResponse::decode(bytes.as_slice())? });
    let workers = thread::available_parallelism()?.get();
    match layout {
        Layout::MultiThread => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
            runtime.block_on(async {
                let listener = listen(([127, 0, 0, 1], 0).into())?;
                announce(listener.local_addr()?);
                run(listener, service).await
            })
        }
        Layout::PerCore => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = listen(([127, 0, 0, 1], 0).into())?;
                let address = listener.local_addr()?;
                for _ in 1..workers {
                    // every socket listens before the address is told, so that connections spread
                    let (listener, service) = (listen(address)?.into_std()?, service.clone());
                    thread::spawn(move || worker(listener, service));
                }
                announce(address);
                run(listener, service).await
            })
        }
    }
}

fn worker(listener: std::net::TcpListener, service: DecisionServiceServer<Echo>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let served = runtime.block_on(async { run(TcpListener::from_std(listener)?, service).await });
    served.expect("the echo serves");
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket.listen(BACKLOG)?)
}

async fn run(listener: TcpListener, service: DecisionServiceServer<Echo>) -> anyhow::Result<()> {
    // `Server::tcp_nodelay` is ignored with an incoming stream: set it there
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    Server::builder().add_service(service).serve_with_incoming(incoming).await?;
    Ok(())
}

fn announce(address: SocketAddr) {
    println!("listening on {address} (private {address})");
}
