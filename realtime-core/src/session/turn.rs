use crate::websocket::PerMessageDeflate;

/// The work that a driver may do before other tasks get their turn, counted in bytes.
///
/// All work counts: messages read (with their inflated length), slices inflated, calls and items of subscriptions
/// polled, messages compressed, bytes written. A unit without bytes of its own counts as [`UNIT`].
#[derive(Debug)]
pub(super) struct Turn {
    left: usize,
}

impl Turn {
    pub(super) fn new() -> Self {
        Self { left: TURN }
    }

    /// Counts one unit of work of `bytes`.
    #[inline]
    pub(super) fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(UNIT.saturating_add(bytes));
    }

    /// Counts the bytes compressed on this thread since the last call.
    #[inline]
    pub(super) fn spend_compressed(&mut self) {
        if PerMessageDeflate::work() > 0 {
            self.left = self.left.saturating_sub(PerMessageDeflate::take_work());
        }
    }

    /// Returns true if no more input should be handled: part of the turn is reserved for running calls, which a
    /// client that sends without end would otherwise delay.
    #[inline]
    pub(super) fn is_over_for_input(&self) -> bool {
        self.left <= TURN / 4
    }

    /// Returns true if other tasks should get their turn; includes compression that is not counted yet.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.left <= PerMessageDeflate::work()
    }
}

/// Returns true if the compression on this thread that is not counted yet fills a turn by itself.
#[inline]
pub(crate) fn is_turn_over() -> bool {
    PerMessageDeflate::work() >= TURN
}

/// 64 KiB, as much as one read returns: about 0.1 ms of echoes, or 192 small messages with the requests in them.
/// Twice as much makes no client faster; with half as much, clients that send large messages are scheduled twice as
/// often.
pub(super) const TURN: usize = 64 * 1024;

/// The cost of a message, a poll or a write that moves no bytes.
pub(super) const UNIT: usize = 256;
