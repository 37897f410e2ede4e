//! The chat on hyper and tokio.

use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let realtime = chat::realtime();
    let listener = TcpListener::bind(chat::address()).await?;
    adapter_hyper::serve(listener, chat::Site::new(&realtime), &realtime).await
}
