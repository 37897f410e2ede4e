use super::{
    HttpRequest, Kind, RawClient, Request, Subject, client::Wire, exchange::Body, memory::Memory, tcp::Tcp,
};
use http::Response;
use realtime_core::{Realtime, raw::TICK};
use std::{fmt, time::Duration};

/// A server under test. It stops when it is dropped.
pub struct Server {
    realtime: Realtime,
    host: Box<dyn Host>,
}

/// The destination of requests: a socket, or memory.
pub(crate) trait Host: Sync {
    /// Sends a request, with bytes immediately after its head. Returns the response's head, and the connection after
    /// it.
    fn request(&self, request: &http::Request<()>, early: &[u8]) -> (Response<()>, Box<dyn Wire>);

    /// Sends a request other than for a WebSocket. Returns the connection of the response.
    fn begin(&self, request: &http::Request<()>, body: &Body) -> Box<dyn Wire>;

    /// The address to connect to, if there is one.
    fn address(&self) -> Option<std::net::SocketAddr>;
}

impl Subject {
    /// Starts a server. `realtime` must be built with manual time.
    pub fn start(&self, realtime: Realtime) -> Server {
        let host: Box<dyn Host> = match self.kind {
            Kind::Memory => Box::new(Memory::start(realtime.clone())),
            Kind::Tcp(serve) => Box::new(Tcp::start(realtime.clone(), serve)),
        };
        Server { realtime, host }
    }
}

impl Server {
    /// Returns the served registry.
    pub fn realtime(&self) -> &Realtime {
        &self.realtime
    }

    /// Connects to a handler.
    #[track_caller]
    pub fn connect(&self, id: &str) -> RawClient {
        self.request(id).connect()
    }

    /// Creates a request for a WebSocket.
    pub fn request(&self, id: &str) -> Request<'_> {
        Request::new(&*self.host, &format!("{}/{id}", self.realtime.prefix()))
    }

    /// Creates a request for a handler with a path of its own.
    pub fn request_at(&self, path: &str) -> Request<'_> {
        Request::new(&*self.host, path)
    }

    /// Creates an HTTP request.
    pub fn http(&self, id: &str) -> HttpRequest<'_> {
        HttpRequest::new(&*self.host, &format!("{}/{id}", self.realtime.prefix()))
    }

    /// Advances the hub's clock.
    pub fn advance(&self, duration: Duration) {
        for _ in 0..duration.as_millis().div_ceil(TICK.as_millis()) {
            self.realtime.tick();
        }
    }

    pub(crate) fn address(&self) -> Option<std::net::SocketAddr> {
        self.host.address()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("realtime", &self.realtime).finish_non_exhaustive()
    }
}
