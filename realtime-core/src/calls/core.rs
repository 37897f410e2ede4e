use super::{Route, variables::Variables};
use crate::{
    context::Context,
    hub::{Client, Hub},
    util::{
        Wakers,
        sync::{
            Mutex,
            atomic::{AtomicBool, Ordering::Relaxed},
        },
        wake,
    },
};
use realtime_protocol::{Appended, Position, Result};
use std::{
    sync::{Arc, OnceLock},
    task::Waker,
};

/// The part of a call that has no types.
pub(crate) struct CallCore {
    pub(crate) origin: Origin,
    pub(crate) name: Arc<str>,
    /// The id that the client gave it; empty for none.
    pub(crate) id: Box<str>,
    /// The tick at which it times out; 0 for never.
    pub(crate) deadline: u32,
    pub(crate) after: Option<Position>,
    /// The call that began this one; this one goes on without it.
    caller: Option<Arc<CallCore>>,
    over: AtomicBool,
    /// The entries that it has appended, once it has appended one.
    wrote: OnceLock<Box<Mutex<Vec<Appended>>>>,
    /// What guards and middleware hand to the function.
    pub(crate) variables: Variables,
    pub(crate) waiting: Mutex<Wakers>,
}

/// The caller.
pub(crate) enum Origin {
    Client(Arc<Client>),
    Request { hub: Arc<Hub>, context: Arc<Context> },
}

impl CallCore {
    pub(crate) fn new(origin: Origin, name: Arc<str>) -> Self {
        Self {
            origin,
            name,
            id: Box::default(),
            deadline: 0,
            after: None,
            caller: None,
            over: AtomicBool::new(false),
            wrote: OnceLock::new(),
            variables: Variables::default(),
            waiting: Mutex::default(),
        }
    }

    pub(crate) fn of_route(origin: Origin, route: &Route, id: &str) -> Self {
        Self { id: id.into(), ..Self::new(origin, Arc::clone(&route.name)) }
    }

    /// Creates the same call, detached from its caller: it goes on without it.
    pub(crate) fn detached(caller: &Arc<Self>, deadline: u32) -> Self {
        let origin = match &caller.origin {
            Origin::Client(client) => Origin::Client(Arc::clone(client)),
            Origin::Request { hub, context } => {
                Origin::Request { hub: Arc::clone(hub), context: Arc::clone(context) }
            }
        };
        let own = Self::new(origin, Arc::clone(&caller.name));
        let variables = caller.variables.clone();
        Self { id: caller.id.clone(), deadline, caller: Some(Arc::clone(caller)), variables, ..own }
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        match &self.origin {
            Origin::Client(client) => &client.hub,
            Origin::Request { hub, .. } => hub,
        }
    }

    pub(crate) fn context(&self) -> &Context {
        match &self.origin {
            Origin::Client(client) => &client.context,
            Origin::Request { context, .. } => context,
        }
    }

    /// Returns the calling client; `None` for a call by HTTP.
    pub(crate) fn client(&self) -> Option<&Arc<Client>> {
        match &self.origin {
            Origin::Client(client) => Some(client),
            Origin::Request { .. } => None,
        }
    }

    /// Notes an entry that the call has appended: of each feed the last one.
    pub(crate) fn note(&self, topic: &str, position: &Position) {
        let mut wrote = self.wrote.get_or_init(Box::default).lock();
        if let Some(known) = wrote.iter_mut().find(|known| known.topic == topic) {
            // Of two appends under way at a time, either may be noted first.
            if known.position.epoch != position.epoch || known.position.offset < position.offset {
                known.position = position.clone();
            }
        } else if wrote.len() < NOTED {
            wrote.push(Appended { topic: topic.to_owned(), position: position.clone() });
        } else {
            tracing::warn!(
                call = &*self.name,
                "a call appends to more than {NOTED} feeds: its caller is not told of all"
            );
        }
    }

    /// Takes the entries that the call has appended.
    #[inline]
    pub(crate) fn take_wrote(&self) -> Vec<Appended> {
        self.wrote.get().map_or_else(Vec::new, |wrote| std::mem::take(&mut wrote.lock()))
    }

    /// Ends the call: its result is no longer needed.
    pub(crate) fn end(&self) {
        // `end` is called again on drop.
        if self.is_over() {
            return;
        }
        let waiting = {
            let mut waiting = self.waiting.lock();
            self.over.store(true, Relaxed);
            if waiting.is_empty() {
                return;
            }
            std::mem::take(&mut *waiting)
        };
        waiting.wake();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }

    /// Queues a progress report, unless the call has [ended](Self::end): after that none is queued.
    pub(crate) fn report(&self, queue: impl FnOnce() -> Result<Option<Waker>>) -> Result {
        let caller = self.caller.as_deref().unwrap_or(self);
        let waiting = caller.waiting.lock();
        if caller.is_over() {
            return Ok(());
        }
        let queued = queue();
        drop(waiting);
        wake(queued?);
        Ok(())
    }
}

/// Feeds whose entries the caller of one call is told of.
const NOTED: usize = 256;
