//! Only handlers are mounted.

use realtime_core::Realtime;

struct NotAHandler;

fn main() {
    let _ = Realtime::builder().handler("x", NotAHandler).build();
}
