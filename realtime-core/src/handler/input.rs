use crate::{context::Context, protocol::Protocol};
use realtime_protocol::{Error, internal::same};
use serde::de::DeserializeOwned;

/// Reads a handler's `Input` from the query, where the protocol has it.
pub(crate) fn parse<I: DeserializeOwned + 'static>(
    context: &Context,
    protocol: &dyn Protocol,
) -> Result<I, Error> {
    // A handler without input takes any query.
    if let Some(unit) = same::<(), I>(()) {
        return Ok(unit);
    }
    protocol.input(context.query().unwrap_or_default())?.parse()
}
