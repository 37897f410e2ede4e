use bytes::Bytes;
use std::collections::VecDeque;

/// A queue of chunks for a framework that pulls them.
///
/// Nearly always it has one chunk at most, so a connection at rest allocates no queue.
#[derive(Debug, Default)]
pub struct Chunks {
    first: Option<Bytes>,
    rest: VecDeque<Bytes>,
    bytes: usize,
}

impl Chunks {
    /// Adds a chunk.
    pub fn push(&mut self, chunk: Bytes) {
        self.bytes += chunk.len();
        match self.first {
            None => self.first = Some(chunk),
            Some(_) => self.rest.push_back(chunk),
        }
    }

    /// Takes the first chunk.
    pub fn pop(&mut self) -> Option<Bytes> {
        let Some(chunk) = self.first.take() else {
            // Only now: while in use, the queue would be reallocated for each burst.
            self.rest = VecDeque::new();
            return None;
        };
        self.bytes -= chunk.len();
        self.first = self.rest.pop_front();
        Some(chunk)
    }

    /// Returns the number of queued bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_come_out_in_order_and_no_queue_is_left() {
        let mut chunks = Chunks::default();
        for chunk in ["a", "bc", "def"] {
            chunks.push(chunk.into());
        }
        assert_eq!(chunks.bytes(), 6);
        let all: Vec<_> = std::iter::from_fn(|| chunks.pop()).collect();
        assert_eq!(all, ["a", "bc", "def"]);
        assert_eq!((chunks.bytes(), chunks.rest.capacity()), (0, 0));
    }
}
