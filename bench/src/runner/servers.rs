//! The measured servers.

use super::cases::{Case, Kind};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    /// The binary in this package.
    pub(crate) program: &'static str,
    pub(crate) variables: &'static [(&'static str, &'static str)],
    pub(crate) dialect: Dialect,
}

/// The protocol of a server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// This library's protocol: paths below `/__realtime`, and an envelope if the handler is typed.
    Ours,
    /// Bare WebSocket messages.
    Plain,
    SocketIo,
}

pub(crate) const ALL: [Server; 12] = [
    Server::new("bench-axum", Dialect::Ours),
    Server::new("bench-actix", Dialect::Ours),
    Server::new("bench-hyper", Dialect::Ours),
    Server::multi("bench-axum-multi", "bench-axum"),
    Server::multi("bench-hyper-multi", "bench-hyper"),
    Server::new("raw-axum", Dialect::Plain),
    Server::new("raw-actix", Dialect::Plain),
    Server::new("raw-tungstenite", Dialect::Plain),
    Server::new("raw-fastwebsockets", Dialect::Plain),
    Server::new("socketioxide", Dialect::SocketIo),
    Server::new("limit", Dialect::Plain),
    Server { name: "limit-batch", variables: &[("BATCH", "1")], ..Server::new("limit", Dialect::Plain) },
];

impl Server {
    const fn new(name: &'static str, dialect: Dialect) -> Self {
        Self { name, program: name, variables: &[], dialect }
    }

    /// One of our servers on a thread pool.
    const fn multi(name: &'static str, program: &'static str) -> Self {
        Self { name, program, variables: &[("RT", "multi")], dialect: Dialect::Ours }
    }

    pub(crate) fn is_ours(self) -> bool {
        self.dialect == Dialect::Ours
    }

    fn is_on_one_thread(self) -> bool {
        !self.variables.contains(&("RT", "multi"))
    }

    /// Returns true if the case applies to the server.
    pub(crate) fn takes_part(self, case: &Case) -> bool {
        match case.kind {
            // A baseline for the cost of the kernel's caches.
            Kind::Fanout { .. } if case.group.is_some() => {
                ["bench-axum", "bench-hyper", "limit"].contains(&self.name)
            }
            Kind::Fanout { .. } => true,
            Kind::Rooms { .. } | Kind::Stalled { .. } | Kind::Subscribed { .. } => {
                self.is_ours() && self.is_on_one_thread()
            }
            Kind::Quiet { is_echo: true, .. } => self.dialect != Dialect::SocketIo && self.name != "limit-batch",
            Kind::Quiet { .. } => self.is_ours(),
            // A hand-written version on axum, and the kernel's share, which does not depend on the text.
            Kind::Typed { .. } => self.is_ours() || ["raw-axum", "limit"].contains(&self.name),
            // The kernel's share; other servers have no calls of this form.
            Kind::Call { .. } => self.is_ours() || self.name == "limit",
            // The other servers have no heartbeats.
            Kind::Heartbeat { .. } => self.dialect != Dialect::Plain && self.is_on_one_thread(),
            Kind::Echo { .. } | Kind::Idle { .. } | Kind::Churn { .. } => self.name != "limit-batch",
        }
    }
}

impl Dialect {
    /// Returns the arguments for the load.
    pub(crate) fn words(self, case: &Case) -> Vec<String> {
        let words = match (self, case.kind) {
            (Self::Ours, Kind::Typed { .. }) => {
                // `welcome` comes first.
                vec!["--path", "/__realtime/typed", "--subprotocol", "realtime.v1.json", "--replies", "1"]
            }
            (Self::Ours, Kind::Call { .. } | Kind::Subscribed { .. }) => {
                let path = ["--path", "/__realtime/api", "--subprotocol", "realtime.v1.json", "--replies", "1"];
                path.into_iter().chain(["--by-id", "--prefix", r#"{"type":"result""#]).collect()
            }
            (Self::Ours, Kind::Rooms { .. }) => vec!["--path", "/__realtime/rooms?room={INDEX}"],
            (Self::Ours, Kind::Fanout { .. } | Kind::Stalled { .. }) => vec!["--path", "/__realtime/chat"],
            (Self::Ours, _) => vec!["--path", "/__realtime/echo"],
            (Self::Plain, Kind::Call { .. }) => vec!["--path", "/echo", "--by-id"],
            (Self::Plain, Kind::Typed { .. }) => vec!["--path", "/typed"],
            (Self::Plain, Kind::Fanout { .. }) => vec!["--path", "/chat"],
            (Self::Plain, _) => vec!["--path", "/echo"],
            (Self::SocketIo, _) => SOCKET_IO.to_vec(),
        };
        let message = match (self, case.kind) {
            (_, Kind::Typed { .. }) => r#"{"type":"message","value":{"text":"{TEXT}"}}"#,
            (_, Kind::Call { .. } | Kind::Subscribed { .. }) => {
                r#"{"type":"call","id":"{ID}","path":"echo","input":{"text":"{TEXT}"}}"#
            }
            (Self::SocketIo, Kind::Fanout { .. }) => r#"42["chat","{TEXT}"]"#,
            (Self::SocketIo, _) => r#"42["echo","{TEXT}"]"#,
            _ => "{TEXT}",
        };
        words.into_iter().chain(["--message", message]).map(str::to_owned).collect()
    }
}

/// The server sends two messages before the connection is open: its handshake, and the reply to `40`.
const SOCKET_IO: [&str; 9] = [
    "--path",
    "/socket.io/?EIO=4&transport=websocket",
    "--hello",
    "40",
    "--replies",
    "2",
    "--prefix",
    "42[",
    "--engine-io",
];
