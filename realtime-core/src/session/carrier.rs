use crate::{
    outbox::Closing,
    seams::{SendQueue, Transport},
    websocket::Frame,
};
use bytes::Bytes;
use realtime_protocol::{Close, CloseCode};
use std::{
    io,
    task::{Context, Poll},
};

/// A transport with its own way to send pings and closes.
pub(crate) trait Carrier: Transport {
    /// True if the peer answers a close, and the answer is waited for.
    const IS_CLOSE_ANSWERED: bool;

    /// Queues a request for a sign of life.
    fn push_ping(&mut self, queue: &mut SendQueue);

    /// Queues the close, behind everything else.
    fn push_close(&mut self, close: &Close, closing: Closing, queue: &mut SendQueue);

    /// Returns true if the client has shown life, other than by sending, since the last call.
    fn takes_life(&mut self) -> bool;
}

/// A transport whose bytes are WebSocket frames.
#[derive(Debug)]
pub(crate) struct WebSocket<T>(pub(crate) T);

impl<T: Transport> Carrier for WebSocket<T> {
    const IS_CLOSE_ANSWERED: bool = true;

    fn push_ping(&mut self, queue: &mut SendQueue) {
        queue.push_ping(Bytes::from_static(PING));
    }

    fn push_close(&mut self, close: &Close, closing: Closing, queue: &mut SendQueue) {
        let frame = match closing {
            Closing::Reply => Frame::close_reply(close.code),
            Closing::Own | Closing::Discarding if close.code == CloseCode::ABNORMAL => return,
            Closing::Own | Closing::Discarding => Frame::close(close),
        };
        queue.push(frame.into_bytes());
    }

    #[inline]
    fn takes_life(&mut self) -> bool {
        false
    }
}

impl<T: Transport> Transport for WebSocket<T> {
    #[inline]
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, buffer)
    }

    #[inline]
    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut SendQueue) -> Poll<io::Result<()>> {
        self.0.poll_send(cx, queue)
    }

    #[inline]
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close(cx)
    }
}

/// A ping without a payload.
const PING: &[u8] = &[0x89, 0];
