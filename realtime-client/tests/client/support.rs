use futures_util::{SinkExt, StreamExt};
use realtime_client::{Cause, Client, ClientBuilder, State, States};
use serde_json::{Value, json};
use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream},
    sync::mpsc,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        self, Message,
        handshake::server::{Request, Response},
        http::HeaderValue,
        protocol::{CloseFrame, Role},
    },
};

/// A network between one client and the server of a test.
pub(crate) struct Network {
    dialed: mpsc::UnboundedReceiver<DuplexStream>,
    switch: Arc<Mutex<Switch>>,
}

struct Switch {
    dialed: mpsc::UnboundedSender<DuplexStream>,
    refuses: bool,
    attempts: u32,
}

impl Network {
    /// Creates a network, and a client that connects through it.
    pub(crate) fn new() -> (Self, ClientBuilder) {
        let (network, dial) = Self::behind();
        (network, Client::builder("ws://server/__realtime/api").dial(dial))
    }

    /// Creates a network, and a function that dials through it.
    pub(crate) fn behind()
    -> (Self, impl Fn() -> std::future::Ready<io::Result<DuplexStream>> + Send + Sync + 'static) {
        let (sender, dialed) = mpsc::unbounded_channel();
        let switch = Arc::new(Mutex::new(Switch { dialed: sender, refuses: false, attempts: 0 }));
        let dial = {
            let switch = Arc::clone(&switch);
            move || {
                let dialed = switch.lock().unwrap().dial();
                std::future::ready(dialed)
            }
        };
        (Self { dialed, switch }, dial)
    }

    /// Sets whether the port refuses from now on.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.switch.lock().unwrap().refuses = refuses;
    }

    /// Returns the number of times that the client has dialed.
    pub(crate) fn attempts(&self) -> u32 {
        self.switch.lock().unwrap().attempts
    }

    /// Returns the next connection, before any data was sent.
    pub(crate) async fn dialed(&mut self) -> DuplexStream {
        soon(self.dialed.recv()).await.expect("the network ended")
    }

    /// Returns the next connection, upgraded but not welcomed.
    pub(crate) async fn upgraded(&mut self) -> Server {
        Server::upgrade(self.dialed().await).await
    }

    /// Returns the next connection, welcomed as `name`.
    pub(crate) async fn accept(&mut self, name: &str) -> Server {
        let mut server = self.upgraded().await;
        server.send(json!({"type": "welcome", "connection": name, "heartbeatMs": 25_000})).await;
        server
    }

    /// Answers the next upgrade request with this HTTP response. Returns the request.
    pub(crate) async fn respond(&mut self, response: &str) -> String {
        let (mut io, request) = self.requested().await;
        io.write_all(response.as_bytes()).await.unwrap();
        request
    }

    /// Returns the next connection and its request, which is not answered yet.
    pub(crate) async fn requested(&mut self) -> (DuplexStream, String) {
        let mut io = self.dialed().await;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(soon(io.read_u8()).await.unwrap());
        }
        (io, String::from_utf8(request).unwrap())
    }
}

impl Switch {
    fn dial(&mut self) -> io::Result<DuplexStream> {
        self.attempts += 1;
        if self.refuses {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let (client, server) = tokio::io::duplex(64 << 10);
        self.dialed.send(server).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(client)
    }
}

/// The server's side of a connection. Dropping it ends the connection without a close frame.
pub(crate) struct Server<S = DuplexStream> {
    socket: WebSocketStream<S>,
    pub(crate) authorization: Option<String>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Server<S> {
    /// Creates the server's side of a connection that was upgraded by hand.
    pub(crate) async fn upgraded(io: S) -> Self {
        Self { socket: WebSocketStream::from_raw_socket(io, Role::Server, None).await, authorization: None }
    }

    pub(crate) async fn upgrade(io: S) -> Self {
        let mut authorization = None;
        #[allow(clippy::result_large_err, reason = "it is the type of the callback")]
        let answer = |request: &Request, mut response: Response| {
            let header = |name| request.headers().get(name).map(|value: &HeaderValue| value.to_str().unwrap());
            authorization = header("authorization").map(str::to_owned);
            assert_eq!(header("sec-websocket-protocol"), Some("realtime.v1.json"));
            let chosen = HeaderValue::from_static("realtime.v1.json");
            response.headers_mut().insert("sec-websocket-protocol", chosen);
            Ok(response)
        };
        let socket = soon(accept_hdr_async(io, answer)).await.expect("no upgrade");
        Self { socket, authorization }
    }

    pub(crate) async fn send(&mut self, frame: Value) {
        self.send_text(&frame.to_string()).await;
    }

    /// Sends to a client that may be gone.
    pub(crate) async fn try_send(&mut self, frame: Value) -> Result<(), tungstenite::Error> {
        soon(self.socket.send(Message::text(frame.to_string()))).await
    }

    /// Writes raw bytes, past the WebSocket.
    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        soon(self.socket.get_mut().write_all(bytes)).await.expect("the client is gone");
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        soon(self.socket.send(Message::text(text))).await.expect("the client is gone");
    }

