//! What a middleware and a span of a call cost. In a file of its own: whether a span is wanted is asked of the whole process,
//! and one test's subscriber counts for all that run beside it.

#[path = "support/count.rs"]
mod count;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/wire.rs"]
mod wire;

use count::allocations;
use realtime_core::{Call, Endpoint, NextCall, Procedure, Realtime};
use tracing::{Metadata, Subscriber, span, subscriber::with_default};

/// What a middleware and a span add to the four of a call.
#[test]
fn a_middleware_and_a_span_allocate_this_much_for_a_call() {
    const ECHO: Procedure<u32, u32> = Procedure::new("echo");
    let pass = |_: Call<()>, next: NextCall| next.run();
    let work = |around: usize| {
        let api = Endpoint::new(()).procedure(ECHO, |_, number| async move { Ok(number) });
        let api = (0..around).fold(api, |api, _| api.around(pass));
        let realtime = Realtime::builder().manual_time().endpoint("api", api).build();
        let mut client = wire::Client::connect(&realtime, "api", Some("realtime.v1.json"));
        client.take_sent();
        let call = wire::frame(1, br#"{"type":"call","id":"1","path":"echo","input":7}"#);
        move || {
            client.send(&call);
            assert_eq!(client.take_sent().1, 1);
        }
    };
    assert_eq!(allocations(work(0)), 4);
    assert_eq!(allocations(work(1)), 4 + 8);
    assert_eq!(allocations(work(2)), 4 + 9);
    with_default(Wanting, || assert_eq!(allocations(work(0)), 4 + 3));
}

/// A subscriber that wants everything and keeps nothing.
struct Wanting;

impl Subscriber for Wanting {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
