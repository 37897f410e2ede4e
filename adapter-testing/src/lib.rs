#![doc = include_str!("../README.md")]

pub mod conformance;

mod block_on;
mod client;
mod clock;
mod executor;
mod form;
mod frame;
mod pipe;
mod request;
mod server;

pub use block_on::block_on;
pub use client::{Ended, ErrorFrame, TestClient};
pub use frame::Frame;
pub use request::{Refused, TestRequest};
pub use server::TestServer;
