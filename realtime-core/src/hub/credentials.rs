use super::{Client, Hub};
use crate::{protocol::Outgoing, seams::BoxFuture, util::TICK, util::sync::Mutex};
use realtime_protocol::{CloseCode, Result};
use std::{fmt, sync::Arc, time::Duration};

/// The credentials of a client that end. Without a [`Renewal`] the client cannot be asked for fresh ones.
pub(crate) struct Credentials {
    renewal: Option<Arc<dyn Renewal>>,
    state: Mutex<State>,
}

/// Checks fresh credentials of a client; the middleware, which the hub does not know.
pub(crate) trait Renewal: Send + Sync {
    /// Returns how long they last, if that is limited.
    fn renew(&self, client: &Client, token: &str) -> BoxFuture<'static, Result<Option<Duration>>>;
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// The tick at which they end; `None` for never.
    end: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// At this tick the client is asked for fresh ones.
    Asks(u32),
    /// The client was asked.
    Asked,
    /// A token of its own is being checked. Others are not taken meanwhile.
    Checking,
    /// The client cannot be asked.
    Final,
}

impl Credentials {
    /// Creates credentials that end at this tick.
    pub(crate) fn new(hub: &Hub, end: u32, renewal: Option<Arc<dyn Renewal>>) -> Self {
        let phase = if renewal.is_some() { Phase::Asks(ask_at(hub, end)) } else { Phase::Final };
        Self { renewal, state: Mutex::new(State { phase, end: Some(end) }) }
    }
}

/// Returns the tick at which fresh credentials are asked for.
fn ask_at(hub: &Hub, end: u32) -> u32 {
    let now = hub.clock.now();
    let left = end.saturating_sub(now);
    end - hub.clock.ticks(hub.config.credentials_grace).min(left / 2)
}

/// The things to do about credentials.
enum Due {
    Nothing,
    Ask(Duration),
    End,
}

impl State {
    fn due(&mut self, now: u32) -> Due {
        let Some(end) = self.end else { return Due::Nothing };
        if now >= end {
            return Due::End;
        }
        match self.phase {
            Phase::Asks(at) if now >= at => {
                self.phase = Phase::Asked;
                Due::Ask(TICK * (end - now))
            }
            _ => Due::Nothing,
        }
    }

    fn next(&self) -> Option<u32> {
        match self.phase {
            Phase::Asks(at) => self.end.and(Some(at)),
            Phase::Asked | Phase::Checking | Phase::Final => self.end,
        }
    }
}

impl Client {
    /// Asks for fresh credentials, or closes, when it is time for that.
    pub(crate) fn watch_credentials(&self, now: u32) {
        let Some(credentials) = &self.credentials else { return };
        let (due, next) = {
            let mut state = credentials.state.lock();
            (state.due(now), state.next())
        };
        match due {
            Due::Nothing => {}
            Due::Ask(within) => self.ask_for_token(within),
            Due::End => return self.end_credentials("the credentials have ended"),
        }
        if let Some(next) = next {
            self.watch(next);
        }
    }

    fn ask_for_token(&self, within: Duration) {
        tracing::debug!(connection = %self.id, endpoint = %self.endpoint, ?within, "asked for a fresh token");
        // Without room for the packet, the client is closed at the end.
        let _ = self.encode(&Outgoing::Reauthenticate { within }, |frame| self.outbox.push_control(frame));
    }

    /// Closes a client whose credentials have ended or were refused.
    pub(crate) fn end_credentials(&self, reason: &str) {
        tracing::debug!(connection = %self.id, endpoint = %self.endpoint, reason, "credentials ended");
        self.close(CloseCode::UNAUTHORIZED, reason);
    }

    /// Returns true if the client was asked for a token and has sent none.
    pub(crate) fn awaits_token(&self) -> bool {
        self.credentials.as_ref().is_some_and(|credentials| credentials.state.lock().phase == Phase::Asked)
    }

    /// Begins to check a fresh token; `None` if the client was not asked for one.
    pub(crate) fn begin_renewal(&self, token: &str) -> Option<BoxFuture<'static, Result<Option<Duration>>>> {
        let credentials = self.credentials.as_ref()?;
        let renewal = credentials.renewal.as_ref()?;
        {
            let mut state = credentials.state.lock();
            if state.phase != Phase::Asked {
                return None;
            }
            state.phase = Phase::Checking;
        }
        Some(renewal.renew(self, token))
    }

    /// Notes that the credentials are good until the tick `end`, or without end.
    pub(crate) fn renewed(&self, end: Option<u32>) {
        let Some(credentials) = &self.credentials else { return };
        let next = {
            let mut state = credentials.state.lock();
            state.end = end;
            state.phase = Phase::Asks(end.map_or(0, |end| ask_at(&self.hub, end)));
            state.next()
        };
        tracing::debug!(connection = %self.id, endpoint = %self.endpoint, "credentials renewed");
        if let Some(next) = next {
            self.watch(next);
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("state", &self.state).finish_non_exhaustive()
    }
}
