//! What runs for one client: the driver that reads, calls the application and writes, and the calls inside it.
//!
//! A handler is a [`Hooks`] here, without its types. May import `calls`, `hub` and what is beneath them.

mod carrier;
mod driver;
mod hooks;
mod running;
mod server_calls;
mod serving;
mod subscription;
mod tail;
mod tasks;
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

/// One client, and what serves it.
#[derive(Clone)]
struct Session {
    client: Arc<Client>,
    service: Arc<Service>,
    purpose: Purpose,
}

/// What serves the clients of one id.
pub(crate) struct Service {
    pub(crate) hooks: Arc<dyn Hooks>,
    /// The procedures, subscriptions and events; none, where only messages are taken.
    pub(crate) router: Arc<Router>,
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Whatever the client asks for.
    Everything,
    /// One subscription, with which it begins and ends.
    OneSubscription,
}

/// What a session is made from.
pub(crate) struct NewSession {
    pub(crate) client: NewClient,
    pub(crate) service: Arc<Service>,
    /// Whether the client is sent a `welcome` first.
    pub(crate) welcome: bool,
    /// What the session begins with, where it is for one subscription alone.
    pub(crate) only: Option<Box<Packet<'static>>>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("router", &self.router).finish_non_exhaustive()
    }
}
