//! The same bytes on every adapter.

use super::{Subject, start_with};
use crate::conformance::transcripts::{Transcript, recorded, scripts};
use realtime_core::Config;

/// Sends each script whole, byte by byte and in odd pieces; the server's bytes are always the same, and those on
/// record.
pub fn the_bytes_are_those_of_all_adapters(subject: &Subject) {
    compare(subject, |_| {});
}

/// Compares the transcripts of a server with a changed configuration.
pub(super) fn compare(subject: &Subject, change: impl Fn(&mut Config)) {
    let mut transcripts = Vec::new();
    for script in scripts() {
        let mut answers = [usize::MAX, 1, 11].map(|size| {
            let (server, ..) = start_with(subject, |config| {
                config.message_bytes = 4096;
                config.frames_per_message = 16;
                change(config);
            });
            let request = match script.subprotocol {
                Some(name) => server.request(script.id).header("sec-websocket-protocol", name),
                None => server.request(script.id),
            };
            let mut client = request.connect();
            for chunk in script.bytes.chunks(size.min(script.bytes.len())) {
                client.raw(chunk);
            }
            client.rest()
        });
        let [whole, single, odd] = &mut answers;
        assert_eq!(whole, single, "{}: sent byte by byte, the answer is another", script.name);
        assert_eq!(whole, odd, "{}: sent in odd pieces, the answer is another", script.name);
        transcripts.push(Transcript { name: script.name.to_owned(), answer: std::mem::take(whole) });
    }
    let (found, expected) = (Transcript::write(&transcripts), recorded(&transcripts));
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found, expected);
}
