//! This library on axum.

use bench::Outcome;
use tokio::net::TcpListener;

fn main() -> Outcome {
    bench::run(async |listener| {
        let app = axum::Router::new().merge(adapter_axum::routes(&bench::realtime()?));
        Ok(axum::serve(TcpListener::from_std(listener)?, app).await?)
    })
}
