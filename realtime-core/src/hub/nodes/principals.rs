//! Messages to principals on other nodes, over a topic for each. A node follows it while the principal is connected there.

use super::CONTROL;
use crate::{
    context::Principal,
    hub::{Client, Hub},
    protocol::{Encode, Outgoing},
    seams::{Publication, Source},
};
use realtime_protocol::{ConnectionId, Result};
use std::sync::Arc;

/// The message of an application to a principal.
#[derive(Clone, Copy)]
pub(crate) struct Letter<'a> {
    /// The event's name, if it is an event.
    pub(crate) event: Option<&'a str>,
    pub(crate) message: &'a dyn Encode,
    /// Connections to leave out.
    pub(crate) except: &'a [ConnectionId],
}

impl<'a> Letter<'a> {
    fn packet(&self) -> Outgoing<'a> {
        match self.event {
            Some(name) => Outgoing::Event { name, data: self.message },
            None => Outgoing::Message(self.message),
        }
    }
}

/// The beginning of the topics of principals.
const TO: &str = "to:";

fn topic_of(name: &str) -> String {
    format!("{CONTROL}{TO}{name}")
}

/// Returns true for the topic of a principal.
pub(in crate::hub) fn is_letter(topic: &str) -> bool {
    principal_of(topic).is_some()
}

/// Returns the principal to whom a topic belongs.
fn principal_of(topic: &str) -> Option<Principal> {
    let name = topic.strip_prefix(CONTROL)?.strip_prefix(TO)?;
    Some(Principal(name.to_owned()))
}

impl Hub {
    /// Has the broker bring what is for a principal while it is connected here, after its first connection has come or its
    /// last one has left.
    pub(in crate::hub) fn look_for_principal(&self, principal: &Principal) {
        let Some(link) = &self.link else { return };
        let topic: Arc<str> = topic_of(&principal.0).into();
        let _ = link.look(Source::Topic, &topic, self.clock.now(), || self.principals.has(principal));
    }

    /// Sends a message to the connections of a principal: here to those that are `meant`, on other nodes to those of the
    /// mounts, or to all without any. Returns the number of those here.
    pub(crate) fn send_to_principal(
        &self,
        principal: &Principal,
        letter: &Letter<'_>,
        meant: impl Fn(&Client) -> bool,
        mounts: Option<&[Arc<str>]>,
    ) -> Result<usize> {
        let Some(link) = &self.link else {
            return self.queue_for_principal(principal, letter.except, &letter.packet(), meant);
        };
        let Letter { event, message, except } = *letter;
        let publication = Publication::of(self.node, &topic_of(&principal.0), event, message, None, except)?;
        let delivered = self.queue_for_principal(principal, except, &letter.packet(), meant)?;
        match mounts {
            None => link.publish(publication)?,
            Some(mounts) => mounts
                .iter()
                .try_for_each(|mount| link.publish(publication.clone().with_key(mount.to_string())))?,
        }
        Ok(delivered)
    }

    /// Delivers what another node sends to a principal. Returns false if it is none of that.
    pub(super) fn hear_letter(&self, publication: &Publication) -> bool {
        let Some(principal) = principal_of(&publication.topic) else { return false };
        if publication.node == self.node {
            return true;
        }
        let Publication { event, key, except, .. } = publication;
        let letter = Letter { event: event.as_deref(), message: publication, except };
        // Those of a mount that have no handler get none of its messages.
        let is_of = |client: &Client, mount: &str| *client.endpoint == *mount && !client.typed.is::<()>();
        let is_meant = |client: &Client| key.as_deref().is_none_or(|mount| is_of(client, mount));
        if let Err(error) = self.queue_for_principal(&principal, except, &letter.packet(), is_meant) {
            tracing::error!(
                node = publication.node,
                ?error,
                "a message of another node to a principal is not valid"
            );
        }
        true
    }
}
