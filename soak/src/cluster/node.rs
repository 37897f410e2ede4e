use super::{
    reader::CHANGES,
    redis::{end, send},
};
use crate::Outcome;
use broker_redis::{Redis, RedisBroker};
use free_port::free_port;
use realtime_client::Procedure;
use realtime_core::{AppendError, Call, Config, Endpoint, Feed, Log, Realtime, Result, Topic};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::{
    env,
    io::{self, BufRead, Write},
    net::{Ipv4Addr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::{net::TcpListener, time::sleep};

/// The outcome of an append, as its node knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Refused,
    Unknown,
}

/// Appends an entry to a feed.
pub(crate) const ADD: Procedure<(usize, u64), Answer> = Procedure::new("add");

/// Says whether new clients should be sent to the node.
pub(crate) const READY: Procedure<(), bool> = Procedure::new("ready");

/// Enough for the longest time that a client is away.
const KEPT: Log = Log::last(5000).bytes(4 * 1024 * 1024);

fn feed(number: usize) -> Feed<u64> {
    Topic::new(format!("feed {number}")).log(KEPT)
}

/// Serves until it is killed, or the runner is gone. Redis may be down as it starts; the broker reaches it by `door`.
pub(crate) fn serve(number: u64, port: u16, door: u16, redis: u16) -> Outcome {
    crate::process::raise_file_limit()?;
    std::thread::spawn(move || end_with_runner(redis));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let broker = connected(door).await;
        let endpoint = Endpoint::new(())
            .feed(CHANGES, |_, number: usize| async move { Ok(feed(number).follow()) })
            .procedure(ADD, add)
            .procedure(READY, |call, ()| async move { Ok(call.realtime().readiness().ready) });
        let mut config = Config::default();
        config.connections_per_peer = config.connections;
        // All writers of a node are on one connection.
        config.calls_per_connection = 1024;
        let realtime = Realtime::builder().config(config).node(number).broker(broker);
        let realtime = realtime.endpoint("feeds", endpoint).build();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        Ok(adapter_hyper::serve(listener, adapter_hyper::routes(&realtime), &realtime).await?)
    })
}

/// Waits for the end of the pipe from the runner. Redis, which the runner has started too, then ends as well.
fn end_with_runner(redis: u16) {
    let _ = io::stdin().lock().lines().count();
    if let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, redis)) {
        let _ = stream.write_all(b"SHUTDOWN NOSAVE\r\n");
    }
    std::process::exit(0);
}

async fn connected(door: u16) -> RedisBroker {
    loop {
        match RedisBroker::connect(Redis::url(format!("redis://127.0.0.1:{door}/"))).await {
            Ok(broker) => return broker,
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn add(call: Call<()>, (number, entry): (usize, u64)) -> Result<Answer> {
    Ok(match call.append(&feed(number), &entry).await {
        Ok(_) => Answer::Done,
        Err(AppendError::Refused(_)) => Answer::Refused,
        Err(_) => Answer::Unknown,
    })
}

/// The process of a node.
pub(crate) struct Node {
    number: u64,
    pub(crate) port: u16,
    /// The port by which it reaches Redis, and that of Redis.
    redis: [u16; 2],
    process: Option<Child>,
}

impl Node {
    pub(crate) fn start(number: u64, door: u16, redis: u16) -> Outcome<Self> {
        let mut node = Self { number, port: free_port()?, redis: [door, redis], process: None };
        node.run()?;
        Ok(node)
    }

    /// Starts the process.
    pub(crate) fn run(&mut self) -> Outcome {
        let mut command = Command::new(env::current_exe()?);
        command.arg("serve-cluster");
        let [door, redis] = self.redis.map(u64::from);
        command.args([self.number, self.port.into(), door, redis].map(|number: u64| number.to_string()));
        self.process = Some(command.stdin(Stdio::piped()).spawn()?);
        Ok(())
    }

    pub(crate) fn kill(&mut self) -> Outcome {
        self.process.take().map_or(Ok(()), |mut process| end(&mut process))
    }

    pub(crate) fn signal(&self, signal: Signal) -> Outcome {
        self.process.as_ref().map_or(Ok(()), |process| send(process, signal))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
