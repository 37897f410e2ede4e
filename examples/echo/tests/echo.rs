//! The echo, in memory.

use adapter_testing::{TestFrame, TestServer, block_on};
use echo::Echo;
use realtime_core::websocket::Opcode;

#[test]
fn text_and_binary_come_back_as_they_came() {
    block_on(async {
        let server = TestServer::new(echo::realtime());
        let mut client = server.connect::<Echo>("echo", ()).await.expect("the echo is open to all");
        for frame in [TestFrame::text("not JSON"), TestFrame::new(Opcode::Binary, b"\xff"), TestFrame::text("")] {
            client.send_frame(&frame).await;
            assert_eq!(client.recv_frame().await, Ok(frame));
        }
    });
}

#[test]
fn sixteen_mebibytes_come_back() {
    block_on(async {
        let server = TestServer::new(echo::realtime());
        let mut client = server.connect::<Echo>("echo", ()).await.expect("the echo is open to all");
        let frame = TestFrame::new(Opcode::Binary, vec![7; 16 * 1024 * 1024]);
        client.send_frame(&frame).await;
        assert!(client.recv_frame().await == Ok(frame));
    });
}
