//! A middleware is an async function.

use realtime_core::Realtime;

struct Login;

fn main() {
    let _ = Realtime::builder().middleware(Login);
}
