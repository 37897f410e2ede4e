//! The chat on hyper and async-std.

use async_std::net::TcpListener;

fn main() -> std::io::Result<()> {
    async_std::task::block_on(async {
        let listener = TcpListener::bind(chat::address()).await?;
        let site = chat::Site::new(&chat::realtime());
        adapter_hyper::serve(listener, site, std::future::pending()).await;
        Ok(())
    })
}
