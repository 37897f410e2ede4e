use super::{
    Purpose, Service, Session,
    feed::SharedFeeds,
    renewing::Renewing,
    running::{Call, Event},
    subscription::{Stream, Terms},
    tasks::Tasks,
    turn::Turn,
};
use crate::{
    calls::{CallCore, Origin, Route, Starts, begin, begin_call, late_error},
    hub::Client,
};
use realtime_protocol::{
    CloseCode, Code, Error, Position,
    format::{Outgoing, Packet, Value},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, atomic::Ordering::Acquire},
    task::{Context, Poll},
    time::Duration,
};

/// The calls, subscriptions and events of one client. They run concurrently inside its connection's future, and are
/// dropped with it.
#[derive(Debug)]
pub(super) struct Calls {
    client: Arc<Client>,
    service: Arc<Service>,
    purpose: Purpose,
    tasks: Tasks<Task>,
    /// Seats by the ids that the client has given.
    ids: HashMap<Box<str>, usize>,
    calls: usize,
    streams: usize,
    /// Events queued behind the one that is being handled.
    events: VecDeque<(Arc<Route>, Value<'static>)>,
    /// The seat of the event that is being handled.
    event: Option<usize>,
    /// Packets that came before `on_open` had finished.
    held: VecDeque<Packet<'static>>,
    /// Bytes of `events` and `held`, as received.
    waiting_bytes: usize,
    /// Seats of the streams that wait for room in the outbox, in order.
    blocked: VecDeque<usize>,
    /// The first tick at which a call may be late.
    deadline: Option<u32>,
    /// The feeds whose frames a subscription shares, once one has asked for it.
    shared: Option<Arc<SharedFeeds>>,
}

#[derive(Debug)]
enum Task {
    Call(Box<Call>),
    Stream(Box<Stream>),
    Event(Event),
    Renewing(Renewing),
}

impl Calls {
    pub(super) fn new(session: &Session) -> Self {
        Self {
            client: Arc::clone(&session.client),
            service: Arc::clone(&session.service),
            purpose: session.purpose,
            tasks: Tasks::new(&session.client),
            ids: HashMap::new(),
            calls: 0,
            streams: 0,
            events: VecDeque::new(),
            event: None,
            held: VecDeque::new(),
            waiting_bytes: 0,
            blocked: VecDeque::new(),
            deadline: None,
            shared: None,
        }
    }

    /// Returns true if there is nothing to keep.
    pub(super) fn is_idle(&self) -> bool {
        self.tasks.len() == 0 && self.events.is_empty() && self.held.is_empty()
    }

    /// Returns true if the queues are full.
    pub(super) fn is_behind(&self) -> bool {
        let config = &self.client.hub.config;
        let messages = self.events.len().max(self.held.len());
        messages >= config.queued_messages || self.waiting_bytes >= config.message_bytes
    }

    /// Returns the bytes of input that waits.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Handles one packet of the client.
    pub(super) fn handle(&mut self, packet: Packet<'_>, turn: &mut Turn) {
        if !self.client.is_opened() {
            self.waiting_bytes += bytes_of(&packet);
            return self.held.push_back(packet.into_owned());
        }
        match packet {
            Packet::Call { id, path, input, timeout, key } => {
                self.call(&id, &path, input, timeout, key.as_deref());
            }
            Packet::Subscribe { id, path, input, after, credit, shared } => {
                let shared = shared.then(|| Arc::clone(self.shared.get_or_insert_default()));
                let terms = Terms { credit, shared, since: self.client.times_revoked() };
                self.subscribe(&id, &path, input, after.map(|after| *after), terms, turn);
            }
            Packet::Event { name, data } => self.event(&name, data, turn),
            Packet::Invalid { id, error } => self.refuse_unread(&id, &error),
            Packet::Cancel { id } => self.cancel(&id),
            Packet::Unsubscribe { id } => self.unsubscribe(&id),
            Packet::Credit { id, more } => self.grant(&id, more, turn),
            Packet::Authenticate { token } => self.renew(&token.0, turn),
            _ => {}
        }
    }

    /// Handles the packets held until now.
    #[cold]
    fn open(&mut self, turn: &mut Turn) {
        // Reading may go on, if it was paused for this.
        self.client.look_again();
        while let Some(packet) = self.held.pop_front() {
            self.waiting_bytes -= bytes_of(&packet);
            self.handle(packet, turn);
        }
    }

