//! Keeps the files for other languages in step with the server.

use dashboard::{Dashboard, Shop};
use realtime_schema::Schema;

/// With `UPDATE_SCHEMA=1` it writes the files.
#[test]
fn the_files_have_the_types_of_the_server() {
    let schema = Schema::of(&dashboard::realtime(&Dashboard::default(), &Shop::default()));
    schema.keep("web/api.ts", &schema.typescript("dashboard"));
    schema.keep("api.asyncapi.json", &schema.async_api("Dashboard", "1.0.0"));
    schema.keep("api.openapi.json", &schema.open_api("Dashboard", "1.0.0"));
}
