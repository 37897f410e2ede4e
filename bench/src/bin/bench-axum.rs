//! This library on axum.

use bench::Outcome;
use tokio::net::TcpListener;

fn main() -> Outcome {
    bench::run(async |listener| {
        let realtime = bench::realtime()?;
        let app = axum::Router::new().merge(adapter_axum::routes(&realtime));
        Ok(adapter_axum::serve(TcpListener::from_std(listener)?, app, &realtime).await?)
    })
}
