use super::{Beginning, Following, Log, To};
use crate::{
    hub::Client,
    outbox::{Keeping, PushError, may_hold},
    protocol::{Encode, Outgoing},
    util::wake,
};
use realtime_protocol::{Position, Result};
use std::{future::poll_fn, sync::Arc};

/// A feed that a handler's connection is about to follow: a state comes first if the client cannot go on where it was.
/// Dropped, it follows nothing.
pub(crate) struct Begun {
    client: Arc<Client>,
    following: Following,
    beginning: Beginning,
    since: u64,
}

impl Begun {
    pub(crate) async fn new(
        client: &Arc<Client>,
        name: &str,
        log: Log,
        keeping: Keeping,
        after: Option<&Position>,
    ) -> Result<Self> {
        let since = client.times_revoked();
        let to = || To::messages(client);
        let (following, beginning) = client.hub.follow_in_time(name, log, keeping, after, since, to).await?;
        let mut begun = Self { client: Arc::clone(client), following, beginning, since };
        if begun.needs_state() {
            // What it has followed until now would go on beside the state.
            client.unfollow(name);
            // First the position, then the state: what is appended meanwhile comes behind it.
            begun.beginning.position = begun.following.restart();
        }
        Ok(begun)
    }

    pub(crate) fn needs_state(&self) -> bool {
        self.beginning.resumed != Some(true)
    }

    /// Queues the state, once there is room. That of a client that is gone, or was revoked, is dropped: joining fails then.
    pub(crate) async fn send(&self, state: &dyn Encode) -> Result {
        let Self { client, following, beginning, .. } = self;
        let topic = following.feed_name();
        let place = Outgoing::Followed { topic, value: state, position: &beginning.position };
        let is_built_in = client.hub.protocols.is_built_in(client.format);
        let frame = client.frame(&if is_built_in { place } else { Outgoing::Message(state) })?;
        may_hold(client.hub.config.outbox_bytes, frame.len())?;
        loop {
            poll_fn(|cx| client.outbox.poll_room(cx)).await;
            let pushed = client.outbox.push_late(&frame, Some(following.right()));
            // Unless others have taken the room.
            if !matches!(pushed, Err(PushError::Full)) {
                wake(pushed.unwrap_or_default());
                client.hub.keep_to_budget();
                return Ok(());
            }
        }
    }

    /// Lets the entries follow.
    pub(crate) fn join(self) -> Result<Beginning> {
        self.client.join_feed(self.following, self.since)?;
        Ok(self.beginning)
    }
}
