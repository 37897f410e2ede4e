//! The future of a middleware is `Send` too.

use realtime_core::{Accepted, Context, Next, Realtime, Reject};
use std::rc::Rc;

async fn count(context: Context, next: Next) -> Result<Accepted, Reject> {
    let counter = Rc::new(());
    let accepted = next.run(context).await;
    drop(counter);
    accepted
}

fn main() {
    let _ = Realtime::builder().middleware(count);
}
