use super::*;
use crate::{
    outbox::queued::{COPIED_BYTES, JOINED_BYTES, SMALL_BYTES},
    seams::SendQueue,
    websocket::Opcode,
};
use bytes::Bytes;

fn blocked(ledger: &Arc<Ledger>) -> Blocked<'_> {
    Blocked { sending: None, ledger }
}

fn ledger() -> Arc<Ledger> {
    Arc::new(Ledger::new(LIMIT))
}

/// The buffers of an outbox, for the tests of the ledger.
pub(crate) struct Contents {
    /// The client's transport took nothing when its driver parked.
    pub(crate) is_counted: bool,
    pub(crate) queued: Vec<Bytes>,
    pub(crate) behind: Vec<Bytes>,
    /// The size of the buffer for small frames.
    pub(crate) joined: usize,
}

impl Outbox {
    pub(crate) fn contents(&self) -> Contents {
        let state = self.lock();
        let (queued, joined) = state.queued.held();
        let behind = state.behind.as_ref().map_or_else(Vec::new, |behind| behind.held());
        Contents { is_counted: state.bill.is_some(), queued, behind, joined }
    }
}

const LIMIT: usize = 1 << 20;

fn payload(len: usize, byte: u8) -> Vec<u8> {
    vec![byte; len]
}

/// Frames leave in the order in which they were queued, own or shared, joined or not.
#[test]
fn own_and_shared_frames_keep_their_order() {
    let lens = [10, SMALL_BYTES + 1, COPIED_BYTES + 1, 10, 10, JOINED_BYTES, 10];
    for shared in 0..1 << lens.len() {
        let outbox = Outbox::new(LIMIT);
        let mut expected = Vec::new();
        for (at, len) in lens.into_iter().enumerate() {
            let payload = payload(len, at as u8);
            let frame = Frame::new(Opcode::Binary, &payload);
            expected.extend_from_slice(frame.bytes());
            if shared >> at & 1 == 1 {
                assert!(outbox.push_shared(&frame).unwrap().is_none());
            } else {
                outbox.push(Draft::new(Opcode::Binary, &payload)).unwrap();
            }
        }
        assert_eq!(outbox.bytes(), expected.len());
        let mut queue = SendQueue::default();
        outbox.take(&mut queue);
        let sent: Vec<u8> = std::iter::from_fn(|| queue.pop()).flatten().collect();
        assert!(sent == expected, "{shared:b}");
    }
}

#[test]
fn the_driver_does_not_park_while_something_waits() {
    let cx = Context::from_waker(Waker::noop());
    let outbox = Outbox::new(LIMIT);
    assert!(outbox.park(&cx));
    outbox.push(Draft::new(Opcode::Text, b"a")).unwrap();
    assert!(outbox.has_news());
    assert!(!outbox.park(&cx));
    assert!(outbox.park_blocked(&cx, &blocked(&ledger())), "a transport that takes nothing tells when it does");
    outbox.signal_ping();
    assert!(!outbox.park_blocked(&cx, &blocked(&ledger())));
}

#[test]
fn what_is_shared_stays_so_for_one_who_does_not_read() {
    let cx = Context::from_waker(Waker::noop());
    let outbox = Outbox::new(LIMIT);
    let shared = Frame::new(Opcode::Text, b"to all");
    assert!(outbox.park_blocked(&cx, &blocked(&ledger())));
    outbox.push(Draft::new(Opcode::Text, b"to one")).unwrap();
    outbox.push_shared(&shared).unwrap();
    outbox.push_shared(&shared).unwrap();
    let mut queue = SendQueue::default();
    queue.push(Bytes::from_static(b"what waits already"));
    outbox.take(&mut queue);
    let same = std::iter::from_fn(|| queue.pop()).filter(|frame| frame.as_ptr() == shared.bytes().as_ptr());
    assert_eq!(same.count(), 2);
}

#[test]
fn a_slow_consumer_is_sent_the_close_and_nothing_else() {
    let outbox = Outbox::new(LIMIT);
    outbox.push(Draft::new(Opcode::Text, b"late")).unwrap();
    outbox.push_shared(&Frame::new(Opcode::Text, b"too late")).unwrap();
    let close = Close::by_server(CloseCode::TRY_AGAIN_LATER, "slow");
    assert!(outbox.close_discarding(close.clone()));
    let mut queue = SendQueue::default();
    queue.push(Bytes::from_static(b"taken before"));
    assert!(outbox.take(&mut queue).has(Signals::CLOSE));
    assert_eq!(outbox.started_close(), Some((close, Closing::Discarding)));
    assert!(queue.is_empty());
}
