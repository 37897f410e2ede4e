use super::SendQueue;
use std::{
    io,
    task::{Context, Poll},
};

/// The byte stream of one client, implemented by adapters.
///
/// Sockets implement it with vectored writes; frameworks that pull a response body, with a shared queue. The driver
/// calls the methods from one task, and wake-ups go to the task of the last call. After an error the driver only drops
/// the transport. After `poll_close` has returned `Ready`, it may be called again, and reading goes on until the peer
/// has seen the end.
///
/// Dropping a transport closes its socket. If the framework shares the socket and may keep it for a client that does
/// not read, let the framework hold a clone of [`Upgrade::permit`](crate::raw::Upgrade::permit) too: otherwise the
/// client's permit is given to another while its socket is still open.
///
/// # Cancel safety
///
/// Each method may be called any number of times, in any order, and loses nothing when it returns [`Poll::Pending`]:
/// all state is in the transport and in the queue.
pub trait Transport: Unpin {
    /// Reads available bytes into `buffer` and returns their number; 0 is the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Sends as much of `queue` as possible, and flushes. Returns `Ready` once the queue is empty and flushed,
    /// `Pending` while something is left; sent bytes are removed from the queue.
    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut SendQueue) -> Poll<io::Result<()>>;

    /// Ends the stream towards the peer (FIN, end of the body) after the bytes sent so far. Reading may go on.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}
