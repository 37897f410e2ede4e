//! The Rust code in docs/delivery.md, compiled and run.

#[allow(unreachable_pub)]
mod server;

use adapter_testing::{TestServer, TestSubscribeOptions, block_on};
use realtime_core::Position;
use server::{CHANGES, Change, NEWS, PUBLISH, RECENT, SET, STORIES};

#[test]
fn the_page_shows_what_is_tested() {
    let page = include_str!("../../../docs/delivery.md");
    let blocks = page.split("\n```rust\n").skip(1).filter_map(|rest| rest.split("```\n").next());
    let mut count = 0;
    for block in blocks {
        assert!(include_str!("server.rs").contains(block), "tests/delivery has another:\n{block}");
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn a_client_that_comes_back_gets_what_it_missed() {
    block_on(async {
        let server = TestServer::new(server::realtime());
        let mut ann = server.open("news").await.expect("it is open");
        let mut stories = ann.subscribe(STORIES, ()).await;
        for story in ["one", "two", "three"] {
            ann.call(PUBLISH, story.into()).await.expect("it is appended");
        }
        assert_eq!(stories.next().await, Ok("one".into()));
        let seen = stories.position().cloned().expect("an entry has a position");

        let mut bob = server.open("news").await.expect("it is open");
        let mut stories = bob.subscribe_with(STORIES, (), TestSubscribeOptions::default().after(seen)).await;
        assert_eq!(stories.next().await, Ok("two".into()));
        assert_eq!(stories.next().await, Ok("three".into()));
    });
}

#[test]
fn a_newcomer_begins_with_the_newest_entries() {
    block_on(async {
        let realtime = server::realtime();
        let server = TestServer::new(realtime.clone());
        for story in 1..=60 {
            realtime.append(&NEWS, &story.to_string()).await.expect("it is appended");
        }
        let mut ann = server.open("news").await.expect("it is open");
        let mut recent = ann.subscribe(RECENT, ()).await;
        assert_eq!(recent.next().await, Ok("11".into()));
    });
}

#[test]
fn the_state_comes_first_and_then_its_changes() {
    block_on(async {
        let server = TestServer::new(server::realtime());
        let mut ann = server.open("text").await.expect("it is open");
        ann.call(SET, (0, "one".into())).await.expect("there is such a line");
        let mut changes = ann.subscribe(CHANGES, ()).await;
        assert_eq!(changes.next().await, Ok(Change::Whole(vec!["one".into(), String::new(), String::new()])));
        ann.call(SET, (1, "two".into())).await.expect("there is such a line");
        assert_eq!(changes.next().await, Ok(Change::Set { line: 1, to: "two".into() }));
    });
}

#[test]
fn a_handler_begins_anew_for_a_position_of_another_log() {
    block_on(async {
        let realtime = server::realtime();
        for story in 1..=60 {
            realtime.append(&NEWS, &story.to_string()).await.expect("it is appended");
        }
        let end = realtime.position(&NEWS).await.expect("it has one");
        let of_this_log = Position::new(end.epoch.clone(), 3);
        let known = server::begin(&realtime, Some(of_this_log.clone())).await.expect("it is read");
        assert_eq!(known, of_this_log);
        let anew = server::begin(&realtime, Some(Position::new("before", 3))).await.expect("it is read");
        assert_eq!((anew.offset, anew.epoch), (10, end.epoch));
    });
}
