//! The chat on hyper and tokio.

use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let realtime = chat::realtime();
    let listener = chat::bound(TcpListener::bind(chat::address()).await);
    chat::announce(listener.local_addr()?);
    adapter_hyper::serve(listener, chat::Site::new(&realtime), &realtime).await
}
