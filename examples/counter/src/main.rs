//! `counter serve` runs the server, `counter` a client, `counter URL` a client of another server.

use counter::{api::ENDPOINT, client, server};
use example_address::{address, announce, bound};
use std::{
    env,
    io::{self, Write},
    thread,
};
use tokio::{net::TcpListener, sync::mpsc};

#[tokio::main]
async fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let argument = env::args().nth(1);
    if argument.as_deref() == Some("serve") {
        let listener = bound(TcpListener::bind(address()).await);
        let address = listener.local_addr()?;
        announce("The counter", format_args!("ws://{address}/__realtime/{ENDPOINT}"));
        return server::serve(listener, &server::realtime()).await;
    }
    let url = argument.unwrap_or_else(|| format!("ws://{}/__realtime/{ENDPOINT}", address()));
    // Writing fails when the reader of a pipe has exited, as `head` does.
    client::run(&url, lines(), |text| drop(writeln!(io::stdout(), "{text}"))).await;
    Ok(())
}

/// Returns the lines of standard input. A detached thread reads them, because a blocking read cannot be cancelled.
fn lines() -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel(1);
    thread::spawn(move || {
        for line in io::stdin().lines() {
            let Ok(line) = line else { return };
            if send.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
