//! The chat on hyper and smol.

use smol::net::TcpListener;

fn main() -> std::io::Result<()> {
    smol::block_on(async {
        let realtime = chat::realtime();
        let listener = TcpListener::bind(chat::address()).await?;
        adapter_hyper::serve(listener, chat::Site::new(&realtime), &realtime).await
    })
}
