//! A proxy before Redis that makes faults.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use socket2::SockRef;

use super::wire;

/// Between two looks whether somebody connects.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// What becomes of replies.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// They come so much later.
    Delay(Duration),
    /// They are swallowed, on old and new connections, and those stay silent.
    Hole,
    /// The connection is reset in place of each.
    Reset,
    /// Half of one comes, then the connection is reset.
    Half,
    /// An error reply comes in its place.
    Answer(&'static str),
}

/// A proxy. Ends when dropped.
pub struct Proxy {
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    /// Where it listens.
    pub address: SocketAddr,
}

struct Shared {
    upstream: SocketAddr,
    fault: Mutex<Fault>,
    accepted: AtomicU64,
    /// Connections with a smaller number are silent for ever.
    silent_below: AtomicU64,
    refusing: AtomicBool,
    /// Both sides of connections, by number.
    open: Mutex<Vec<(u64, TcpStream)>>,
}

impl Proxy {
    /// A proxy that passes everything on.
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let shared = Arc::new(Shared {
            upstream,
            fault: Mutex::new(Fault::Pass),
            accepted: AtomicU64::new(0),
            silent_below: AtomicU64::new(0),
            refusing: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Some(accept(listener, Arc::clone(&shared)));
        Self { shared, accepting, address }
    }

    /// `redis://` and where it is.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Sets what becomes of replies from now on.
    pub fn set(&self, fault: Fault) {
        *self.shared.fault.lock().expect("the fault") = fault;
    }

    /// Makes every connection there is silent for ever: neither closed nor heard.
    pub fn silence(&self) {
        self.shared.silent_below.store(self.accepted(), SeqCst);
    }

    /// Refuses connections and closes those there are.
    pub fn refuse(&mut self) {
        self.shared.refusing.store(true, SeqCst);
        if let Some(accepting) = self.accepting.take() {
            accepting.join().expect("the accepting thread");
        }
        self.close();
    }

    /// Accepts connections again.
    pub fn accept_again(&mut self) {
        let listener = TcpListener::bind(self.address).expect("the same port");
        self.shared.refusing.store(false, SeqCst);
        self.accepting = Some(accept(listener, Arc::clone(&self.shared)));
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(SeqCst)
    }

    fn close(&self) {
        for (_, stream) in self.shared.open.lock().expect("connections").drain(..) {
            stream.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.refusing.store(true, SeqCst);
        if let Some(accepting) = self.accepting.take() {
            accepting.join().ok();
        }
        self.close();
    }
}

fn accept(listener: TcpListener, shared: Arc<Shared>) -> JoinHandle<()> {
    listener.set_nonblocking(true).expect("a listener that does not block");
    thread::spawn(move || {
        while !shared.refusing.load(SeqCst) {
            match listener.accept() {
                Ok((client, _)) => serve(client, &shared),
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(POLL_INTERVAL),
                Err(error) => panic!("accepting a connection: {error}"),
            }
        }
    })
}

/// One connection.
struct Connection {
    shared: Arc<Shared>,
    number: u64,
    /// Whether a reply was swallowed: nothing that followed would make sense.
    mute: AtomicBool,
    /// Whether it was reset: closing it the usual way would say so kindly.
    reset: AtomicBool,
}

impl Connection {
    fn is_silent(&self) -> bool {
        self.mute.load(SeqCst) || self.number < self.shared.silent_below.load(SeqCst)
    }

    /// Passes a reply on as the fault has it; false when the connection ended.
    fn pass(&self, reply: &[u8], to: &mut TcpStream, read_at: Instant) -> bool {
        let fault = *self.shared.fault.lock().expect("the fault");
        match fault {
            // what nobody asked for is no reply
            _ if reply[0] == b'>' => to.write_all(reply).is_ok(),
            Fault::Pass => to.write_all(reply).is_ok(),
            Fault::Delay(delay) => {
                thread::sleep((read_at + delay).saturating_duration_since(Instant::now()));
                to.write_all(reply).is_ok()
            }
            Fault::Hole => {
                self.mute.store(true, SeqCst);
                true
            }
            Fault::Reset => self.reset(to),
            Fault::Half => {
                to.write_all(&reply[..reply.len() / 2]).ok();
                self.reset(to)
            }
            Fault::Answer(line) => to.write_all(format!("-{line}\r\n").as_bytes()).is_ok(),
        }
    }

    /// Has the kernel reset it when the last handle goes.
    fn reset(&self, client: &TcpStream) -> bool {
        self.reset.store(true, SeqCst);
        SockRef::from(client).set_linger(Some(Duration::ZERO)).ok();
        self.shared.open.lock().expect("connections").retain(|(number, _)| *number != self.number);
        // says nothing to the other side, but ends the wait for requests
        client.shutdown(Shutdown::Read).ok();
        false
    }
}

fn serve(client: TcpStream, shared: &Arc<Shared>) {
    client.set_nonblocking(false).expect("a connection that blocks");
    client.set_nodelay(true).expect("no delay");
    let number = shared.accepted.fetch_add(1, SeqCst);
    let Ok(server) = TcpStream::connect(shared.upstream) else { return };
    server.set_nodelay(true).expect("no delay");
    let copy = |stream: &TcpStream| stream.try_clone().expect("another handle");
    shared.open.lock().expect("connections").extend([(number, copy(&client)), (number, copy(&server))]);
    let no = || AtomicBool::new(false);
    let up = Arc::new(Connection { shared: Arc::clone(shared), number, mute: no(), reset: no() });
    let (from_client, to_server, down) = (copy(&client), copy(&server), Arc::clone(&up));
    thread::spawn(move || pass_requests(from_client, to_server, &up));
    thread::spawn(move || pass_replies(server, client, &down));
}

fn pass_requests(mut from: TcpStream, mut to: TcpStream, connection: &Connection) {
    let mut bytes = [0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        if !connection.is_silent() && to.write_all(&bytes[..read]).is_err() {
            break;
        }
    }
    to.shutdown(Shutdown::Both).ok();
    if !connection.reset.load(SeqCst) {
        from.shutdown(Shutdown::Both).ok();
    }
}

fn pass_replies(mut from: TcpStream, mut to: TcpStream, connection: &Connection) {
    let (mut bytes, mut held) = ([0; 16 * 1024], Vec::new());
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        let read_at = Instant::now();
        held.extend_from_slice(&bytes[..read]);
        while let Some(len) = wire::reply_len(&held) {
            let reply: Vec<u8> = held.drain(..len).collect();
            if !connection.is_silent() && !connection.pass(&reply, &mut to, read_at) {
                from.shutdown(Shutdown::Both).ok();
                return;
            }
        }
    }
    // a silent connection says nothing when the server goes either
    if !connection.is_silent() {
        to.shutdown(Shutdown::Both).ok();
    }
}
