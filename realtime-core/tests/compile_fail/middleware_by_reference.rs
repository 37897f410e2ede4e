//! The request belongs to the middleware until it is given to the next one.

use realtime_core::{Accepted, Context, Next, Realtime, Reject};

async fn require_login(context: &mut Context, _: Next) -> Result<Accepted, Reject> {
    context.set("ann");
    Err(Reject::unauthorized())
}

fn main() {
    let _ = Realtime::builder().middleware(require_login);
}
