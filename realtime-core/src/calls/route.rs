use super::{CallCore, around, layers::Layers, trace};
#[cfg(feature = "schema")]
use crate::describe::{Description, Kind};
use crate::{
    describe::Sides,
    hub::{Attendance, Client, Log},
    outbox::Keeping,
    seams::BoxFuture,
};
use realtime_protocol::{
    Close, Error, Gap, Position, Result,
    format::{Encode, Value},
};
use std::{
    fmt,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

/// One procedure, subscription or event, with what stands before it.
pub(crate) struct Route {
    pub(crate) name: Arc<str>,
    pub(crate) starts: Arc<Starts>,
    layers: Layers,
    sides: Sides,
    pub(super) place: &'static Location<'static>,
}

/// The kind of a route, without its types.
pub(crate) enum Starts {
    Call { query: bool, timeout: Duration, start: Box<dyn Start<Reply>> },
    Subscription(Box<dyn Start<Streaming>>),
    Event(Box<dyn Start<()>>),
}

/// Begins a call: parses its input, and returns the future of its outcome.
pub(crate) trait Start<T>: Send + Sync {
    fn start(&self, call: &Arc<CallCore>, input: Value<'_>) -> Result<BoxFuture<'static, Result<T>>>;
}

/// The output of a procedure.
pub(crate) type Reply = Box<dyn Encode + Send + Sync>;

/// The items of a subscription, and the policy for a client that does not keep up.
pub(crate) enum Streaming {
    Items { source: Pin<Box<dyn Source>>, keeping: Keeping },
    Feed(FeedOf),
    Topic(TopicOf),
}

/// The topic that a subscription listens to.
pub(crate) struct TopicOf {
    pub(crate) name: String,
    pub(crate) keeping: Keeping,
    pub(crate) attendance: Option<Attendance>,
}

/// The feed that a subscription is served from.
pub(crate) struct FeedOf {
    pub(crate) name: String,
    pub(crate) log: Log,
    pub(crate) keeping: Keeping,
    /// The position to follow it from.
    pub(crate) after: Option<Position>,
    /// Makes the first item for a client that cannot resume.
    pub(crate) begin: Option<Begin>,
    /// Its log is known on this node.
    pub(crate) is_prepared: bool,
    pub(crate) attendance: Option<Attendance>,
}

/// Begins the first item of a feed's subscription, and again if the log has lost what was delivered.
pub(crate) type Begin = Box<dyn FnMut() -> BoxFuture<'static, Result<Reply>> + Send>;

/// The items of a subscription, without their type.
pub(crate) trait Source: Send {
    /// Polls for the next item and hands it to `take`.
    fn poll_item(self: Pin<&mut Self>, cx: &mut Context<'_>, take: &mut dyn FnMut(Piece<'_>)) -> Poll<Next>;
}

/// The result of polling a source.
pub(crate) enum Next {
    Item,
    End,
    Failed(Error),
}

/// One item of a source.
pub(crate) struct Piece<'a> {
    pub(crate) value: &'a dyn Encode,
    pub(crate) position: Option<&'a Position>,
    pub(crate) event: Option<&'static str>,
    /// The key of the items that it replaces, if it has one.
    pub(crate) key: Option<String>,
    pub(crate) after: Option<&'a Gap>,
}

impl Route {
    pub(crate) fn new(name: &str, starts: Starts, sides: Sides, place: &'static Location<'static>) -> Self {
        Self { name: name.into(), starts: Arc::new(starts), layers: Layers::default(), sides, place }
    }

    pub(crate) fn is_event(&self) -> bool {
        matches!(*self.starts, Starts::Event(_))
    }

    pub(crate) fn renamed(&self, name: String) -> Self {
        Self {
            name: name.into(),
            starts: Arc::clone(&self.starts),
            layers: self.layers.clone(),
            sides: self.sides,
            place: self.place,
        }
    }

    /// Returns the same route behind more layers.
    pub(crate) fn behind(&self, layers: &Layers) -> Self {
        let layers = layers.before(&self.layers);
        let (name, starts) = (Arc::clone(&self.name), Arc::clone(&self.starts));
        Self { name, starts, layers, sides: self.sides, place: self.place }
    }

