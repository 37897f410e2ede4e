use super::{AnyConnection, Realtime};
use crate::{
    context::Principal,
    hub::{Client, Hub, Letter},
    protocol::Encode,
};
use realtime_protocol::{ConnectionId, Event, Result};
use serde::Serialize;
use std::{fmt, sync::Arc};

/// The connections of a principal on all nodes, for what is sent to all of them. Returned by [`Realtime::to_principal`].
#[must_use = "nothing is sent before `send` or `emit`"]
pub struct Recipients<'a> {
    hub: &'a Hub,
    principal: &'a Principal,
    except: &'a [ConnectionId],
}

impl Realtime {
    /// Sends to all connections of a principal, with a broker those on all nodes: `emit` or `send` on the returned value does
    /// it.
    ///
    /// On other nodes it arrives at most once, as what is published to a topic: a node whose first connection of the
    /// principal has just come may miss it. What nobody may miss goes into a [`Feed`](crate::Feed) of the user.
    ///
    /// # Examples
    ///
    /// ```
    /// use realtime_core::{Event, Presence, Principal, Realtime, Result};
    ///
    /// const MAIL: Event<String> = Event::new("mail");
    ///
    /// /// Entered by `on_open`: each user, on whatever node.
    /// const ONLINE: Presence<String> = Presence::fixed("online").by_principal();
    ///
    /// fn notify(realtime: &Realtime, user: &str, subject: &String) -> Result {
    ///     realtime.to_principal(&Principal(user.into())).emit(MAIL, subject)?;
    ///     if !realtime.present(&ONLINE).iter().any(|present| present.data == user) {
    ///         // Nobody is there: send a push message.
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

    /// Queues an event for each connection, and returns for how many it was on this node. One whose outbox is full is closed
    /// with 1013, and those whose protocol has no events are left out.
    ///
    /// # Errors
    ///
    /// `INTERNAL` if the data does not serialise, `RESOURCE_EXHAUSTED` if it is larger than an outbox. `UNAVAILABLE` if
    /// the broker is so far behind that other nodes miss it.
    pub fn emit<T: Serialize + Sync + 'static>(self, event: Event<T>, data: &T) -> Result<usize> {
        let letter = Letter { event: Some(event.name()), message: data, except: self.except };
        self.hub.send_to_principal(self.principal, &letter, |_| true, None)
    }

    pub(crate) fn hub(&self) -> &'a Hub {
        self.hub
    }

    /// Queues a message for those that are meant, on other nodes for those of these mounts.
    pub(crate) fn queue(
        self,
        message: &dyn Encode,
        meant: impl Fn(&Client) -> bool,
        mounts: &[Arc<str>],
    ) -> Result<usize> {
        let letter = Letter { event: None, message, except: self.except };
        self.hub.send_to_principal(self.principal, &letter, meant, Some(mounts))
    }
}

/// Omits the principal: a name may be an address of somebody.
impl fmt::Debug for Recipients<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recipients").field("except", &self.except).finish_non_exhaustive()
    }
}
