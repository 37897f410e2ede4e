//! The start of a server: its port, its runtime.

use crate::{Outcome, process};
use std::{env, io::Write, net::TcpListener, thread::available_parallelism};

/// Does what every process of the bench does first, then runs the server on the runtime that `RT`
/// names: `current` (the default) is one thread, `multi` a pool.
///
/// # Errors
///
/// Those of the server, and of the variables.
pub fn run<F: Future<Output = Outcome>>(server: impl FnOnce(TcpListener) -> F) -> Outcome {
    process::prepare()?;
    let mut builder = match pool()? {
        None => tokio::runtime::Builder::new_current_thread(),
        Some(_) => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().build()?;
    runtime.block_on(async { server(listen()?).await })
}

/// The threads of the pool, if `RT` asks for one: as many as the process may use cores, which is
/// tokio's own default.
///
/// # Errors
///
/// `RT` is neither `current` nor `multi`.
pub fn pool() -> Outcome<Option<usize>> {
    match env::var("RT").as_deref() {
        Err(_) | Ok("current") => Ok(None),
        Ok("multi") => Ok(Some(available_parallelism()?.get())),
        Ok(other) => Err(format!("RT is `current` or `multi`, not {other:?}").into()),
    }
}

/// The variable with the bytes that the kernel keeps for each connection, of what is sent. By itself
/// it keeps nearly 1 MiB on this way, from one core to the other: an outbox would fill late, or never.
pub const SEND_BUFFER: &str = "SEND_BUFFER";

/// Listens on this machine at `PORT` (0, any, when it is not set) and prints the port.
///
/// # Errors
///
/// The port is taken.
pub fn listen() -> Outcome<TcpListener> {
    let port = process::variable("PORT")?.unwrap_or(0);
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    // The default is 128 connections; the load opens more than that at once.
    rustix::net::listen(&listener, 4096)?;
    if let Some(bytes) = process::variable(SEND_BUFFER)? {
        // Those that are accepted take it over.
        rustix::net::sockopt::set_socket_send_buffer_size(&listener, bytes)?;
    }
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    Ok(listener)
}
