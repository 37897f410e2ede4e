use hyper::rt::{Read, ReadBuf, Write};
use realtime_core::raw::{SendQueue, Transport};
use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// A transport over any hyper stream: a socket, TLS, a stream of HTTP/2.
#[derive(Debug)]
pub struct Io<S>(pub S);

impl<S: Read + Write + Unpin> Transport for Io<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(Pin::new(&mut self.0).poll_read(cx, buffer.unfilled()))?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, queue: &mut SendQueue) -> Poll<io::Result<()>> {
        let vectored = self.0.is_write_vectored();
        let mut stream = Pin::new(&mut self.0);
        ready!(queue.poll_write(vectored, |buffers| match buffers {
            [buffer] => stream.as_mut().poll_write(cx, buffer),
            buffers => stream.as_mut().poll_write_vectored(cx, buffers),
        }))?;
        stream.poll_flush(cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
