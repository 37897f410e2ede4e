//! Calls and subscriptions in any order of what clients and the server may do: what the clients see is what a small
//! model of them allows, and nothing that ran is left behind.

#[path = "support/lab.rs"]
mod lab;
#[path = "support/model.rs"]
mod model;
#[path = "support/node.rs"]
mod node;

use adapter_testing::{TestFrame, block_on};
use lab::{BRIEF_MS, CONFIRM_MS, EPOCH, End, Feed, JOB_MS, Job, Lab, Policy, Shout, Then};
use model::{CALLS, Checked, Client, Held, May, SUBSCRIPTIONS, Subscribed, What, ensure};
use node::{Node, TaskId};
use proptest::{collection::vec, option, prelude::*, sample::select};
use realtime_core::{CloseCode, Code, Realtime};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000,
        // What once failed becomes a test of its own.
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn clients_see_what_the_model_allows(steps in vec(step(), 1..60)) {
        run(&steps).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn a_call_that_cannot_be_read_does_not_end_the_one_that_has_its_id() {
    expect(&[
        Step::Call { on: 0, id: 'a', job: waits_once(), brief: false, timeout: None },
        Step::Wrong { on: 0, id: 'a', wrong: Wrong::Timeout },
        Step::Open { which: 0, gates: 1 },
    ]);
}

#[test]
fn a_call_is_late_where_a_call_of_the_clients_was_due_before_it() {
    expect(&[
        Step::Ask { on: 0 },
        Step::Advance { ms: 600 },
        Step::Call { on: 0, id: 'a', job: waits_once(), brief: true, timeout: None },
        Step::Advance { ms: 1200 },
    ]);
}

#[test]
fn an_item_for_which_there_is_no_room_waits_for_it() {
    let feed = Feed { count: 2, gated: false, late: false, positions: false, padding: 6000, end: End::Complete };
    expect(&[
        Step::Stall { on: 0, after: 3000 },
        Step::Subscribe { on: 0, id: 'a', feed, policy: Policy::Block, credit: None, resume: false },
        Step::Read { on: 0 },
    ]);
}

#[test]
fn an_id_that_is_used_again_behind_an_answer_that_waits_is_free() {
    let feed =
        |count, padding| Feed { count, gated: false, late: false, positions: false, padding, end: End::Complete };
    let subscribe =
        |id, feed| Step::Subscribe { on: 0, id, feed, policy: Policy::Block, credit: None, resume: false };
    let large = Job { gates: 0, progress: false, then: Then::Large(3000), fragile: false };
    let call = Step::Call { on: 0, id: 'a', job: large, brief: false, timeout: None };
    expect(&[
        Step::Stall { on: 0, after: 0 },
        subscribe('c', feed(1, 5000)),
        Step::Together { on: 0, steps: vec![call, subscribe('a', feed(0, 0))] },
        Step::Stall { on: 0, after: 3000 },
    ]);
}

#[test]
fn a_client_that_is_being_closed_is_not_available() {
    let mut world = World::new();
    let any = world.client(0).unwrap().link.any.clone();
    any.close(CloseCode::NORMAL, "done");
    let error = block_on(any.call(lab::CONFIRM, 0)).unwrap_err();
    assert_eq!(error.code(), &Code::UNAVAILABLE);
}

fn waits_once() -> Job {
    Job { gates: 1, progress: false, then: Then::Answer, fragile: false }
}

#[track_caller]
fn expect(steps: &[Step]) {
    run(steps).unwrap_or_else(|wrong| panic!("{wrong}"));
}

/// One thing that a client, the server or the clock does. Who has no connection connects first.
#[derive(Clone, Debug)]
enum Step {
    Call {
        on: usize,
        id: char,
        job: Job,
        brief: bool,
        timeout: Option<u64>,
    },
    Cancel {
        on: usize,
        id: char,
    },
    /// With `resume`, after the last position that the client has seen.
    Subscribe {
        on: usize,
        id: char,
        feed: Feed,
        policy: Policy,
        credit: Option<u32>,
        resume: bool,
    },
    Credit {
        on: usize,
        id: char,
        more: u32,
    },
    Unsubscribe {
        on: usize,
        id: char,
    },
    Wrong {
        on: usize,
        id: char,
        wrong: Wrong,
    },
    Shout {
        on: usize,
        shout: Shout,
    },
    UnknownEvent {
        on: usize,
    },
    Unreadable {
        on: usize,
    },
    Ping {
        on: usize,
    },
    /// A client sends several frames at once.
    Together {
        on: usize,
        steps: Vec<Step>,
    },
    /// Opens gates for one of those that live.
    Open {
        which: usize,
        gates: u64,
    },
    /// The server calls a client.
    Ask {
        on: usize,
    },
    /// The server drops one of its calls.
    DropAsk {
        which: usize,
    },
    /// A client answers one of the server's calls that it has seen.
    Answer {
        on: usize,
        which: usize,
        answer: Answer,
    },
    Advance {
        ms: u64,
    },
    /// The client reads so many bytes more, and then nothing.
    Stall {
        on: usize,
        after: usize,
    },
    Read {
        on: usize,
    },
    Cut {
        on: usize,
    },
    Close {
        on: usize,
        code: u16,
    },
    CloseByServer {
        on: usize,
    },
    /// The connection's future is dropped.
    Abort {
        on: usize,
    },
}

impl Step {
    /// The client that sends a frame by it, which the server reads in its order.
    fn sender(&self) -> Option<usize> {
        match *self {
            Self::Call { on, .. }
            | Self::Cancel { on, .. }
            | Self::Subscribe { on, .. }
            | Self::Credit { on, .. }
            | Self::Unsubscribe { on, .. }
            | Self::Wrong { on, .. }
            | Self::Shout { on, .. }
            | Self::UnknownEvent { on }
            | Self::Unreadable { on }
            | Self::Ping { on }
            | Self::Together { on, .. }
            | Self::Answer { on, .. } => Some(on),
            _ => None,
        }
    }
}

/// A call or subscription that is not started.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    UnknownCall,
    UnknownSubscription,
    CallOfSubscription,
    SubscriptionOfCall,
    Input,
    Timeout,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Yes,
    No,
    Error,
    WrongType,
    UnknownId,
}

