//! A small HTTP/1.1 client: a connection per call, so that nothing is hidden.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// How long a reply may take.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// What the browser of a person says.
pub const PERSON: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36";

/// A reply.
#[derive(Debug)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, as text.
    pub body: String,
    /// The body as it came.
    pub bytes: Vec<u8>,
}

impl Reply {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("no JSON in the reply: {e}: {}", self.body))
    }
}

/// `POST` of a JSON value.
pub fn post(address: SocketAddr, path: &str, body: &Value) -> Reply {
    post_bytes(address, path, body.to_string().as_bytes())
}

/// `POST` of anything, called JSON.
pub fn post_bytes(address: SocketAddr, path: &str, body: &[u8]) -> Reply {
    call(address, "POST", path, &[("content-type", "application/json")], body)
}

/// `GET` with further headers.
pub fn get(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Reply {
    call(address, "GET", path, headers, b"")
}

/// One call over a connection of its own.
pub fn call(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    try_call(address, method, path, headers, body).expect("an HTTP reply")
}

/// One call; `None` when the connection was closed before a reply could be read.
pub fn try_call(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Reply> {
    let mut stream = TcpStream::connect(address).expect("connecting to the service");
    stream.set_read_timeout(Some(READ_TIMEOUT)).expect("a read timeout");
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    let given = |name: &str| headers.iter().any(|(given, _)| *given == name);
    if !given("host") {
        head.push_str(&format!("host: {address}\r\n"));
    }
    if !given("user-agent") {
        head.push_str(&format!("user-agent: {PERSON}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(head.as_bytes()).expect("sending the head");
    // a service that refuses a large body early may close while it is sent
    let _ = stream.write_all(body);
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut chunk) {
        bytes.extend_from_slice(&chunk[..read]);
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Option<Reply> {
    let split = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..split]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned()))
        .collect();
    let chunked = headers.iter().any(|(n, v)| n == "transfer-encoding" && v.eq_ignore_ascii_case("chunked"));
    let bytes = if chunked { unchunk(&bytes[split + 4..]) } else { bytes[split + 4..].to_vec() };
    let body = String::from_utf8_lossy(&bytes).into_owned();
    Some(Reply { status: status.expect("a status"), headers, body, bytes })
}

/// Decodes `transfer-encoding: chunked` (RFC 9112, section 7.1).
fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..end]).ok().and_then(|s| usize::from_str_radix(s.trim(), 16).ok());
        let Some(size @ 1..) = size else { break };
        let from = end + 2;
        out.extend_from_slice(&bytes[from..from + size]);
        bytes = &bytes[from + size + 2..];
    }
    out
}
