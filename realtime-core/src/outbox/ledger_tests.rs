//! The bytes that outboxes hold, and those that the ledger counts for them.

use super::{Blocked, Keeping, Outbox, Post};
use crate::{
    ledger::{CLASSES, Class, HELD_PLACE, Ledger, PLACE},
    seams::SendQueue,
    websocket::{Draft, Frame, Opcode},
};
use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use realtime_protocol::{Close, CloseCode};
use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Context, Waker},
};

const OUTBOX: usize = 64 * 1024;
const BUDGET: usize = 1 << 20;
const CLIENTS: usize = 3;

#[test]
fn a_shared_frame_counts_once_for_all_whom_it_waits_for() {
    let ledger = Arc::new(Ledger::new(BUDGET));
    let frame = Frame::new(Opcode::Text, &[b'x'; 1000]);
    let mut clients: Vec<_> = (0..3).map(|_| Node::new(&ledger)).collect();
    clients.iter_mut().for_each(Node::park);
    for client in &clients {
        client.outbox.push_shared(&frame).unwrap();
    }
    assert_eq!(ledger.of(Class::Shared), frame.len());
    assert_eq!(ledger.of(Class::Places), 3 * PLACE);
    clients.pop();
    assert_eq!((ledger.of(Class::Shared), ledger.of(Class::Places)), (frame.len(), 2 * PLACE));
    drop(clients);
    assert_eq!(ledger.total(), 0);
}

#[test]
fn a_client_that_takes_everything_has_no_account() {
    let ledger = Arc::new(Ledger::new(BUDGET));
    let mut client = Node::new(&ledger);
    for _ in 0..10 {
        client.outbox.push(Draft::new(Opcode::Text, &[b'x'; 100])).unwrap();
        client.outbox.push_shared(&Frame::new(Opcode::Text, &[b'x'; 2000])).unwrap();
        assert_eq!(ledger.total(), 0);
        client.write(usize::MAX);
    }
    assert_eq!(ledger.total(), 0);
}

#[test]
fn a_frame_that_is_begun_for_one_client_counts_whole_for_another() {
    let ledger = Arc::new(Ledger::new(BUDGET));
    let frame = Frame::new(Opcode::Binary, &[0; 20_000]);
    let [mut first, mut second] = [Node::new(&ledger), Node::new(&ledger)];
    first.outbox.push_shared(&frame).unwrap();
    first.write(15_000);
    second.outbox.push_shared(&frame).unwrap();
    second.park();
    assert_eq!(ledger.of(Class::Shared), frame.len());
    drop((first, second));
    assert_eq!(ledger.total(), 0);
}

