//! The generated files for other languages are up to date.

use counter::{api::ENDPOINT, server};
use realtime_schema::Schema;

/// With `UPDATE_SCHEMA=1`, writes the files instead.
#[test]
fn the_files_have_the_types_of_the_server() {
    let schema = Schema::of(&server::realtime());
    schema.keep("api.ts", &schema.typescript(ENDPOINT));
    schema.keep("api.asyncapi.json", &schema.async_api("Counter", "1.0.0"));
    schema.keep("api.openapi.json", &schema.open_api("Counter", "1.0.0"));
}
