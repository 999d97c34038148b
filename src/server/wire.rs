//! How a call is written, by its content type.

use axum::http::{HeaderMap, HeaderValue, Response, header::CONTENT_TYPE};
use tonic::{Status, body::Body};

/// How a call is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// JSON, or no call at all.
    Json,
    /// gRPC.
    Grpc,
    /// gRPC as browsers can speak it.
    GrpcWeb(Encoding),
}

/// How gRPC-web writes its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// As they are.
    Binary,
    /// As base64.
    Text,
}

const GRPC: &[u8] = b"application/grpc";
const WEB: &[u8] = b"-web";
const WEB_TEXT: &[u8] = b"-web-text";

impl Wire {
    /// How a request is written: `application/grpc` is gRPC with or without a
    /// format, `application/grpc-web` and `application/grpc-web-text` are not.
    pub fn of(headers: &HeaderMap) -> Self {
        let Some(kind) = headers.get(CONTENT_TYPE).and_then(|kind| kind.as_bytes().strip_prefix(GRPC)) else {
            return Wire::Json;
        };
        if kind.starts_with(WEB_TEXT) {
            Wire::GrpcWeb(Encoding::Text)
        } else if kind.starts_with(WEB) {
            Wire::GrpcWeb(Encoding::Binary)
        } else {
            Wire::Grpc
        }
    }
}

impl Encoding {
    /// The content type of such messages, without parameters.
    pub fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Encoding::Binary => "application/grpc-web+proto",
            Encoding::Text => "application/grpc-web-text+proto",
        })
    }

    /// A status alone: it travels in the headers.
    pub fn refused(self, status: Status) -> Response<Body> {
        let mut response = status.into_http();
        response.headers_mut().insert(CONTENT_TYPE, self.content_type());
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_tells_how_a_call_is_written() {
        let of = |kind: &'static str| Wire::of(&HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]));
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            assert_eq!(of(kind), Wire::Grpc, "{kind}");
        }
        for kind in ["application/grpc-web", "application/grpc-web+proto"] {
            assert_eq!(of(kind), Wire::GrpcWeb(Encoding::Binary), "{kind}");
        }
        for kind in ["application/grpc-web-text", "application/grpc-web-text+proto"] {
            assert_eq!(of(kind), Wire::GrpcWeb(Encoding::Text), "{kind}");
        }
        assert_eq!(of("application/json"), Wire::Json);
        assert_eq!(Wire::of(&HeaderMap::new()), Wire::Json);
    }
}
