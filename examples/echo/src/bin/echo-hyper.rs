//! The echo on hyper and tokio.

use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let realtime = echo::realtime();
    let listener = echo::bound(TcpListener::bind(echo::address()).await);
    echo::announce(listener.local_addr()?);
    adapter_hyper::serve(listener, adapter_hyper::routes(&realtime), &realtime).await
}
