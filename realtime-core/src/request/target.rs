//! The name and input that a request's target asks for.

use crate::{calls::Router, context::Context};
use realtime_protocol::{Error, format::Value};
use std::borrow::Cow;

/// Returns the name of the procedure or subscription: from the path, or else from `?path=`.
pub(super) fn name_of(context: &Context) -> Option<Cow<'_, str>> {
    context.name().or_else(|| of_query(context, PATH).map(Cow::Owned))
}

pub(super) fn of_query(context: &Context, name: &str) -> Option<String> {
    let query = context.query().unwrap_or_default().as_bytes();
    form_urlencoded::parse(query).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Returns the input of a call from the query: the JSON in `input`, or else all pairs except the name and `other`.
pub(super) fn input_of_query(context: &Context, other: Option<&str>) -> Value<'static> {
    if let Some(json) = of_query(context, "input") {
        return Value::Json(json.into());
    }
    let name = context.name().is_none().then_some(PATH);
    let query = context.query().unwrap_or_default().as_bytes();
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    pairs.extend_pairs(form_urlencoded::parse(query).filter(|(key, _)| ![name, other].contains(&Some(&**key))));
    Value::Pairs(pairs.finish())
}

/// Returns the error for a name that is not that of a procedure or subscription.
pub(super) fn nothing_named(router: &Router, name: &str) -> Error {
    Error::not_found(match router.find_event(name) {
        None => format!("nothing is named {name:?} here"),
        Some(_) => format!("{name:?} is an event: it is posted to the id, with the type \"event\""),
    })
}

const PATH: &str = "path";
