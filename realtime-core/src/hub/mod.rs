//! All clients of one node: who is connected, who is subscribed to what, and the one clock that
//! looks after them.

mod clock;
mod connections;
mod drain;
mod idempotent;
mod inflating;
mod link;
mod members;
mod outcome;
mod outcomes;
mod permits;
mod places;
mod rates;
mod topics;
mod warnings;
mod wheel;

pub(crate) use clock::Clock;
pub use clock::TICK;
pub(crate) use connections::Connections;
pub use drain::Drained;
pub(crate) use drain::drain;
pub use idempotent::Principal;
pub(crate) use inflating::{Inflating, Place};
pub(crate) use link::Link;
use members::Effects;
pub(crate) use members::Post;
use outcomes::Outcomes;
pub(crate) use permits::{Permit, Permits, Refused};
use places::Places;
use rates::Limits;
pub(crate) use topics::{Membership, Name, Topics};
pub(crate) use warnings::Warnings;
pub(crate) use wheel::Wheel;

use crate::{
    ConnectionId,
    broker::{Broker, Publication},
    config::Config,
    endpoint::Router,
    error::Result,
    middleware::ErasedMiddleware,
    protocol::{Encode, Outgoing, Protocol},
    runtime::{BoxFuture, Runtime},
    session::{Hooks, Session, encode, may_hold},
    sync::Mutex,
    websocket::{Frame, PerMessageDeflate},
};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Context,
    time::Instant,
};

/// What all connections of a node share.
pub(crate) struct Hub {
    pub(crate) config: Config,
    pub(crate) registry: Registry,
    pub(crate) node: u64,
    pub(crate) protocols: Vec<Arc<dyn Protocol>>,
    pub(crate) clock: Clock,
    pub(crate) wheel: Wheel,
    pub(crate) connections: Connections,
    pub(crate) permits: Arc<Permits>,
    pub(crate) inflating: Arc<Inflating>,
    pub(crate) topics: Topics,
    pub(crate) counters: Counters,
    pub(crate) warnings: Warnings,
    places: Places,
    limits: Limits,
    /// Of calls with an idempotency key.
    outcomes: Arc<Outcomes>,
    link: Option<Link>,
    pub(crate) draining: AtomicBool,
    next: AtomicU64,
    runtime: Mutex<Option<Arc<dyn Runtime>>>,
    /// The task that turns the wheel is running.
    ticking: AtomicBool,
    /// Time is turned by hand.
    pub(crate) manual_time: bool,
}

/// What a hub is made from.
pub(crate) struct Plan {
    pub(crate) config: Config,
    pub(crate) registry: Registry,
    pub(crate) node: u64,
    pub(crate) protocols: Vec<Arc<dyn Protocol>>,
    pub(crate) broker: Option<Arc<dyn Broker>>,
    pub(crate) manual_time: bool,
}

/// What is mounted, and where.
pub(crate) struct Registry {
    pub(crate) mounted: HashMap<Box<str>, Arc<Mounted>>,
    /// Runs for all of them, before their own.
    pub(crate) middleware: Vec<Arc<dyn ErasedMiddleware>>,
    pub(crate) prefix: Box<str>,
}

/// One id under which clients connect.
pub(crate) struct Mounted {
    pub(crate) id: Box<str>,
    pub(crate) plain: bool,
    pub(crate) hooks: Arc<dyn Hooks>,
    /// The procedures, subscriptions and events; none, where only messages are taken.
    pub(crate) router: Arc<Router>,
    pub(crate) middleware: Vec<Arc<dyn ErasedMiddleware>>,
}

impl Hub {
    pub(crate) fn new(plan: Plan) -> Self {
        let clock = Clock::default();
        let link_bytes = plan.config.broker_queue_bytes;
        Self {
            limits: Limits::new(&plan.config.rates),
            outcomes: Outcomes::new(&plan.config, clock.ticks(plan.config.idempotency_window)),
            permits: Permits::new(plan.config.connections, plan.config.connections_per_peer),
            inflating: Inflating::new(plan.config.inflating_messages()),
            config: plan.config,
            registry: plan.registry,
            node: plan.node,
            protocols: plan.protocols,
            clock,
            wheel: Wheel::default(),
            connections: Connections::default(),
            topics: Topics::default(),
            places: Places::default(),
            counters: Counters::default(),
            warnings: Warnings::default(),
            link: plan.broker.map(|broker| Link::new(broker, link_bytes)),
            draining: AtomicBool::new(false),
            next: AtomicU64::new(1),
            runtime: Mutex::default(),
            ticking: AtomicBool::new(false),
            manual_time: plan.manual_time,
        }
    }

    pub(crate) fn next_id(&self) -> ConnectionId {
        ConnectionId { node: self.node, number: self.next.fetch_add(1, Relaxed) }
    }

