//! Frames of clients, right and wrong, for proptest.

use bytes::Bytes;
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};

/// One frame as a client writes it.
#[derive(Clone, Debug)]
pub(crate) struct ClientFrame {
    /// FIN, reserved bits and opcode.
    pub(crate) first: u8,
    pub(crate) mask: Option<[u8; 4]>,
    pub(crate) length: Length,
    pub(crate) payload: Bytes,
}

/// The form in which a frame says its length.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    Shortest,
    TwoBytes,
    EightBytes,
    /// Another length than that of its payload.
    Wrong(u64),
}

pub(crate) const FIN: u8 = 0x80;

impl ClientFrame {
    pub(crate) fn new(first: u8, payload: &[u8]) -> Self {
        Self {
            first,
            mask: Some([0x37, 0xfa, 0x21, 0x3d]),
            length: Length::Shortest,
            payload: Bytes::copy_from_slice(payload),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        match self.mask {
            Some(mask) => bytes.extend(self.payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key)),
            None => bytes.extend_from_slice(&self.payload),
        }
        bytes
    }

    pub(crate) fn header(&self) -> Vec<u8> {
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        let (length, form) = match (self.length, self.payload.len() as u64) {
            (Length::Shortest, len) => (len, shortest(len)),
            (Length::TwoBytes, len) => (len, shortest(len).max(2)),
            (Length::EightBytes, len) => (len, 8),
            (Length::Wrong(wrong), _) => (wrong, shortest(wrong)),
        };
        let second = match form {
            0 => length as u8,
            2 => 126,
            _ => 127,
        };
        let mut header = vec![self.first, masked | second];
        header.extend(&length.to_be_bytes()[8 - form..]);
        header.extend(self.mask.iter().flatten());
        header
    }
}

fn shortest(length: u64) -> usize {
    match length {
        0..126 => 0,
        126..0x1_0000 => 2,
        _ => 8,
    }
}

/// Frames that belong together: a message with control frames between its fragments, or control
/// frames alone. After each the connection is at rest.
pub(crate) type Exchange = Vec<ClientFrame>;

/// An exchange that no server may refuse, but for its size.
pub(crate) fn exchange() -> impl Strategy<Value = Exchange> {
    prop_oneof![
        6 => (prop_oneof![text().prop_map(|text| (1, text.into_bytes())), binary().prop_map(|bytes| (2, bytes))], cuts(), controls())
            .prop_map(|((opcode, payload), cuts, controls)| fragment(opcode, &payload, &cuts, &controls)),
        1 => control().prop_map(|control| vec![control]),
    ]
    .prop_flat_map(|frames| (vec(any::<[u8; 4]>(), frames.len()), Just(frames)))
    .prop_map(|(masks, mut frames)| {
        for (frame, mask) in frames.iter_mut().zip(masks) {
            frame.mask = Some(mask);
        }
        frames
    })
}

/// A connection's exchanges, one by one on the wire.
pub(crate) fn exchanges() -> impl Strategy<Value = Vec<Exchange>> {
    vec(exchange(), 0..6)
}

/// A connection's bytes: those of some exchanges, mostly spoilt in one or two places.
pub(crate) fn wire() -> impl Strategy<Value = Bytes> {
    let closed = option::weighted(0.3, close());
    let spoils =
        prop_oneof![2 => vec((any::<Index>(), spoil()), 0..=0), 5 => vec((any::<Index>(), spoil()), 1..3)];
    (exchanges(), closed, spoils, option::weighted(0.2, any::<Index>())).prop_map(
        |(exchanges, closed, spoils, end)| {
            let mut frames: Vec<_> = exchanges.into_iter().flatten().chain(closed).collect();
            for (index, spoil) in spoils {
                if !frames.is_empty() {
                    let index = index.index(frames.len());
                    spoil.apply(&mut frames, index);
                }
            }
            let mut bytes: Vec<u8> = frames.iter().flat_map(ClientFrame::to_bytes).collect();
            if let Some(end) = end {
                bytes.truncate(end.index(bytes.len() + 1));
            }
            bytes.into()
        },
    )
}

/// Where to cut some bytes; a few of them are the same.
pub(crate) fn cuts() -> impl Strategy<Value = Vec<Index>> {
    prop_oneof![3 => vec(any::<Index>(), 0..4), 1 => vec(any::<Index>(), 0..20)]
}

pub(crate) fn positions(cuts: &[Index], len: usize) -> Vec<usize> {
    let mut positions: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    positions.sort_unstable();
    positions
}

/// Sequences that are never UTF-8, wherever they stand.
pub(crate) const NOT_UTF8: [&[u8]; 9] = [
    b"\x80",
    b"\xff",
    b"\xc0\xaf",
    b"\xc3\x28",
    b"\xe0\x80\xaf",
    b"\xed\xa0\x80",
    b"\xf0\x80\x80\xaf",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82\x28",
];

