//! `counter serve` is the server, `counter` a client; `counter URL` is a client of a server elsewhere.

use counter::{api::ENDPOINT, client, server};
use std::{
    env,
    io::{self, Write},
    thread,
};
use tokio::{net::TcpListener, sync::mpsc};

#[tokio::main]
async fn main() -> io::Result<()> {
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
    let address = format!("127.0.0.1:{}", env::var("PORT").as_deref().unwrap_or("3000"));
    let argument = env::args().nth(1);
    if argument.as_deref() == Some("serve") {
        let listener = TcpListener::bind(&address).await?;
        #[expect(clippy::print_stdout, reason = "this is what the person who started it wants to know")]
        {
            println!("The counter is at ws://{address}/__realtime/{ENDPOINT}");
        }
        return server::serve(listener, &server::realtime()).await;
    }
    let url = argument.unwrap_or_else(|| format!("ws://{address}/__realtime/{ENDPOINT}"));
    // Whoever reads this may be gone, as `head` is after some lines.
    client::run(&url, lines(), |text| drop(writeln!(io::stdout(), "{text}"))).await;
    Ok(())
}

/// The lines of the terminal. A thread of their own reads them, which nobody waits for at the end.
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
