//! The chat on three nodes, with a Redis and a balancer, all started by one command.
//!
//! `cargo run -p cluster` starts this program again for each node.

mod balancer;
mod node;
mod nodes;
mod page;
mod redis;

use nodes::Nodes;
use redis::Redis;
use std::{env, io, process::ExitCode, sync::Arc, time::Duration};
use tokio::{net::TcpListener, time::timeout};

const NODES: u64 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let ended = match words[..] {
        [] => start().await,
        ["node", number, port, redis_port] => node::run(number, port, redis_port).await,
        _ => Err(io::Error::other("usage: cluster")),
    };
    ended.map_or_else(
        |error| {
            eprintln!("{error}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

/// Runs everything until Ctrl-C.
async fn start() -> io::Result<()> {
    let public = example_address::bound(TcpListener::bind(example_address::address()).await);
    let private = TcpListener::bind("127.0.0.1:0").await?;
    let redis = Redis::start().await?;
    let nodes = Arc::new(Nodes::start(NODES, redis.port()).await?);
    tokio::select! {
        ready = timeout(Duration::from_secs(30), nodes.until_ready()) => {
            ready.map_err(|_| io::Error::other("the nodes are not ready after 30 s: what they say is above"))?;
        }
        ended = until_told_to_stop() => return ended,
    }
    example_address::announce("The chat", format_args!("http://{}", public.local_addr()?));
    example_address::announce("The page of the nodes", format_args!("http://{}", private.local_addr()?));
    tokio::select! {
        ended = balancer::run(public, &nodes) => ended,
        ended = page::run(private, Arc::clone(&nodes)) => ended,
        ended = until_told_to_stop() => ended,
    }
}

/// Waits for Ctrl-C, or for SIGTERM where there is that.
async fn until_told_to_stop() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            ended = tokio::signal::ctrl_c() => ended,
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
