use super::*;
use crate::mailbox::Mailbox;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Poll},
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn frames_are_sent_in_the_order_in_which_they_were_asked_for() {
    let (mut session, now) = opened();
    call(&mut session, now + SECOND, None);
    session.send(&Outgoing::Message { value: &null() }).unwrap();
    session.subscribe("s".to_owned(), null(), None).unwrap();
    call(&mut session, now + SECOND, None);
    let kinds = frames(&mut session, now).into_iter().map(|frame| frame["type"].clone());
    assert_eq!(kinds.collect::<Vec<_>>(), ["call", "message", "subscribe", "call"]);
}

#[test]
fn what_is_left_of_a_calls_time_is_told() {
    let mut session = Session::new(Format::Json, OfflineQueue::default());
    let now = Instant::now();
    call(&mut session, now + 10 * SECOND, None);
    session.open(now + 3 * SECOND, SECOND, SECOND);
    assert_eq!(frames(&mut session, now + 3 * SECOND)[0]["timeoutMs"], 7000);
}

#[test]
fn a_call_whose_time_is_over_is_not_sent_even_before_anyone_looked() {
    let (mut session, now) = opened();
    let (_, answers) = call(&mut session, now + SECOND, None);
    assert!(frames(&mut session, now + SECOND).is_empty());
    session.handle_time(now + SECOND).unwrap();
    assert!(matches!(taken(&answers)[..], [Answer::Done(Err(ref error))] if error.is_timeout()));
}

#[test]
fn what_is_larger_than_the_server_takes_fails_alone() {
    let mut session = Session::new(Format::Json, OfflineQueue::default());
    let now = Instant::now();
    let long = Payload::write(Format::Json, &"x".repeat(300)).unwrap();
    let request = |input: &Payload| Request {
        path: "p".to_owned(),
        input: input.clone(),
        key: None,
        deadline: now + SECOND,
    };
    let (_, large) = session.call(request(&long)).unwrap();
    let (_, stream) = session.subscribe("s".to_owned(), long.clone(), None).unwrap();
    session.send(&Outgoing::Message { value: &long }).unwrap();
    let (small, _) = session.call(request(&null())).unwrap();

    session.limit_messages(Some(150));
    session.open(now, SECOND, SECOND);
    let sent: Vec<_> = frames(&mut session, now).into_iter().map(|frame| frame["id"].clone()).collect();
    assert_eq!(sent, [small.to_string()]);
    let says = |error: &ClientError| {
        assert_eq!(*error.code(), realtime_protocol::Code::INVALID_ARGUMENT);
        error.message().ends_with(" bytes is more than the server takes, 150")
    };
    assert!(matches!(taken(&large)[..], [Answer::Done(Err(ref error))] if says(error)));
    assert!(matches!(taken(&stream)[..], [Delivery::Failed(ref error)] if says(error)));
    assert!(says(&session.send(&Outgoing::Message { value: &long }).unwrap_err()));
    session.answer("c1", Ok(long));
    assert_eq!(frames(&mut session, now)[0]["error"]["code"], "INVALID_ARGUMENT");
}

#[test]
fn a_call_whose_time_is_over_leaves_its_place_in_the_queue() {
    let mut session = Session::new(Format::Json, OfflineQueue::reject_newest(1, 1000));
    let now = Instant::now();
    let request = |deadline| Request { path: "p".to_owned(), input: null(), key: None, deadline };
    session.call(request(now + SECOND)).unwrap();
    assert!(session.call(request(now + 5 * SECOND)).is_err());
    session.handle_time(now + SECOND).unwrap();
    session.call(request(now + 5 * SECOND)).unwrap();
}

#[test]
fn the_next_deadline_is_the_earliest() {
    let (mut session, now) = opened();
    assert_eq!(session.next_deadline(), Some(now + 60 * SECOND));
    call(&mut session, now + 30 * SECOND, None);
    let (early, _) = call(&mut session, now + 5 * SECOND, None);
    assert_eq!(session.next_deadline(), Some(now + 5 * SECOND));
    session.drop_call(early);
    assert_eq!(session.next_deadline(), Some(now + 30 * SECOND));
    session.lose();
    session.handle_time(now + 30 * SECOND).unwrap();
    assert_eq!(session.next_deadline(), None);
}