    /// Describes the route to clients.
    #[cfg(feature = "schema")]
    pub(super) fn description(&self, id: &str) -> Description {
        let kind = match *self.starts {
            Starts::Call { query: true, timeout, .. } => Kind::Query { time_limit: timeout },
            Starts::Call { query: false, timeout, .. } => Kind::Mutation { time_limit: timeout },
            Starts::Subscription(_) => Kind::Subscription,
            Starts::Event(_) => Kind::ClientEvent,
        };
        let Sides { sent, received, progress } = self.sides;
        Description { sent, received, progress, at: Some(self.place), ..Description::new(id, &*self.name, kind) }
    }

    /// Begins a call of this route after its guards have passed it. `of` selects the kind to start.
    pub(crate) fn start<T: Send + 'static>(
        self: &Arc<Self>,
        call: &Arc<CallCore>,
        input: Value<'_>,
        of: Kinds<T>,
    ) -> Result<BoxFuture<'static, Result<T>>> {
        if self.layers.is_empty() && !trace::is_on() {
            return begin(&self.starts, call, input, of);
        }
        let (route, own, input) = (Arc::clone(self), Arc::clone(call), input.into_owned());
        let running = Box::pin(async move {
            route.check(&own).await?;
            route.start_checked(&own, input, of)?.await
        });
        Ok(trace::traced(call, running))
    }

    /// Asks the guards about a call.
    pub(crate) async fn check(&self, call: &Arc<CallCore>) -> Result {
        self.layers.check(call).await
    }

    /// Begins a call that the guards have passed.
    pub(crate) fn start_checked<T: Send + 'static>(
        &self,
        call: &Arc<CallCore>,
        input: Value<'_>,
        of: Kinds<T>,
    ) -> Result<BoxFuture<'static, Result<T>>> {
        if self.layers.around.is_empty() {
            return begin(&self.starts, call, input, of);
        }
        let (starts, own, input) = (Arc::clone(&self.starts), Arc::clone(call), input.into_owned());
        Ok(around::run(self.layers.around.clone(), call, move || begin(&starts, &own, input, of)))
    }

    /// Returns the time limit of a call.
    pub(crate) fn time_limit(&self) -> Duration {
        if let Starts::Call { timeout, .. } = &*self.starts { *timeout } else { Duration::MAX }
    }
}

/// Selects the kind of a route that is to be started.
type Kinds<T> = fn(&Starts) -> Option<&dyn Start<T>>;

fn begin<T>(
    starts: &Starts,
    call: &Arc<CallCore>,
    input: Value<'_>,
    of: Kinds<T>,
) -> Result<BoxFuture<'static, Result<T>>> {
    let wrong = || Error::internal("a route was started as another kind");
    of(starts).ok_or_else(wrong)?.start(call, input)
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Route({})", self.name)
    }
}

impl Starts {
    pub(crate) fn as_call(&self) -> Option<&dyn Start<Reply>> {
        if let Self::Call { start, .. } = self { Some(&**start) } else { None }
    }

    pub(crate) fn as_subscription(&self) -> Option<&dyn Start<Streaming>> {
        if let Self::Subscription(start) = self { Some(&**start) } else { None }
    }

    pub(crate) fn as_event(&self) -> Option<&dyn Start<()>> {
        if let Self::Event(start) = self { Some(&**start) } else { None }
    }
}

/// A [`Guard`](crate::Guard) without its type.
pub(crate) trait ErasedGuard: Send + Sync {
    fn check(&self, call: &Arc<CallCore>) -> BoxFuture<'_, Result>;
}

/// An endpoint's hook for a client that has connected.
pub(crate) trait OnOpen: Send + Sync + 'static {
    fn open(&self, client: &Arc<Client>) -> BoxFuture<'static, Result>;
}

/// An endpoint's hook for a connection that has ended.
pub(crate) trait OnClose: Send + Sync + 'static {
    fn close(&self, client: &Arc<Client>, close: Close) -> BoxFuture<'static>;
}
