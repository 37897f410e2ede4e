//! Keeps the files for other languages in step with the server, and with what it does.

use adapter_testing::{TestServer, block_on};
use axum::{Router, body::Body, http::Request, routing::get};
use counter::{
    api::{CONFIRM, COUNT_CHANGED, Changed, ENDPOINT, GET_COUNT, RESET, UPDATE_COUNT},
    server,
};
use http_body_util::BodyExt;
use realtime_schema::Schema;
use tower_service::Service;

/// With `UPDATE_SCHEMA=1`, writes the files instead.
#[test]
fn the_files_have_the_types_of_the_server() {
    let schema = Schema::of(&server::realtime());
    schema.keep("api.ts", &schema.typescript(ENDPOINT));
    schema.keep("api.asyncapi.json", &schema.async_api("Counter", "1.0.0"));
    schema.keep("api.openapi.json", &schema.open_api("Counter", "1.0.0"));
}

/// The events and the calls of the server among them.
#[test]
fn what_passes_fits_the_schema() {
    let realtime = server::realtime();
    let schema = Schema::of(&realtime);
    block_on(async {
        let server = TestServer::new(realtime).checked(&schema);
        let (mut ann, mut bob) = (server.open(ENDPOINT).await.unwrap(), server.open(ENDPOINT).await.unwrap());
        assert_eq!(ann.call(UPDATE_COUNT, 5).await, Ok(5));
        assert_eq!(bob.expect_event(COUNT_CHANGED).await, Changed { by: 5, count: 5 });

        let reset = ann.begin(RESET, ()).await;
        let (question, answer) = ann.expect_call(CONFIRM).await;
        assert_eq!(question, "The count is 5. Reset it for all?");
        answer.answer(true).await;
        assert_eq!(reset.result().await, Ok(0));
        assert_eq!(bob.expect_event(COUNT_CHANGED).await, Changed { by: -5, count: 0 });
        assert_eq!(server.http(ENDPOINT).query(&GET_COUNT, ()).await.unwrap(), 0);
    });
}

/// An application that wants to serves its documents like any other file.
#[tokio::test]
async fn a_document_can_be_served() {
    let realtime = server::realtime();
    let document = Schema::of(&realtime).open_api("Counter", "1.0.0");
    let json = [("content-type", "application/json")];
    let route = Router::new().route("/openapi.json", get(move || async move { (json, document) }));
    let mut app: Router = route.merge(adapter_axum::routes(&realtime));

    let response = app.call(Request::get("/openapi.json").body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, include_str!("../api.openapi.json"));
}