    fn call(&mut self, id: &str, path: &str, input: Value<'_>, timeout: Option<Duration>, key: Option<&str>) {
        let Some(route) = self.admit(id, path) else { return };
        let Starts::Call { timeout: allowed, .. } = &*route.starts else {
            return self.refuse(id, &Error::new(Code::METHOD_MISMATCH, format!("{path:?} is a subscription")));
        };
        let limit = self.client.hub.config.calls_per_connection;
        if self.calls + self.client.unattended.load(Acquire) >= limit {
            return self.refuse(id, &exhausted(limit, "calls"));
        }
        let timeout = timeout.map_or(*allowed, |timeout| timeout.min(*allowed));
        let mut core = CallCore::of_route(self.origin(), &route, id);
        core.deadline = self.client.hub.clock.past(timeout);
        let core = Arc::new(core);
        let running = match begin_call(&self.client.hub, &route, &core, input, key) {
            Ok(running) => running,
            Err(error) => return self.refuse(id, &error),
        };
        let mut call = Call::new(core, running);
        let (seat, waker) = self.tasks.reserve();
        if call.poll(&self.client, &mut Context::from_waker(&waker)).is_ready() {
            return self.tasks.release(seat);
        }
        self.calls += 1;
        let deadline = call.core.deadline;
        // Boxed only here: most calls are ready at once.
        self.keep(id, seat, Task::Call(Box::new(call)));
        if self.deadline.is_none_or(|known| deadline < known) {
            self.deadline = Some(deadline);
            self.client.watch(deadline);
        }
    }

    fn subscribe(
        &mut self,
        id: &str,
        path: &str,
        input: Value<'_>,
        after: Option<Position>,
        terms: Terms,
        turn: &mut Turn,
    ) {
        let Some(route) = self.admit(id, path) else { return };
        if route.starts.as_subscription().is_none() {
            return self.refuse(id, &Error::new(Code::METHOD_MISMATCH, format!("{path:?} is a procedure")));
        }
        let limit = self.client.hub.config.subscriptions_per_connection;
        if self.streams >= limit {
            return self.refuse(id, &exhausted(limit, "subscriptions"));
        }
        let mut core = CallCore::of_route(self.origin(), &route, id);
        core.after = after;
        let core = Arc::new(core);
        let starting = match begin(&core, || route.start(&core, input, Starts::as_subscription)) {
            Ok(starting) => starting,
            Err(error) => return self.refuse(id, &error),
        };
        let (seat, _) = self.tasks.reserve();
        self.streams += 1;
        self.keep(id, seat, Task::Stream(Box::new(Stream::new(core, starting, terms))));
        self.poll_task(seat, turn);
    }

    fn event(&mut self, name: &str, data: Value<'_>, turn: &mut Turn) {
        let Some(route) = self.service.router.find_event(name).cloned() else {
            return self.client.report(&Error::not_found(format!("no event is named {name:?} here")));
        };
        if self.event.is_some() || !self.events.is_empty() {
            self.waiting_bytes += data.len();
            self.events.push_back((route, data.into_owned()));
        } else {
            self.begin_event(&route, data, turn);
        }
    }

    fn begin_event(&mut self, route: &Arc<Route>, data: Value<'_>, turn: &mut Turn) {
        let core = Arc::new(CallCore::of_route(self.origin(), route, ""));
        let running = match begin(&core, || route.start(&core, data, Starts::as_event)) {
            Ok(running) => running,
            Err(error) => return self.client.report(&error),
        };
        let (seat, _) = self.tasks.reserve();
        self.event = Some(seat);
        self.tasks.put(seat, Task::Event(Event::new(core, running)));
        self.poll_task(seat, turn);
    }

    /// Checks a fresh token, one at a time.
    fn renew(&mut self, token: &str, turn: &mut Turn) {
        match Renewing::begin(&self.client, token) {
            Ok(renewing) => {
                let (seat, _) = self.tasks.reserve();
                self.tasks.put(seat, Task::Renewing(renewing));
                self.poll_task(seat, turn);
            }
            Err(error) => self.client.report(&error),
        }
    }

    /// Drops what the subscriptions hold back, as far as their policies allow; returns how many items.
    #[cold]
    pub(super) fn drop_older(&mut self) -> usize {
        let older = |task: &mut Task| if let Task::Stream(stream) = task { stream.drop_older() } else { 0 };
        self.tasks.tasks_mut().map(older).sum()
    }

