//! This library on hyper.

use bench::Outcome;
use tokio::net::TcpListener;

fn main() -> Outcome {
    bench::run(async |listener| {
        let (listener, realtime) = (TcpListener::from_std(listener)?, bench::realtime()?);
        Ok(adapter_hyper::serve(listener, adapter_hyper::routes(&realtime), &realtime).await?)
    })
}
