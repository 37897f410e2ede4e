use crate::{
    backoff::Backoff,
    builder::Config,
    connect::{Connected, Failure, connect},
    drive::{answer_close, drive, say_goodbye},
    handlers::{Events, Handlers},
    shared::Shared,
    state::{Cause, State},
    within::within,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// Connects a client until it is closed or gives up.
pub(crate) struct Task {
    backoff: Backoff,
    shared: Finish,
    config: Config,
    handlers: Handlers,
    events: Events,
    /// True once the server has welcomed this client.
    was_connected: bool,
}

impl Task {
    pub(crate) fn new(shared: Arc<Shared>, config: Config, handlers: Handlers, events: Events) -> Self {
        let backoff = Backoff::new(config.reconnect);
        Self { backoff, shared: Finish(shared), config, handlers, events, was_connected: false }
    }

    pub(crate) async fn run(mut self) {
        let why = self.run_connections().await;
        self.shared.0.finish(why);
    }

    async fn run_connections(&mut self) -> Cause {
        loop {
            let failure = self.run_connection().await;
            let shared = &self.shared.0;
            shared.with(|session| session.lose());
            let may_retry = self.config.may_retry(&failure, self.was_connected);
            let Failure { cause, retry_after } = failure;
            if !may_retry {
                return cause;
            }
            let Some(delay) = self.backoff.fail(fastrand::f64()) else { return cause };
            // Adds to the server's delay, so that refused clients do not all return at once.
            let after = delay.saturating_add(retry_after.unwrap_or_default());
            shared.states.set(State::Reconnecting { attempt: self.backoff.attempt(), after, cause });
            tokio::select! {
                biased;
                () = shared.closing() => return Cause::Local,
                () = sleep(after) => {}
                never = shared.keep_time() => match never {},
            }
        }
    }

    /// Opens one connection and runs it until it ends.
    async fn run_connection(&mut self) -> Failure {
        let shared = &self.shared.0;
        shared.states.set(State::Connecting { attempt: self.backoff.attempt() });
        let connected = tokio::select! {
            biased;
            () = shared.closing() => return Cause::Local.into(),
            connected = within(self.config.connect_timeout, connect(&self.config)) => connected,
            never = shared.keep_time() => match never {},
        };
        let Connected { mut socket, activity, connection, heartbeat, message_bytes } = match connected {
            Some(Ok(connected)) => connected,
            Some(Err(failure)) => return failure,
            None => return Cause::Timeout.into(),
        };

        self.was_connected = true;
        let opened = Instant::now();
        let ping_after = self.config.ping_after.or(heartbeat.map(within_reason)).unwrap_or(PING_AFTER);
        shared.with(|session| {
            session.limit_messages(message_bytes);
            session.open(opened, ping_after, self.config.ping_deadline);
        });
        shared.states.set(State::Open { connection });

        let cause =
            drive(shared, &self.handlers, &self.events, &self.config.headers, &mut socket, &activity).await;
        if opened.elapsed() >= STAYED_OPEN {
            self.backoff.reset();
        }
        match &cause {
            Cause::Local => say_goodbye(shared, &mut socket, self.config.close_timeout).await,
            Cause::Closed { .. } => {
                // Callers need not wait for the reply to the close frame.
                shared.with(|session| session.lose());
                answer_close(&mut socket).await;
            }
            _ => {}
        }
        cause.into()
    }
}

/// Ends the client with its task, even if the runtime drops the task before it runs.
struct Finish(Arc<Shared>);

impl Drop for Finish {
    fn drop(&mut self) {
        self.0.finish(Cause::Lost("the client's task ended".to_owned()));
    }
}

/// Limits the server's ping interval to a sensible range, so that the client can use it.
fn within_reason(heartbeat: Duration) -> Duration {
    heartbeat.clamp(Duration::from_secs(1), Duration::from_secs(300))
}

/// Used if the server names no interval: less than the minute after which many proxies drop a quiet connection.
const PING_AFTER: Duration = Duration::from_secs(25);

/// A connection that ends sooner does not show that the problem is solved.
const STAYED_OPEN: Duration = Duration::from_secs(5);
