//! All clients of one node: connections and their limits, topics, presence, the outcomes of idempotent calls, the link to
//! the broker, and the clock that drives all timeouts.
//!
//! A client is a [`Client`] here: an outbox, a format and its memberships. The hub knows neither its tasks nor the
//! types of its handler, nor the mounts.
//!
//! May import `outbox` and the layers beneath it.

mod budget;
mod client;
mod client_calls;
mod connections;
mod counters;
mod credentials;
mod drain;
mod feed;
mod held_back;
mod inflating;
mod life;
mod link;
mod list;
mod listeners;
mod members;
mod news;
mod nodes;
mod outcome;
mod outcomes;
mod permits;
mod presence;
mod principals;
mod rates;
mod revocations;
mod stay;
mod ticker;
mod timers;
mod topics;
mod users;
mod wheel;

pub(crate) use client::{Client, NewClient, Reading, SendFailure, Stage};
pub(crate) use client_calls::{Calling, ClientCalls};
use connections::Connections;
use counters::Counters;
pub(crate) use credentials::{Credentials, Renewal};
pub use drain::Drained;
pub(crate) use drain::drain;
use feed::Feeds;
pub use feed::Log;
pub(crate) use feed::{Beginning, Begun, Behind, Entry, Following, To};
pub(crate) use held_back::HeldBack;
pub(crate) use inflating::{Inflating, Place};
use life::Life;
use link::Link;
use listeners::Listeners;
pub(crate) use listeners::{Listener, Listening, too_slow};
use members::Effects;
use nodes::Nodes;
pub(crate) use nodes::{Letter, RevokedFrom};
pub use nodes::{Readiness, ShardReadiness, ShardState};
pub(crate) use outcome::{Done, Outcome};
pub(crate) use outcomes::{Begin, Keyed, Outcomes, Scope, Ticket};
pub use permits::ConnectionPermit;
pub(crate) use permits::{Permits, Refused};
use presence::Places;
use principals::Principals;
use rates::Limits;
use revocations::Revocations;
pub(crate) use revocations::{Ahead, Mark, revoked};
pub(crate) use stay::{Attendance, Stay};
use ticker::Ticker;
pub(crate) use timers::Timer;
use timers::Timers;
pub(crate) use topics::Name;
use topics::{Membership, Topics};
use wheel::Wheel;

use crate::{
    config::Config,
    ledger::Ledger,
    outbox::may_hold,
    protocol::{Encode, Format, Outgoing, Protocols},
    seams::{BoxFuture, Broker, Publication, Runtime},
    util::{Clock, Warnings, sync::Mutex},
    websocket::Frame,
};
use realtime_protocol::{ConnectionId, Result};
use std::{
    any::Any,
    fmt,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// The state shared by all connections of a node.
pub(crate) struct Hub {
    pub(crate) config: Config,
    /// The mounts, opaque to the hub.
    pub(crate) registry: Box<dyn Any + Send + Sync>,
    pub(crate) node: u64,
    pub(crate) protocols: Protocols,
    pub(crate) clock: Clock,
    pub(crate) wheel: Wheel,
    timers: Timers,
    pub(crate) connections: Connections,
    pub(crate) principals: Principals,
    pub(crate) permits: Arc<Permits>,
    pub(crate) inflating: Arc<Inflating>,
    pub(crate) topics: Topics,
    pub(crate) listeners: Listeners,
    pub(crate) feeds: Feeds,
    pub(crate) counters: Counters,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) warnings: Warnings,
    places: Places,
    limits: Limits,
    /// Outcomes of calls with an idempotency key.
    pub(crate) outcomes: Arc<Outcomes>,
    pub(crate) revocations: Revocations,
    link: Option<Link>,
    nodes: Option<Nodes>,
    pub(crate) draining: AtomicBool,
    next: AtomicU64,
    runtime: Mutex<Option<Arc<dyn Runtime>>>,
    /// The task that turns the wheel is running.
    ticking: AtomicBool,
    /// Time is advanced by hand.
    pub(crate) manual_time: bool,
    created: Instant,
}

/// The parts that a hub is made from.
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) registry: Box<dyn Any + Send + Sync>,
    pub(crate) node: u64,
    pub(crate) protocols: Protocols,
    pub(crate) broker: Option<Arc<dyn Broker>>,
    pub(crate) manual_time: bool,
}

