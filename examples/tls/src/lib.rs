//! TLS without a proxy in front: calls, server-sent events and WebSockets over HTTP/1.1 and HTTP/2.
//!
//! [`config`] reads the certificate; the mains in `src/bin` serve with it on one framework each. `tests` connects to each
//! in all ways.

mod config;

pub use config::config;

use realtime_core::{Endpoint, Procedure, Realtime};
use std::{env, net::SocketAddr};

/// Greets by name.
pub const GREET: Procedure<String, String> = Procedure::query("greet");

/// The registry of all mains: an endpoint with the id `api`.
pub fn realtime() -> Realtime {
    let api = Endpoint::new(()).procedure(GREET, |_, name| async move { Ok(format!("Hello, {name}!")) });
    Realtime::builder().endpoint("api", api).build()
}

/// Where the mains listen: on this machine, at `PORT` (3000 when it is not set; 0 for any that is free).
pub fn address() -> String {
    format!("127.0.0.1:{}", env::var("PORT").as_deref().unwrap_or("3000"))
}

/// Prints where a main can be reached.
#[expect(clippy::print_stdout, reason = "this is what the person who started it wants to know")]
pub fn announce(address: SocketAddr) {
    println!("https://{address}/__realtime/api?path=greet&input=%22Ann%22");
}
