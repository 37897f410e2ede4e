//! A middleware around calls takes the rest of their way.

use realtime_core::{Answered, Call, Endpoint, Error, Result};

async fn refuse(_: Call<()>) -> Result<Answered> {
    Err(Error::unauthenticated())
}

fn main() {
    let _ = Endpoint::new(()).around(refuse);
}
