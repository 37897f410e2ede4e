//! A dashboard: the live figures of a server on a web page.
//!
//! [`Dashboard`] has the figures and alerts, and is independent of a framework. The figures are those of a [`Shop`],
//! which [`visit`] sends visitors. `tests/dashboard.rs` tests it without a socket.

mod dashboard;
mod shop;
mod visitors;

pub use dashboard::{Alert, CURRENT, Current, Dashboard, LIVE, Level, RAISE, Raise, Sample, Update};
pub use shop::{PRODUCTS, SHOPPING, Shop, VIEW, VIEWED, View, Viewed};
pub use visitors::visit;

use realtime_core::{Accepted, Context, Next, Principal, Realtime, Reject};
use std::time::{SystemTime, UNIX_EPOCH};

/// Builds the registry of the dashboard and the shop.
pub fn realtime(dashboard: &Dashboard, shop: &Shop) -> Realtime {
    let builder = Realtime::builder().middleware(name).endpoint("dashboard", dashboard.endpoint());
    builder.endpoint("shop", shop.endpoint()).build()
}

/// Sets the header `x-page` as the [`Principal`], without checking it. That is enough for idempotency keys; an
/// application with permissions needs a login.
async fn name(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    if let Some(page) = context.header("x-page").map(str::to_owned) {
        context.set(Principal(page));
    }
    next.run(context).await
}

/// The HTML page.
pub const PAGE: &str = include_str!("../web/index.html");

/// The script of the page.
pub const SCRIPT: &str = include_str!("../web/app.js");

/// Returns the current time, in milliseconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
