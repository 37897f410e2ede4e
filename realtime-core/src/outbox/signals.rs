/// A set of requests to the driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signals(u8);

/// The way this side closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// By itself, behind the queued frames.
    Own,
    /// In answer to the client's close.
    Reply,
    /// By itself; frames that are not begun to be written are dropped.
    Discarding,
}

impl Signals {
    /// Send a ping.
    pub(crate) const PING: Self = Self(1);
    /// Check the handler's backlog again: another task has taken something from it.
    pub(crate) const LOOK: Self = Self(2);
    /// The close timeout is over: end at once.
    pub(crate) const EXPIRED: Self = Self(4);

    /// Free what the inbox does not need. It wakes nobody.
    pub(crate) const SHRINK: Self = Self(64);

    pub(super) fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(super) fn close(&mut self, closing: Closing) {
        self.0 |= match closing {
            Closing::Own => OWN,
            Closing::Reply => REPLY,
            Closing::Discarding => DISCARDING,
        };
    }

    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the way this side closes, if it has started to.
    pub(crate) fn closing(self) -> Option<Closing> {
        [(OWN, Closing::Own), (REPLY, Closing::Reply), (DISCARDING, Closing::Discarding)]
            .into_iter()
            .find_map(|(bit, closing)| (self.0 & bit != 0).then_some(closing))
    }
}

const OWN: u8 = 8;
const REPLY: u8 = 16;
const DISCARDING: u8 = 32;