const CLIENTS: usize = 3;

fn step() -> impl Strategy<Value = Step> {
    let together = on()
        .prop_flat_map(|on| vec(sent(Just(on).boxed()), 2..6).prop_map(move |steps| Step::Together { on, steps }));
    prop_oneof![
        12 => sent(on()),
        1 => together,
        7 => any_other(),
    ]
}

fn on() -> BoxedStrategy<usize> {
    prop_oneof![6 => Just(0), 2 => Just(1), 1 => Just(2)].boxed()
}

/// A frame of a client's.
fn sent(on: BoxedStrategy<usize>) -> impl Strategy<Value = Step> {
    let on = || on.clone();
    let id = || select(vec!['a', 'b', 'c', 'd', 'e', 'f']);
    let timeout = option::weighted(0.3, select(vec![0, 100, 700, 2000, 9000]));
    let credit = option::weighted(0.6, select(vec![0, 1, 2, 5, 20]));
    let wrong = select(vec![
        Wrong::UnknownCall,
        Wrong::UnknownSubscription,
        Wrong::CallOfSubscription,
        Wrong::SubscriptionOfCall,
        Wrong::Input,
        Wrong::Timeout,
    ]);
    let policy = select(vec![Policy::Block, Policy::Block, Policy::DropOldest, Policy::Conflate, Policy::Close]);
    let shout = (any::<bool>(), any::<bool>()).prop_map(|(gated, fails)| Shout { gated, fails });
    prop_oneof![
        16 => (on(), id(), job(), any::<bool>(), timeout)
            .prop_map(|(on, id, job, brief, timeout)| Step::Call { on, id, job, brief, timeout }),
        5 => (on(), id()).prop_map(|(on, id)| Step::Cancel { on, id }),
        16 => (on(), id(), feed(), policy, credit, any::<bool>()).prop_map(|(on, id, feed, policy, credit, resume)| {
            Step::Subscribe { on, id, feed, policy, credit, resume }
        }),
        8 => (on(), id(), select(vec![0, 1, 2, 7, u32::MAX])).prop_map(|(on, id, more)| Step::Credit { on, id, more }),
        4 => (on(), id()).prop_map(|(on, id)| Step::Unsubscribe { on, id }),
        3 => (on(), id(), wrong).prop_map(|(on, id, wrong)| Step::Wrong { on, id, wrong }),
        3 => (on(), shout).prop_map(|(on, shout)| Step::Shout { on, shout }),
        1 => on().prop_map(|on| Step::UnknownEvent { on }),
        1 => on().prop_map(|on| Step::Unreadable { on }),
        1 => on().prop_map(|on| Step::Ping { on }),
    ]
}

