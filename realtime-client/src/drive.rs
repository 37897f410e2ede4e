use crate::{
    activity::Activity,
    connect::{Socket, closed},
    handlers::{BoxFuture, Events, Handlers},
    headers::Headers,
    serving::Serving,
    session::Input,
    shared::{MessageIn, Shared},
    state::Cause,
    wire::{payload, to_websocket},
    within::within,
};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    task::{coop, yield_now},
    time::{Instant, sleep_until},
};
use tokio_tungstenite::tungstenite::{
    self, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

/// Runs one connection until it ends, and returns the cause. Running calls of the server are dropped with it.
pub(crate) async fn drive(
    shared: &Shared,
    handlers: &Handlers,
    events: &Events,
    headers: &Headers,
    socket: &mut Socket,
    activity: &Activity,
) -> Cause {
    let link = Link { socket, unflushed: false, broken: false };
    let serving = Serving::default();
    let mut driver = Driver { shared, handlers, events, headers, activity, link, serving, token: None };
    let Err(cause) = driver.run().await;
    cause
}

/// A connection with everything that it needs to run.
struct Driver<'a> {
    shared: &'a Shared,
    handlers: &'a Handlers,
    events: &'a Events,
    headers: &'a Headers,
    activity: &'a Activity,
    link: Link<'a>,
    serving: Serving,
    /// The fresh token that the server has asked for.
    token: Option<BoxFuture<realtime_protocol::Result<String>>>,
}

impl Driver<'_> {
    async fn run(&mut self) -> Result<Infallible, Cause> {
        let shared = self.shared;
        let mut closing = pin!(shared.closing());
        let mut sleep = pin!(sleep_until(Instant::now()));
        loop {
            self.note_activity();
            let due = shared.with(|session| session.check_queue().map(|()| session.next_deadline()))?;
            if let Some(deadline) = due.filter(|deadline| *deadline != sleep.deadline()) {
                sleep.as_mut().reset(deadline);
            }
            tokio::select! {
                () = &mut closing => return Err(Cause::Local),
                () = shared.news.notified() => {}
                () = &mut sleep, if due.is_some() => {
                    self.catch_up().await?;
                    shared.with(|session| session.handle_time(Instant::now()))?;
                }
                token = fetched(&mut self.token) => self.authenticate(token),
                (id, answer) = self.serving.next() => shared.with(|session| session.answer(&id, answer)),
                message = poll_fn(|cx| self.link.poll(cx, shared)) => self.handle_message(message)?,
            }
        }
    }

    /// Handles the data that is already in the socket. It arrived in time, whatever the clock says now: the thread may
    /// have been busy, or the process stopped.
    async fn catch_up(&mut self) -> Result<(), Cause> {
        let mut left = SOCKET_BYTES;
        loop {
            // Lets the runtime poll its sockets first.
            yield_now().await;
            while let Poll::Ready(message) = poll_fn(|cx| Poll::Ready(self.link.poll(cx, self.shared))).await {
                self.handle_message(message)?;
                left = left.saturating_sub(self.note_activity());
                if left == 0 {
                    return Ok(());
                }
            }
            // If the task's budget is used up, the socket may have more.
            if coop::has_budget_remaining() {
                self.note_activity();
                return Ok(());
            }
        }
    }

    /// Counts new bytes as a sign of life. Returns their number.
    fn note_activity(&self) -> usize {
        let bytes = self.activity.take();
        if bytes > 0 {
            self.shared.with(|session| session.hear(Instant::now()));
        }
        bytes
    }

    fn handle_message(&mut self, message: Option<Result<Message, tungstenite::Error>>) -> Result<(), Cause> {
        let message = match message {
            Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
            Some(Ok(message)) => message,
            Some(Err(error)) => return Err(Cause::Lost(error.to_string())),
            None => return Err(Cause::Lost("it ended without a close frame".to_owned())),
        };
        let Some(payload) = payload(&message) else { return Ok(()) };
        let input = self.shared.with(|session| session.handle_frame(&payload));
        if let Some(input) = input.map_err(Cause::Lost)? {
            self.handle_input(input);
        }
        Ok(())
    }

    /// Sends a fresh token. Without one the server closes the connection at the end of the last, and the next attempt asks
    /// for one again.
    fn authenticate(&self, token: realtime_protocol::Result<String>) {
        match token {
            Ok(token) => self.shared.with(|session| session.authenticate(&token)),
            Err(error) => tracing::warn!(?error, "no fresh token"),
        }
    }

    fn handle_input(&mut self, input: Input) {
        let Self { shared, handlers, events, headers, serving, token, .. } = self;
        match input {
            Input::Message { value, place } => tell(shared, &MessageIn::Message { value: Arc::new(value), place }),
            Input::Gap { topic, gap } => tell(shared, &MessageIn::Gap { topic, gap }),
            Input::Complaint(error) => {
                tracing::warn!(?error, "the server reported an error");
                tell(shared, &MessageIn::Error(Arc::new(error)));
            }
            Input::Event { name, data } => events.deliver(&name, data),
            Input::Cancel { id } => serving.cancel(&id),
            Input::Reauthenticate if token.is_none() => *token = headers.fetch_token(),
            Input::Reauthenticate => {}
            Input::Call { id, path, input, timeout } => {
                if let Err(error) = serving.start(handlers, &id, &path, input, timeout) {
                    shared.with(|session| session.answer(&id, Err(error)));
                }
            }
        }
    }
}