impl Hub {
    pub(crate) fn new(plan: Plan) -> Self {
        let clock = Clock::default();
        let ledger = Arc::new(Ledger::new(plan.config.memory));
        let link = plan.broker.map(|broker| Link::new(broker, &plan.config, &ledger));
        Self {
            limits: Limits::new(&plan.config.rates),
            outcomes: Outcomes::new(&plan.config, clock.ticks(plan.config.idempotency_window), &ledger),
            inflating: Inflating::new(plan.config.inflating_messages()),
            permits: Permits::new(&plan.config),
            config: plan.config,
            registry: plan.registry,
            node: plan.node,
            protocols: plan.protocols,
            clock,
            wheel: Wheel::default(),
            timers: Timers::default(),
            connections: Connections::default(),
            principals: Principals::default(),
            topics: Topics::default(),
            listeners: Listeners::default(),
            feeds: Feeds::new(&ledger, link.is_some()),
            places: Places::default(),
            counters: Counters::default(),
            revocations: Revocations::default(),
            warnings: Warnings::default(),
            nodes: link.as_ref().map(|link| Nodes::new(plan.node, link)),
            link,
            ledger,
            draining: AtomicBool::new(false),
            next: AtomicU64::new(1),
            runtime: Mutex::default(),
            ticking: AtomicBool::new(false),
            manual_time: plan.manual_time,
            created: Instant::now(),
        }
    }

    pub(crate) fn next_id(&self) -> ConnectionId {
        ConnectionId { node: self.node, number: self.next.fetch_add(1, Relaxed) }
    }

    /// Stores the adapter's runtime, and starts the tasks beside the connections: the clock and the link to the broker.
    /// Cheap if that is done already.
    pub(crate) fn start(self: &Arc<Self>, runtime: impl FnOnce() -> Arc<dyn Runtime>) {
        if self.ticking.load(Relaxed) {
            return;
        }
        if self.ticking.swap(true, Relaxed) {
            return;
        }
        let runtime = runtime();
        *self.runtime.lock() = Some(Arc::clone(&runtime));
        if let Some(link) = &self.link {
            link.start(&Arc::downgrade(self), &runtime);
            self.read_feeds();
        }
        self.start_nodes();
        if !self.manual_time {
            let ticker = Ticker(Arc::downgrade(self));
            runtime.spawn(Box::pin(ticker.run(Arc::clone(&runtime))));
        }
    }

    /// Returns the current time, on the clock of the runtime.
    pub(crate) fn instant(&self) -> Instant {
        if self.manual_time {
            return self.manual_instant();
        }
        let runtime = self.runtime.lock().clone();
        runtime.map_or_else(Instant::now, |runtime| runtime.now())
    }

    /// Ends all memberships of a client.
    pub(crate) fn forget(&self, client: &Arc<Client>) {
        let places = self.topics.leave_all(client);
        self.left_all(client.id, &places);
    }

    /// Returns the adapter's runtime, once it is known.
    fn runtime(&self) -> Option<Arc<dyn Runtime>> {
        self.runtime.lock().clone()
    }

    /// Runs a task on the adapter's runtime, if there is one.
    pub(crate) fn spawn(&self, task: BoxFuture<'static>) {
        if let Some(runtime) = self.runtime() {
            runtime.spawn(task);
        }
    }

    /// Tells the runtime of a panic in the application's code, which goes no further.
    #[cold]
    pub(crate) fn note_panic(&self, panic: &str) {
        let runtime = self.runtime.lock().clone();
        if let Some(runtime) = runtime {
            runtime.panicked(panic);
        }
    }

