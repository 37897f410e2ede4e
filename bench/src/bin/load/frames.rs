//! Client frames, built before the load begins, and the parsing of server frames.

use std::ops::Range;

/// An arbitrary key: masking protects proxies, and there are none here.
const MASK: [u8; 4] = [0x5a, 0x13, 0xc7, 0x68];

const TEXT_FRAME: u8 = 0x1;
const BINARY_FRAME: u8 = 0x2;
const CLOSE_FRAME: u8 = 0x8;
const PING_FRAME: u8 = 0x9;
const PONG_FRAME: u8 = 0xa;

const DIGITS: usize = 10;
/// The id of the first message; the id of a message is this plus its number.
const FIRST_ID: u64 = 1_000_000_000;
/// The length of the start of `{TEXT}`: a number between two marks, which identifies a message.
const SEQUENCE: usize = DIGITS + 2;

/// A text message in which only the numbers change.
pub(crate) struct Template {
    frame: Vec<u8>,
    payload: usize,
    sequences: Vec<usize>,
    ids: Vec<usize>,
    text: Vec<u8>,
}

impl Template {
    pub(crate) fn new(template: &str, size: usize) -> Self {
        let text = text(size);
        let mut payload = Vec::new();
        let (mut sequences, mut ids) = (Vec::new(), Vec::new());
        let mut rest = template;
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix("{TEXT}") {
                sequences.push(payload.len() + 1);
                payload.extend_from_slice(&text);
                rest = after;
            } else if let Some(after) = rest.strip_prefix("{ID}") {
                ids.push(payload.len());
                payload.extend_from_slice(&[b'1'; DIGITS]);
                rest = after;
            } else {
                let (before, after) = rest.split_at(rest[1..].find('{').map_or(rest.len(), |at| at + 1));
                payload.extend_from_slice(before.as_bytes());
                rest = after;
            }
        }
        let frame = frame(TEXT_FRAME, &payload);
        Self { payload: frame.len() - payload.len(), frame, sequences, ids, text }
    }

    /// Appends the message with this number.
    pub(crate) fn append(&self, number: u64, into: &mut Vec<u8>) {
        let start = into.len() + self.payload;
        into.extend_from_slice(&self.frame);
        for &at in &self.sequences {
            write_masked(&mut into[start..], at, digits(number));
        }
        for &at in &self.ids {
            // The sum never begins with a zero, which JSON would not allow.
            write_masked(&mut into[start..], at, digits(FIRST_ID + number));
        }
    }

    /// Returns the message, if it does not depend on its number.
    pub(crate) fn constant(&self) -> Option<&[u8]> {
        self.ids.is_empty().then_some(self.frame.as_slice())
    }

    /// Returns true if the reply has the text of the message with this number.
    pub(crate) fn is_in(&self, reply: &[u8], number: u64) -> bool {
        let mut text = self.text.clone();
        text[1..=DIGITS].copy_from_slice(&digits(number));
        reply.windows(text.len()).any(|window| window == text)
    }
}

/// Returns `<0000000000>abc…`, without characters that JSON escapes.
fn text(size: usize) -> Vec<u8> {
    let letters = (b'a'..=b'z').cycle().take(size - SEQUENCE);
    [b'<'].into_iter().chain([b'0'; DIGITS]).chain([b'>']).chain(letters).collect()
}

