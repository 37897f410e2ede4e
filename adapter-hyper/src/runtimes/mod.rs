//! The runtimes that a listener tells: tokio, and those of the `futures` traits (smol and async-std). Each is a feature.

#[cfg(any(feature = "smol", feature = "async-std"))]
mod futures;
#[cfg(feature = "tokio")]
mod tokio;

#[cfg(feature = "tokio")]
pub use tokio::Tokio;