/// Its address identifies it: another frame at the same one would be counted as if it were this.
#[test]
fn a_shared_frame_is_not_freed_while_it_is_counted() {
    let ledger = Arc::new(Ledger::new(BUDGET));
    let mut client = Node::new(&ledger);
    client.park();
    let frame = Frame::new(Opcode::Binary, &[0; 20_000]);
    let still = frame.bytes().clone();
    client.outbox.push_shared(&frame).unwrap();
    drop(frame);
    client.outbox.take(&mut client.sending);
    client.sending.advance(client.sending.bytes());
    assert_eq!((ledger.of(Class::Shared), still.is_unique()), (still.len(), false));
    client.park();
    assert_eq!((ledger.of(Class::Shared), still.is_unique()), (0, true));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// A frame of one client's own.
    Own {
        client: usize,
        bytes: usize,
    },
    /// A frame to all.
    Shared {
        bytes: usize,
        keeping: Keeping,
        key: u8,
    },
    /// The transport takes so much, and no more.
    Write {
        client: usize,
        bytes: usize,
    },
    /// The same through a transport that joins small buffers.
    Join {
        client: usize,
        bytes: usize,
    },
    /// It takes everything.
    Drain {
        client: usize,
    },
    Ping {
        client: usize,
    },
    DropOlder {
        client: usize,
    },
    Close {
        client: usize,
    },
    Leave {
        client: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop_oneof![8 => 1..2000_usize, 1 => 15_000..18_000_usize];
    let keeping = prop_oneof![Just(Keeping::Nothing), Just(Keeping::Newest(3)), Just(Keeping::NewestOfEach)];
    let client = || 0..CLIENTS;
    prop_oneof![
        4 => (client(), bytes()).prop_map(|(client, bytes)| Step::Own { client, bytes }),
        6 => (bytes(), keeping, 0..3_u8).prop_map(|(bytes, keeping, key)| Step::Shared { bytes, keeping, key }),
        6 => (client(), 0..40_000_usize).prop_map(|(client, bytes)| Step::Write { client, bytes }),
        2 => (client(), 0..40_000_usize).prop_map(|(client, bytes)| Step::Join { client, bytes }),
        1 => client().prop_map(|client| Step::Drain { client }),
        1 => client().prop_map(|client| Step::Ping { client }),
        1 => client().prop_map(|client| Step::DropOlder { client }),
        1 => client().prop_map(|client| Step::Close { client }),
        1 => client().prop_map(|client| Step::Leave { client }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// The bytes that are counted are those that are held, after each step, and none in the end.
    #[test]
    fn the_sum_of_the_parts_is_what_is_held(steps in vec(step(), 1..150)) {
        let ledger = Arc::new(Ledger::new(BUDGET));
        let mut clients: Vec<_> = (0..CLIENTS).map(|_| Node::new(&ledger)).collect();
        clients.iter_mut().for_each(Node::park);
        for step in steps {
            run(step, &mut clients, &ledger);
            check(&clients, &ledger);
        }
        drop(clients);
        let classes: Vec<_> = CLASS.into_iter().map(|class| ledger.of(class)).collect();
        prop_assert_eq!(classes, vec![0; CLASSES]);
        prop_assert_eq!(ledger.total(), 0);
    }
}

const CLASS: [Class; CLASSES] = [
    Class::Logs,
    Class::Own,
    Class::Shared,
    Class::Places,
    Class::Inbound,
    Class::Outcomes,
    Class::Broker,
    Class::Presence,
    Class::Control,
];

fn run(step: Step, clients: &mut [Node], ledger: &Arc<Ledger>) {
    match step {
        Step::Own { client, bytes } => {
            let _ = clients[client].outbox.push(Draft::new(Opcode::Binary, &vec![0; bytes]));
        }
        Step::Shared { bytes, keeping, key } => {
            let frame = Frame::new(Opcode::Binary, &vec![0; bytes]);
            let (topic, key) = (Arc::from("topic"), key.to_string());
            let post = Post { topic: &topic, tag: 0, key: Some(&key) };
            for client in clients.iter() {
                let _ = match keeping {
                    Keeping::Nothing => client.outbox.push_shared(&frame),
                    keeping => client.outbox.push_or_keep(&frame, &post, keeping, ledger),
                };
            }
        }
        Step::Write { client, bytes } => clients[client].write(bytes),
        Step::Join { client, bytes } => {
            clients[client].sending.coalesce(16 * 1024);
            clients[client].write(bytes);
        }
        Step::Drain { client } => clients[client].write(usize::MAX),
        Step::Ping { client } => {
            clients[client].sending.push_ping(Bytes::from_static(b"\x89\0"));
            clients[client].park();
        }
        Step::DropOlder { client } => drop(clients[client].outbox.drop_older()),
        Step::Close { client } => {
            let close = Close::by_server(CloseCode::TRY_AGAIN_LATER, "");
            clients[client].outbox.close_discarding(close);
            clients[client].sending.discard();
            clients[client].write(0);
        }
        Step::Leave { client } => {
            clients[client] = Node::new(ledger);
            clients[client].park();
        }
    }
}

/// Compares the ledger with the buffers that are there.
fn check(clients: &[Node], ledger: &Ledger) {
    // Each buffer once, whoever holds it.
    let mut buffers = BTreeMap::new();
    let (mut places, mut joined, mut control, mut counted_too_much) = (0, 0, 0, 0);
    let mut hold = |frame: &Bytes, place: usize| {
        buffers.insert(frame.as_ptr() as usize + frame.len(), frame.len());
        places += place;
    };
    for Node { outbox, sending, .. } in clients {
        let contents = outbox.contents();
        contents.behind.iter().for_each(|frame| hold(frame, HELD_PLACE));
        if contents.is_counted {
            sending.data().chain(&contents.queued).for_each(|frame| hold(frame, PLACE));
            joined += contents.joined;
            control += sending.control_bytes();
            // The buffer that is being written counts until its last byte is, and so does one that it was cut from.
            counted_too_much += 2 * 64 * 1024;
        }
    }
    let held = buffers.values().sum::<usize>() + joined;
    let counted = ledger.of(Class::Own) + ledger.of(Class::Shared);
    assert!((held..=held + counted_too_much).contains(&counted), "{held} are held, and {counted} counted");
    assert_eq!(ledger.of(Class::Places), places);
    assert_eq!(ledger.of(Class::Control), control);
    let sum: usize = CLASS[..CLASSES - 1].iter().map(|class| ledger.of(*class)).sum();
    assert_eq!(sum, ledger.total());
}

/// An outbox and its driver.
struct Node {
    ledger: Arc<Ledger>,
    outbox: Outbox,
    sending: SendQueue,
}

impl Node {
    fn new(ledger: &Arc<Ledger>) -> Self {
        Self { ledger: Arc::clone(ledger), outbox: Outbox::new(OUTBOX), sending: SendQueue::default() }
    }

    fn park(&mut self) {
        self.write(0);
    }

    /// Runs the driver, whose transport takes so many bytes; `MAX` for a transport that does not stop.
    fn write(&mut self, bytes: usize) {
        let cx = Context::from_waker(Waker::noop());
        loop {
            if self.outbox.is_behind() {
                self.outbox.catch_up();
            }
            self.outbox.take(&mut self.sending);
            let written = bytes.min(self.sending.bytes());
            self.sending.advance(written);
            self.sending.seal();
            self.outbox.set_in_flight(self.sending.bytes());
            let blocked = Blocked { sending: Some(&self.sending), ledger: &self.ledger };
            let parked = match bytes {
                usize::MAX => self.outbox.park(&cx),
                _ => self.outbox.park_blocked(&cx, &blocked),
            };
            if parked {
                return;
            }
        }
    }
}
