//! The paused clock of tokio moves with that of a server.

use adapter_testing::TestServer;
use realtime_core::{Call, Endpoint, Procedure, Realtime};
use std::time::Duration;
use tokio::time::Instant;

const BOTH: Procedure<(), u64> = Procedure::new("both").with_timeout(Duration::from_secs(3600));
const LATE: Procedure<(), ()> = Procedure::new("late").with_timeout(Duration::from_secs(2));

fn server() -> TestServer {
    let api = Endpoint::new(())
        .procedure(BOTH, |call: Call<()>, ()| async move {
            let start = Instant::now();
            call.sleep(Duration::from_secs(100)).await;
            tokio::time::sleep(Duration::from_secs(200)).await;
            Ok(start.elapsed().as_secs())
        })
        .procedure(LATE, |_, ()| async move {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Ok(())
        });
    TestServer::with_tokio_time(Realtime::builder().endpoint("api", api).build())
}

#[tokio::test(start_paused = true)]
async fn both_clocks_are_turned_at_once() {
    let server = server();
    let mut ann = server.open("api").await.unwrap();
    let (start, ours) = (Instant::now(), server.realtime().now());
    let mut both = ann.begin(BOTH, ()).await;
    server.advance(Duration::from_secs(299)).await;
    assert!(!both.is_over().await);
    server.advance(Duration::from_secs(1)).await;
    assert_eq!(both.result().await, Ok(300));
    assert_eq!(start.elapsed(), Duration::from_secs(300));
    assert_eq!(server.realtime().now() - ours, start.elapsed());
}

/// Tokio turns its clock whenever everybody waits, and ours with it.
#[tokio::test(start_paused = true)]
async fn a_test_that_waits_turns_them_too() {
    let server = server();
    let mut ann = server.open("api").await.unwrap();
    let error = ann.call(LATE, ()).await.unwrap_err();
    assert_eq!(error.code(), "DEADLINE_EXCEEDED");
    assert_eq!(ann.call(BOTH, ()).await, Ok(300));
}

#[tokio::test(start_paused = true)]
async fn timeouts_of_the_library_pass_too() {
    let server = server();
    let mut ann = server.open("api").await.unwrap();
    ann.silence();
    server.advance(Duration::from_secs(120)).await;
    assert_eq!(server.realtime().connections(), 0, "a silent client is cut");
}

#[test]
#[should_panic(expected = "write `#[tokio::test(start_paused = true)]` above the test")]
fn outside_of_tokio_there_is_no_such_clock() {
    server();
}