fn digits(number: u64) -> [u8; DIGITS] {
    let mut rest = number;
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

fn write_masked(payload: &mut [u8], at: usize, bytes: [u8; DIGITS]) {
    for (index, byte) in bytes.into_iter().enumerate() {
        payload[at + index] = byte ^ MASK[(at + index) % 4];
    }
}

pub(crate) fn text_frame(payload: &str) -> Vec<u8> {
    frame(TEXT_FRAME, payload.as_bytes())
}

pub(crate) fn binary_frame(payload: &[u8]) -> Vec<u8> {
    frame(BINARY_FRAME, payload)
}

/// A binary message whose payload is compressed: RSV1 is set.
pub(crate) fn compressed_frame(payload: &[u8]) -> Vec<u8> {
    frame(0x40 | BINARY_FRAME, payload)
}

pub(crate) fn ping_frame() -> Vec<u8> {
    frame(PING_FRAME, b"")
}

pub(crate) fn pong_frame(payload: &[u8]) -> Vec<u8> {
    frame(PONG_FRAME, payload)
}

/// A normal close, 1000.
pub(crate) fn close_frame() -> Vec<u8> {
    frame(CLOSE_FRAME, &1000_u16.to_be_bytes())
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

pub(crate) enum Kind {
    Message,
    /// A part of an unfinished message.
    Fragment,
    Close,
    Ping,
    Pong,
}

/// Parses the first frame, if it is complete. Returns its kind and the range of its payload, which ends with the frame.
pub(crate) fn first_frame(bytes: &[u8]) -> Option<(Kind, Range<usize>)> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    let (header, length): (usize, usize) = match second & 0x7f {
        126 => (4, usize::from(u16::from_be_bytes(*rest.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*rest.first_chunk()?) as usize),
        length => (2, usize::from(length)),
    };
    let payload = header..header.checked_add(length)?;
    if bytes.len() < payload.end {
        return None;
    }
    let kind = match first & 0xf {
        0x8 => Kind::Close,
        0x9 => Kind::Ping,
        0xa => Kind::Pong,
        _ if first & 0x80 == 0 => Kind::Fragment,
        _ => Kind::Message,
    };
    Some((kind, payload))
}

/// A reader of the numbers in messages.
#[derive(Default)]
pub(crate) struct Numbers {
    /// The offset of the last number found in a message.
    hint: usize,
    verified: bool,
}

impl Numbers {
    /// Returns the number of a message, or `None` if it has none or is a first message that was changed.
    pub(crate) fn read(&mut self, message: &[u8], template: &Template) -> Option<u64> {
        let number = sequence(message, &mut self.hint)?;
        if !self.verified && !template.is_in(message, number) {
            return None;
        }
        self.verified = true;
        Some(number)
    }
}

/// Returns the number of the message whose id the reply has, after `"id":"`. Looks at the last offset first.
pub(crate) fn number_of_reply(reply: &[u8], hint: &mut usize) -> Option<u64> {
    let found = |at: usize| reply.get(at..).is_some_and(|rest| rest.starts_with(ID));
    if !found(*hint) {
        *hint = (0..reply.len()).find(|&at| found(at))?;
    }
    let digits = reply.get(*hint + ID.len()..)?.first_chunk::<DIGITS>()?;
    number(digits)?.checked_sub(FIRST_ID)
}

const ID: &[u8] = br#""id":""#;

/// Returns the number of the text in the payload. Looks at the last offset first.
fn sequence(payload: &[u8], hint: &mut usize) -> Option<u64> {
    if let Some(number) = sequence_at(payload, *hint) {
        return Some(number);
    }
    let (at, number) = (0..payload.len()).find_map(|at| Some((at, sequence_at(payload, at)?)))?;
    *hint = at;
    Some(number)
}

fn sequence_at(payload: &[u8], at: usize) -> Option<u64> {
    let [b'<', digits @ .., b'>'] = payload.get(at..at + SEQUENCE)? else {
        return None;
    };
    number(digits)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| match digit {
        b'0'..=b'9' => Some(number * 10 + u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_carries_its_numbers() {
        let template = Template::new("[{ID},\"{TEXT}\"]", 20);
        assert!(template.constant().is_none());
        let mut bytes = Vec::new();
        template.append(42, &mut bytes);
        let payload = unmasked(&bytes);
        assert_eq!(payload, b"[1000000042,\"<0000000042>abcdefgh\"]");
        assert!(template.is_in(&payload, 42) && !template.is_in(&payload, 41));
        let mut hint = 0;
        assert_eq!(sequence(&payload, &mut hint), Some(42));
        assert_eq!((hint, sequence(&payload, &mut hint)), (13, Some(42)));
    }

    #[test]
    fn a_reply_tells_what_it_answers() {
        let mut hint = 0;
        assert_eq!(number_of_reply(br#"{"type":"result","id":"1000000042","data":1}"#, &mut hint), Some(42));
        assert_eq!((hint, number_of_reply(br#"{"id":"1000000007"}"#, &mut hint)), (17, Some(7)));
        for other in [&br#"{"id":"100"}"#[..], br#"{"id":"s1","data":1}"#, br#"{"type":"pong"}"#, b""] {
            assert_eq!(number_of_reply(other, &mut hint), None);
        }
    }

    #[test]
    fn frames_are_read_whole_or_not_at_all() {
        let long = [&[0x81, 126, 0, 200][..], &[b'a'; 200]].concat();
        assert!(first_frame(&long[..203]).is_none());
        let (kind, payload) = first_frame(&long).unwrap();
        assert!(matches!(kind, Kind::Message) && payload == (4..204));
        assert!(first_frame(&[0x81]).is_none() && first_frame(&[0x81, 127, 0]).is_none());
        assert!(matches!(first_frame(&[0x89, 0]), Some((Kind::Ping, _))));
    }

    fn unmasked(frame: &[u8]) -> Vec<u8> {
        let (mask, payload) = frame[2..].split_at(4);
        payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
    }
}