fn any_other() -> impl Strategy<Value = Step> {
    let answer = select(vec![Answer::Yes, Answer::No, Answer::Error, Answer::WrongType, Answer::UnknownId]);
    prop_oneof![
        16 => (0..16_usize, 1..5_u64).prop_map(|(which, gates)| Step::Open { which, gates }),
        3 => on().prop_map(|on| Step::Ask { on }),
        1 => (0..4_usize).prop_map(|which| Step::DropAsk { which }),
        5 => (on(), 0..4_usize, answer).prop_map(|(on, which, answer)| Step::Answer { on, which, answer }),
        7 => select(vec![50, 200, 250, 600, 1100, 2600]).prop_map(|ms| Step::Advance { ms }),
        5 => (on(), select(vec![0, 1, 100, 3000])).prop_map(|(on, after)| Step::Stall { on, after }),
        5 => on().prop_map(|on| Step::Read { on }),
        1 => on().prop_map(|on| Step::Cut { on }),
        1 => (on(), select(vec![1000, 4001])).prop_map(|(on, code)| Step::Close { on, code }),
        1 => on().prop_map(|on| Step::CloseByServer { on }),
        1 => on().prop_map(|on| Step::Abort { on }),
    ]
}

fn job() -> impl Strategy<Value = Job> {
    let then = prop_oneof![
        3 => Just(Then::Answer),
        2 => select(vec![3000, 5000, 9000]).prop_map(Then::Large),
        1 => Just(Then::Unserialisable),
        1 => Just(Then::Fail),
        1 => Just(Then::Panic),
        3 => Just(Then::Ask),
    ];
    (0..3_u32, any::<bool>(), then, any::<bool>()).prop_map(|(gates, progress, then, fragile)| Job {
        gates,
        progress,
        then,
        fragile,
    })
}

fn feed() -> impl Strategy<Value = Feed> {
    let size = prop_oneof![
        8 => (0..6_u32, select(vec![0, 0, 0, 300, 2000])),
        2 => (select(vec![12, 30]), select(vec![0, 300])),
        1 => (Just(200), Just(0)),
        2 => (0..3_u32, select(vec![5000, 6000, 9000])),
    ];
    let end = select(vec![End::Complete, End::Complete, End::Fail, End::Panic, End::Unserialisable, End::Never]);
    (size, any::<bool>(), prop::bool::weighted(0.2), any::<bool>(), end).prop_map(
        |((count, padding), gated, late, positions, end)| Feed { count, gated, late, positions, padding, end },
    )
}

/// Runs the steps, and says what is wrong at which of them.
fn run(steps: &[Step]) -> Checked {
    let mut world = World::new();
    for (at, step) in steps.iter().enumerate() {
        let taken = world.take(step).and_then(|()| world.settle());
        taken.map_err(|wrong| format!("step {at}, {step:?}: {wrong}"))?;
    }
    world.end().map_err(|wrong| format!("at the end: {wrong}"))
}

/// The server, and who is connected to it.
struct World {
    node: Node,
    lab: Lab,
    clients: [Option<Client>; CLIENTS],
    /// The position that each client has seen last.
    seen: [Option<u64>; CLIENTS],
    /// Unreadable frames in a row are limited.
    unreadable: [u32; CLIENTS],
    /// The steps that each client sends when the server reads on: so much waits for it that nothing is read of it.
    waiting: [VecDeque<Step>; CLIENTS],
    /// The server's calls that are not made for a client's: which, on whose connection, and their tasks.
    asking: Vec<(u32, usize, TaskId)>,
    /// The answers of clients.
    answers: HashMap<u32, Result<bool, String>>,
}

