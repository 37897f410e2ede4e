use super::{
    CallCore, Reply, Route, Starts,
    run::{begin, late_error, run_to_end},
    trace::traced,
};
use crate::{
    context::Principal,
    hub::{Begin, Client, Done, Hub, Keyed, Outcome, Scope, Ticket},
    seams::BoxFuture,
    util::TICK,
};
use realtime_protocol::{
    Code, Error, Kind, Result,
    format::{Encode, Value, WriteWith},
    internal::Encoded,
};
use std::sync::{
    Arc,
    atomic::{
        AtomicU8,
        Ordering::{AcqRel, Acquire},
    },
};

/// Begins a call; with an idempotency key, once for all calls that have the same.
pub(crate) fn begin_call(
    hub: &Arc<Hub>,
    route: &Arc<Route>,
    call: &Arc<CallCore>,
    input: Value<'_>,
    key: Option<&str>,
) -> Result<BoxFuture<'static, Result<Reply>>> {
    let Some(key) = key else { return begin(call, || route.start(call, input, Starts::as_call)) };
    let (hub, route, call) = (Arc::clone(hub), Arc::clone(route), Arc::clone(call));
    let (input, key) = (input.into_owned(), key.to_owned());
    let caller = Arc::clone(&call);
    let running = Box::pin(async move {
        // Each caller is checked: knowing a key is no permission.
        route.check(&call).await?;
        call_once(&hub, &route, &call, input, &key).await
    });
    Ok(traced(&caller, running))
}

/// Runs a call outside any connection, until it ends or times out.
pub(crate) async fn run_call(
    hub: &Hub,
    call: &CallCore,
    running: BoxFuture<'static, Result<Reply>>,
) -> Result<Reply> {
    let left = TICK * call.deadline.saturating_sub(hub.clock.now());
    hub.before(left, run_to_end(call, running)).await.unwrap_or_else(|| Err(late_error()))
}

/// Joins the call that has this key, or begins it as a task, so that it ends even if its first caller leaves. The
/// caller waits for the outcome as long as it likes.
async fn call_once(
    hub: &Arc<Hub>,
    route: &Arc<Route>,
    call: &Arc<CallCore>,
    input: Value<'static>,
    key: &str,
) -> Result<Reply> {
    let keyed =
        Keyed { scope: scope(call)?, peer: call.context().client_peer(), name: &route.name, key, input: &input };
    let (waiter, attended) = match hub.outcomes.begin(&keyed)? {
        Begin::Wait(waiter) => (waiter, None),
        Begin::Run(ticket, waiter) => (waiter, Some(run_once(hub, route, call, input, ticket)?)),
    };
    let outcome = waiter.await;
    drop(attended);
    match outcome {
        Ok(done) => {
            done.wrote.iter().for_each(|appended| call.note(&appended.topic, &appended.position));
            Ok(Box::new(Shared(done)))
        }
        Err(error) => Err(error.without_source()),
    }
}

/// Runs a call as a task of its own. An invalid input is reported to the callers and not stored.
fn run_once(
    hub: &Arc<Hub>,
    route: &Arc<Route>,
    call: &Arc<CallCore>,
    input: Value<'static>,
    ticket: Ticket,
) -> Result<Attended> {
    if call.client().is_some_and(|client| client.outbox.is_closing()) {
        // Its principal may be revoked, whose calls have been looked for already.
        let error = Error::unavailable("the connection is being closed");
        ticket.refuse(error.without_source());
        return Err(error);
    }
    // The procedure's own time limit applies: the first caller's timeout is for that caller alone.
    let own = Arc::new(CallCore::detached(call, hub.clock.past(route.time_limit())));
    let running = match begin(&own, || route.start_checked(&own, input, Starts::as_call)) {
        Ok(running) => running,
        Err(error) => {
            ticket.refuse(error.without_source());
            return Err(error);
        }
    };
    let (attended, runs) = attend(call.client());
    let own_hub = Arc::clone(hub);
    hub.spawn(Box::pin(async move {
        let hub = own_hub;
        let outcome = ticket.run(run_call(&hub, &own, running)).await;
        own.end();
        let Some(outcome) = outcome else { return };
        let outcome = encode(&own, outcome);
        drop(runs);
        ticket.finish(outcome, hub.clock.now());
    }));
    Ok(attended)
}

fn scope(call: &CallCore) -> Result<Scope<'_>> {
    let context = call.context();
    if let Some(Principal(name)) = context.principal() {
        return Ok(Scope::Principal { endpoint: context.endpoint(), name });
    }
    let refused = || Error::failed_precondition("over HTTP, an idempotency key needs a known caller");
    call.client().map(|client| Scope::Connection(client.id)).ok_or_else(refused)
}

/// Encodes an outcome, since the application's values may panic.
fn encode(call: &CallCore, outcome: Result<Reply>) -> Outcome {
    let encoded = outcome.and_then(|value| begin(call, move || Encoded::of(&*value)));
    let done = encoded.map(|data| Arc::new(Done { data, wrote: call.take_wrote() }));
    done.map_err(|error| {
        if error.code() == &Code::INTERNAL {
            tracing::error!(call = &*call.name, ?error, "a call with an idempotency key failed");
        }
        // The cause is logged, and not stored.
        Arc::new(error.without_source())
    })
}

/// Returns the two ends of a call that runs by itself. If the caller leaves first, the call still counts for its
/// connection until it ends.
fn attend(client: Option<&Arc<Client>>) -> (Attended, Runs) {
    let link = Arc::new(Link { client: client.cloned(), state: AtomicU8::new(BOTH) });
    (Attended(Arc::clone(&link)), Runs(link))
}

struct Link {
    client: Option<Arc<Client>>,
    state: AtomicU8,
}

const BOTH: u8 = 0;
const LEFT: u8 = 1;
const OVER: u8 = 2;

struct Attended(Arc<Link>);

impl Drop for Attended {
    fn drop(&mut self) {
        let Some(client) = &self.0.client else { return };
        let unattended = &client.unattended;
        // Before the other end can decrement it.
        unattended.fetch_add(1, AcqRel);
        if self.0.state.compare_exchange(BOTH, LEFT, AcqRel, Acquire).is_err() {
            unattended.fetch_sub(1, AcqRel);
        }
    }
}

struct Runs(Arc<Link>);

impl Drop for Runs {
    fn drop(&mut self) {
        let before = self.0.state.swap(OVER, AcqRel);
        if let (LEFT, Some(client)) = (before, &self.0.client) {
            client.unattended.fetch_sub(1, AcqRel);
        }
    }
}

/// The encoded outcome of a call that is sent to several callers.
struct Shared(Arc<Done>);

impl Encode for Shared {
    fn encode_json(&self, out: &mut Vec<u8>) -> Result {
        self.0.data.encode_json(out)
    }

    fn encode_msgpack(&self, out: &mut Vec<u8>) -> Result {
        self.0.data.encode_msgpack(out)
    }

    fn encode_with(&self, write: WriteWith<'_>) -> Result {
        self.0.data.encode_with(write)
    }

    fn as_whole(&self) -> Option<(Kind, &[u8])> {
        self.0.data.as_whole()
    }
}
