use crate::{
    backoff::Reconnect,
    client::Client,
    connect::{BoxIo, Dial, Failure},
    handlers::Handlers,
    headers::Headers,
    refusal::Refusal,
    session::OfflineQueue,
    shared::Shared,
    state::Cause,
    task::Task,
    url::Url,
};
use realtime_protocol::{Event, Procedure, client::Format};
use serde::{Serialize, de::DeserializeOwned};
use std::{fmt, io, sync::Arc, time::Duration};
use tokio::io::{AsyncRead, AsyncWrite};

/// Sets up a [`Client`].
#[derive(Debug)]
#[must_use = "`connect` makes a client of it"]
pub struct ClientBuilder {
    config: Config,
    handlers: Handlers,
}

impl ClientBuilder {
    pub(crate) fn new(url: String) -> Self {
        Self { config: Config::new(&url), handlers: Handlers::default() }
    }

    /// Calls this function before each attempt to connect, and sends its token as `Authorization: Bearer …`; and again
    /// when the server asks for a fresh token because the last one ends.
    ///
    /// An attempt without a token fails like any other, as does one that the server refuses with 401 or 403.
    pub fn token<F, Fut>(mut self, token: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = realtime_protocol::Result<String>> + Send + 'static,
    {
        self.config.headers.set_token(Box::new(move || Box::pin(token())));
        self
    }

    /// Sends this header with each request for a connection, in addition to others of the same name.
    ///
    /// `Authorization` takes precedence over the user info of the URL, and a [token](Self::token) over both. Headers of
    /// the handshake itself cannot be set. With an invalid name or value, the client closes at once with
    /// [`Cause::Invalid`].
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        let added = self.config.headers.add(name.as_ref(), value.as_ref());
        self.config.check(added);
        self
    }

    /// Calls this function for the value of a header before each attempt to connect. If it fails, so does the attempt.
    pub fn header_with<F, Fut>(mut self, name: impl AsRef<str>, value: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = realtime_protocol::Result<String>> + Send + 'static,
    {
        let added = self.config.headers.add_fetched(name.as_ref(), Box::new(move || Box::pin(value())));
        self.config.check(added);
        self
    }

    /// Sets the wire format; JSON by default.
    pub fn format(mut self, format: Format) -> Self {
        self.config.format = format;
        self
    }

    /// Trusts these certificates, in PEM, in addition to the system's: for a private authority or a self-signed server.
    ///
    /// If the PEM has no certificate, the client closes at once with [`Cause::Invalid`].
    #[cfg(feature = "rustls")]
    pub fn root_certificates(mut self, pem: impl AsRef<[u8]>) -> Self {
        let added = self.config.tls.trust(pem.as_ref());
        self.config.check(added);
        self
    }

    /// Handles events of this name, one at a time. A later handler for the same name replaces it.
    ///
    /// Up to 256 events wait for the handler; beyond that the oldest is dropped.
    pub fn on<T, F, Fut>(mut self, event: Event<T>, handler: F) -> Self
    where
        T: DeserializeOwned + 'static,
        F: Fn(T) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.handlers.on(event, handler);
        self
    }

    /// Answers the server's calls to this procedure. A later handler for the same name replaces it.
    ///
    /// Up to 64 calls run at once, each in a task. The handler's future is dropped when the server cancels the call,
    /// its timeout passes, or the connection ends. A panic is answered with `INTERNAL`.
    pub fn on_call<I, O, F, Fut>(mut self, procedure: Procedure<I, O>, handler: F) -> Self
    where
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        F: Fn(I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = realtime_protocol::Result<O>> + Send + 'static,
    {
        self.handlers.on_call(procedure, handler);
        self
    }

    /// Sets the delays between attempts to connect, and their number.
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.config.reconnect = reconnect;
        self
    }

    /// Sets the close codes after which the client reconnects: by default all but 1000, 1002, 1003, 1007, 1008, 1009
    /// and 4000–4999. 1005 stands for a close frame without a code. The client always reconnects after a connection
    /// that ended without a close frame.
    pub fn reconnect_on(mut self, reconnect_on: impl Fn(u16) -> bool + Send + Sync + 'static) -> Self {
        self.config.reconnect_on = Box::new(reconnect_on);
        self
    }

    /// Sets the HTTP refusals after which the client tries again: by default
    /// [temporary](Refusal::is_temporary) ones.
    pub fn reconnect_on_refusal(
        mut self,
        reconnect_on: impl Fn(&Refusal) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.config.reconnect_on_refusal = Box::new(reconnect_on);
        self
    }

    /// Sets the bounds of the queue that holds calls, events and messages while there is no connection.
    pub fn offline_queue(mut self, queue: OfflineQueue) -> Self {
        self.config.offline = queue;
        self
    }

