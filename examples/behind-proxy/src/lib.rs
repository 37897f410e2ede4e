//! A server that is meant to be reached through a proxy, and tells what it sees of its clients: their address, how many
//! are connected, how they closed. `cargo xtask proxies` asks it. Its page is that of the chat.

use chat::Chat;
use realtime_core::{
    Call, Close, CloseCode, Config, Connection, Endpoint, Error, Handler, Procedure, Realtime, Result, Topic,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The registry: a handler and an endpoint with the id `probe`, and the chat.
///
/// The proxy is on this machine and connects from 127.0.0.1: its word on the client's address is taken, and nobody
/// else's.
pub fn realtime() -> Realtime {
    let mut config = Config::default();
    config.trusted_proxies = vec!["127.0.0.1/32".parse().expect("it is a network")];
    let (probe, chat) = (Probe::default(), Chat::default());
    Realtime::builder()
        .config(config)
        .handler("probe", probe.clone())
        .endpoint("probe", probe.endpoint())
        .handler("chat", chat.clone())
        .endpoint("chat", chat.endpoint())
        .build()
}

/// The connected clients and the calls that wait.
pub const SEEN: Procedure<(), Seen> = Procedure::query("seen");

/// The client's address.
pub const ADDRESS: Procedure<(), String> = Procedure::query("address");

/// The bytes of a text.
pub const LENGTH: Procedure<String, usize> = Procedure::new("length");

/// Sends a text to all connections.
pub const TELL: Procedure<String, ()> = Procedure::new("tell");

/// Never returns: it ends when its caller leaves.
pub const WAIT: Procedure<(), ()> = Procedure::new("wait").with_timeout(Duration::from_secs(600));

/// What the server sees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The connections that are open.
    pub open: usize,
    /// The calls of [`WAIT`] that run.
    pub waiting: usize,
    /// How many connections have ended with each code.
    pub closed: BTreeMap<u16, usize>,
}

/// A message of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Is sent back.
    Echo(String),
    /// Closes the connection with this code.
    Close(u16),
}

/// The handler, which greets, echoes and closes.
#[derive(Clone, Debug, Default)]
pub struct Probe(Arc<Mutex<Seen>>);

const TOLD: Topic<String> = Topic::fixed("told");

impl Handler for Probe {
    type Input = ();
    type ClientMessage = Ask;
    type ServerMessage = String;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        self.seen().open += 1;
        connection.send("hello".into())?;
        connection.subscribe(&TOLD)
    }

    async fn on_message(&self, connection: &Connection<Self>, message: Ask) -> Result {
        match message {
            Ask::Echo(text) => connection.send(text)?,
            Ask::Close(code) => {
                let no_code = || Error::invalid_argument(format!("{code} is no close code"));
                connection.close(CloseCode::new(code).ok_or_else(no_code)?, "as you asked");
            }
        }
        Ok(())
    }

    async fn on_close(&self, _: &Connection<Self>, close: Close) {
        let mut seen = self.seen();
        seen.open -= 1;
        *seen.closed.entry(close.code.get()).or_default() += 1;
    }
}

impl Probe {
    fn endpoint(&self) -> Endpoint<Self> {
        Endpoint::new(self.clone())
            .procedure(SEEN, |call, ()| async move { Ok(call.state().seen().clone()) })
            .procedure(ADDRESS, address)
            .procedure(LENGTH, |_, text| async move { Ok(text.len()) })
            .procedure(TELL, |call, text| async move { call.to(&TOLD).others().send(&text) })
            .procedure(WAIT, wait)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn address(call: Call<Probe>, (): ()) -> Result<String> {
    let address = call.context().client_ip();
    Ok(address.ok_or_else(|| Error::failed_precondition("the address is not known"))?.to_string())
}

async fn wait(call: Call<Probe>, (): ()) -> Result {
    let _waiting = Waiting::new(call.state().clone());
    pending().await
}

/// Counts a call until it is dropped.
struct Waiting(Probe);

impl Waiting {
    fn new(probe: Probe) -> Self {
        probe.seen().waiting += 1;
        Self(probe)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.seen().waiting -= 1;
    }
}
