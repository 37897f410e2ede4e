use crate::context::Context;
use realtime_protocol::{
    Error,
    internal::{parse_json, parse_pairs, same},
};
use serde::de::DeserializeOwned;

/// Reads a handler's `Input` from the query: `?input=<JSON>`, else the pairs themselves.
pub(crate) fn parse<I: DeserializeOwned + 'static>(context: &Context) -> Result<I, Error> {
    // A handler without input takes any query.
    if let Some(unit) = same::<(), I>(()) {
        return Ok(unit);
    }
    let query = context.query().unwrap_or_default().as_bytes();
    if let Some((_, json)) = form_urlencoded::parse(query).find(|(name, _)| name == "input") {
        return parse_json(&json);
    }
    parse_pairs(context.query().unwrap_or_default())
}