fn fragment(opcode: u8, payload: &[u8], cuts: &[Index], controls: &[(Index, ClientFrame)]) -> Exchange {
    let cuts = positions(cuts, payload.len());
    let starts = [0].into_iter().chain(cuts.clone());
    let parts = starts.zip(cuts.into_iter().chain([payload.len()]));
    let mut frames: Vec<_> = parts.map(|(start, end)| ClientFrame::new(0, &payload[start..end])).collect();
    frames[0].first = opcode;
    if let Some(last) = frames.last_mut() {
        last.first |= FIN;
    }
    for (index, control) in controls {
        if frames.len() > 1 {
            frames.insert(1 + index.index(frames.len() - 1), control.clone());
        }
    }
    frames
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![6 => "\\PC{0,12}", 3 => "[a-z\u{e9}\u{20ac}\u{1f600}]{0,80}", 1 => "[a\u{20ac}]{600}"]
}

fn binary() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => vec(any::<u8>(), 0..40),
        2 => vec(any::<u8>(), 120..132),
        1 => (65_530..65_540_usize, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]),
    ]
}

/// Control frames to stand between two fragments, if there are two.
fn controls() -> impl Strategy<Value = Vec<(Index, ClientFrame)>> {
    prop_oneof![2 => Just(Vec::new()), 1 => vec((any::<Index>(), control()), 1..4)]
}

fn control() -> impl Strategy<Value = ClientFrame> {
    let payload = prop_oneof![3 => vec(any::<u8>(), 0..10), 1 => vec(any::<u8>(), 120..126)];
    (prop_oneof![Just(9), Just(10)], payload)
        .prop_map(|(opcode, payload)| ClientFrame::new(FIN | opcode, &payload))
}

fn close() -> impl Strategy<Value = ClientFrame> {
    let odd = select(&[1004, 1005, 1006, 1014, 1015][..]);
    let code = prop_oneof![any::<u16>(), 990..1030_u16, 2990..3010_u16, 4990..5010_u16, odd];
    let reason = prop_oneof![text().prop_map(String::into_bytes), select(&NOT_UTF8[..]).prop_map(<[u8]>::to_vec),];
    prop_oneof![
        4 => (code, reason).prop_map(|(code, reason)| [&code.to_be_bytes()[..], &reason[..reason.len().min(123)]].concat()),
        1 => vec(any::<u8>(), 0..2),
    ]
    .prop_map(|payload| ClientFrame::new(FIN | 8, &payload))
}

/// A fault of one frame.
#[derive(Clone, Debug)]
enum Spoil {
    Reserved(u8),
    Opcode(u8),
    Fin,
    Unmasked,
    Length(Length),
    Payload(Index, &'static [u8]),
    LongControl(Vec<u8>),
    Twice,
    Lost,
    Close(ClientFrame),
}

fn spoil() -> impl Strategy<Value = Spoil> {
    prop_oneof![
        1 => (1..8_u8).prop_map(Spoil::Reserved),
        1 => (0..16_u8).prop_map(Spoil::Opcode),
        1 => Just(Spoil::Fin),
        1 => Just(Spoil::Unmasked),
        1 => prop_oneof![Just(Length::TwoBytes), Just(Length::EightBytes)].prop_map(Spoil::Length),
        1 => prop_oneof![0..300_u64, 65_530..65_540_u64, any::<u64>()].prop_map(|length| Spoil::Length(Length::Wrong(length))),
        4 => (any::<Index>(), select(&NOT_UTF8[..])).prop_map(|(at, bytes)| Spoil::Payload(at, bytes)),
        1 => vec(any::<u8>(), 126..130).prop_map(Spoil::LongControl),
        1 => Just(Spoil::Twice),
        1 => Just(Spoil::Lost),
        2 => close().prop_map(Spoil::Close),
    ]
}

impl Spoil {
    fn apply(self, frames: &mut Vec<ClientFrame>, index: usize) {
        let frame = &mut frames[index];
        match self {
            Self::Reserved(bits) => frame.first |= bits << 4,
            Self::Opcode(opcode) => frame.first = frame.first & 0xf0 | opcode,
            Self::Fin => frame.first ^= FIN,
            Self::Unmasked => frame.mask = None,
            Self::Length(length) => frame.length = length,
            Self::Payload(at, bytes) => {
                let at = at.index(frame.payload.len() + 1);
                frame.payload = [&frame.payload[..at], bytes, &frame.payload[at..]].concat().into();
            }
            Self::LongControl(payload) => frames.insert(index, ClientFrame::new(FIN | 9, &payload)),
            Self::Twice => {
                let frame = frame.clone();
                frames.insert(index, frame);
            }
            Self::Lost => drop(frames.remove(index)),
            Self::Close(close) => frames.insert(index, close),
        }
    }
}
