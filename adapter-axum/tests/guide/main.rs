//! The Rust code in docs/guide.md, compiled and run.

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
fn the_guide_shows_what_is_tested() {
    let page = include_str!("../../../docs/guide.md");
    let blocks = page.split("\n```rust\n").skip(1).filter_map(|rest| rest.split("```\n").next());
    let mut count = 0;
    for block in blocks {
        assert!(SHOWN.iter().any(|file| file.contains(block)), "tests/guide has another:\n{block}");
        count += 1;
    }
    assert_eq!(count, 4);
}

/// They end by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn the_lines_for_a_shell_work() {
    let realtime = api::realtime();
    let app = axum::Router::new().merge(adapter_axum::routes(&realtime));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let server = tokio::spawn(async move { adapter_axum::serve(listener, app, &realtime).await });

    let page = include_str!("../../../docs/guide.md");
    let script = page.split("\n```sh\n").nth(1).and_then(|rest| rest.split("```\n").next());
    let script = script.expect("there are lines for a shell").replace("localhost:3000", &address);
    let run = move || std::process::Command::new("sh").args(["-ec", &script]).output().expect("a shell");
    let said = tokio::task::spawn_blocking(run).await.expect("it ends");
    server.abort();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let events = ":\n\ndata: 2\n\ndata: 1\n\ndata: 0\n\nid: end\nevent: complete\ndata: null\n\n";
    assert_eq!(said, format!("{}{}{events}", r#"{"ok":true,"data":0}"#, r#"{"ok":true,"data":5}"#));
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
