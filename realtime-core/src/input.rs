use crate::{context::Context, error::Error, message::same};
use serde::de::DeserializeOwned;

/// Reads a handler's `Input` from the query: `?input=<JSON>`, else the pairs themselves.
pub(crate) fn parse<I: DeserializeOwned + 'static>(context: &Context) -> Result<I, Error> {
    // A handler without input takes any query.
    if let Some(unit) = same::<(), I>(()) {
        return Ok(unit);
    }
    let query = context.query().unwrap_or_default();
    if let Some((_, json)) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "input") {
        let mut deserializer = serde_json::Deserializer::from_str(&json);
        let input = serde_path_to_error::deserialize(&mut deserializer).map_err(refusal)?;
        deserializer.end().map_err(|error| invalid("", &error))?;
        return Ok(input);
    }
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(pairs).map_err(refusal)
}

fn refusal<E: std::fmt::Display>(error: serde_path_to_error::Error<E>) -> Error {
    let path = error.path().to_string();
    invalid(if path == "." { "" } else { &path }, error.inner())
}

fn invalid(path: &str, what: &impl std::fmt::Display) -> Error {
    if path.is_empty() {
        return Error::invalid_argument(format!("input: {what}"));
    }
    Error::invalid_argument(format!("input.{path}: {what}")).details(serde_json::json!({ "path": path }))
}
