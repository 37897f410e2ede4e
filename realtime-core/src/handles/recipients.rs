use super::{AnyConnection, Realtime};
use crate::{
    context::Principal,
    hub::{Client, Hub},
    protocol::Outgoing,
};
use realtime_protocol::{ConnectionId, Event, Result};
use serde::Serialize;
use std::fmt;

/// The connections of a principal, for what is sent to all of them. Returned by [`Realtime::to_principal`].
#[must_use = "nothing is sent before `send` or `emit`"]
pub struct Recipients<'a> {
    hub: &'a Hub,
    principal: &'a Principal,
    except: &'a [ConnectionId],
}

impl Realtime {
    /// Sends to all connections of a principal on this node: `emit` or `send` on the returned value does it.
    ///
    /// To reach a user on other nodes too, publish to a topic of the user, to which `on_open` subscribes each connection.
    ///
    /// # Examples
    ///
    /// ```
    /// use realtime_core::{Event, Principal, Realtime, Result};
    ///
    /// const MAIL: Event<String> = Event::new("mail");
    ///
    /// fn notify(realtime: &Realtime, user: &str, subject: &String) -> Result {
    ///     let connections = realtime.to_principal(&Principal(user.into())).emit(MAIL, subject)?;
    ///     if connections == 0 {
    ///         // Nobody is here: send a push message.
    ///     }
    ///     Ok(())
    /// }
    /// ```
    pub fn to_principal<'a>(&'a self, principal: &'a Principal) -> Recipients<'a> {
        Recipients { hub: &self.0, principal, except: &[] }
    }

    /// Returns the open connections of a principal on this node.
    pub fn connections_of(&self, principal: &Principal) -> Vec<AnyConnection> {
        let clients = self.0.principals.of(principal).into_iter().map(AnyConnection::new);
        clients.filter(|connection| !connection.is_closed()).collect()
    }
}

impl<'a> Recipients<'a> {
    /// Leaves out these connections: the one that has caused it, for example. A second call replaces the first.
    pub fn except(mut self, connections: &'a [ConnectionId]) -> Self {
        self.except = connections;
        self
    }

    /// Queues an event for each connection, and returns for how many it was. One whose outbox is full is closed with 1013, and
    /// those whose protocol has no events are left out.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if the data does not serialise, `RESOURCE_EXHAUSTED` if it is larger than an outbox.
    pub fn emit<T: Serialize + Sync + 'static>(self, event: Event<T>, data: &T) -> Result<usize> {
        self.queue(&Outgoing::Event { name: event.name(), data }, |_| true)
    }

    pub(crate) fn queue(&self, packet: &Outgoing<'_>, meant: impl Fn(&Client) -> bool) -> Result<usize> {
        self.hub.send_to_principal(self.principal, self.except, packet, meant)
    }
}

/// Omits the principal: a name may be an address of somebody.
impl fmt::Debug for Recipients<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipients").field("except", &self.except).finish_non_exhaustive()
    }
}
