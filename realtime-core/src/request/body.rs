use crate::{context::Context, hub::Hub};
use bytes::Bytes;
use futures_core::Stream;
use std::{future::poll_fn, pin::Pin};

/// The body of a request. What no one has use for is discarded before the answer: a client that is still sending would
/// see a reset in place of the answer, and a proxy would make a 502 of it.
pub(super) struct RequestBody<'a, B> {
    stream: &'a mut B,
    /// The bytes that the client announces, if it announces a body and says how long it is.
    declared: Option<usize>,
    read: usize,
    rest: Rest,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// There is none, or it is not to be waited for.
    None,
    /// The client waits for a 100 before it sends it, which reading would send.
    Held,
    /// It may be under way.
    Coming,
}

impl<'a, B> RequestBody<'a, B> {
    pub(super) fn new(context: &Context, stream: &'a mut B) -> Self {
        let declared = context.header("content-length").and_then(|length| length.trim().parse().ok());
        // Of an upgrade some frameworks hand over the bytes as they come: only a length says where a body ends.
        let is_chunked =
            context.header("transfer-encoding").is_some() && !context.header_has("upgrade", "websocket");
        let announced = declared.is_some_and(|length| length > 0) || is_chunked;
        let rest = match announced {
            // What follows an upgrade is no body.
            false => Rest::None,
            true if context.header_has("expect", "100-continue") => Rest::Held,
            true => Rest::Coming,
        };
        Self { stream, declared, read: 0, rest }
    }

    /// The length that the client announces.
    pub(super) fn declared(&self) -> Option<usize> {
        self.declared
    }

    /// Nothing of it is waited for any more.
    pub(super) fn give_up(&mut self) {
        self.rest = Rest::None;
    }

    /// The next piece; `None` at the end.
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
            _ => self.rest = Rest::None,
        }
        // Behind an upgrade, what the framework hands over has no end.
        if self.declared.is_some_and(|length| self.read >= length) {
            self.rest = Rest::None;
        }
        next
    }

    /// Reads what is left and drops it, within limits of bytes and of time.
    pub(super) async fn discard<E>(&mut self, hub: &Hub)
    where
        B: Stream<Item = Result<Bytes, E>> + Unpin,
    {
        let mut left = hub.config.discarded_bytes;
        // Of more than that the end is not seen: then it is not worth the waiting.
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
