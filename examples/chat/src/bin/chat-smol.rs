//! The chat on hyper and smol.

use smol::net::TcpListener;

fn main() -> std::io::Result<()> {
    smol::block_on(async {
        let realtime = chat::realtime();
        let listener = chat::bound(TcpListener::bind(chat::address()).await);
        chat::announce(listener.local_addr()?);
        adapter_hyper::serve(listener, chat::Site::new(&realtime), &realtime).await
    })
}
