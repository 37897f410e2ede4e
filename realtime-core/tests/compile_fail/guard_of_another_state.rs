//! A guard has the state of its endpoint.

use realtime_core::{Call, Endpoint, Result};

async fn guard(_: Call<String>) -> Result {
    Ok(())
}

fn main() {
    let _ = Endpoint::new(7_u32).guard(guard);
}
