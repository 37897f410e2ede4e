use crate::{
    activity::Activity,
    connect::{Socket, closed},
    handlers::{Events, Handlers},
    serving::Serving,
    session::Input,
    shared::Shared,
    state::Cause,
};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{
    self, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

/// Runs one connection until it ends, and says why. The calls of the server's that run are dropped with it.
pub(crate) async fn drive(
    shared: &Shared,
    handlers: &Handlers,
    events: &Events,
    socket: &mut Socket,
    activity: &Activity,
) -> Cause {
    let mut link = Link { socket, unflushed: false, broken: false };
    let mut serving = Serving::default();
    let mut closing = pin!(shared.closing());
    let mut sleep = pin!(sleep_until(Instant::now()));
    loop {
        let due = shared.with(|session| {
            let now = Instant::now();
            if activity.take() {
                session.hear(now);
            }
            session.handle_time(now).map(|()| session.next_deadline())
        });
        match due {
            Ok(Some(deadline)) if deadline != sleep.deadline() => sleep.as_mut().reset(deadline),
            Ok(_) => {}
            Err(cause) => return cause,
        }
        tokio::select! {
            () = &mut closing => return Cause::Local,
            () = shared.news.notified() => {}
            () = &mut sleep => {}
            (id, answer) = serving.next() => shared.with(|session| session.answer(&id, answer)),
            message = poll_fn(|cx| link.poll(cx, shared)) => {
                let message = match message {
                    Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => message,
                    Some(Ok(Message::Close(frame))) => return closed(frame),
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Cause::Lost(error.to_string()),
                    None => return Cause::Lost("it ended without a close frame".to_owned()),
                };
                let input = shared.with(|session| session.handle_frame(&message));
                match input {
                    Ok(Some(input)) => handle(input, shared, handlers, events, &mut serving),
                    Ok(None) => {}
                    Err(wrong) => return Cause::Lost(wrong),
                }
            }
        }
    }
}

/// Says goodbye: sends what waits and a close frame, and waits for the server's.
pub(crate) async fn say_goodbye(shared: &Shared, socket: &mut Socket, within: Duration) {
    let goodbye = async {
        while let Some(message) = shared.with(|session| session.take_frame(Instant::now())) {
            socket.feed(message).await?;
        }
        socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).await?;
        while let Some(message) = socket.next().await {
            if message?.is_close() {
                break;
            }
        }
        Ok::<_, tungstenite::Error>(())
    };
    // A peer that is gone already has nothing to be told.
    let _ = timeout(within, goodbye).await;
}

/// Sends what the server's close frame is answered with, which was queued when it was read.
pub(crate) async fn answer_close(socket: &mut Socket) {
    let _ = timeout(CLOSE_ANSWER, socket.flush()).await;
}

fn handle(input: Input, shared: &Shared, handlers: &Handlers, events: &Events, serving: &mut Serving) {
    match input {
        Input::Message(value) => shared.messages.publish(&Ok(Arc::from(value)), WAITING_MESSAGES).wake(),
        Input::Complaint(error) => {
            tracing::warn!(?error, "the server complains");
            shared.messages.publish(&Err(Arc::new(error)), WAITING_MESSAGES).wake();
        }
        Input::Event { name, data } => events.deliver(&name, data),
        Input::Cancel { id } => serving.cancel(&id),
        Input::Call { id, path, input, timeout } => {
            if let Err(error) = serving.start(handlers, &id, &path, input, timeout) {
                shared.with(|session| session.answer(&id, Err(error)));
            }
        }
    }
}

/// A connection, and how far it is written.
struct Link<'a> {
    socket: &'a mut Socket,
    unflushed: bool,
    /// Nothing can be written any more.
    broken: bool,
}

impl Link<'_> {
    /// Writes as much as there is and fits, and reads one message.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
    ) -> Poll<Option<Result<Message, tungstenite::Error>>> {
        // What cannot be written is no reason not to read: a close frame may be there, which says more.
        if !self.broken && matches!(self.poll_write(cx, shared), Poll::Ready(Err(_))) {
            self.broken = true;
        }
        Pin::new(&mut *self.socket).poll_next(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<Result<(), tungstenite::Error>> {
        let mut socket = Pin::new(&mut *self.socket);
        while socket.as_mut().poll_ready(cx)?.is_ready() {
            let Some(message) = shared.with(|session| session.take_frame(Instant::now())) else { break };
            socket.as_mut().start_send(message)?;
            self.unflushed = true;
        }
        if self.unflushed && socket.as_mut().poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        Poll::Pending
    }
}

/// Messages that nobody takes.
const WAITING_MESSAGES: usize = 256;

/// A server that closes reads at least that.
const CLOSE_ANSWER: Duration = Duration::from_secs(1);