    /// Sets the time limit of an attempt, from fetching the token to the server's welcome; 10 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// Sets the silence after which the client pings the server, and the time that the server has to answer before the
    /// connection counts as lost.
    ///
    /// The defaults are the interval from the server's welcome, or 25 s if there is none, and 10 s.
    pub fn heartbeat(mut self, ping_after: Duration, deadline: Duration) -> Self {
        self.config.ping_after = Some(ping_after);
        self.config.ping_deadline = deadline;
        self
    }

    /// Sets the time that [`Client::close`] waits for the server; 3 s by default.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.config.close_timeout = timeout;
        self
    }

    /// Sets the function that opens the byte stream of each connection, instead of TCP to the URL's host: a proxy, a
    /// Unix socket, a pipe. TLS runs on top of it if the URL is `wss://`.
    pub fn dial<F, Fut, S>(mut self, dial: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.config.dial = Some(Box::new(move || {
            let dialed = dial();
            Box::pin(async move { Ok(Box::new(dialed.await?) as BoxIo) })
        }));
        self
    }

    /// Starts connecting and returns the client at once. Calls, events and messages wait until it is connected.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time and IO.
    pub fn connect(self) -> Client {
        let Self { config, mut handlers } = self;
        let shared = Shared::new(config.format, config.offline);
        let events = handlers.spawn_events();
        tokio::spawn(Task::new(Arc::clone(&shared), config, handlers, events).run());
        Client::new(shared)
    }
}

/// The settings of a client's connections.
pub(crate) struct Config {
    /// The address, or the first invalid setting.
    pub(crate) url: Result<Url, String>,
    pub(crate) format: Format,
    pub(crate) headers: Headers,
    #[cfg(feature = "rustls")]
    pub(crate) tls: crate::tls::Tls,
    pub(crate) dial: Option<Dial>,
    pub(crate) reconnect: Reconnect,
    reconnect_on: Box<dyn Fn(u16) -> bool + Send + Sync>,
    reconnect_on_refusal: Box<dyn Fn(&Refusal) -> bool + Send + Sync>,
    pub(crate) offline: OfflineQueue,
    pub(crate) connect_timeout: Duration,
    pub(crate) ping_after: Option<Duration>,
    pub(crate) ping_deadline: Duration,
    pub(crate) close_timeout: Duration,
}

impl Config {
    fn new(url: &str) -> Self {
        Self {
            url: Url::parse(url),
            format: Format::default(),
            headers: Headers::default(),
            #[cfg(feature = "rustls")]
            tls: crate::tls::Tls::default(),
            dial: None,
            reconnect: Reconnect::default(),
            reconnect_on: Box::new(is_temporary),
            reconnect_on_refusal: Box::new(Refusal::is_temporary),
            offline: OfflineQueue::default(),
            connect_timeout: Duration::from_secs(10),
            ping_after: None,
            ping_deadline: Duration::from_secs(10),
            close_timeout: Duration::from_secs(3),
        }
    }

    /// Keeps the first invalid setting, with which no attempt is made.
    fn check(&mut self, setting: Result<(), String>) {
        if let Err(wrong) = setting
            && self.url.is_ok()
        {
            self.url = Err(wrong);
        }
    }

    /// Returns true if another attempt may be made, which can depend on whether the client has been connected before.
    pub(crate) fn may_retry(&self, failure: &Failure, was_connected: bool) -> bool {
        match &failure.cause {
            Cause::Local => false,
            // The setting worked before: another server may have taken the place of that one for a while.
            Cause::Invalid(_) => was_connected,
            Cause::Lost(_) | Cause::Silent | Cause::Timeout | Cause::Token(_) | Cause::Header(_) => true,
            Cause::Closed { code, .. } => (self.reconnect_on)(*code),
            Cause::Refused { status, .. } => (self.reconnect_on_refusal)(&Refusal {
                status: *status,
                retry_after: failure.retry_after,
                was_connected,
                fetches_credentials: self.headers.are_fetched(),
            }),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.url {
            Ok(url) => write!(f, "Config({url:?}, {:?})", self.headers),
            Err(wrong) => write!(f, "Config({wrong})"),
        }
    }
}

/// Returns true for codes that mean neither "done" nor "the client is wrong". Codes from 4000 on belong to the
/// application.
fn is_temporary(code: u16) -> bool {
    !matches!(code, 1000 | 1002 | 1003 | 1007 | 1008 | 1009 | 4000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_blame_the_client_or_say_done_are_final() {
        for code in [1001, 1005, 1006, 1011, 1012, 1013, 3000] {
            assert!(is_temporary(code), "{code}");
        }
        for code in [1000, 1002, 1003, 1007, 1008, 1009, 4000, 4999] {
            assert!(!is_temporary(code), "{code}");
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let builder =
            ClientBuilder::new("ws://name:secret@host/path?token=secret".to_owned()).header("x-key", "secret");
        assert!(!format!("{builder:?}").contains("secret"), "{builder:?}");
        assert!(format!("{builder:?}").contains("ws://host/path"), "{builder:?}");
        let builder = ClientBuilder::new("http://name:secret@host/path?token=secret".to_owned());
        assert!(!format!("{builder:?}").contains("secret"), "{builder:?}");
    }
}
