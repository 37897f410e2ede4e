//! Exact counts of the allocations of the hot paths, once they are warm. A number that got lower is lowered
//! here too.

#[path = "support/count.rs"]
mod count;
#[path = "support/wire.rs"]
mod wire;
#[path = "support/work.rs"]
mod work;

use allocation_counter::measure;
use count::allocations;
use realtime_core::websocket::Opcode::{Binary, Text};
use wire::Client;

/// The frame goes out in the buffer of the thread. What is allocated is the text, or
/// are the bytes, that the handler owns.
#[test]
fn an_echo_allocates_what_its_handler_is_given() {
    assert_eq!(allocations(work::echo(Text, 1)), 1);
    assert_eq!(allocations(work::echo(Text, 16)), 16);
    assert_eq!(allocations(work::echo(Binary, 1)), 1);
    assert_eq!(allocations(work::echo(Binary, 16)), 16);
}

/// The envelope and the type cost nothing but the string in the value.
#[test]
fn a_typed_echo_allocates_what_its_handler_is_given() {
    for (subprotocol, message) in [("realtime.v1.json", work::json()), ("realtime.v1.msgpack", work::msgpack())] {
        assert_eq!(allocations(work::typed(1, subprotocol, &message)), 1, "{subprotocol}");
        assert_eq!(allocations(work::typed(16, subprotocol, &message)), 16, "{subprotocol}");
    }
}

/// Five: the call, the name that the client gave it, its future, what that gives, and the string in its input.
#[test]
fn a_call_allocates_itself_and_what_its_function_is_given() {
    type Form = (&'static str, fn(usize) -> Vec<u8>);
    let forms: [Form; 2] = [("realtime.v1.json", work::call_json), ("realtime.v1.msgpack", work::call_msgpack)];
    for (subprotocol, frame) in forms {
        assert_eq!(allocations(work::call(1, subprotocol, frame)), 5, "{subprotocol}");
        assert_eq!(allocations(work::call(16, subprotocol, frame)), 16 * 5, "{subprotocol}");
    }
}

/// The members share the frame, and every queue keeps its room.
#[test]
fn a_publication_allocates_nothing_for_a_member() {
    for members in [1, 10, 1000] {
        assert_eq!(allocations(work::publish(members, 1)), 3, "one message to {members}");
        assert_eq!(allocations(work::publish(members, 8)), 8 * 3, "eight messages to {members}");
    }
}

/// The followers share the frame of the entry, and one that does not keep up costs nothing.
#[test]
fn an_append_allocates_nothing_for_a_follower() {
    for (followers, stalled) in [(1, 0), (10, 0), (1000, 0), (1000, 500), (10, 10)] {
        assert_eq!(allocations(work::append(followers, stalled)), 13, "{stalled} of {followers} have no credit");
    }
}

/// The frames are those of the log.
#[test]
fn one_who_comes_back_allocates_nothing_for_an_entry() {
    assert_eq!(allocations(work::resume(100)), allocations(work::resume(10)));
}

#[test]
fn the_codec_allocates_the_frames_that_it_builds() {
    assert_eq!(allocations(work::decode(16)), 0);
    assert_eq!(allocations(work::encode()), 1);
}

/// The streams and their buffers are the thread's: a message costs its text and its frames.
#[cfg(feature = "deflate")]
#[test]
fn compression_allocates_its_results() {
    assert_eq!(allocations(work::echo_deflate()), 4);
}

/// The future of the connection, its request, and its places in the tables of the node, which are as large as chance has it.
#[test]
fn an_idle_connection_takes_no_more_than_this_many_bytes() {
    for (id, subprotocol, most) in
        [("echo", None, 1400), ("chat", None, 1600), ("api", Some("realtime.v1.json"), 1150)]
    {
        let realtime = work::realtime();
        let mut clients = Vec::with_capacity(2 * MANY);
        let mut connect = || clients.extend((0..MANY).map(|_| Client::connect(&realtime, id, subprotocol)));
        connect();
        let bytes = measure(connect).bytes_current / MANY as i64;
        assert!(bytes <= most, "{bytes} bytes for a client of {id}");
    }
}

const MANY: usize = 1024;
