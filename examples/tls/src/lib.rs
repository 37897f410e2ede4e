//! TLS without a proxy in front: calls, server-sent events and WebSockets over HTTP/1.1 and HTTP/2.
//!
//! [`config`] reads the certificate; each main in `src/bin` serves with it on one framework. `tests` connects to each
//! main in every way.

mod config;

pub use config::config;
pub use example_address::{address, bound};

use realtime_core::{Endpoint, Procedure, Realtime};
use std::net::SocketAddr;

/// Returns a greeting for a name.
pub const GREET: Procedure<String, String> = Procedure::query("greet");

/// Builds the registry that all mains serve: an endpoint with the id `api`.
pub fn realtime() -> Realtime {
    let api = Endpoint::new(()).procedure(GREET, |_, name| async move { Ok(format!("Hello, {name}!")) });
    Realtime::builder().endpoint("api", api).build()
}

/// Prints the URL of a call.
pub fn announce(address: SocketAddr) {
    example_address::announce(
        "A greeting",
        format_args!("https://{address}/__realtime/api?path=greet&input=%22Ann%22"),
    );
}