    /// Runs a future with a timeout in the hub's time; `None` if it is over first.
    pub(crate) async fn before<T>(&self, timeout: Duration, future: impl Future<Output = T>) -> Option<T> {
        let mut future = pin!(future);
        let mut late = None;
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Some(output));
            }
            // Most futures are ready at once and need no timer.
            let late = late.get_or_insert_with(|| Box::pin(self.wheel.sleep_until(self.clock.after(timeout))));
            late.as_mut().poll(cx).map(|()| None)
        })
        .await
    }

    /// Schedules the task of a connection to be polled again, after other tasks have run.
    #[cold]
    pub(crate) fn yield_now(&self, cx: &Context<'_>) {
        let runtime = self.runtime.lock().clone();
        match runtime {
            Some(runtime) => runtime.yield_now(cx),
            None => cx.waker().wake_by_ref(),
        }
    }

    /// Publishes a message to the members of a topic, here and on the other nodes.
    pub(crate) fn publish(
        &self,
        topic: &str,
        event: Option<&str>,
        message: &dyn Encode,
        key: Option<String>,
        except: &[ConnectionId],
    ) -> Result {
        let publication = match &self.link {
            Some(link) => Some((link, Publication::of(self.node, topic, event, message, key.clone(), except)?)),
            None => None,
        };
        self.deliver_here(Name::Topic(topic), event, message, key.as_deref(), except)?;
        self.counters.published.fetch_add(1, Relaxed);
        publication.map_or(Ok(()), |(link, publication)| link.publish(publication))
    }

    /// Delivers a publication of another node.
    fn deliver(&self, publication: &Publication) {
        if publication.node == self.node {
            return;
        }
        let Publication { topic, event, key, except, .. } = publication;
        let name = Name::Topic(topic);
        let delivered = publication
            .check()
            .and_then(|()| self.deliver_here(name, event.as_deref(), publication, key.as_deref(), except));
        if let Err(error) = delivered {
            self.counters.broker_failure();
            tracing::error!(topic = publication.topic, ?error, "a publication of another node is not valid");
        }
    }

    /// Queues a message for the members on this node, and wakes them.
    fn deliver_here(
        &self,
        name: Name<'_>,
        event: Option<&str>,
        message: &dyn Encode,
        key: Option<&str>,
        except: &[ConnectionId],
    ) -> Result {
        let (Name::Topic(topic), None) = (name, event) else {
            self.run(self.queue(name, event, message, key, except)?);
            return Ok(());
        };
        let heard = self.listeners.encode(topic, message, key, &self.config, &self.ledger)?;
        self.run(self.queue(name, event, message, key, except)?);
        if let Some(heard) = heard {
            let count = self.listeners.publish(topic, &heard, except);
            drop(heard);
            self.counters.delivered.fetch_add(count as u64, Relaxed);
            self.keep_to_budget();
        }
        Ok(())
    }

    /// Runs the effects of publications; returns the number of those who receive them.
    fn run(&self, effects: Effects) -> usize {
        let delivered = effects.run();
        self.counters.delivered.fetch_add(delivered as u64, Relaxed);
        self.keep_to_budget();
        delivered
    }

    /// Encodes a message once for each format of the members, and queues it for them.
    fn queue(
        &self,
        name: Name<'_>,
        event: Option<&str>,
        message: &dyn Encode,
        key: Option<&str>,
        except: &[ConnectionId],
    ) -> Result<Effects> {
        let packet = match event {
            Some(name) => Outgoing::Event { name, data: message },
            None => Outgoing::Message(message),
        };
        // Encoded once for each protocol, and compressed once for each negotiated window.
        let mut written: Vec<(Format, Option<Frame>)> = Vec::new();
        let frame = |format: Format| {
            let plain = format.uncompressed();
            let known = written.iter().find(|(known, _)| *known == plain).map(|(_, frame)| frame.clone());
            let frame = match known {
                Some(frame) => frame,
                None => {
                    let frame = self.protocols.frame(plain, &packet)?;
                    if self.protocols.compresses() {
                        written.push((plain, frame.clone()));
                    }
                    frame
                }
            };
            let frame = frame.map(|frame| self.protocols.compress(format, frame));
            // Otherwise one message would close all members, none of which is at fault.
            frame.as_ref().map_or(Ok(()), |frame| may_hold(self.config.outbox_bytes, frame.len()))?;
            Ok(frame)
        };
        self.topics.publish(name, key, except, frame)
    }

    /// Advances the clock by one tick and runs what is due.
    pub(crate) fn tick(self: &Arc<Self>) {
        self.clock.advance(1);
        self.timers.fire(self.instant(), None);
        self.turn_wheel();
    }

    /// Advances the wheel to the clock. After a pause it catches up over several calls, so that the work due in it is
    /// no burst, and connections have turns in between.
    pub(super) fn turn_wheel(self: &Arc<Self>) {
        let turn = |id, now| self.connections.find(id)?.handle_turn(now);
        let late = |id, now| {
            if let Some(client) = self.connections.find(id) {
                client.handle_late_calls(now);
            }
        };
        let now = self.clock.now();
        for _ in 0..CATCH_UP {
            if !self.wheel.turn(now, turn, late) {
                break;
            }
        }
        self.outcomes.expire(now);
        self.expire_feeds(now);
        if let Some(link) = &self.link {
            link.expire(now);
        }
        self.tick_nodes();
        self.revocations.expire(now);
        self.ledger.look_again();
        self.keep_to_budget();
    }
}

/// Ticks that the wheel advances at a time: enough to catch up with the longest pause in seconds.
const CATCH_UP: usize = 8;

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("connections", &self.connections.len()).finish_non_exhaustive()
    }
}
