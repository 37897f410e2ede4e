//! The start of a server: its port and runtime.

use crate::{Outcome, process};
use std::{env, io::Write, net::TcpListener, thread::available_parallelism};

/// Sets up the process, then runs the server on the runtime in `RT`: `current` (the default) for one thread, `multi`
/// for a pool.
///
/// # Errors
///
/// Errors of the server, and of the variables.
pub fn run<F: Future<Output = Outcome>>(server: impl FnOnce(TcpListener) -> F) -> Outcome {
    process::prepare()?;
    let mut builder = match pool()? {
        None => tokio::runtime::Builder::new_current_thread(),
        Some(_) => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().build()?;
    runtime.block_on(async { server(listen()?).await })
}

/// Returns the number of threads of the pool, if `RT` asks for one: the number of available cores, as in tokio's
/// default.
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

/// The variable for the kernel's send buffer of each connection. By default, the kernel buffers nearly 1 MiB between
/// the two cores: an outbox would fill late, or never.
pub const SEND_BUFFER: &str = "SEND_BUFFER";

/// Listens on the loopback interface at `PORT` (by default any) and prints the port.
///
/// # Errors
///
/// The port is in use.
pub fn listen() -> Outcome<TcpListener> {
    let port = process::variable("PORT")?.unwrap_or(0);
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    // The default is 128 connections; the load opens more than that at once.
    rustix::net::listen(&listener, 4096)?;
    if let Some(bytes) = process::variable(SEND_BUFFER)? {
        // Accepted sockets inherit the size.
        rustix::net::sockopt::set_socket_send_buffer_size(&listener, bytes)?;
    }
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    Ok(listener)
}
