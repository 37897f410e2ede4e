/// A set of requests to the driver beside sending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signals(u8);

impl Signals {
    /// Send a ping.
    pub(crate) const PING: Self = Self(1);
    /// Check the handler's backlog again: another task has taken something from it.
    pub(crate) const LOOK: Self = Self(2);
    /// End at once: the close timeout is over.
    pub(crate) const EXPIRED: Self = Self(4);
    /// Free memory that the inbox does not need. It wakes nobody.
    pub(crate) const SHRINK: Self = Self(8);
    /// Close: this side has started to.
    pub(crate) const CLOSE: Self = Self(16);

    /// Drop what subscriptions hold back, as far as their policies allow: memory is short.
    pub(crate) const SHED: Self = Self(32);

    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}