    /// Returns the client's next frame. Pings are answered and skipped.
    pub(crate) async fn recv(&mut self) -> Value {
        soon(self.next_frame()).await.expect("the client is gone")
    }

    /// Checks that the client stays and sends nothing but pings for this long.
    pub(crate) async fn hears_nothing_for(&mut self, duration: Duration) {
        if let Ok(frame) = timeout(duration, self.next_frame()).await {
            panic!("{frame:?} was not expected");
        }
    }

    /// Waits for the client's close frame and returns its code. Earlier frames are skipped.
    pub(crate) async fn closed(&mut self) -> u16 {
        loop {
            match soon(self.socket.next()).await.expect("no close frame").expect("no close frame") {
                Message::Close(frame) => return frame.map_or(1005, |frame| frame.code.into()),
                _ => continue,
            }
        }
    }

    /// Waits for the client's next ping, and does not answer it.
    pub(crate) async fn pinged(&mut self) {
        let message = soon(self.socket.next()).await.expect("no ping").expect("no ping");
        assert_eq!(message, Message::text(r#"{"type":"ping"}"#));
    }

    /// Waits until the connection is gone.
    pub(crate) async fn gone(&mut self) {
        while let Some(Ok(_)) = soon(self.socket.next()).await {}
    }

    /// Sends a close frame and waits for the client's.
    pub(crate) async fn close(mut self, code: u16) {
        self.say_close(code).await;
        self.gone().await;
    }

    pub(crate) async fn say_close(&mut self, code: u16) {
        let frame = CloseFrame { code: code.into(), reason: "because".into() };
        soon(self.socket.close(Some(frame))).await.expect("the client is gone");
    }

    /// Returns the client's next frame, or `None` if the client left.
    pub(crate) async fn next_frame(&mut self) -> Option<Value> {
        loop {
            let Message::Text(text) = self.socket.next().await?.ok()? else { continue };
            let frame: Value = serde_json::from_str(&text).unwrap();
            if frame["type"] != "ping" {
                return Some(frame);
            }
            self.socket.send(Message::text(r#"{"type":"pong"}"#)).await.ok()?;
        }
    }
}

/// Waits, with a time limit that fails the test.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60 * 60), future).await.expect("it never came")
}

/// Lets all other tasks run until they wait.
pub(crate) async fn settle() {
    // Virtual time advances only when no task can run.
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// Returns the next states, each as a word and a detail.
pub(crate) async fn next_states(states: &mut States, count: usize) -> Vec<String> {
    let mut told = Vec::new();
    for _ in 0..count {
        told.push(tell(&soon(states.next()).await.expect("no more states")));
    }
    told
}

pub(crate) fn tell(state: &State) -> String {
    match state {
        State::Connecting { attempt, .. } => format!("connecting {attempt}"),
        State::Open { connection, .. } => format!("open {connection}"),
        State::Reconnecting { attempt, cause, .. } => format!("reconnecting {attempt}: {}", tell_cause(cause)),
        State::Closed { why, .. } => format!("closed: {}", tell_cause(why)),
        _ => "unknown".to_owned(),
    }
}

fn tell_cause(cause: &Cause) -> String {
    match cause {
        Cause::Local => "local".to_owned(),
        Cause::Closed { code, .. } => code.to_string(),
        Cause::Lost(_) => "lost".to_owned(),
        Cause::Silent => "silent".to_owned(),
        Cause::Timeout => "timeout".to_owned(),
        Cause::Refused { status, .. } => status.to_string(),
        Cause::Token(_) => "token".to_owned(),
        Cause::Header(_) => "header".to_owned(),
        Cause::Invalid(_) => "invalid".to_owned(),
        _ => "unknown".to_owned(),
    }
}
