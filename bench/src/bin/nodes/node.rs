//! A node: its clients are members of a topic and follow a feed each, and it publishes and appends as it is told.

use crate::{GROUPS, KINDS, Kind};
use bench::Outcome;
use broker_redis::{Redis, RedisBroker};
use realtime_core::{Config, Connection, Feed, Handler, Log, Realtime, Result, Topic};
use std::{
    env, io, thread,
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, sync::mpsc};

/// The variable with the URL of Redis; a process that has it is a node.
pub(crate) const REDIS: &str = "NODE_REDIS";
/// Bytes of a message as JSON.
pub(crate) const BYTES: usize = 256;

fn topic(group: usize) -> Topic<String> {
    Topic::new(format!("group:{group}"))
}

fn feed(group: usize) -> Feed<String> {
    topic(group).log(Log::last(100))
}

struct Member;

impl Handler for Member {
    type Input = usize;
    type ClientMessage = String;
    type ServerMessage = String;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        let group = *connection.input();
        connection.subscribe(&topic(group))?;
        connection.follow(&feed(group), None).await.map(|_| ())
    }

    async fn on_message(&self, _: &Connection<Self>, _: String) -> Result {
        Ok(())
    }
}

/// Messages that the node is to send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    pub(crate) kind: Kind,
    pub(crate) count: usize,
    /// Messages a second.
    pub(crate) rate: usize,
}

impl Order {
    /// Returns the line that the node reads.
    pub(crate) fn line(&self) -> String {
        format!("{} {} {}\n", self.kind.name(), self.count, self.rate)
    }

    fn read(line: &str) -> Outcome<Self> {
        let mut words = line.split_whitespace();
        let mut word = || words.next().ok_or("an order has three words");
        let name = word()?;
        let kind = KINDS.into_iter().find(|kind| kind.name() == name).ok_or("no such kind")?;
        Ok(Self { kind, count: word()?.parse()?, rate: word()?.parse()? })
    }
}

pub(crate) fn run() -> Outcome {
    bench::run(async |listener| {
        let broker = RedisBroker::connect(Redis::url(env::var(REDIS)?)).await?;
        let mut config = Config::default();
        config.connections_per_peer = config.connections;
        let realtime = Realtime::builder().config(config).broker(broker).handler("member", Member).build();
        tokio::spawn(obey(realtime.clone()));
        let app = axum::Router::new().merge(adapter_axum::routes(&realtime));
        Ok(adapter_axum::serve(TcpListener::from_std(listener)?, app, &realtime).await?)
    })
}

async fn obey(realtime: Realtime) {
    let (orders, mut told) = mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(io::Result::ok) {
            let order = Order::read(&line).expect("the runner writes orders");
            let _ = orders.send(order);
        }
    });
    while let Some(order) = told.recv().await {
        send(&realtime, order).await;
    }
}

async fn send(realtime: &Realtime, Order { kind, count, rate }: Order) {
    let text = "x".repeat(BYTES - 2);
    let begun = Instant::now();
    for number in 0..count {
        let due = begun + Duration::from_secs(1) * number as u32 / rate as u32;
        let early = due.saturating_duration_since(Instant::now());
        if !early.is_zero() {
            tokio::time::sleep(early).await;
        }
        let group = number % GROUPS;
        match kind {
            Kind::Publication => realtime.to(&topic(group)).send(&text).expect("Redis takes it"),
            Kind::Entry => {
                let (realtime, text) = (realtime.clone(), text.clone());
                tokio::spawn(async move { realtime.append(&feed(group), &text).await.expect("Redis takes it") });
            }
        }
    }
}
