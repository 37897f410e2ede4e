use super::*;

#[test]
fn everybody_hears_it() {
    adapter_testing::block_on(async {
        let server = adapter_testing::TestServer::new(realtime()); // no socket, and a clock of its own
        let mut ann = server.open("talk").await.unwrap();
        let mut bob = server.open("talk").await.unwrap();
        server.advance(std::time::Duration::from_secs(3600)).await; // an hour of heartbeats, at once
        ann.call(SAY, "hello".into()).await.unwrap();
        assert_eq!(bob.expect_event(SAID).await, "hello");
    });
}

#[test]
fn the_page_has_the_types_of_the_server() {
    let schema = realtime_schema::Schema::of(&realtime());
    schema.keep("web/api.ts", &schema.typescript("talk")); // UPDATE_SCHEMA=1 cargo test writes it
}
