//! The address on which the examples listen, and what they say about it.

mod checks;

pub use checks::{says_that_the_port_is_taken, says_where_it_is};

use std::{env, fmt::Display, io, process};

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

/// Prints where a server is. It must be bound by then.
#[expect(clippy::print_stdout, reason = "this is what the person who started it wants to know")]
pub fn announce(what: &str, url: impl Display) {
    println!("{what} is at {url}");
}
