//! The echo on hyper and async-std, which is discontinued: use smol in new applications.

use async_std::net::TcpListener;

fn main() -> std::io::Result<()> {
    async_std::task::block_on(async {
        let realtime = echo::realtime();
        let listener = echo::bound(TcpListener::bind(echo::address()).await);
        echo::announce(listener.local_addr()?);
        adapter_hyper::serve(listener, adapter_hyper::routes(&realtime), &realtime).await
    })
}
