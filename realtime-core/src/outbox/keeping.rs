use realtime_protocol::internal::Policy;

/// The policy for a client that does not keep up: an [`Overflow`](realtime_protocol::Overflow) without its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    Block,
    Newest(usize),
    NewestOfEach,
    Nothing,
}

impl Keeping {
    /// Returns true if items may be dropped, of which the client is told.
    pub(crate) fn drops(self) -> bool {
        matches!(self, Self::Newest(_) | Self::NewestOfEach)
    }

    /// Returns how many items may be kept for a client that is behind.
    pub(crate) fn limit(self) -> usize {
        match self {
            Self::Newest(count) => count,
            Self::NewestOfEach => KEYS,
            Self::Block | Self::Nothing => usize::MAX,
        }
    }
}

/// Keys of which the newest item is kept.
const KEYS: usize = 1024;

impl<T> From<Policy<T>> for Keeping {
    fn from(policy: Policy<T>) -> Self {
        match policy {
            Policy::Block => Self::Block,
            Policy::DropOldest(count) => Self::Newest(count),
            Policy::Conflate(_) => Self::NewestOfEach,
            Policy::Close => Self::Nothing,
        }
    }
}