impl World {
    fn new() -> Self {
        let lab = Lab::default();
        let builder = Realtime::builder().manual_time().config(model::config());
        let node = Node::new(builder.endpoint("lab", lab::endpoint(&lab)).build());
        Self {
            node,
            lab,
            clients: [const { None }; CLIENTS],
            seen: [None; CLIENTS],
            unreadable: [0; CLIENTS],
            waiting: [const { VecDeque::new() }; CLIENTS],
            asking: Vec::new(),
            answers: HashMap::new(),
        }
    }

    /// Takes a step; a frame of a client that is not read is sent later, and the frames of one that may come to that are
    /// sent one after the other.
    fn take(&mut self, step: &Step) -> Checked {
        let Some(on) = step.sender() else { return self.take_now(step) };
        if !self.is_held(on) && self.waiting[on].is_empty() {
            let stalled = self.client(on)?.stalled;
            match step {
                Step::Together { steps, .. } if stalled => self.waiting[on].extend(steps.iter().cloned()),
                step => return self.take_now(step),
            }
        } else {
            self.waiting[on].push_back(step.clone());
        }
        Ok(())
    }

    /// Returns true if nothing is read of a client, because of what waits for it.
    fn is_held(&self, on: usize) -> bool {
        let queued = self.clients[on].as_ref().map_or(0, |client| client.link.any.queued_bytes());
        queued > model::OUTBOX_BYTES / 2
    }

    fn take_now(&mut self, step: &Step) -> Checked {
        match *step {
            Step::Call { on, id, job, brief, timeout } => self.call(on, id, job, brief, timeout)?,
            Step::Subscribe { on, id, feed, policy, credit, resume } => {
                self.subscribe(on, id, feed, policy, credit, resume)?;
            }
            Step::Cancel { on, id } => {
                let (lab, id) = (self.lab.clone(), id.to_string());
                let client = self.client(on)?;
                client.cancel(&lab, &id);
                send(client, &json!({"type": "cancel", "id": id}));
            }
            Step::Credit { on, id, more } => {
                let (lab, id) = (self.lab.clone(), id.to_string());
                let client = self.client(on)?;
                client.grant(&lab, &id, more);
                send(client, &json!({"type": "credit", "id": id, "more": more}));
            }
            Step::Unsubscribe { on, id } => {
                let (lab, id) = (self.lab.clone(), id.to_string());
                let client = self.client(on)?;
                client.unsubscribe(&lab, &id);
                send(client, &json!({"type": "unsubscribe", "id": id}));
            }
            Step::Wrong { on, id, wrong } => self.wrong(on, id, wrong)?,
            Step::Shout { on, shout } => {
                let n = self.lab.add();
                let client = self.client(on)?;
                // More would be left unread.
                if client.events() < 5 {
                    client.shout(n, shout);
                    send(client, &json!({"type": "event", "name": "SHOUT", "data": [n, shout]}));
                }
            }
            Step::UnknownEvent { on } => {
                let client = self.client(on)?;
                client.expect_loose("NOT_FOUND");
                send(client, &json!({"type": "event", "name": "WHISPER"}));
            }
            Step::Unreadable { on } => {
                self.unreadable[on] += 1;
                if self.unreadable[on] < 20 {
                    let client = self.client(on)?;
                    client.expect_loose("PARSE_ERROR");
                    send(client, &json!({"type": "nothing"}));
                }
            }
            Step::Ping { on } => {
                let client = self.client(on)?;
                client.pongs += 1;
                send(client, &json!({"type": "ping"}));
            }
            Step::Together { on, ref steps } => {
                self.client(on)?.pressed = true;
                for step in steps {
                    self.take_now(step)?;
                }
            }
            Step::Open { which, gates } => self.open(which, gates),
            Step::Ask { on } => {
                let n = self.lab.add();
                let any = self.client(on)?.link.any.clone();
                let task = self.node.spawn(Box::pin(self.lab.clone().ask_alone(any, n)));
                self.asking.push((n, on, task));
            }
            Step::DropAsk { which } => {
                if !self.asking.is_empty() {
                    let (_, _, task) = self.asking[which % self.asking.len()];
                    self.node.abort(task);
                }
            }
            Step::Answer { on, which, answer } => self.answer(on, which, answer)?,
            Step::Advance { ms } => {
                let end = self.node.now + ms;
                while !self.node.step(end) {
                    self.settle()?;
                }
            }
            Step::Stall { on, after } => {
                let client = self.client(on)?;
                client.stalled = true;
                client.link.read(Some(after));
            }
            Step::Read { on } => {
                let client = self.client(on)?;
                client.stalled = false;
                client.link.read(None);
            }
            Step::Cut { on } => {
                self.client(on)?.link.cut();
                self.finish(on, None)?;
            }
            Step::Close { on, code } => {
                // Where nothing of it was read, it reads first.
                let client = self.client(on)?;
                client.link.read(None);
                client.link.send(&TestFrame::close(code, ""));
                self.finish(on, Some(code))?;
            }
            Step::CloseByServer { on } => {
                self.client(on)?.link.any.close(CloseCode::NORMAL, "done");
                self.finish(on, Some(1000))?;
            }
            Step::Abort { on } => {
                let task = self.client(on)?.link.task;
                self.node.abort(task);
                self.finish(on, None)?;
            }
        }
        Ok(())
    }

