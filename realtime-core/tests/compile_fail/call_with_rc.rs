//! A call may be moved to another thread.

use realtime_core::{Call, Endpoint, Procedure, Result};
use std::rc::Rc;

const NAP: Procedure<(), ()> = Procedure::new("nap");

async fn nap(call: Call<()>, (): ()) -> Result {
    let kept = Rc::new(1);
    call.over().await;
    drop(kept);
    Ok(())
}

fn main() {
    let _ = Endpoint::new(()).procedure(NAP, nap);
}
