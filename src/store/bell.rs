//! The way to the writer: a queue and a bell. A command somebody waits for
//! rings; a decision rings only when the writer is asleep. While decisions come
//! in, the writer looks by itself every few milliseconds, so that a busy service
//! pays for no wake-up per decision.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering::SeqCst},
    mpsc::{self, Receiver, Sender, TryRecvError},
};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// How long a decision may lie in the queue before it is seen.
const LOOK_EVERY: Duration = Duration::from_millis(3);
/// How long the writer goes on looking after the last command.
const LINGER: Duration = Duration::from_millis(20);

/// The sending side.
pub(super) struct Queue<T> {
    sender: Sender<T>,
    bell: Arc<Bell>,
}

/// The receiving side.
pub(super) struct Inbox<T> {
    receiver: Receiver<T>,
    bell: Arc<Bell>,
    /// When the last command came.
    last_at: Instant,
}

#[derive(Default)]
struct Bell {
    asleep: AtomicBool,
    sleeper: OnceLock<Thread>,
}

impl Bell {
    fn ring(&self) {
        if let Some(sleeper) = self.sleeper.get() {
            sleeper.unpark();
        }
    }
}

/// A queue and its inbox.
pub(super) fn queue<T>() -> (Queue<T>, Inbox<T>) {
    let (sender, receiver) = mpsc::channel();
    let bell = Arc::new(Bell::default());
    let inbox = Inbox { receiver, bell: Arc::clone(&bell), last_at: Instant::now() };
    (Queue { sender, bell }, inbox)
}

impl<T> Queue<T> {
    /// Sends a command that somebody waits for; false when nobody receives.
    pub fn send(&self, command: T) -> bool {
        let sent = self.sender.send(command).is_ok();
        self.bell.ring();
        sent
    }

    /// Sends a command that nobody waits for; false when nobody receives.
    pub fn send_quietly(&self, command: T) -> bool {
        let sent = self.sender.send(command).is_ok();
        // INVARIANT: the writer looks once more after it said that it sleeps
        if self.bell.asleep.load(SeqCst) && self.bell.asleep.swap(false, SeqCst) {
            self.bell.ring();
        }
        sent
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        self.bell.ring();
    }
}

impl<T> Inbox<T> {
    /// Waits for commands, at most `wait`; `None` when nobody can send any
    /// more, empty when the time is up. At most `len_max` at a time.
    pub fn receive(&mut self, wait: Option<Duration>, len_max: usize) -> Option<Vec<T>> {
        let _ = self.bell.sleeper.set(thread::current());
        let until = wait.map(|wait| Instant::now() + wait);
        loop {
            match self.receiver.try_recv() {
                Ok(first) => {
                    self.last_at = Instant::now();
                    let mut commands = vec![first];
                    commands.extend(self.receiver.try_iter().take(len_max.saturating_sub(1)));
                    return Some(commands);
                }
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            let now = Instant::now();
            let left = until.map(|until| until.saturating_duration_since(now));
            if left.is_some_and(|left| left.is_zero()) {
                return Some(Vec::new());
            }
            self.rest(now, left);
        }
    }

    fn rest(&self, now: Instant, left: Option<Duration>) {
        if now.duration_since(self.last_at) < LINGER {
            return thread::park_timeout(left.map_or(LOOK_EVERY, |left| left.min(LOOK_EVERY)));
        }
        if !self.bell.asleep.swap(true, SeqCst) {
            // what was sent before the bell was armed is seen by one more look
            return;
        }
        match left {
            Some(left) => thread::park_timeout(left),
            None => thread::park(),
        }
        self.bell.asleep.store(false, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_sent_arrives_in_order_loud_or_quiet() {
        let (queue, mut inbox) = queue();
        let sender = thread::spawn(move || {
            for number in 0..20_000_u32 {
                let sent = if number % 7 == 0 { queue.send(number) } else { queue.send_quietly(number) };
                assert!(sent);
                if number % 4_096 == 0 {
                    // long enough for the inbox to fall asleep
                    thread::park_timeout(LINGER * 2);
                }
            }
        });
        let mut next = 0;
        while let Some(commands) = inbox.receive(None, 64) {
            assert!(commands.len() <= 64);
            for command in commands {
                assert_eq!(command, next);
                next += 1;
            }
        }
        assert_eq!(next, 20_000);
        sender.join().unwrap();
    }

    #[test]
    fn a_wait_ends_without_commands() {
        let (queue, mut inbox) = queue::<u32>();
        assert_eq!(inbox.receive(Some(Duration::from_millis(30)), 1), Some(Vec::new()));
        drop(queue);
        assert_eq!(inbox.receive(None, 1), None);
    }
}
