//! Serves what the README shows, on the address of the examples.

use example_address::{address, announce, bound};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let realtime = hello::realtime();
    let app = axum::Router::new().merge(adapter_axum::routes(&realtime));
    let listener = bound(TcpListener::bind(address()).await);
    announce("The server", format_args!("ws://{}/__realtime/talk", listener.local_addr()?));
    adapter_axum::serve(listener, app, &realtime).await
}
