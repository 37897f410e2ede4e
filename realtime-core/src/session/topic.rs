use crate::{
    calls::{Next, Piece, Source},
    hub::{Client, Listener, Listening},
    outbox::Keeping,
};
use realtime_protocol::Result;
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// The messages of a topic as the source of a subscription.
pub(super) struct TopicItems(Listening);

impl TopicItems {
    /// Begins to listen, unless the client was revoked from the topic since it has asked.
    pub(super) fn begin(client: &Arc<Client>, topic: &str, keeping: Keeping, since: u64) -> Result<Self> {
        let listening = Listening::begin(client, topic, keeping)?;
        client.may_hear(topic, since)?;
        Ok(Self(listening))
    }

    pub(super) fn listener(&self) -> &Arc<Listener> {
        self.0.listener()
    }
}

impl Source for TopicItems {
    fn poll_item(self: Pin<&mut Self>, cx: &mut Context<'_>, take: &mut dyn FnMut(Piece<'_>)) -> Poll<Next> {
        let (message, gap) = ready!(self.0.poll_next(cx));
        let key = message.key.clone();
        take(Piece { value: &message.value, position: None, event: None, key, after: gap.as_ref() });
        Poll::Ready(Next::Item)
    }
}
