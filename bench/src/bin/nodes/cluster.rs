//! Redis, the nodes on it, and the clients of these.

use crate::{CLIENTS, GROUPS, Kind, MESSAGES, clients, node};
use bench::{Outcome, process::CpuTime};
use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

pub(crate) struct Cluster {
    redis: Killed,
    nodes: Vec<(Killed, ChildStdin)>,
    received: Arc<AtomicUsize>,
}

/// CPU time for each message, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) redis: f64,
    pub(crate) nodes: f64,
}

/// A process that ends with this.
struct Killed(Child);

/// The time that servers have to start, and messages to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

impl Cluster {
    pub(crate) fn start(count: usize, runtime: &Runtime) -> Outcome<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let redis = start_redis(port)?;
        let started = (0..count).map(|_| start_node(port)).collect::<Outcome<Vec<_>>>()?;
        let received = Arc::new(AtomicUsize::new(0));
        for client in 0..CLIENTS {
            // The clients of a group are on different nodes, as far as there are some.
            let port = started[client / GROUPS % count].2;
            runtime.block_on(clients::connect(port, client % GROUPS, Arc::clone(&received)))?;
        }
        let nodes = started.into_iter().map(|(node, orders, _)| (node, orders)).collect();
        let cluster = Self { redis, nodes, received };
        // Nodes follow what their clients want only from the first of them on.
        thread::sleep(Duration::from_secs(1));
        Ok(cluster)
    }

    /// Has all nodes together send messages at a rate, and waits until all have arrived.
    pub(crate) fn measure(&self, kind: Kind, rate: usize) -> Outcome<Cost> {
        self.send(kind, MESSAGES / 10, rate)?;
        let before = self.times();
        self.send(kind, MESSAGES, rate)?;
        let after = self.times();
        let cost = |at: usize| after[at].since(&before[at]) * 1e6 / MESSAGES as f64;
        Ok(Cost { redis: cost(0), nodes: (1..after.len()).map(cost).sum() })
    }

    fn send(&self, kind: Kind, messages: usize, rate: usize) -> Outcome {
        let nodes = self.nodes.len();
        let order = node::Order { kind, count: messages / nodes, rate: rate / nodes };
        let expected = self.received.load(Relaxed) + order.count * nodes * (CLIENTS / GROUPS);
        for (_, orders) in &self.nodes {
            (&mut &*orders).write_all(order.line().as_bytes())?;
        }
        let until = Instant::now() + PATIENCE + Duration::from_secs((messages / rate) as u64);
        while self.received.load(Relaxed) < expected {
            if Instant::now() > until {
                let missing = expected - self.received.load(Relaxed);
                return Err(format!("{missing} messages of {expected} did not arrive").into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Returns the CPU times of Redis and of the nodes.
    fn times(&self) -> Vec<CpuTime> {
        let nodes = self.nodes.iter().map(|(node, _)| node);
        std::iter::once(&self.redis).chain(nodes).map(|process| CpuTime::of(process.0.id())).collect()
    }
}

fn start_redis(port: u16) -> Outcome<Killed> {
    let port = port.to_string();
    let child = Command::new("redis-server")
        .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| {
            format!("redis-server does not start: {error}: `cargo xtask test --only brokers` installs it")
        })?;
    let redis = Killed(child);
    let until = Instant::now() + PATIENCE;
    while TcpStream::connect(format!("127.0.0.1:{port}")).is_err() {
        if Instant::now() > until {
            return Err("redis-server does not listen".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(redis)
}

/// Returns a node, its input and its port.
fn start_node(redis: u16) -> Outcome<(Killed, ChildStdin, u16)> {
    let mut child = Command::new(env::current_exe()?)
        .env(node::REDIS, format!("redis://127.0.0.1:{redis}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (input, output) = (child.stdin.take().ok_or("no input")?, child.stdout.take().ok_or("no output")?);
    let node = Killed(child);
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line)?;
    Ok((node, input, line.trim().parse()?))
}

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
