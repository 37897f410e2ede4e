//! A middleware that looks on still has to return who was let through.

use realtime_core::{Context, Next, Realtime, Reject};

async fn log(context: Context, next: Next) -> Result<(), Reject> {
    next.run(context).await?;
    Ok(())
}

fn main() {
    let _ = Realtime::builder().middleware(log);
}
