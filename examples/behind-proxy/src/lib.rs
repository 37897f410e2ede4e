//! A server for tests behind a proxy. It reports its view of clients: their addresses, their number, their close codes.
//! `cargo xtask proxies` calls it. Its page is the chat's.

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

/// Builds the registry: a handler and an endpoint with the id `probe`, and the chat.
///
/// Only 127.0.0.1 is a trusted proxy: the proxy runs on this machine.
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

/// Returns the connected clients and the waiting calls.
pub const SEEN: Procedure<(), Seen> = Procedure::query("seen");

/// Returns the client's address.
pub const ADDRESS: Procedure<(), String> = Procedure::query("address");

/// Returns the length of a text in bytes.
pub const LENGTH: Procedure<String, usize> = Procedure::new("length");

/// Sends a text to all connections.
pub const TELL: Procedure<String, ()> = Procedure::new("tell");

/// Never returns; it is dropped when its caller leaves, or after 10 minutes.
pub const WAIT: Procedure<(), ()> = Procedure::new("wait").with_timeout(Duration::from_secs(600));

/// The server's view of its clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The number of open connections.
    pub open: usize,
    /// The number of running [`WAIT`] calls.
    pub waiting: usize,
    /// The number of ended connections by close code.
    pub closed: BTreeMap<u16, usize>,
}

/// A message of a client.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Sends the text back.
    Echo(String),
    /// Closes the connection with this code.
    Close(u16),
}

/// A handler that greets, echoes and closes.
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
                let no_code = || Error::invalid_argument(format!("{code} is not a valid close code"));
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