    fn call(&mut self, on: usize, id: char, job: Job, brief: bool, timeout: Option<u64>) -> Checked {
        let (lab, now, n, id) = (self.lab.clone(), self.node.now, self.lab.add(), id.to_string());
        let client = self.client(on)?;
        let may = may(client.held(&lab, &id), client.running(&lab, true), CALLS);
        let allowed = if brief { BRIEF_MS } else { JOB_MS };
        let limit = timeout.map_or(allowed, |timeout| timeout.min(allowed));
        client.ask(&id, n, What::Call { job, limit }, now, may);
        let path = if brief { json!(["brief"]) } else { json!("job") };
        let mut frame = json!({"type": "call", "id": id, "path": path, "input": [n, job]});
        if let Some(timeout) = timeout {
            frame["timeoutMs"] = json!(timeout);
        }
        send(client, &frame);
        Ok(())
    }

    fn subscribe(
        &mut self,
        on: usize,
        id: char,
        feed: Feed,
        policy: Policy,
        credit: Option<u32>,
        resume: bool,
    ) -> Checked {
        let (lab, now, n, id) = (self.lab.clone(), self.node.now, self.lab.add(), id.to_string());
        let client = self.client(on)?;
        let may = may(client.held(&lab, &id), client.running(&lab, false), SUBSCRIPTIONS);
        let resumes = resume && feed.positions && policy == Policy::Block;
        let after = client.seen.filter(|_| resumes);
        let subscribed = Subscribed::new(feed, policy, credit, after, resumes);
        client.ask(&id, n, What::Subscription(subscribed), now, may);
        let path = match policy {
            Policy::Block => "block",
            Policy::DropOldest => "drop_oldest",
            Policy::Conflate => "conflate",
            Policy::Close => "close",
        };
        let mut frame = json!({"type": "subscribe", "id": id, "path": path, "input": [n, feed]});
        if let Some(credit) = credit {
            frame["credit"] = json!(credit);
        }
        if let Some(after) = after {
            frame["after"] = json!({"epoch": EPOCH, "offset": after});
        }
        send(client, &frame);
        Ok(())
    }

