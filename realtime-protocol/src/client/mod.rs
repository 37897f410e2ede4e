//! The client's side of the native protocol: the frames that a client writes and those that it reads, in either format.

mod fields;
mod incoming;
mod outgoing;
mod value;

pub use incoming::{Incoming, error_in};
pub use outgoing::Outgoing;
pub use value::{Format, Payload};

#[cfg(test)]
mod tests;
