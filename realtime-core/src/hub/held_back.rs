use super::Client;
use crate::{
    ledger::{Counted, HELD_PLACE},
    util::sync::atomic::{AtomicUsize, Ordering::Relaxed},
    websocket::Frame,
};
use std::sync::Arc;

/// A frame that waits for credit, or for room in the outbox of its client. It is on the ledger meanwhile.
pub(crate) struct HeldBack {
    // Counted no more before it is freed: its address identifies it.
    _counted: Counted,
    _part: Part,
    frame: Frame,
}

const _: () = assert!(size_of::<HeldBack>() + size_of::<HeldBack>() / 2 <= HELD_PLACE, "it is counted as less");

impl HeldBack {
    pub(crate) fn new(client: &Arc<Client>, frame: Frame) -> Self {
        let counted = Counted::of(&client.hub.ledger, frame.bytes());
        client.held_back.add(frame.len());
        let part = Part { client: Arc::clone(client), bytes: frame.len() };
        client.hub.keep_to_budget();
        Self { _counted: counted, _part: part, frame }
    }

    pub(crate) fn frame(&self) -> &Frame {
        &self.frame
    }

    pub(crate) fn into_frame(self) -> Frame {
        self.frame
    }
}

/// The bytes that are held back from one client.
#[derive(Debug, Default)]
pub(super) struct HeldBytes(AtomicUsize);

impl HeldBytes {
    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Relaxed);
    }

    pub(super) fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

struct Part {
    client: Arc<Client>,
    bytes: usize,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.client.held_back.0.fetch_sub(self.bytes, Relaxed);
    }
}
