//! Closed load: so many calls are always under way.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::ensure;
use bytes::Bytes;
use tokio::task::LocalSet;

use super::{client::Connection, histogram::Histogram, target::Target};

/// Connections, and calls under way on each.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Connections.
    pub connections: usize,
    /// Calls under way on each.
    pub streams: usize,
}

/// Open connections to one server, and the frames to send in turn.
pub struct Load {
    connections: Vec<Connection>,
    frames: Rc<[Bytes]>,
    next: Rc<Cell<usize>>,
    shape: Shape,
}

/// What a stretch of closed load came to.
pub struct Closed {
    /// Calls answered.
    pub calls: u64,
    /// From the first call to the last answer.
    pub elapsed: Duration,
    /// From call to answer.
    pub service: Histogram,
}

impl Closed {
    /// Calls per second.
    pub fn rate(&self) -> f64 {
        self.calls as f64 / self.elapsed.as_secs_f64()
    }
}

impl Load {
    /// Connects.
    pub async fn open(target: &Target, frames: Rc<[Bytes]>, shape: Shape) -> anyhow::Result<Self> {
        ensure!(!frames.is_empty() && shape.connections > 0 && shape.streams > 0, "nothing to send");
        let mut connections = Vec::with_capacity(shape.connections);
        for _ in 0..shape.connections {
            connections.push(Connection::open(target.address).await?);
        }
        Ok(Self { connections, frames, next: Rc::new(Cell::new(0)), shape })
    }

    /// Sends for a time, then waits for the answers still under way. Any failed
    /// call fails the run.
    pub async fn run(&self, time: Duration) -> anyhow::Result<Closed> {
        let local = LocalSet::new();
        let service = Rc::new(RefCell::new(Histogram::new()));
        let started = Instant::now();
        let until = started + time;
        let mut tasks = Vec::with_capacity(self.shape.connections * self.shape.streams);
        for connection in &self.connections {
            for _ in 0..self.shape.streams {
                let (connection, frames) = (connection.clone(), Rc::clone(&self.frames));
                let (next, service) = (Rc::clone(&self.next), Rc::clone(&service));
                tasks.push(local.spawn_local(async move {
                    loop {
                        let sent = Instant::now();
                        if sent >= until {
                            return anyhow::Ok(());
                        }
                        let at = next.get();
                        next.set((at + 1) % frames.len());
                        connection.decide(frames[at].clone()).await?;
                        service.borrow_mut().record(sent.elapsed().as_nanos() as u64);
                    }
                }));
            }
        }
        local
            .run_until(async {
                for task in tasks {
                    task.await??;
                }
                anyhow::Ok(())
            })
            .await?;
        let elapsed = started.elapsed();
        let service = service.replace(Histogram::new());
        Ok(Closed { calls: service.count(), elapsed, service })
    }
}
