//! A real `redis-server` of its own: private port, temporary directory, ended by
//! its process id.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::wire;

/// How long a server may take to answer.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two questions whether it answers.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Ports tried, for another process may be quicker.
const PORTS_MAX: usize = 10;

/// A running server. Killed when dropped.
pub struct RedisServer {
    child: Child,
    dir: TempDir,
    arguments: Vec<String>,
    /// Where it listens.
    pub address: SocketAddr,
}

impl RedisServer {
    /// A server that keeps nothing on disk.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server with further arguments.
    pub fn start_with(arguments: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("rapport-redis-").tempdir().expect("a temporary directory");
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        for _ in 0..PORTS_MAX {
            let address = free_address();
            let mut child = spawn(&dir, address, &arguments);
            if answers(address, &mut child) {
                return Self { child, dir, arguments, address };
            }
            child.kill().ok();
            child.wait().expect("the end of redis-server");
        }
        panic!("redis-server did not start on any of {PORTS_MAX} ports");
    }

    /// `redis://` and where it is.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Its socket of this host.
    pub fn unix_url(&self) -> String {
        format!("redis+unix://{}", self.dir.path().join("socket").display())
    }

    /// Ends it as the kernel does, and waits.
    pub fn kill(&mut self) {
        self.child.kill().expect("killing redis-server");
        self.child.wait().expect("the end of redis-server");
    }

    /// Starts it again at the same address, with what it kept on disk.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.dir, self.address, &self.arguments);
        assert!(answers(self.address, &mut self.child), "redis-server did not start again on {}", self.address);
    }

    /// Starts it again with further arguments, and waits until it answers
    /// something.
    pub fn start_again_with(&mut self, further: &[&str]) {
        self.arguments.extend(further.iter().map(|argument| (*argument).to_owned()));
        self.start_again();
    }

    /// Sends a command to a server that may never answer it.
    pub fn shout(address: SocketAddr, command: &str) {
        ask(address, command).ok();
    }

    /// Stops it without ending it: the kernel still accepts connections.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a signal to redis-server");
    }

    /// Makes it follow another from now on.
    pub fn follow(&self, primary: SocketAddr) {
        let said = self.say(&format!("REPLICAOF {} {}", primary.ip(), primary.port()));
        assert!(said.starts_with("+OK"), "{said}");
    }

    /// The value of a field of `INFO`.
    pub fn info(&self, field: &str) -> Option<String> {
        let info = self.say("INFO everything");
        info.lines().find_map(|line| line.strip_prefix(&format!("{field}:")).map(str::to_owned))
    }

    /// Sends a command in words and answers its reply as it comes.
    pub fn say(&self, command: &str) -> String {
        ask(self.address, command).unwrap_or_else(|error| panic!("`{command}` to redis-server: {error}"))
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // a paused one dies of this too
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An address of this host that was free a moment ago.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address")
}

fn spawn(dir: &TempDir, address: SocketAddr, arguments: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    if arguments.first().is_some_and(|argument| argument == "--sentinel") {
        // it rewrites its file
        let file = dir.path().join("sentinel.conf");
        std::fs::write(&file, "").expect("a file for the sentinel");
        command.arg(file);
    } else {
        command.args(["--save", "", "--appendonly", "no", "--unixsocket", "socket"]);
    }
    command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--logfile", "log"]);
    command.arg("--dir").arg(dir.path()).args(arguments);
    command.current_dir(dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| {
        panic!("running `redis-server`: {error}: install Redis 7.0 or newer, on Debian `apt-get install redis-server`")
    })
}

/// Whether it answers before it ends.
fn answers(address: SocketAddr, child: &mut Child) -> bool {
    let until = Instant::now() + START_TIMEOUT;
    while Instant::now() < until {
        // with a password, or loading, it answers too
        if ask(address, "PING").is_ok_and(|reply| reply.starts_with(['+', '-'])) {
            return child.try_wait().expect("the state of redis-server").is_none();
        }
        if child.try_wait().expect("the state of redis-server").is_some() {
            return false;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    false
}

fn ask(address: SocketAddr, command: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(START_TIMEOUT))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let (mut bytes, mut piece) = (Vec::new(), [0; 16 * 1024]);
    while wire::reply_len(&bytes).is_none() {
        match stream.read(&mut piece)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&piece[..read]),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
