//! Keeps the files for other languages in step with the server.

use realtime_schema::Schema;

/// With `UPDATE_SCHEMA=1` it writes the files.
#[test]
fn the_files_have_the_types_of_the_server() {
    let schema = Schema::of(&chat::realtime());
    schema.keep("web/api.ts", &schema.typescript("chat"));
    schema.keep("api.asyncapi.json", &schema.async_api("Chat", "1.0.0"));
    schema.keep("api.openapi.json", &schema.open_api("Chat", "1.0.0"));
}
