use super::{api, client::PATIENCE};
use realtime_core::{
    Close, CloseCode, Connection, ConnectionId, Error, Handler, IntoMount, Message, Realtime, RealtimeBuilder,
    Result, Topic,
};
use serde::{Deserialize, Serialize};
use std::{
    future::poll_fn,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    task::{Poll, Waker},
};

/// A handler that does as its clients command, and reports each call.
#[derive(Clone, Debug)]
pub struct Lab {
    sights: Sender<Sight>,
    gate: Gate,
}

/// A command of a client to the lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Command {
    Echo(String),
    /// Waits for the gate, then echoes.
    EchoAtGate(String),
    /// Waits for room in the outbox, then echoes.
    EchoWhenReady(String),
    Fail {
        code: String,
        message: String,
    },
    FailInside,
    Panic,
    Hang,
    Subscribe(String),
    Unsubscribe(String),
    IsSubscribed(String),
    Publish {
        topic: String,
        text: String,
    },
    PublishToAll {
        topic: String,
        text: String,
    },
    PublishExcept {
        topic: String,
        text: String,
        except: Vec<String>,
        everyone: bool,
    },
    SendThenPublish {
        topic: String,
        sent: String,
        published: String,
    },
    /// Sends `count` messages of `bytes` each, and reports how many were accepted.
    Burst {
        count: usize,
        bytes: usize,
    },
    Close {
        code: u16,
        reason: String,
    },
    Describe,
}

/// A message of the lab.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Reply {
    Text(String),
    Answer(bool),
    Taken(usize),
    Described {
        method: String,
        uri: String,
        endpoint: String,
        header: Option<String>,
        variable: Option<u32>,
        peer: bool,
    },
}

/// The input of a client when it connects.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct LabInput {
    /// The action of `on_open`: nothing, `wait` for the gate, `fail`, `panic`.
    #[serde(default)]
    pub open: String,
    /// The action of `on_close`: nothing, `panic`.
    #[serde(default)]
    pub close: String,
    /// A number, for tests of invalid input.
    #[serde(default)]
    pub number: u32,
}

/// A call of the handler.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Sight {
    Opened(ConnectionId),
    Message,
    Error(String),
    /// A waiting hook was dropped.
    Dropped,
    Closed(ConnectionId, Close),
    /// A call, subscription or event that reports its end has started.
    Began(String),
    /// It was dropped, finished or not.
    Gone(String),
    /// An event was handled.
    Event(String),
}

/// The log of the handler's calls, for the case.
#[derive(Debug)]
pub struct Seen(Receiver<Sight>);

impl Seen {
    /// Returns the next call.
    #[track_caller]
    pub fn next(&self) -> Sight {
        self.0.recv_timeout(PATIENCE).expect("the handler is called")
    }

    /// Checks that the next call is `on_open`. Returns the connection's id.
    #[track_caller]
    pub fn opened(&self) -> ConnectionId {
        match self.next() {
            Sight::Opened(id) => id,
            other => panic!("{other:?}"),
        }
    }

    /// Checks that the next is the start of this.
    #[track_caller]
    pub fn began(&self, name: &str) {
        assert_eq!(self.next(), Sight::Began(name.into()));
    }

    /// Checks that the next is the end of this.
    #[track_caller]
    pub fn gone(&self, name: &str) {
        assert_eq!(self.next(), Sight::Gone(name.into()));
    }

    /// Checks that the next is this event.
    #[track_caller]
    pub fn event(&self, text: &str) {
        assert_eq!(self.next(), Sight::Event(text.into()));
    }

    /// Waits for the next close, skipping other calls. Returns it.
    #[track_caller]
    pub fn closed(&self) -> Close {
        loop {
            if let Sight::Closed(_, close) = self.next() {
                return close;
            }
        }
    }

    /// Checks that there are no further calls.
    #[track_caller]
    pub fn nothing_more(&self) {
        assert_eq!(self.0.try_recv().ok(), None);
    }
}

impl Lab {
    /// Creates a lab, its log, and a closed gate.
    pub fn new() -> (Self, Seen, Gate) {
        let (sights, seen) = channel();
        let gate = Gate::default();
        (Self { sights, gate: gate.clone() }, Seen(seen), gate)
    }

    fn saw(&self, sight: Sight) {
        let _ = self.sights.send(sight);
    }
}

/// Returns the registry of most cases: `lab`; `echo`, without an envelope; `api`, an endpoint; `closing`, an endpoint
/// that reports closes too; and `both`, a handler and an endpoint. The node's number is fixed, so that ids are the same
/// everywhere, and time is manual. `echo` and `api` have paths of their own, too.
pub(crate) fn builder() -> (RealtimeBuilder, Seen, Gate) {
    let (lab, seen, gate) = Lab::new();
    let builder = Realtime::builder().node(0xc0ffee).manual_time();
    let endpoint = || api::endpoint(&lab.sights, &lab.gate);
    let api = endpoint().into_mount().at("/own/path");
    let builder = builder.handler("api", api).endpoint("closing", endpoint().on_close(api::on_close));
    let builder = builder.endpoint("both", endpoint());
    let builder = builder.handler("both", lab.clone()).handler("lab", lab).handler("echo", Echo.plain().at("/"));
    (builder, seen, gate)
}

/// A handler that returns every message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Echo;

