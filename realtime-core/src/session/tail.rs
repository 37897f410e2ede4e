/// Bytes from the client that are read and not yet decoded.
#[derive(Debug, Default)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    /// Number of bytes decoded: moving the rest to the front each time would cost more than the space.
    used: usize,
}

impl Tail {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, used: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the bytes of memory that it holds.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    pub(super) fn rest(&mut self) -> &mut [u8] {
        &mut self.bytes[self.used..]
    }

    /// Returns the tail after `count` more bytes are decoded; without a buffer if those were all.
    pub(super) fn after(mut self, count: usize) -> Self {
        self.used += count;
        if self.used == self.bytes.len() { Self::default() } else { self }
    }
}
