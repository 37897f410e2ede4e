//! A middleware is given the rest of the way, and returns who was let through.

use realtime_core::{Context, Realtime, Reject};

async fn require_login(context: Context) -> Result<Context, Reject> {
    Ok(context)
}

fn main() {
    let _ = Realtime::builder().middleware(require_login);
}