#[test]
fn a_ping_follows_silence_and_nothing_else_does() {
    let (mut session, now) = opened();
    session.handle_time(now + 60 * SECOND).unwrap();
    assert_eq!(frames(&mut session, now), [json!({"type": "ping"})]);
    session.hear(now + 65 * SECOND);
    session.handle_time(now + 70 * SECOND).unwrap();
    session.handle_time(now + 125 * SECOND).unwrap();
    assert_eq!(session.handle_time(now + 135 * SECOND), Err(Cause::Silent));
}

#[test]
fn answers_that_pile_up_end_the_connection() {
    let (mut session, now) = opened();
    let answer = || Payload::write(Format::Json, &"x".repeat(1 << 20)).unwrap();
    for id in 0..32 {
        session.check_queue().unwrap();
        session.answer(&id.to_string(), Ok(answer()));
    }
    assert!(session.check_queue().is_err());
    session.lose();
    session.open(now, SECOND, SECOND);
    assert!(frames(&mut session, now).is_empty());
}

/// Whatever the application, the server and the network do, each call is answered once, none is sent after its answer,
/// and no more items are held or under way than the window allows.
#[test]
fn every_call_is_answered_once_whatever_happens() {
    for seed in 0..300 {
        let mut lab = Lab::new(seed);
        for _ in 0..400 {
            lab.step();
        }
        lab.finish();
    }
}

struct Lab {
    random: fastrand::Rng,
    session: Session,
    now: Instant,
    online: bool,
    calls: BTreeMap<u64, Asked>,
    /// The calls that the server has on the current connection.
    running: Vec<u64>,
    subscription: (u64, Arc<Mailbox<Delivery>>),
    /// The number of items that the server may send on the current connection.
    credit: usize,
    taken: usize,
    settled: usize,
}

struct Asked {
    answers: Arc<Mailbox<Answer>>,
    has_key: bool,
    sent: u32,
    done: bool,
}

