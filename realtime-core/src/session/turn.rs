use crate::websocket::PerMessageDeflate;

/// The work that a driver may do before other tasks get their turn, counted in bytes.
///
/// All work counts, whatever it is: messages read (as long as they are when inflated), slices of those that are being
/// inflated, calls and items of subscriptions polled, messages compressed, bytes written. A unit without bytes of its own
/// counts as [`UNIT`].
#[derive(Debug)]
pub(super) struct Turn {
    left: usize,
}

impl Turn {
    pub(super) fn new() -> Self {
        Self { left: TURN }
    }

    /// Counts one unit of work of so many bytes.
    #[inline]
    pub(super) fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(UNIT.saturating_add(bytes));
    }

    /// Counts what was compressed on this thread since the last call.
    #[inline]
    pub(super) fn spend_compressed(&mut self) {
        if PerMessageDeflate::work() > 0 {
            self.left = self.left.saturating_sub(PerMessageDeflate::take_work());
        }
    }

    /// Whether no more input is to be handled: some of the turn is left to what runs already, which a client that sends
    /// without end would hold up otherwise.
    #[inline]
    pub(super) fn is_over_for_input(&self) -> bool {
        self.left <= TURN / 4
    }

    /// Whether it is time for others; what was compressed and is not counted yet is looked at too.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.left <= PerMessageDeflate::work()
    }
}

/// Whether what was compressed on this thread and is not counted yet is a turn by itself.
#[inline]
pub(crate) fn is_turn_over() -> bool {
    PerMessageDeflate::work() >= TURN
}

/// 64 KiB, as much as one read takes: about 0.1 ms of echoes, or 192 small messages and what they ask for. Twice as much makes no client
/// faster, and half as much has those who send large messages scheduled twice as often.
pub(super) const TURN: usize = 64 * 1024;

/// The cost of a message, a poll or a write that moves no bytes.
pub(super) const UNIT: usize = 256;
