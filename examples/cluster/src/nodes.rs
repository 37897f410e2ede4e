use crate::{node::Status, redis::on_its_own};
use free_port::free_port;
use serde::Serialize;
use std::{
    env, io,
    net::Ipv4Addr,
    process::Stdio,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    sync::Notify,
    time::{sleep, timeout},
};

/// The nodes: each is started again some seconds after it has ended.
pub(crate) struct Nodes {
    nodes: Vec<Arc<Node>>,
    next: AtomicUsize,
}

struct Node {
    number: u64,
    port: u16,
    /// The port of Redis.
    redis: u16,
    kill: Notify,
    /// Held by each connection that is passed to it.
    passed: Arc<()>,
    known: Mutex<Known>,
}

/// What is known of a node.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Known {
    number: u64,
    port: u16,
    /// The times that it was started.
    starts: u64,
    /// `None` while it does not answer.
    status: Option<Status>,
}

/// Long enough to see on the page that a node is gone.
const PAUSE: Duration = Duration::from_secs(4);

const LOOK_EVERY: Duration = Duration::from_millis(250);

impl Nodes {
    /// Starts nodes numbered from 1.
    pub(crate) async fn start(count: u64, redis: u16) -> io::Result<Self> {
        let mut nodes = Vec::new();
        for number in 1..=count {
            let port = free_port()?;
            let known = Known { number, port, ..Known::default() };
            let node = Node {
                number,
                port,
                redis,
                kill: Notify::new(),
                passed: Arc::default(),
                known: Mutex::new(known),
            };
            let node = Arc::new(node);
            tokio::spawn(Arc::clone(&node).run());
            tokio::spawn(Arc::clone(&node).watch());
            nodes.push(node);
        }
        Ok(Self { nodes, next: AtomicUsize::new(0) })
    }

    /// Waits until all nodes are ready.
    pub(crate) async fn until_ready(&self) {
        while !self.nodes.iter().all(|node| node.is_ready()) {
            sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) fn all(&self) -> Vec<Known> {
        self.nodes.iter().map(|node| node.known().clone()).collect()
    }

    /// Ends a node without warning; one that is down stays as it is. Returns false if there is none of this number.
    pub(crate) fn kill(&self, number: u64) -> bool {
        let node = self.nodes.iter().find(|node| node.number == number);
        node.inspect(|node| node.kill.notify_waiters()).is_some()
    }

    /// Connects to the node with the fewest clients, and of those the fewest connections; to one that is not ready only if
    /// none is. Keep the second value for as long as the connection.
    pub(crate) async fn connect(&self) -> Option<(TcpStream, Arc<()>)> {
        let first = self.next.fetch_add(1, Relaxed);
        let mut nodes: Vec<_> =
            (0..self.nodes.len()).map(|at| &self.nodes[(first + at) % self.nodes.len()]).collect();
        nodes.sort_by_key(|node| (!node.is_ready(), node.clients(), Arc::strong_count(&node.passed)));
        for node in nodes {
            let passed = Arc::clone(&node.passed);
            if let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, node.port)).await {
                return Some((stream, passed));
            }
        }
        None
    }
}

impl Node {
    /// Starts the process, whenever it is not there.
    async fn run(self: Arc<Self>) {
        loop {
            self.known().starts += 1;
            if let Err(error) = self.run_once().await {
                eprintln!("node {}: {error}", self.number);
            }
            self.known().status = None;
            sleep(PAUSE).await;
        }
    }

    async fn run_once(&self) -> io::Result<()> {
        let mut process = on_its_own(Command::new(env::current_exe()?))
            .args(["node", &self.number.to_string(), &self.port.to_string(), &self.redis.to_string()])
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        // The node ends when this end of the pipe does. A wait would close it.
        let _pipe = process.stdin.take();
        tokio::select! {
            ended = process.wait() => ended.map(drop),
            () = self.kill.notified() => process.kill().await,
        }
    }

    /// Asks the node for its status, again and again.
    async fn watch(self: Arc<Self>) {
        loop {
            let status = timeout(Duration::from_secs(2), self.ask()).await;
            self.known().status = status.ok().and_then(Result::ok);
            sleep(LOOK_EVERY).await;
        }
    }

    async fn ask(&self) -> io::Result<Status> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        stream.write_all(b"GET /status HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let body = answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(&[][..], |at| &answer[at + 4..]);
        Ok(serde_json::from_slice(body)?)
    }

    fn clients(&self) -> u64 {
        self.known().status.as_ref().map_or(0, |status| status.connections)
    }

    fn is_ready(&self) -> bool {
        self.known().status.as_ref().is_some_and(|status| status.ready)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