    /// Takes the adapter's runtime, and starts what runs beside the connections: the clock and the
    /// link to the broker. Quick when that has been done.
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
            link.start(Arc::downgrade(self), &runtime);
        }
        if !self.manual_time {
            let ticker = Ticker(Arc::downgrade(self));
            runtime.spawn(Box::pin(ticker.run(Arc::clone(&runtime))));
        }
    }

    /// The time now, on the clock of the runtime.
    pub(crate) fn instant(&self) -> Instant {
        let runtime = self.runtime.lock().clone();
        runtime.map_or_else(Instant::now, |runtime| runtime.now())
    }

    /// Ends what a client is a member of.
    pub(crate) fn forget(&self, session: &Arc<Session>) {
        let places = self.topics.leave_all(session);
        self.left_all(session.id, &places);
    }

    /// Runs a task on the adapter's runtime, if there was one.
    pub(crate) fn spawn(&self, task: BoxFuture<'static>) {
        let runtime = self.runtime.lock().clone();
        if let Some(runtime) = runtime {
            runtime.spawn(task);
        }
    }

    /// Has the task of a connection polled again, after others have had their turn.
    #[cold]
    pub(crate) fn yield_now(&self, cx: &Context<'_>) {
        let runtime = self.runtime.lock().clone();
        match runtime {
            Some(runtime) => runtime.yield_now(cx),
            None => cx.waker().wake_by_ref(),
        }
    }

    /// Sends a message to the members of a topic, here and on the other nodes.
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

    /// Delivers what another node has published.
    fn deliver(&self, publication: &Publication) {
        if publication.node == self.node {
            return;
        }
        let Publication { topic, event, key, except, .. } = publication;
        let name = Name::Topic(topic);
        if let Err(error) = self.deliver_here(name, event.as_deref(), publication, key.as_deref(), except) {
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
        self.run(self.queue(name, event, message, key, except)?);
        Ok(())
    }

    /// Does what publications have left to do.
    fn run(&self, effects: Effects) {
        self.counters.delivered.fetch_add(effects.run() as u64, Relaxed);
    }

    /// Frames a message once for each protocol that is spoken, compresses that once for each window
    /// that was agreed on, and queues it for the members.
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
        let mut plain: Vec<(usize, Option<Frame>)> = Vec::new();
        let frame = |format: usize| {
            let (protocol, deflate) = self.of_format(format);
            let known = plain.iter().find(|(known, _)| *known == protocol).map(|(_, frame)| frame.clone());
            let frame = match known {
                Some(frame) => frame,
                None => {
                    let frame = encode(&*self.protocols[protocol], &packet)?;
                    if PerMessageDeflate::is_on(&self.config) {
                        plain.push((protocol, frame.clone()));
                    }
                    frame
                }
            };
            let frame = match (frame, deflate) {
                (Some(frame), Some(deflate)) => Some(deflate.apply(&self.config, &frame)),
                (frame, _) => frame,
            };
            // Else it would close them all, for what is none of their fault.
            frame.as_ref().map_or(Ok(()), |frame| may_hold(self.config.outbox_bytes, frame.len()))?;
            Ok(frame)
        };
        self.topics.publish(name, key, except, frame)
    }

    /// What [`Session::format`](crate::session::Session::format) has put into a number.
    fn of_format(&self, format: usize) -> (usize, Option<PerMessageDeflate>) {
        let protocols = self.protocols.len();
        (format % protocols, PerMessageDeflate::of_class(format / protocols))
    }

    /// One tick of the clock: whoever's turn it is.
    pub(crate) fn tick(&self) {
        self.clock.advance(1);
        self.turn_wheel();
    }

    /// Has the wheel catch up with the clock. After a pause that takes several calls: what was due in it is no burst, and
    /// connections have turns of their own between.
    fn turn_wheel(&self) {
        let turn = |id, now| self.connections.find(id)?.handle_turn(now);
        let late = |id, now| {
            if let Some(session) = self.connections.find(id) {
                session.handle_late_calls(now);
            }
        };
        let now = self.clock.now();
        for _ in 0..CATCH_UP {
            if !self.wheel.turn(now, turn, late) {
                break;
            }
        }
        self.outcomes.expire(now);
    }
}

/// Ticks that the wheel turns at a time: it catches up with the longest pause in seconds.
const CATCH_UP: usize = 8;

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").field("connections", &self.connections.len()).finish_non_exhaustive()
    }
}

/// The one task of a hub. It holds the hub weakly, and when its runtime drops it, the next
/// connection starts another.
struct Ticker(Weak<Hub>);

impl Ticker {
    async fn run(self, runtime: Arc<dyn Runtime>) {
        let start = runtime.now();
        let mut counted = 0;
        let mut paused = false;
        loop {
            runtime.sleep(TICK).await;
            let Some(hub) = self.0.upgrade() else { return };
            let due = (runtime.now().saturating_duration_since(start).as_millis() / TICK.as_millis()) as u64;
            let passed = due - counted;
            counted = due;
            hub.clock.advance(passed.min(hub.longest_pause()) as u32);
            // Nothing ran, so nothing was read: everyone has a tick for that before the wheel judges. One: where ticks are
            // always late, they are turned as they come.
            paused = passed > LATE && !paused;
            if paused {
                tracing::warn!(pause = ?TICK * passed as u32, "this process did not run for a while");
                continue;
            }
            hub.turn_wheel();
        }
    }
}

impl Hub {
    /// Ticks that count of a pause, however long it was: afterwards each client is due for a ping, and none has been
    /// silent for longer than it may by that alone.
    fn longest_pause(&self) -> u64 {
        let most = self.config.ping_interval.min(self.config.idle_timeout);
        u64::from(self.clock.ticks(most)).max(LATE)
    }
}

/// Ticks that may pass unnoticed on a busy machine; more, and the process has been stopped, or the machine asleep.
const LATE: u64 = 4;

impl Drop for Ticker {
    fn drop(&mut self) {
        if let Some(hub) = self.0.upgrade() {
            hub.ticking.store(false, Relaxed);
        }
    }
}

/// What happened so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) slow_consumers: AtomicU64,
    pub(crate) broker_failures: AtomicU64,
}

impl Counters {
    pub(crate) fn slow_consumer(&self) {
        self.slow_consumers.fetch_add(1, Relaxed);
    }

    pub(crate) fn broker_failure(&self) {
        self.broker_failures.fetch_add(1, Relaxed);
    }
}