impl Lab {
    fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let policies =
            [OfflineQueue::reject_newest(5, 1000), OfflineQueue::drop_oldest(5, 1000), OfflineQueue::off()];
        let mut session = Session::new(Format::Json, policies[seed as usize % 3]);
        let subscription = session.subscribe("s".to_owned(), null(), None).unwrap();
        Self {
            random,
            session,
            now: Instant::now(),
            online: false,
            calls: BTreeMap::new(),
            running: Vec::new(),
            subscription,
            credit: 0,
            taken: 0,
            settled: 0,
        }
    }

    fn step(&mut self) {
        match self.random.u32(0..12) {
            0..=2 => self.ask(),
            3 => self.toggle(),
            4 => self.give_up(),
            5..=6 => self.answer(),
            7..=8 => self.send_items(),
            9 => self.take_items(),
            _ => self.now += Duration::from_millis(self.random.u64(0..500)),
        }
        self.session.handle_time(self.now).unwrap();
        if self.online && self.random.bool() {
            self.write();
        }
        self.read_answers();
        let held = self.subscription.1.count(|delivery| matches!(delivery, Delivery::Item { .. }));
        assert!(held + self.credit <= WINDOW, "{held} held and {} granted", self.credit);
    }

    fn ask(&mut self) {
        let key = self.random.bool().then(|| "k".to_owned());
        let deadline = self.now + Duration::from_millis(self.random.u64(0..3000));
        let has_key = key.is_some();
        let request = Request { path: "p".to_owned(), input: null(), key, deadline };
        if let Ok((id, answers)) = self.session.call(request) {
            self.calls.insert(id, Asked { answers, has_key, sent: 0, done: false });
        }
    }

    fn toggle(&mut self) {
        self.online = !self.online;
        if self.online {
            return self.session.open(self.now, 1000 * SECOND, SECOND);
        }
        self.session.lose();
        self.credit = 0;
        self.running.clear();
    }

    fn give_up(&mut self) {
        let ids: Vec<_> = self.calls.iter().filter(|(_, call)| !call.done).map(|(id, _)| *id).collect();
        if let Some(id) = self.random.choice(ids) {
            self.session.drop_call(id);
            self.calls.remove(&id);
        }
    }

    fn answer(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let id = self.running.swap_remove(self.random.usize(0..self.running.len()));
        self.session.handle_frame(&Data::Text(format!(r#"{{"type":"progress","id":"{id}"}}"#).into())).unwrap();
        for _ in 0..self.random.u32(1..3) {
            self.session.handle_frame(&Data::Text(format!(r#"{{"type":"result","id":"{id}"}}"#).into())).unwrap();
        }
    }

    fn send_items(&mut self) {
        let count = self.random.usize(0..=self.credit);
        for _ in 0..count {
            self.credit -= 1;
            let id = self.subscription.0;
            self.session.handle_frame(&Data::Text(format!(r#"{{"type":"data","id":"{id}"}}"#).into())).unwrap();
        }
    }

    fn take_items(&mut self) {
        for _ in 0..self.random.u32(0..50) {
            match poll(&self.subscription.1) {
                Some(Delivery::Item { .. }) => self.taken += 1,
                Some(Delivery::Gap { gap, .. }) => assert_eq!(gap.cause, "reconnect"),
                Some(Delivery::Begun { .. }) => panic!("it is no feed"),
                Some(Delivery::Failed(error)) => panic!("{error}"),
                None => return,
            }
            if self.taken == WINDOW / 2 {
                self.taken = 0;
                self.session.grant(self.subscription.0);
            }
        }
    }

    fn write(&mut self) {
        for frame in frames(&mut self.session, self.now) {
            let id = || frame["id"].as_str().unwrap().parse::<u64>().unwrap();
            match frame["type"].as_str().unwrap() {
                "call" => {
                    let call = self.calls.get_mut(&id()).expect("a call that was given up is sent");
                    assert!(!call.done, "a call is sent after its answer");
                    call.sent += 1;
                    assert!(call.sent == 1 || call.has_key, "a call without a key is sent twice");
                    self.running.push(id());
                }
                "subscribe" => self.credit = frame["credit"].as_u64().unwrap() as usize,
                "credit" => self.credit += frame["more"].as_u64().unwrap() as usize,
                "cancel" | "ping" => {}
                other => panic!("{other}"),
            }
        }
    }

    fn read_answers(&mut self) {
        for (id, call) in &mut self.calls {
            for answer in taken(&call.answers) {
                assert!(!call.done, "call {id} is told something after its answer");
                call.done = matches!(answer, Answer::Done(_));
                self.settled += usize::from(call.done);
            }
        }
    }

    fn finish(mut self) {
        self.now += 10 * SECOND;
        self.session.handle_time(self.now).unwrap();
        self.session.close(Cause::Local);
        self.read_answers();
        assert!(self.calls.values().all(|call| call.done));
        assert!(self.settled > 5, "only {} calls were answered", self.settled);
        assert!(
            self.session
                .call(Request { path: String::new(), input: null(), key: None, deadline: self.now })
                .is_err()
        );
    }
}

fn opened() -> (Session, Instant) {
    let mut session = Session::new(Format::Json, OfflineQueue::default());
    let now = Instant::now();
    session.open(now, 60 * SECOND, 10 * SECOND);
    (session, now)
}

fn call(session: &mut Session, deadline: Instant, key: Option<&str>) -> (u64, Arc<Mailbox<Answer>>) {
    let key = key.map(str::to_owned);
    session.call(Request { path: "p".to_owned(), input: null(), key, deadline }).unwrap()
}

fn frames(session: &mut Session, now: Instant) -> Vec<Value> {
    let texts = std::iter::from_fn(|| session.take_frame(now));
    texts.map(|message| serde_json::from_slice(message.as_bytes()).unwrap()).collect()
}

fn taken<T>(mailbox: &Mailbox<T>) -> Vec<T> {
    std::iter::from_fn(|| poll(mailbox)).collect()
}

fn poll<T>(mailbox: &Mailbox<T>) -> Option<T> {
    match mailbox.poll_next(&Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => None,
    }
}

fn null() -> Payload {
    Payload::Json("null".into())
}
