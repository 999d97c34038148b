//! The protobuf codec of the services: as tonic's own, but a message that
//! cannot be decoded is the caller's mistake, not the service's.

use std::marker::PhantomData;

use prost::Message;
use tonic::{
    Status,
    codec::{DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Encodes `T`, decodes `U`.
#[derive(Clone, Copy, Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Protobuf<T>;
    type Decoder = Protobuf<U>;

    fn encoder(&mut self) -> Protobuf<T> {
        Protobuf(PhantomData)
    }

    fn decoder(&mut self) -> Protobuf<U> {
        Protobuf(PhantomData)
    }
}

/// One direction of [`Codec`].
#[derive(Clone, Copy, Debug)]
pub struct Protobuf<T>(PhantomData<T>);

impl<T: Message> Encoder for Protobuf<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.encode(buffer).map_err(|error| Status::internal(format!("encoding the answer: {error}")))
    }
}

impl<T: Message + Default> Decoder for Protobuf<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        T::decode(buffer).map(Some).map_err(|error| super::status::undecodable(&error.to_string()))
    }
}
