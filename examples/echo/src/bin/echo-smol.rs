//! The echo on hyper and smol.

use smol::net::TcpListener;

fn main() -> std::io::Result<()> {
    smol::block_on(async {
        let realtime = echo::realtime();
        let listener = echo::bound(TcpListener::bind(echo::address()).await);
        echo::announce(listener.local_addr()?);
        adapter_hyper::serve(listener, adapter_hyper::routes(&realtime), &realtime).await
    })
}
