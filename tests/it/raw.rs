//! gRPC calls with bytes that no honest client sends.

use bytes::{Buf, BufMut, Bytes};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

/// Sends the bytes as the message of a unary call; answers the reply's bytes.
pub async fn call(channel: Channel, path: &'static str, message: Vec<u8>) -> Result<Bytes, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
    let reply = grpc.unary(Request::new(message.into()), PathAndQuery::from_static(path), RawCodec).await?;
    Ok(reply.into_inner())
}

/// The same with headers, to any path.
pub async fn call_with(
    channel: Channel,
    path: &str,
    headers: &[(&'static str, &str)],
    message: Vec<u8>,
) -> Result<Bytes, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|e| Status::unavailable(e.to_string()))?;
    let mut request = Request::new(Bytes::from(message));
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().expect("an ASCII header"));
    }
    let path = PathAndQuery::try_from(path).expect("a path");
    Ok(grpc.unary(request, path, RawCodec).await?.into_inner())
}

#[derive(Clone, Copy, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = RawCodec;
    type Decoder = RawCodec;

    fn encoder(&mut self) -> Self::Encoder {
        RawCodec
    }

    fn decoder(&mut self) -> Self::Decoder {
        RawCodec
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(src.copy_to_bytes(src.remaining())))
    }
}
