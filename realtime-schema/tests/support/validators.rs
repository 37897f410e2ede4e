//! Validators for the schemas of a procedure.

use jsonschema::Validator;
use realtime_schema::Schema;
use serde_json::{Value, json};

/// The schemas of the input and output of a procedure of the endpoint `nasty`.
pub(crate) struct Validators {
    pub(crate) sent: Validator,
    pub(crate) received: Validator,
}

impl Validators {
    pub(crate) fn of(schema: &Schema, procedure: &str) -> Self {
        let document: Value = serde_json::from_str(&schema.document()).unwrap();
        let procedure = &document["endpoints"]["nasty"]["procedures"][procedure];
        let validator = |side: &str| {
            let whole = json!({ "allOf": [procedure[side]], "definitions": document["definitions"] });
            jsonschema::draft202012::options().should_validate_formats(true).build(&whole).unwrap()
        };
        Self { sent: validator("input"), received: validator("output") }
    }
}