    /// Finds the route of a call whose id is free; otherwise answers it with an error.
    fn admit(&self, id: &str, path: &str) -> Option<Arc<Route>> {
        if !self.is_free(id) {
            return None;
        }
        if let Err(error) = self.client.hub.admit_to_budget() {
            self.refuse(id, &error);
            return None;
        }
        let route = self.service.router.find(path).cloned();
        if route.is_none() {
            self.refuse(id, &Error::not_found(format!("nothing is named {path:?} here")));
        }
        route
    }

    /// Returns true if no running task has this id; otherwise the client is sent an error.
    fn is_free(&self, id: &str) -> bool {
        if self.ids.is_empty() || !self.ids.contains_key(id) {
            return true;
        }
        // Sent without the id: it would look like the answer to the call that has it.
        let error = Error::new(Code::DUPLICATE_ID, format!("the id {id:?} is in use"));
        self.answer(None, &error.with_details(serde_json::json!({ "id": id })));
        false
    }

    fn keep(&mut self, id: &str, seat: usize, task: Task) {
        self.ids.insert(id.into(), seat);
        self.tasks.put(seat, task);
    }

    fn origin(&self) -> Origin {
        Origin::Client(Arc::clone(&self.client))
    }

    fn cancel(&mut self, id: &str) {
        if self.end(id) {
            self.refuse(id, &Error::new(Code::CANCELLED, "cancelled by the caller"));
        }
    }

    fn unsubscribe(&mut self, id: &str) {
        let Some(&seat) = self.ids.get(id) else { return };
        if !matches!(self.tasks.get_mut(seat), Some(Task::Stream(_))) {
            return;
        }
        self.end(id);
        self.client.reply(&Outgoing::Complete { id });
    }

    fn grant(&mut self, id: &str, more: u32, turn: &mut Turn) {
        let Some(&seat) = self.ids.get(id) else { return };
        if let Some(Task::Stream(stream)) = self.tasks.get_mut(seat) {
            stream.grant(more);
            self.poll_task(seat, turn);
        }
    }

    /// Drops the task with this id, without an answer; returns true if there was one.
    fn end(&mut self, id: &str) -> bool {
        let Some(&seat) = self.ids.get(id) else { return false };
        if let Some(task) = self.tasks.take(seat) {
            self.forget(seat, task);
        }
        true
    }

    /// Frees the seat of a finished task.
    fn forget(&mut self, seat: usize, task: Task) {
        match &task {
            Task::Call(call) => {
                self.ids.remove(&call.core.id);
                self.calls -= 1;
            }
            Task::Stream(stream) => {
                self.ids.remove(stream.id());
                self.streams -= 1;
                self.end_if_done();
            }
            Task::Event(_) => self.event = None,
            Task::Renewing(_) => {}
        }
        self.tasks.release(seat);
        drop(task);
    }

    /// Polls the tasks that were woken.
    #[inline]
    pub(super) fn poll(&mut self, turn: &mut Turn) {
        let nothing = self.held.is_empty() && self.blocked.is_empty() && self.events.is_empty();
        if !nothing || self.deadline.is_some() || self.tasks.has_ready() {
            self.poll_due(turn);
        }
    }

    #[inline(never)]
    fn poll_due(&mut self, turn: &mut Turn) {
        if !self.held.is_empty() && self.client.is_opened() {
            self.open(turn);
        }
        for _ in 0..POLLS {
            if turn.is_over() {
                break;
            }
            let Some(seat) = self.tasks.next_ready() else { break };
            self.poll_task(seat, turn);
        }
        // Last: after a pause of the process, calls that are ready are answered before they count as late.
        self.expire();
        for _ in 0..self.blocked.len().min(POLLS) {
            if turn.is_over() || !self.takes_blocked() {
                break;
            }
            let Some(seat) = self.blocked.pop_front() else { break };
            if let Some(Task::Stream(stream)) = self.tasks.get_mut(seat) {
                stream.unlist();
                self.poll_task(seat, turn);
            }
        }
        while self.event.is_none()
            && let Some((route, data)) = self.events.pop_front()
        {
            self.waiting_bytes -= data.len();
            self.client.look_again();
            self.begin_event(&route, data, turn);
            if turn.is_over() {
                break;
            }
        }
    }