    fn wrong(&mut self, on: usize, id: char, wrong: Wrong) -> Checked {
        let (lab, now, n, id) = (self.lab.clone(), self.node.now, self.lab.add(), id.to_string());
        let client = self.client(on)?;
        let held = client.held(&lab, &id);
        let (kind, path, input, code) = match wrong {
            Wrong::UnknownCall => ("call", json!("nothing"), json!(null), "NOT_FOUND"),
            Wrong::UnknownSubscription => ("subscribe", json!(["a", "b"]), json!(null), "NOT_FOUND"),
            Wrong::CallOfSubscription => ("call", json!("block"), json!(null), "METHOD_MISMATCH"),
            Wrong::SubscriptionOfCall => ("subscribe", json!("job"), json!(null), "METHOD_MISMATCH"),
            Wrong::Input => ("call", json!("job"), json!("no job"), "INVALID_ARGUMENT"),
            Wrong::Timeout => ("call", json!("job"), json!(null), "PARSE_ERROR"),
        };
        let mut may = May { start: false, duplicate: held != Held::No, refusals: Vec::new() };
        if held != Held::Yes {
            may.refusals.push(code);
        }
        if matches!(wrong, Wrong::Input) && held != Held::Yes {
            may.refusals = self::may(held, client.running(&lab, true), CALLS).refusals;
            may.refusals.extend((client.running(&lab, true).0 < CALLS).then_some(code));
        }
        client.ask(&id, n, What::Nothing, now, may);
        let mut frame = json!({"type": kind, "id": id, "path": path, "input": input});
        if matches!(wrong, Wrong::Timeout) {
            frame["timeoutMs"] = json!("soon");
        }
        send(client, &frame);
        Ok(())
    }

    fn open(&mut self, which: usize, gates: u64) {
        let alive: Vec<u32> = {
            let notes = self.lab.lock();
            (0..).zip(&notes.runs).filter(|(_, run)| run.alive > 0).map(|(n, _)| n).collect()
        };
        if !alive.is_empty() {
            self.lab.open(alive[which % alive.len()], gates);
        }
    }

    fn answer(&mut self, on: usize, which: usize, answer: Answer) -> Checked {
        let lab = self.lab.clone();
        let client = self.client(on)?;
        let asked = client.asked();
        if asked.is_empty() {
            return Ok(());
        }
        let (id, n) = &asked[which % asked.len()];
        let said = |data: Value| json!({"type": "result", "id": id, "data": data});
        let (frame, outcome) = match answer {
            Answer::Yes => (said(json!(true)), Ok(true)),
            Answer::No => (said(json!(false)), Ok(false)),
            Answer::WrongType => (said(json!("maybe")), Err("INVALID_ARGUMENT".to_owned())),
            Answer::Error => {
                let error = json!({"code": "NOPE", "message": "no"});
                (json!({"type": "error", "id": id, "error": error}), Err("NOPE".to_owned()))
            }
            Answer::UnknownId => {
                send(client, &json!({"type": "result", "id": "c999", "data": true}));
                return Ok(());
            }
        };
        send(client, &frame);
        if lab.with(*n, |run| run.settled.is_empty() && run.alive > 0) {
            self.answers.insert(*n, outcome);
        }
        Ok(())
    }

    /// The client in a place; it connects, where it is not.
    fn client(&mut self, on: usize) -> Checked<&mut Client> {
        let seen = self.seen[on];
        if self.clients[on].is_none() {
            let link = self.node.connect("lab");
            self.node.settle()?;
            self.clients[on] = Some(Client::new(link, seen));
            self.unreadable[on] = 0;
        }
        self.clients[on].as_mut().ok_or_else(|| "is not connected".to_owned())
    }

    /// Lets all happen that does by itself, and compares it with the model; then has the clients send what they could
    /// not before.
    fn settle(&mut self) -> Checked {
        self.settle_once()?;
        for on in 0..CLIENTS {
            while !self.is_held(on)
                && let Some(step) = self.waiting[on].pop_front()
            {
                if let (Step::Together { steps, .. }, true) = (&step, self.client(on)?.stalled) {
                    steps.iter().rev().for_each(|step| self.waiting[on].push_front(step.clone()));
                    continue;
                }
                self.take_now(&step)
                    .and_then(|()| self.settle_once())
                    .map_err(|wrong| format!("{step:?}: {wrong}"))?;
            }
        }
        Ok(())
    }

    fn settle_once(&mut self) -> Checked {
        self.lab.lock().now = self.node.now;
        self.node.settle()?;
        for on in 0..CLIENTS {
            let Some(client) = &self.clients[on] else { continue };
            if client.link.any.is_closed() {
                ensure!(client.stalled || client.pressed, "client {on} was closed, and it reads");
                self.finish(on, Some(1013))?;
            }
        }
        for (on, client) in self.clients.iter_mut().enumerate() {
            let Some(client) = client else { continue };
            client.look(&self.lab).map_err(|wrong| format!("client {on}: {wrong}"))?;
            client.pressed = false;
        }
        self.check_asking()
    }

