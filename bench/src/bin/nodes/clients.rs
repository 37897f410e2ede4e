//! Clients that count what they are sent.

use bench::Outcome;
use futures_util::StreamExt;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use tokio::net::TcpStream;

/// Connects a client of a group to a node.
pub(crate) async fn connect(port: u16, group: usize, received: Arc<AtomicUsize>) -> Outcome {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let url = format!("ws://127.0.0.1:{port}/__realtime/member?input={group}");
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await?;
    tokio::spawn(async move {
        while let Some(Ok(message)) = socket.next().await {
            let is_message = message.to_text().is_ok_and(|text| text.starts_with(r#"{"type":"message""#));
            received.fetch_add(usize::from(is_message), Relaxed);
        }
    });
    Ok(())
}
