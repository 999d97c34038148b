//! A raw HTTP/2 client for unary gRPC: frames are encoded before the run, the
//! status of each reply is checked, nothing else is done with it.

use std::{io, net::SocketAddr};

use anyhow::{Context, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, Method, Request, Uri};
use prost::Message;
use tokio::net::TcpStream;

/// The path of `Decide`.
pub const DECIDE: &str = "/rapport.v1.DecisionService/Decide";
/// Window of a stream and of a connection, bytes: large enough never to stall.
const WINDOW_BYTES: u32 = 16 * 1024 * 1024;
/// Bytes a peer has received before its window is given back.
const GRPC_PREFIX_BYTES: usize = 5;

/// One gRPC message as it goes over the wire: flag, length, bytes.
pub fn frame(message: &impl Message) -> Bytes {
    let mut out = BytesMut::with_capacity(GRPC_PREFIX_BYTES + message.encoded_len());
    out.put_u8(0);
    out.put_u32(message.encoded_len() as u32);
    out.put_slice(&message.encode_to_vec());
    out.freeze()
}

/// One connection. Clones share it.
#[derive(Clone)]
pub struct Connection {
    sender: SendRequest<Bytes>,
    decide: Request<()>,
    address: SocketAddr,
}

impl Connection {
    /// Connects; the connection's own work runs as a task of this runtime.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(stream)
            .await
            .context("the HTTP/2 handshake")?;
        tokio::spawn(async move {
            // a closed connection shows in the calls that were on it
            let _ = connection.await;
        });
        Ok(Self { sender, decide: request(address, DECIDE)?, address })
    }

    /// Sends a `Decide` that was encoded before; answers how many bytes came back.
    pub async fn decide(&self, frame: Bytes) -> anyhow::Result<usize> {
        let mut bytes = 0;
        self.send(self.decide.clone(), frame, |chunk| bytes += chunk.len()).await?;
        Ok(bytes)
    }

    /// Sends a `Decide` that was encoded before; answers the encoded answer.
    pub async fn decide_whole(&self, frame: Bytes) -> anyhow::Result<BytesMut> {
        let mut reply = BytesMut::new();
        self.send(self.decide.clone(), frame, |chunk| reply.extend_from_slice(chunk)).await?;
        ensure!(reply.len() >= GRPC_PREFIX_BYTES, "the reply has no message");
        Ok(reply.split_off(GRPC_PREFIX_BYTES))
    }

    /// Sends any message and decodes the reply.
    pub async fn call<R: Message + Default>(&self, path: &str, message: &impl Message) -> anyhow::Result<R> {
        let mut reply = BytesMut::new();
        let request = request(self.address, path)?;
        self.send(request, frame(message), |chunk| reply.extend_from_slice(chunk)).await?;
        ensure!(reply.len() >= GRPC_PREFIX_BYTES, "the reply has no message");
        Ok(R::decode(&reply[GRPC_PREFIX_BYTES..])?)
    }

    async fn send(&self, request: Request<()>, frame: Bytes, mut sink: impl FnMut(&Bytes)) -> anyhow::Result<()> {
        let mut sender = self.sender.clone().ready().await?;
        let (response, mut body) = sender.send_request(request, false)?;
        body.send_data(frame, true)?;
        let response = response.await?;
        ensure!(response.status() == 200, "HTTP status {}", response.status());
        let (head, mut stream) = response.into_parts();
        if head.headers.contains_key("grpc-status") {
            return check(&head.headers);
        }
        while let Some(chunk) = stream.data().await {
            let chunk = chunk?;
            sink(&chunk);
            stream.flow_control().release_capacity(chunk.len())?;
        }
        let trailers = stream.trailers().await?.context("a reply without trailers")?;
        check(&trailers)
    }
}

fn request(address: SocketAddr, path: &str) -> anyhow::Result<Request<()>> {
    let uri = Uri::builder().scheme("http").authority(address.to_string()).path_and_query(path).build()?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    Ok(request)
}

fn check(trailers: &HeaderMap) -> anyhow::Result<()> {
    match trailers.get("grpc-status").map(|v| v.as_bytes()) {
        Some(b"0") => Ok(()),
        Some(code) => {
            let message = trailers.get("grpc-message").and_then(|v| v.to_str().ok()).unwrap_or_default();
            bail!("grpc-status {}: {message}", String::from_utf8_lossy(code))
        }
        None => Err(io::Error::other("a reply without grpc-status").into()),
    }
}
