//! The chat on hyper and tokio.

use std::time::Duration;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let realtime = chat::realtime();
    let listener = TcpListener::bind(chat::address()).await?;
    let site = chat::Site::new(&realtime);
    adapter_hyper::serve(listener, site, async move {
        let _ = tokio::signal::ctrl_c().await;
        realtime.drain(Duration::from_secs(5)).await;
    })
    .await;
    Ok(())
}
