#![doc = include_str!("../README.md")]

pub mod conformance;

mod block_on;
mod client;
mod clock;
mod events;
mod executor;
mod form;
mod frame;
mod http;
mod pipe;
mod request;
mod server;
mod sse;

pub use block_on::block_on;
pub use client::{Ended, ErrorFrame, TestClient};
pub use events::{TestEvents, TestItems};
pub use frame::Frame;
pub use http::{HttpRequest, HttpResponse, TestHttp};
pub use request::{Refused, TestRequest};
pub use server::TestServer;
pub use sse::ServerSentEvent;
