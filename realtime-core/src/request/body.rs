use crate::{context::Context, hub::Hub};
use bytes::Bytes;
use futures_core::Stream;
use std::{future::poll_fn, pin::Pin};

/// A request's body. The part that is not needed is discarded before the answer: a client that is still sending would
/// see a reset instead of the answer, and a proxy would make a 502 of it.
pub(super) struct RequestBody<'a, B> {
    stream: &'a mut B,
    /// The announced length in bytes, if there is one.
    declared: Option<usize>,
    read: usize,
    rest: Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// There is none.
    None,
    /// It is not waited for.
    Left,
    /// The client waits for a 100 before it sends the body; reading would send the 100.
    Held,
    /// The body may be under way.
    Coming,
}

impl<'a, B> RequestBody<'a, B> {
    pub(super) fn new(context: &Context, stream: &'a mut B) -> Self {
        let declared = context.header("content-length").and_then(|length| length.trim().parse().ok());
        // Some frameworks hand over the bytes of an upgraded connection as they come: only a length marks the end of
        // a body.
        let is_chunked =
            context.header("transfer-encoding").is_some() && !context.header_has("upgrade", "websocket");
        let announced = declared.is_some_and(|length| length > 0) || is_chunked;
        let rest = match announced {
            // The bytes behind an upgrade are no body.
            false => Rest::None,
            true if context.header_has("expect", "100-continue") => Rest::Held,
            true => Rest::Coming,
        };
        Self { stream, declared, read: 0, rest }
    }

    /// Returns the announced length.
    pub(super) fn declared(&self) -> Option<usize> {
        self.declared
    }

    /// Stops waiting for the rest of the body.
    pub(super) fn give_up(&mut self) {
        self.leave();
    }

    /// Tells whether bytes of the body may still come, so that no request can follow on an HTTP/1 connection.
    pub(super) fn is_unread(&self) -> bool {
        self.rest != Rest::None
    }

    fn leave(&mut self) {
        if self.rest != Rest::None {
            self.rest = Rest::Left;
        }
    }

    /// Reads the next chunk; `None` at the end.
    pub(super) async fn next<E>(&mut self) -> Option<Result<Bytes, E>>
    where
        B: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        if self.rest == Rest::Held {
            self.rest = Rest::Coming;
        }
        let next = poll_fn(|cx| Pin::new(&mut *self.stream).poll_next(cx)).await;
        match &next {
            Some(Ok(piece)) => self.read += piece.len(),
            Some(Err(_)) => self.leave(),
            None => self.rest = Rest::None,
        }
        // Behind an upgrade the framework's stream has no end.
        if self.declared.is_some_and(|length| self.read >= length) {
            self.rest = Rest::None;
        }
        next
    }

    /// Reads and drops the rest, within a limit of bytes and of time.
    pub(super) async fn discard<E>(&mut self, hub: &Hub)
    where
        B: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        let mut left = hub.config.discarded_bytes;
        // The end of a longer body would not be reached, so waiting for it is pointless.
        if self.rest != Rest::Coming || self.declared.is_some_and(|length| length > left) {
            return;
        }
        let discarded = async {
            while self.rest == Rest::Coming
                && let Some(Ok(piece)) = self.next().await
            {
                let Some(rest) = left.checked_sub(piece.len()) else { return };
                left = rest;
            }
        };
        hub.before(hub.config.close_timeout, discarded).await;
    }
}
