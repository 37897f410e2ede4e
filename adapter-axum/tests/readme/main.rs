//! The Rust code in README.md, compiled and run.

#[allow(unreachable_pub)]
mod api;
#[allow(dead_code, clippy::print_stdout, reason = "nothing calls it: it needs a port")]
mod client;
#[allow(dead_code, reason = "nothing calls `main`: it needs a port")]
mod talk;

use adapter_testing::{TestServer, block_on};
use api::{ADD, ADDED, CONFIRM, COUNT, COUNTDOWN};

const SHOWN: [&str; 3] = [include_str!("talk.rs"), include_str!("api.rs"), include_str!("client.rs")];

#[test]
fn the_readme_shows_what_is_tested() {
    let page = include_str!("../../../README.md");
    let blocks = page.split("\n```rust\n").skip(1).filter_map(|rest| rest.split("```\n").next());
    let mut count = 0;
    for block in blocks {
        assert!(SHOWN.iter().any(|file| file.contains(block)), "tests/readme has another:\n{block}");
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn the_endpoint_counts_and_asks() {
    block_on(async {
        let server = TestServer::new(api::realtime());
        let mut ann = server.open("api").await.expect("it is open");
        let mut bob = server.open("api").await.expect("it is open");
        assert_eq!(ann.call(ADD, 5).await, Ok(5));
        assert_eq!(bob.expect_event(ADDED).await, 5);

        let adding = ann.begin(ADD, 500).await;
        let (question, answer) = ann.expect_call(CONFIRM).await;
        assert_eq!(question, "Add 500?");
        answer.answer(false).await;
        assert_eq!(adding.result().await, Ok(5));
        assert_eq!(ann.call(COUNT, ()).await, Ok(5));

        let mut countdown = ann.subscribe(COUNTDOWN, 3).await;
        assert_eq!(countdown.next().await, Ok(2));
    });
}
