//! The address on which the examples listen.

use std::{env, io, process};

/// Returns the address: 127.0.0.1, with the port from `PORT` (3000 by default, 0 for a free one).
pub fn address() -> String {
    format!("127.0.0.1:{}", env::var("PORT").as_deref().unwrap_or("3000"))
}

/// Returns the listener. If it could not be bound to [`address`], prints one sentence and exits.
pub fn bound<L>(listener: io::Result<L>) -> L {
    listener.unwrap_or_else(|error| {
        eprintln!("Cannot listen on {}: {error}; PORT sets another port", address());
        process::exit(1)
    })
}