    /// A connection ends; with this close frame, unless it was cut.
    fn finish(&mut self, on: usize, code: Option<u16>) -> Checked {
        let Some(mut client) = self.clients[on].take() else { return Ok(()) };
        self.waiting[on].clear();
        self.lab.lock().now = self.node.now;
        self.node.settle()?;
        client.ended = true;
        client.look(&self.lab)?;
        if let Some(code) = code {
            client.link.read(None);
            self.node.settle()?;
            client.look(&self.lab)?;
            let closed = client.close.as_ref().map(|(code, _)| *code);
            ensure!(closed == Some(code), "closed with {closed:?} instead of {code}");
            client.link.send(&TestFrame::close(code, ""));
            self.node.settle()?;
        }
        ensure!(self.node.is_done(client.link.task), "the connection did not end");
        let id = client.link.any.id();
        let closed = self.lab.lock().closed.get(&id).cloned();
        ensure!(closed == Some(vec![Vec::new()]), "on_close was told {closed:?} of what lives");
        self.seen[on] = client.seen;
        for &(n, _, task) in self.asking.iter().filter(|(_, of, _)| *of == on) {
            ensure!(self.node.is_done(task), "the server's call {n} waits for a client that is gone");
        }
        self.asking.retain(|(_, of, _)| *of != on);
        Ok(())
    }

    /// The server's calls are settled once, by what the client said or in time.
    fn check_asking(&self) -> Checked {
        let notes = self.lab.lock();
        for (n, run) in (0..).zip(&notes.runs) {
            let Some(asked) = run.asked else { continue };
            let wrong = |what: &str| Err(format!("the server's call {n} {what}: {run:?}"));
            let answer = self.answers.get(&n);
            match &run.settled[..] {
                [] if answer.is_some() => return wrong("was answered and waits"),
                [] if run.alive > 0 && notes.now > asked + CONFIRM_MS + 500 => return wrong("waits for too long"),
                [] => {}
                [(outcome, at)] => {
                    let after = at - asked;
                    let in_time = match outcome {
                        _ if answer == Some(outcome) => true,
                        _ if answer.is_some() => false,
                        Err(code) if code == "DEADLINE_EXCEEDED" => {
                            (CONFIRM_MS..=CONFIRM_MS + 500).contains(&after)
                        }
                        // One too many, or no room for it.
                        Err(code) if code == "RESOURCE_EXHAUSTED" => after == 0,
                        Err(code) => code == "UNAVAILABLE",
                        Ok(_) => false,
                    };
                    if !in_time {
                        return wrong("was settled otherwise");
                    }
                }
                _ => return wrong("was settled twice"),
            }
        }
        Ok(())
    }

    /// Everyone reads what there is, and goes.
    fn end(&mut self) -> Checked {
        for client in self.clients.iter_mut().flatten() {
            client.stalled = false;
            client.link.read(None);
        }
        self.settle()?;
        for on in 0..CLIENTS {
            let Some(client) = &self.clients[on] else { continue };
            client.link.cut();
            self.finish(on, None)?;
        }
        let left: u32 = self.lab.lock().runs.iter().map(|run| run.alive).sum();
        ensure!(left == 0, "{left} futures and streams are left");
        ensure!(self.node.realtime.connections() == 0, "a connection is left");
        self.lab.forget();
        Ok(())
    }
}

/// Returns the possible answers to a call or subscription whose id is held like this, where so many run.
fn may(held: Held, running: (usize, usize), limit: usize) -> May {
    let free = held != Held::Yes;
    let refusals = if free && running.1 >= limit { vec!["RESOURCE_EXHAUSTED"] } else { Vec::new() };
    May { start: free && running.0 < limit, duplicate: held != Held::No, refusals }
}

fn send(client: &Client, frame: &Value) {
    client.link.send(&TestFrame::text(&frame.to_string()));
}