    /// Returns true if another poll would make progress.
    pub(super) fn has_work(&self) -> bool {
        self.tasks.has_ready() || self.takes_blocked() || (self.event.is_none() && !self.events.is_empty())
    }

    /// Returns true if the first of the streams that wait for room has it. Checks the size of its item, since one
    /// that is too large would otherwise be tried again and again.
    fn takes_blocked(&self) -> bool {
        let Some(&seat) = self.blocked.front() else { return false };
        let bytes = match self.tasks.get(seat) {
            Some(Task::Stream(stream)) => stream.kept_bytes(),
            _ => 0,
        };
        self.client.outbox.takes_stream(bytes)
    }

    fn poll_task(&mut self, seat: usize, turn: &mut Turn) {
        turn.spend(0);
        let Some(mut task) = self.tasks.take(seat) else { return };
        let waker = self.tasks.waker(seat);
        let cx = &mut Context::from_waker(&waker);
        let polled = match &mut task {
            Task::Call(call) => call.poll(&self.client, cx),
            Task::Event(event) => event.poll(&self.client, cx),
            Task::Renewing(renewing) => renewing.poll(&self.client, cx),
            Task::Stream(stream) => match stream.poll(&self.client, cx, turn) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => {
                    if stream.list() {
                        self.blocked.push_back(seat);
                    }
                    if stream.take_again() {
                        self.tasks.wake(seat);
                    }
                    Poll::Pending
                }
            },
        };
        if polled.is_pending() {
            return self.tasks.put(seat, task);
        }
        self.forget(seat, task);
    }

    /// Fails the calls that have timed out.
    fn expire(&mut self) {
        let Some(deadline) = self.deadline else { return };
        let now = self.client.hub.clock.now();
        if now < deadline {
            // The wheel may have come to an earlier tick: that of a call of the client's procedures.
            return self.client.watch(deadline);
        }
        let late = |task: &Task| matches!(task, Task::Call(call) if call.core.deadline <= now);
        let late: Vec<usize> = self.tasks.seats().filter(|(_, task)| late(task)).map(|(seat, _)| seat).collect();
        for seat in late {
            let Some(Task::Call(call)) = self.tasks.take(seat) else { continue };
            let id = call.core.id.clone();
            self.forget(seat, Task::Call(call));
            self.refuse(&id, &late_error());
        }
        let deadlines = self.tasks.seats().filter_map(|(_, task)| match task {
            Task::Call(call) => Some(call.core.deadline),
            _ => None,
        });
        self.deadline = deadlines.min();
        if let Some(deadline) = self.deadline {
            self.client.watch(deadline);
        }
    }

    /// Answers a packet of which only the id could be parsed.
    fn refuse_unread(&self, id: &str, error: &Error) {
        if self.is_free(id) {
            self.refuse(id, error);
        }
    }

    /// Answers a request that is not run.
    fn refuse(&self, id: &str, error: &Error) {
        self.client.log(error);
        self.answer(Some(id), error);
        self.end_if_done();
    }

    /// Ends a session for subscriptions with the last of them.
    fn end_if_done(&self) {
        if self.purpose == Purpose::Subscriptions && self.streams == 0 && self.held.is_empty() {
            self.client.close(CloseCode::NORMAL, "");
        }
    }

    fn answer(&self, id: Option<&str>, error: &Error) {
        self.client.reply(&Outgoing::Error { id, error });
    }
}

/// Returns the bytes of a packet's application data.
fn bytes_of(packet: &Packet<'_>) -> usize {
    match packet {
        Packet::Call { input: value, .. }
        | Packet::Subscribe { input: value, .. }
        | Packet::Event { data: value, .. } => value.len(),
        Packet::Authenticate { token } => token.0.len(),
        _ => 0,
    }
}

/// Tasks polled before the client is read and written again.
const POLLS: usize = 64;

/// No task of a connection outlives it.
impl Drop for Calls {
    fn drop(&mut self) {
        for task in self.tasks.drain() {
            drop(task);
        }
    }
}

fn exhausted(limit: usize, what: &str) -> Error {
    Error::resource_exhausted(format!("{limit} {what} run on this connection already")).with_retry_after(SOON)
}

/// Time after which a client with too many requests in flight may retry.
const SOON: Duration = Duration::from_millis(100);
