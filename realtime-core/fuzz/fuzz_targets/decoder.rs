//! Bytes of a client mean the same however they are split, and the same to tungstenite.

#![no_main]
#![forbid(unsafe_code)]

#[path = "../../tests/support/oracle.rs"]
mod oracle;

use libfuzzer_sys::fuzz_target;
use oracle::{assert_splits_agree, assert_tungstenite_agrees};
use realtime_core::websocket::Limits;

// Three bytes say the limits and how many cuts there are; then come the gaps between the cuts, a
// byte each, and then what goes over the wire.
fuzz_target!(|data: &[u8]| {
    let Some((&[message_bytes, frames, cuts], rest)) = data.split_first_chunk() else { return };
    let Some((gaps, wire)) = rest.split_at_checked(usize::from(cuts % 16)) else { return };
    let cuts: Vec<usize> = gaps
        .iter()
        .scan(0, |cut, &gap| {
            *cut += usize::from(gap);
            Some(*cut)
        })
        .collect();

    // Small limits as they are said; the others are out of the way.
    let message_bytes = if message_bytes < 200 { usize::from(message_bytes) } else { 1 << 16 };
    let frames = if frames < 10 { u32::from(frames) } else { u32::MAX };

    assert_splits_agree(Limits { message_bytes, frames }, wire, &cuts);
    assert_tungstenite_agrees(message_bytes, wire, &cuts);
});
