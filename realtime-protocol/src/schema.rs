//! Schemas of the types that have serde's traits by hand: what they are in JSON.

use crate::{connection_id::ConnectionId, error::Error, item::Offset, message::Message, whole::MAX_SAFE_INTEGER};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;

/// The schema of a type, made by a generator of either direction: `|generator| generator.subschema_for::<T>()`.
pub type Side = fn(&mut SchemaGenerator) -> Schema;

/// The [`Side`] of a type.
pub fn side<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

impl JsonSchema for ConnectionId {
    fn schema_name() -> Cow<'static, str> {
        "ConnectionId".into()
    }

    fn schema_id() -> Cow<'static, str> {
        concat!(module_path!(), "::ConnectionId").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "The name of one connection." })
    }
}

impl JsonSchema for Offset {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Offset".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": 0, "maximum": MAX_SAFE_INTEGER },
                { "type": "string", "pattern": "^[0-9]+$" },
            ]
        })
    }
}

impl JsonSchema for Message {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Message".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (text, bytes) = (side::<String>(generator), side::<Vec<u8>>(generator));
        json_schema!({ "anyOf": [text, bytes] })
    }
}

impl JsonSchema for Error {
    fn schema_name() -> Cow<'static, str> {
        // Not `Error`: JavaScript has a type of that name.
        "ErrorData".into()
    }

    fn schema_id() -> Cow<'static, str> {
        concat!(module_path!(), "::Error").into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        ErrorData::json_schema(generator)
    }
}

/// The wire form of an [`Error`].
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
struct ErrorData {
    /// The kind: a word in capitals.
    code: String,
    /// The text for people.
    #[schemars(default)]
    message: String,
    /// Details for programs.
    #[schemars(skip_serializing_if = "Option::is_none")]
    details: Option<serde_json::Value>,
    /// True if the same request may succeed later.
    #[schemars(skip_serializing_if = "Option::is_none")]
    retryable: Option<bool>,
    /// The time after which to try again.
    #[schemars(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<Count>,
}

/// A count or time that never comes near 2⁵³ in practice: without a format, which says that it may.
pub(crate) struct Count;

impl JsonSchema for Count {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Count".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0 })
    }
}
