//! What both ends agree on: the names, and the types of what goes over the wire.

use realtime_core::{Event, Procedure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The id of the endpoint.
pub const ENDPOINT: &str = "counter";

/// The count.
pub const GET_COUNT: Procedure<(), i64> = Procedure::query("get_count").with_timeout(Duration::from_secs(5));

/// Adds to the count; gives the new one.
pub const UPDATE_COUNT: Procedure<i64, i64> = Procedure::new("update_count").with_timeout(Duration::from_secs(5));

/// Sets the count to 0 once the one who calls has confirmed it; gives the new one.
pub const RESET: Procedure<(), i64> = Procedure::new("reset").with_timeout(Duration::from_secs(60));

/// The server asks this of a client: whether to go on.
pub const CONFIRM: Procedure<String, bool> = Procedure::new("confirm");

/// Somebody else has changed the count.
pub const COUNT_CHANGED: Event<Changed> = Event::new("count_changed");

/// A change of the count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    /// What was added.
    pub by: i64,
    /// The count that it gave.
    pub count: i64,
}
