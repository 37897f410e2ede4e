//! The chat on hyper and smol.

use smol::net::TcpListener;

fn main() -> std::io::Result<()> {
    smol::block_on(async {
        let listener = TcpListener::bind(chat::address()).await?;
        let site = chat::Site::new(&chat::realtime());
        adapter_hyper::serve(listener, site, std::future::pending()).await;
        Ok(())
    })
}
