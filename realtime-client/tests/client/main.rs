//! A client and a scripted server, over pipes in memory and in virtual time.

mod calls;
mod closing;
mod connecting;
mod faults;
mod handshake;
mod pauses;
mod pushing;
mod reconnecting;
mod subscriptions;
mod support;
#[cfg(feature = "rustls")]
mod tls;