/// Waits for the token that is being fetched; for ever if there is none.
async fn fetched(
    token: &mut Option<BoxFuture<realtime_protocol::Result<String>>>,
) -> realtime_protocol::Result<String> {
    let Some(fetching) = token else { return pending().await };
    let fetched = fetching.await;
    *token = None;
    fetched
}

/// Sends the waiting frames and a close frame, and waits for the server's.
pub(crate) async fn say_goodbye(shared: &Shared, socket: &mut Socket, limit: Duration) {
    let goodbye = async {
        while let Some(message) = shared.with(|session| session.take_frame(Instant::now())) {
            socket.feed(to_websocket(message)).await?;
        }
        socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).await?;
        while let Some(message) = socket.next().await {
            if message?.is_close() {
                break;
            }
        }
        Ok::<_, tungstenite::Error>(())
    };
    // A peer that is already gone needs no close frame.
    let _ = within(limit, goodbye).await;
}

/// Sends the reply to the server's close frame, which was queued when that was read.
pub(crate) async fn answer_close(socket: &mut Socket) {
    let _ = within(CLOSE_ANSWER, socket.flush()).await;
}

/// A connection, and whether it can be written to.
struct Link<'a> {
    socket: &'a mut Socket,
    unflushed: bool,
    /// True once writing has failed.
    broken: bool,
}

impl Link<'_> {
    /// Writes as much as fits, and reads one message.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared,
    ) -> Poll<Option<Result<Message, tungstenite::Error>>> {
        // If writing fails, a close frame that explains it may still be read.
        if !self.broken && matches!(self.poll_write(cx, shared), Poll::Ready(Err(_))) {
            self.broken = true;
        }
        Pin::new(&mut *self.socket).poll_next(cx)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, shared: &Shared) -> Poll<Result<(), tungstenite::Error>> {
        let mut socket = Pin::new(&mut *self.socket);
        while socket.as_mut().poll_ready(cx)?.is_ready() {
            let Some(message) = shared.with(|session| session.take_frame(Instant::now())) else { break };
            socket.as_mut().start_send(to_websocket(message))?;
            self.unflushed = true;
        }
        if self.unflushed && socket.as_mut().poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        Poll::Pending
    }
}

/// More than the buffers of a socket hold: further data arrived later.
const SOCKET_BYTES: usize = 16 << 20;

fn tell(shared: &Shared, message: &MessageIn) {
    shared.messages.publish(message, WAITING_MESSAGES).wake();
}

/// The number of messages that wait for a reader.
const WAITING_MESSAGES: usize = 256;

/// The time limit for the reply to the server's close frame.
const CLOSE_ANSWER: Duration = Duration::from_secs(1);
