//! TypeScript types and constants of an id.

mod constants;
mod doc;
mod file;
mod names;
mod objects;
mod read;
mod syntax;
mod wide;

pub(crate) use file::file;
pub(crate) use wide::wide_integers;

use serde_json::Value;

/// Returns the types named by a schema's `type`, which may be one or a list.
fn schema_types(schema: &Value) -> Vec<String> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
