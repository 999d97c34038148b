//! Sockets: bound, accepted, handed to the worker with the fewest connections.

use std::{
    io,
    net::{SocketAddr, TcpListener as StdListener},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
};
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::telemetry::metrics;

/// Connections the system keeps until they are accepted.
const BACKLOG: i32 = 1_024;
/// Accepted connections that wait for a worker.
pub const HANDED_OVER_MAX: usize = 256;
/// Pause after an accept failed (too many open files), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Binds an address.
///
/// # Errors
/// The system refuses.
pub fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Where accepted connections go: a worker's queue and how many it has open.
#[derive(Clone)]
pub struct Inbox {
    /// Its queue.
    pub queue: mpsc::Sender<(std::net::TcpStream, Open)>,
    /// Its open connections.
    pub open: Arc<AtomicUsize>,
}

/// A connection that counts until it is dropped.
pub struct Open(Arc<AtomicUsize>);

impl Open {
    /// Counts one more.
    pub fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends small answers at once: with Nagle's algorithm an answer waits for the
/// peer's delayed acknowledgement, 40 ms.
///
/// # Errors
/// The system refuses.
pub fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)
}

/// Accepts until told to stop.
pub async fn accept(listener: StdListener, inboxes: Vec<Inbox>, mut stop: watch::Receiver<bool>) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        match accepted.and_then(|(stream, _)| prepare(&stream).and_then(|()| stream.into_std())) {
            Ok(stream) => hand_over(stream, &inboxes).await,
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn hand_over(stream: std::net::TcpStream, inboxes: &[Inbox]) {
    let Some(inbox) = inboxes.iter().min_by_key(|inbox| inbox.open.load(Ordering::Relaxed)) else { return };
    metrics().connections.increment(1);
    // A worker that has gone closes the connection by dropping it.
    inbox.queue.send((stream, Open::new(&inbox.open))).await.ok();
}

/// An accepted connection.
pub struct Stream {
    inner: TcpStream,
    _open: Open,
}

impl Stream {
    /// Registers an accepted connection with the runtime this runs on.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new(stream: std::net::TcpStream, open: Open) -> io::Result<Self> {
        Ok(Self { inner: TcpStream::from_std(stream)?, _open: open })
    }
}

impl Connected for Stream {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.inner.connect_info()
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, ctx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(ctx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, ctx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(ctx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(ctx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(ctx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(ctx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accepted_connections_send_at_once_and_spread_over_the_workers() {
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (inboxes, mut queues): (Vec<_>, Vec<_>) = (0..2)
            .map(|_| {
                let (queue, received) = mpsc::channel(HANDED_OVER_MAX);
                (Inbox { queue, open: Arc::default() }, received)
            })
            .unzip();
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, inboxes, stopped));
        let _clients = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
        for queue in &mut queues {
            let (stream, _open) = queue.recv().await.unwrap();
            assert!(socket2::SockRef::from(&stream).tcp_nodelay().unwrap());
        }
        stop.send_replace(true);
        accepting.await.unwrap().unwrap();
    }
}
