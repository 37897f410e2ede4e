//! The session of one client: the driver that reads, calls the application and writes, and the calls inside it.
//!
//! A handler is a [`Hooks`] here, without its types. May import `calls` and the layers beneath it.

mod carrier;
mod driver;
mod feed;
mod hooks;
mod renewing;
mod running;
mod server_calls;
mod serving;
mod subscription;
mod tail;
mod tasks;
mod topic;
mod turn;

pub(crate) use carrier::{Carrier, WebSocket};
pub(crate) use hooks::{Backlog, Delivered, Hooks, NoHandler};
pub(crate) use serving::Serving;
pub(crate) use turn::is_turn_over;

use crate::{
    calls::Router,
    hub::{Client, NewClient},
};
use realtime_protocol::format::Packet;
use std::{fmt, sync::Arc};

/// One client, with the service of its endpoint.
#[derive(Clone)]
struct Session {
    client: Arc<Client>,
    service: Arc<Service>,
    purpose: Purpose,
}

/// The handler and routes that serve the clients of one id.
pub(crate) struct Service {
    pub(crate) hooks: Arc<dyn Hooks>,
    /// The procedures, subscriptions and events; empty for an endpoint of messages alone.
    pub(crate) router: Arc<Router>,
}

/// The purpose of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// All that the client asks for.
    Everything,
    /// The subscriptions with which the session starts; it ends with the last of them.
    Subscriptions,
}

/// The parts that a session is made from.
pub(crate) struct NewSession {
    pub(crate) client: NewClient,
    pub(crate) service: Arc<Service>,
    /// The `welcome` that the client is sent first.
    pub(crate) welcome: Option<Welcome>,
    /// The first packets of a session for subscriptions alone.
    pub(crate) subscriptions: Vec<Packet<'static>>,
}

/// The part of a `welcome` that depends on the endpoint.
pub(crate) struct Welcome {
    /// A hash of its types.
    pub(crate) schema: Option<Arc<str>>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("router", &self.router).finish_non_exhaustive()
    }
}
