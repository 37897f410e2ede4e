//! The chat on hyper and async-std.

use async_std::net::TcpListener;

fn main() -> std::io::Result<()> {
    async_std::task::block_on(async {
        let realtime = chat::realtime();
        let listener = chat::bound(TcpListener::bind(chat::address()).await);
        chat::announce(listener.local_addr()?);
        adapter_hyper::serve(listener, chat::Site::new(&realtime), &realtime).await
    })
}
