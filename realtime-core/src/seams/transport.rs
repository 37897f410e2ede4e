use super::SendQueue;
use std::{
    io,
    task::{Context, Poll},
};

/// The bytes of one client: what an adapter brings to the driver.
///
/// Sockets implement it with vectored writes, frameworks that pull a response body with a shared
/// queue. The driver calls these methods from one task; wake-ups go to the task of the last call.
/// After an error only dropping follows; after `poll_close` was ready, it may be called again, and
/// reading goes on until the peer has seen the end.
///
/// A transport that is dropped closes its socket. One that only shares it with a framework, which may hold on to the
/// socket of a client that does not read, has the framework hold a clone of
/// [`Upgrade::permit`](crate::raw::Upgrade::permit) as well: else the client's place is given to another while its
/// socket is still there.
///
/// # Cancel safety
///
/// Each method may be called any number of times, in any order, and loses nothing when it gives
/// [`Poll::Pending`]: all state lives in the transport and in the queue.
pub trait Transport: Unpin {
    /// Reads what is there into `buffer` and gives the number of bytes; 0 is the end of the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Takes as much of `queue` as fits, and flushes. `Ready` once the queue is empty and flushed;
    /// `Pending` while something is left, with what was taken removed from the queue.
    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut SendQueue) -> Poll<io::Result<()>>;

    /// Ends the stream towards the peer (FIN, end of the body) after what was sent. Reading may go on.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}
