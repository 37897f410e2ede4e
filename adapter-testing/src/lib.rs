#![doc = include_str!("../README.md")]

pub mod conformance;

mod answer;
mod block_on;
mod call;
mod client;
mod clock;
mod ended;
mod executor;
mod form;
mod frame;
mod packet;
mod pipe;
mod request;
mod server;
mod subscription;
mod wire;

pub use answer::TestAnswer;
pub use block_on::block_on;
pub use call::{CallOptions, TestCall};
pub use client::TestClient;
pub use ended::{Ended, ErrorFrame};
pub use frame::Frame;
pub use request::{Refused, TestRequest};
pub use server::TestServer;
pub use subscription::{SubscribeOptions, TestSubscription};