impl Handler for Echo {
    type Input = ();
    type ClientMessage = Message;
    type ServerMessage = Message;

    async fn on_message(&self, connection: &Connection<Self>, message: Message) -> Result {
        connection.ready().await;
        connection.send(message)?;
        Ok(())
    }
}

impl Handler for Lab {
    type Input = LabInput;
    type ClientMessage = Command;
    type ServerMessage = Reply;

    async fn on_open(&self, connection: &Connection<Self>) -> Result {
        self.saw(Sight::Opened(connection.id()));
        match &*connection.input().open {
            "wait" => self.gate.wait().await,
            "fail" => return Err(Error::permission_denied("not today")),
            "panic" => panic!("on_open panics as it was told"),
            _ => {}
        }
        Ok(())
    }

    async fn on_message(&self, connection: &Connection<Self>, command: Command) -> Result {
        self.saw(Sight::Message);
        let reply = match command {
            Command::Echo(text) => Reply::Text(text),
            Command::EchoAtGate(text) => {
                self.gate.wait().await;
                Reply::Text(text)
            }
            Command::EchoWhenReady(text) => {
                connection.ready().await;
                Reply::Text(text)
            }
            Command::Fail { code, message } => return Err(Error::new(code, message)),
            Command::FailInside => return Ok(std::fs::read("/no such file, secret").map(drop)?),
            Command::Panic => panic!("on_message panics as it was told"),
            Command::Hang => {
                let _dropped = TellDropped(self);
                std::future::pending().await
            }
            Command::Subscribe(name) => {
                connection.subscribe(&Topic::new(name))?;
                Reply::Answer(true)
            }
            Command::Unsubscribe(name) => {
                connection.unsubscribe(&Topic::new(name));
                Reply::Answer(true)
            }
            Command::IsSubscribed(name) => Reply::Answer(connection.is_subscribed(&Topic::new(name))),
            Command::Publish { topic, text } => {
                return connection.to(&Topic::new(topic)).others().send(&Reply::Text(text));
            }
            Command::PublishToAll { topic, text } => {
                return connection.to(&Topic::new(topic)).send(&Reply::Text(text));
            }
            Command::PublishExcept { topic, text, except, everyone } => {
                let except: Vec<ConnectionId> = except.iter().map(|id| id.parse()).collect::<Result<_>>()?;
                let topic = Topic::new(topic);
                let members = connection.to(&topic);
                let audience = if everyone { members } else { members.others() };
                return audience.except(&except).send(&Reply::Text(text));
            }
            Command::SendThenPublish { topic, sent, published } => {
                connection.send(Reply::Text(sent))?;
                return connection.to(&Topic::new(topic)).send(&Reply::Text(published));
            }
            Command::Burst { count, bytes } => {
                let text = "x".repeat(bytes);
                let send = || connection.send(Reply::Text(text.clone()));
                let taken = (0..count).map(|_| send()).take_while(Result::is_ok).count();
                if taken < count {
                    let error = send().expect_err("a full outbox stays full while its driver is here");
                    assert!(error.is_full());
                    assert_eq!(error.into_message(), Reply::Text(text));
                    connection.ready().await;
                }
                Reply::Taken(taken)
            }
            Command::Close { code, reason } => {
                connection.send(Reply::Text("last words".into()))?;
                connection.close(CloseCode::new(code).unwrap_or(CloseCode::NO_STATUS), &reason);
                assert!(connection.is_closed());
                assert!(connection.send(Reply::Text("too late".into())).is_err_and(|error| error.is_closed()));
                return Ok(());
            }
            Command::Describe => {
                let context = connection.context();
                Reply::Described {
                    method: context.method().to_string(),
                    uri: context.uri().to_owned(),
                    endpoint: context.endpoint().into_owned(),
                    header: context.header("x-lab").map(str::to_owned),
                    variable: context.var::<u32>().copied(),
                    peer: context.peer().is_some(),
                }
            }
        };
        connection.send(reply)?;
        Ok(())
    }

    async fn on_close(&self, connection: &Connection<Self>, close: Close) {
        self.saw(Sight::Closed(connection.id(), close));
        if connection.input().close == "panic" {
            panic!("on_close panics as it was told");
        }
    }

    async fn on_error(&self, _: &Connection<Self>, error: Error) -> Error {
        self.saw(Sight::Error(error.code().to_string()));
        if error.code().as_str() == "HIDDEN" {
            return Error::unavailable("ask again later");
        }
        error
    }
}

/// A message that panics when it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Explosive;

impl<'de> Deserialize<'de> for Explosive {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> std::result::Result<Self, D::Error> {
        panic!("a type panics as it was told")
    }
}

struct TellDropped<'a>(&'a Lab);

impl Drop for TellDropped<'_> {
    fn drop(&mut self) {
        self.0.saw(Sight::Dropped);
    }
}

/// A gate that holds its callers until it is opened.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Mutex<GateState>>);

#[derive(Debug, Default)]
struct GateState {
    open: bool,
    waiting: Vec<Waker>,
}

impl Gate {
    /// Opens the gate for good.
    pub fn open(&self) {
        let waiting = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.open = true;
            std::mem::take(&mut state.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }

    /// Waits until the gate is open.
    pub async fn wait(&self) {
        poll_fn(|cx| {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.open {
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
