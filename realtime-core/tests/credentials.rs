//! Credentials so short that their time passes while the connection is made.

#[path = "support/node.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod node;

use node::{Node, upgrade};
use realtime_core::{Accepted, Context, Endpoint, Next, Realtime, Reject, raw::TICK};
use serde_json::Value;

/// Lets in for four ticks.
async fn briefly(mut context: Context, next: Next) -> Result<Accepted, Reject> {
    context.expires_in(TICK * 4);
    next.run(context).await
}

#[test]
fn a_client_is_welcomed_before_it_is_asked_for_a_token_or_closed() {
    for (ticks, second) in [(0, None), (1, None), (2, Some("reauthenticate")), (3, Some("reauthenticate"))] {
        let (types, close) = connect(ticks);
        let expected: Vec<_> = ["welcome"].into_iter().chain(second).collect();
        assert_eq!((types, close), (expected.iter().map(|name| (*name).to_owned()).collect(), None), "{ticks}");
    }
    let ended = Some((3000, "the credentials have ended".to_owned()));
    assert_eq!(connect(4), (vec!["welcome".to_owned()], ended.clone()));
    assert_eq!(connect(9), (vec!["welcome".to_owned()], ended));
}

/// Returns the types of the packets that come, and the close.
fn connect(ticks: u32) -> (Vec<String>, Option<(u16, String)>) {
    let realtime = Realtime::builder().manual_time().middleware(briefly).endpoint("api", Endpoint::new(()));
    let mut node = Node::new(realtime.build());
    let request = upgrade("api").header("sec-websocket-protocol", "realtime.v1.json");
    let mut link = node.connect_late(request, ticks);
    node.settle().unwrap();
    let (mut types, mut close) = (Vec::new(), None);
    for frame in link.take() {
        match frame.as_close() {
            Some(closed) => close = Some(closed),
            None => {
                let packet: Value = serde_json::from_slice(&frame.payload).unwrap();
                types.push(packet["type"].as_str().unwrap().to_owned());
            }
        }
    }
    (types, close)
}
