//! This library on hyper.

use bench::Outcome;
use std::future::pending;
use tokio::net::TcpListener;

fn main() -> Outcome {
    bench::run(async |listener| {
        let listener = TcpListener::from_std(listener)?;
        adapter_hyper::serve(listener, adapter_hyper::routes(&bench::realtime()?), pending()).await;
        Ok(())
    })
}
