//! A subscription yields what its name says.

use realtime_core::{Call, Endpoint, Result, Subscription};
use futures_core::Stream;

const NUMBERS: Subscription<(), u32> = Subscription::new("numbers");

async fn numbers(_: Call<()>, (): ()) -> Result<Box<dyn Stream<Item = String> + Send + Unpin>> {
    unimplemented!()
}

fn main() {
    let _ = Endpoint::new(()).subscription(NUMBERS, numbers);
}
