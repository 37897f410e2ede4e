//! Tools that know nothing of realtime: locks, a clock, wakers, panics, buffers that a thread lends.
//!
//! May import nothing else of this crate.

pub(crate) mod panics;
pub(crate) mod spare;
pub(crate) mod sync;

mod chunks;
mod clock;
mod wakers;
mod warnings;

pub use chunks::Chunks;
pub(crate) use clock::Clock;
pub use clock::TICK;
pub(crate) use wakers::Wakers;
pub use wakers::register_waker;
pub(crate) use warnings::Warnings;
