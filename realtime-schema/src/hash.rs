//! The hash of an id's schema, by which a page detects that it is older than its server.

use crate::document::{Direction, Document, write_sorted};
use crate::schemas::strip;
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};

/// Returns 16 hexadecimal digits, computed without doc comments.
pub(crate) fn of(document: &Document, id: &str) -> String {
    let mut endpoint = document.endpoints.get(id).cloned().unwrap_or_default();
    let definitions: Map<String, Value> = document
        .reached(endpoint.roots())
        .into_iter()
        .filter_map(|(direction, name)| {
            let mut schema = document.definition(direction, &name)?.clone();
            strip(&mut schema);
            Some((format!("{} {name}", short(direction)), schema))
        })
        .collect();
    endpoint.schemas_mut().into_iter().for_each(strip);
    let text = write_sorted(json!({ "definitions": definitions, "endpoint": endpoint }));
    Sha1::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn short(direction: Direction) -> &'static str {
    match direction {
        Direction::Received => "received",
        Direction::Sent => "sent",
    }
}
