//! Compressed messages mean the same however they are split, and what is compressed is read again.

#![no_main]
#![forbid(unsafe_code)]

#[path = "../../tests/support/oracle.rs"]
#[allow(dead_code, reason = "it is also used by the target of the decoder")]
mod oracle;

use libfuzzer_sys::fuzz_target;
use oracle::{Seen, Transcript, feed, pieces};
use realtime_core::{
    Deflate,
    websocket::{DecodeError, Decoder, Frame, Limits, Opcode, PerMessageDeflate, apply_mask},
};

// The first byte says the window, the second the limit, the third how many cuts there are; then come
// the gaps between the cuts, a byte each. The rest is taken three times: as what goes over the wire,
// as the payload of a compressed message, and as a message to compress.
fuzz_target!(|data: &[u8]| {
    let Some((&[window, limit, cuts], rest)) = data.split_first_chunk() else { return };
    let Some((gaps, rest)) = rest.split_at_checked(usize::from(cuts % 16)) else { return };
    let cuts: Vec<usize> = gaps
        .iter()
        .scan(0, |cut, &gap| {
            *cut += usize::from(gap);
            Some(*cut)
        })
        .collect();
    let offer = format!("permessage-deflate; server_max_window_bits={}", 9 + window % 7);
    let (agreed, _) = PerMessageDeflate::negotiate([offer.as_bytes()]).expect("all these windows can be had");
    let limit = if limit < 200 { usize::from(limit) } else { 1 << 16 };

    assert_splits_agree(agreed, limit, rest, &cuts);
    assert_splits_agree(agreed, limit, &wire(0x40 | 2, rest, &[]), &cuts);

    let mut settings = Deflate::default();
    (settings.threshold, settings.level) = (0, 1 + window / 7 % 9);
    let sent = agreed.compress(&Frame::new(Opcode::Binary, rest), &settings);
    let sent = sent.into_bytes();
    let header = match sent[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let payload = &sent[header..];
    assert!(payload.len() <= rest.len());
    let read = decode(agreed, rest.len(), &wire(sent[0] & 0x7f, payload, &cuts), &[]);
    assert_eq!(read, Transcript { seen: vec![Seen::Binary(rest.to_vec())], error: None });
});

fn assert_splits_agree(agreed: PerMessageDeflate, limit: usize, bytes: &[u8], cuts: &[usize]) {
    let whole = decode(agreed, limit, bytes, &[]);
    for seen in &whole.seen {
        match seen {
            Seen::Text(text) => assert!(text.len() <= limit),
            Seen::Binary(bytes) => assert!(bytes.len() <= limit),
            _ => {}
        }
    }
    assert_eq!(decode(agreed, limit, bytes, cuts), whole, "cut at {cuts:?}");
    let each: Vec<usize> = (0..bytes.len()).collect();
    assert_eq!(decode(agreed, limit, bytes, &each), whole, "byte by byte");
}

fn decode(agreed: PerMessageDeflate, limit: usize, bytes: &[u8], cuts: &[usize]) -> Transcript<DecodeError> {
    let limits = Limits { message_bytes: limit, frames: u32::MAX };
    let mut decoder = Decoder::new(limits).inflating(Some(agreed));
    let mut seen = Vec::new();
    for piece in pieces(bytes, cuts) {
        if let Err(error) = feed(&mut decoder, piece, &mut seen) {
            return Transcript { seen, error: Some(error) };
        }
    }
    Transcript { seen, error: None }
}

/// A client's message, in fragments that are cut at these places.
fn wire(first: u8, payload: &[u8], cuts: &[usize]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let parts = pieces(payload, cuts);
    let mut bytes = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let fin = if index + 1 == parts.len() { 0x80 } else { 0 };
        bytes.push(fin | if index == 0 { first } else { 0 });
        match part.len() {
            len @ 0..126 => bytes.push(0x80 | len as u8),
            len @ 126..65_536 => {
                bytes.push(0x80 | 126);
                bytes.extend((len as u16).to_be_bytes());
            }
            len => {
                bytes.push(0x80 | 127);
                bytes.extend((len as u64).to_be_bytes());
            }
        }
        bytes.extend(MASK);
        let start = bytes.len();
        bytes.extend_from_slice(part);
        apply_mask(&mut bytes[start..], MASK, 0);
    }
    bytes
}
