#![doc = include_str!("../README.md")]

pub mod conformance;

mod answer;
mod block_on;
mod broker_suite;
mod call;
#[cfg(feature = "schema")]
mod checked;
mod client;
mod clock;
mod ended;
mod events;
mod executor;
mod faulty_broker;
mod frame;
mod http;
mod pipe;
mod protocol;
mod request;
mod server;
mod sse;
mod subscription;
mod watch;
mod wire;

pub use answer::TestAnswer;
pub use block_on::block_on;
pub use broker_suite::{BrokerNode, broker_suite};
pub use call::{TestCall, TestCallOptions};
pub use client::TestClient;
pub use ended::{Ended, ErrorFrame};
pub use events::{TestEvents, TestItems};
pub use faulty_broker::FaultyBroker;
pub use frame::TestFrame;
pub use http::{RequestBody, TestHttp, TestHttpRequest, TestHttpResponse};
pub use request::{NoBody, Refused, TestRequest};
pub use server::TestServer;
pub use sse::ServerSentEvent;
pub use subscription::{TestBegun, TestSubscribeOptions, TestSubscription};
