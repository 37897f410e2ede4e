use super::{
    Hub,
    kept::{Begin, KeyOf},
};
use crate::{
    endpoint::{CallCore, Reply, Route, Starts},
    error::{Error, Result},
    protocol::{Encode, Value},
    runtime::BoxFuture,
    session::{begin, late_error, poll_running},
    upgrade::before,
    websocket::Kind,
};
use std::{future::poll_fn, sync::Arc};

/// Who a client is, wherever it connects from: middleware sets it as a variable of the context.
///
/// Calls with an idempotency key are told apart by it; without one, by the client's address.
///
/// # Examples
///
/// ```
/// use realtime_core::{Accepted, Context, Next, Principal, Reject};
///
/// async fn login(mut context: Context, next: Next) -> Result<Accepted, Reject> {
///     let user = context.header("authorization").ok_or_else(Reject::unauthorized)?.to_owned();
///     context.set(Principal(user));
///     next.run(context).await
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal(pub String);

impl Hub {
    /// Begins a call; with a key, once for all that have the same.
    pub(crate) fn begin_call(
        self: &Arc<Self>,
        route: &Arc<Route>,
        call: &Arc<CallCore>,
        input: Value<'_>,
        key: Option<&str>,
    ) -> Result<BoxFuture<'static, Result<Reply>>> {
        begin(call, || match key {
            Some(key) => self.call_once(route, call, input, key),
            None => route.start(call, input, Starts::as_call),
        })
    }

    /// Runs a call that no connection runs, until it is over or late.
    pub(crate) async fn run_call(
        &self,
        call: &CallCore,
        mut running: BoxFuture<'static, Result<Reply>>,
    ) -> Result<Reply> {
        let left = super::TICK * call.deadline.saturating_sub(self.clock.now());
        let polled = poll_fn(|cx| poll_running(call, &mut running, cx));
        before(self, left, polled).await.unwrap_or_else(|| Err(late_error()))
    }

    /// Begins a call that is run once for all that have the same key: by itself, so that it ends when its first caller
    /// goes before. Who calls, now or later, is given its outcome.
    fn call_once(
        self: &Arc<Self>,
        route: &Arc<Route>,
        call: &Arc<CallCore>,
        input: Value<'_>,
        key: &str,
    ) -> Result<BoxFuture<'static, Result<Reply>>> {
        let key = KeyOf { principal: principal(call), name: Arc::clone(&route.name), key: key.to_owned() };
        let mut begun = self.kept.begin(key.clone(), self.clock.now())?;
        if let Begin::Run(ticket) = begun {
            let own = Arc::new(call.detached());
            let started = route.start(&own, input, Starts::as_call);
            let hub = Arc::clone(self);
            begun = self.kept.begin(key, self.clock.now())?;
            self.spawn(Box::pin(async move {
                let outcome = match started {
                    Ok(running) => hub.run_call(&own, running).await,
                    Err(error) => Err(error),
                };
                own.end();
                ticket.finish(outcome.map(Arc::from).map_err(Arc::new));
            }));
        }
        let Begin::Wait(waiter) = begun else { return Err(Error::internal("a call with a key begins twice")) };
        Ok(Box::pin(async move {
            match waiter.await {
                Ok(data) => Ok(Box::new(Shared(data)) as Reply),
                Err(error) => Err(error.copied()),
            }
        }))
    }
}

fn principal(call: &CallCore) -> String {
    let context = call.context();
    let endpoint = context.endpoint();
    match context.var::<Principal>() {
        Some(Principal(name)) => format!("{endpoint} principal {name}"),
        None => context.client_ip().map_or_else(|| endpoint.to_owned(), |ip| format!("{endpoint} address {ip}")),
    }
}

/// The outcome of a call that several are given.
struct Shared(Arc<dyn Encode + Send + Sync>);

impl Encode for Shared {
    fn encode_json(&self, out: &mut Vec<u8>) -> Result {
        self.0.encode_json(out)
    }

    fn encode_msgpack(&self, out: &mut Vec<u8>) -> Result {
        self.0.encode_msgpack(out)
    }

    fn as_whole(&self) -> Option<(Kind, &[u8])> {
        self.0.as_whole()
    }
}
