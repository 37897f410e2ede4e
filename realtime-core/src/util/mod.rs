//! Tools for all layers: locks, a clock, wakers, caught panics, buffers lent by the thread, chunks for frameworks that pull,
//! maps by hashed names, short lists, and a memory of the warnings that were logged.
//!
//! May import nothing else of this crate.

pub(crate) mod panics;
pub(crate) mod spare;
pub(crate) mod sync;

mod chunks;
mod clock;
mod few;
mod hashed;
mod wakers;
mod warnings;

pub use chunks::Chunks;
pub(crate) use clock::Clock;
pub use clock::TICK;
pub(crate) use few::Few;
pub(crate) use hashed::{ByName, Hashed, Names};
pub use wakers::register_waker;
pub(crate) use wakers::{Wakers, wake};
pub(crate) use warnings::Warnings;
