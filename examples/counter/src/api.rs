//! The names and types that both ends share.

use realtime_core::{Event, Procedure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The id of the endpoint.
pub const ENDPOINT: &str = "counter";

/// Returns the count.
pub const GET_COUNT: Procedure<(), i64> = Procedure::query("get_count").with_timeout(Duration::from_secs(5));

/// Adds to the count; returns the new count.
pub const UPDATE_COUNT: Procedure<i64, i64> = Procedure::new("update_count").with_timeout(Duration::from_secs(5));

/// Sets the count to 0 when the caller has confirmed it; returns the new count.
pub const RESET: Procedure<(), i64> = Procedure::new("reset").with_timeout(Duration::from_secs(60));

/// Asks the person at a client a yes-or-no question. The server calls it.
pub const CONFIRM: Procedure<String, bool> = Procedure::new("confirm");

/// Another client changed the count.
pub const COUNT_CHANGED: Event<Changed> = Event::new("count_changed");

/// A change of the count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// The amount that was added.
    pub by: i64,
    /// The new count.
    pub count: i64,
}
