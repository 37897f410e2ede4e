//! A dashboard: what a server does, on a web page, while it does it.
//!
//! [`Dashboard`] has the figures and the alerts, and knows no framework; [`Shop`] is what they are about, and
//! [`visit`] sends it visitors. `tests/dashboard.rs` tests it without a socket.

mod dashboard;
mod feed;
mod shop;
mod visitors;

pub use dashboard::{Alert, CURRENT, Current, Dashboard, LIVE, Level, RAISE, Raise, Sample, Update};
pub use shop::{PRODUCTS, SHOPPING, Shop, VIEW, VIEWED, View, Viewed};
pub use visitors::visit;

use realtime_core::{Accepted, Context, Next, Principal, Realtime, Reject};
use std::time::{SystemTime, UNIX_EPOCH};

/// The registry: the dashboard, and the shop that it is about.
pub fn realtime(dashboard: &Dashboard, shop: &Shop) -> Realtime {
    let builder = Realtime::builder().middleware(name).endpoint("dashboard", dashboard.endpoint());
    builder.endpoint("shop", shop.endpoint()).build()
}

/// Takes a page's word for who it is: its idempotency keys belong to that. Where more depends on it, a login says so.
async fn name(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    if let Some(page) = context.header("x-page").map(str::to_owned) {
        context.set(Principal(page));
    }
    next.run(context).await
}

/// The page.
pub const PAGE: &str = include_str!("../web/index.html");

/// The time, in milliseconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
