pub(super) use super::inflate::{Begun, Inflation};
use super::{Frame, Opcode};
use crate::util::spare;
use flate2::{Compress, Compression, FlushCompress};
use http::HeaderValue;
use std::{borrow::Cow, cell::Cell};

/// The compression negotiated with one client: permessage-deflate (RFC 7692).
///
/// Both sides start each message afresh (`no_context_takeover`). So a connection stores nothing between messages, and
/// one compressed frame fits all clients with the same window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerMessageDeflate {
    /// The base-2 logarithm of the server's window in bytes, 9 to 15.
    window_bits: u8,
}

impl PerMessageDeflate {
    /// Accepts the first acceptable offer in the values of `Sec-WebSocket-Extensions`, one for each header line;
    /// returns the response header with it.
    ///
    /// An offer with a parameter that is unknown, repeated or has an invalid value is skipped (RFC 7692, section
    /// 7.1), and so is a window of 8 bits, which zlib does not have. A line that does not match the grammar of RFC
    /// 6455, section 9.1, disables all extensions.
    ///
    /// ```
    /// use realtime_core::websocket::PerMessageDeflate;
    ///
    /// let (_, response) = PerMessageDeflate::negotiate([&b"permessage-deflate"[..]]).unwrap();
    /// assert_eq!(response, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    /// ```
    pub fn negotiate<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<(Self, HeaderValue)> {
        let mut chosen = None;
        for line in lines {
            let offer = Offers(line).first()?;
            chosen = chosen.or(offer);
        }
        let Offer { server_window, .. } = chosen?;
        let mut response =
            String::from("permessage-deflate; server_no_context_takeover; client_no_context_takeover");
        if let Some(bits) = server_window {
            response.push_str(&format!("; server_max_window_bits={bits}"));
        }
        let agreed = Self { window_bits: server_window.unwrap_or(MAX_WINDOW_BITS) };
        Some((agreed, HeaderValue::try_from(response).ok()?))
    }

    /// Compresses a message. Returns the frame itself if compression does not pay: for control frames, payloads below
    /// the threshold, and payloads that would not get smaller.
    pub fn compress(self, frame: &Frame, settings: &Deflate) -> Frame {
        let bytes = frame.clone().into_bytes();
        let (opcode, payload) = match &bytes[..] {
            [first, 127, rest @ ..] => (Opcode::parse(first & 0x0f), &rest[8..]),
            [first, 126, rest @ ..] => (Opcode::parse(first & 0x0f), &rest[2..]),
            [first, _, rest @ ..] => (Opcode::parse(first & 0x0f), rest),
            _ => (None, &[][..]),
        };
        let Some(opcode) = opcode.filter(|opcode| !opcode.is_control()) else { return frame.clone() };
        if payload.is_empty() || payload.len() < settings.threshold {
            return frame.clone();
        }
        WORK.set(WORK.get().saturating_add(payload.len().saturating_mul(DEFLATE_WEIGHT)));
        let mut deflater = Deflater::take(self.window_bits, settings.level.clamp(1, 9));
        let compressed =
            Frame::build::<()>(|buffer| Ok(deflater.deflate(payload, buffer).then_some(opcode))).ok().flatten();
        deflater.keep();
        compressed.map_or_else(|| frame.clone(), Frame::with_rsv1)
    }

    /// Returns the work of compression on this thread since the last `take_work`, in bytes.
    #[inline]
    pub(crate) fn work() -> usize {
        WORK.get()
    }

    /// Returns the same and resets it; the caller counts it.
    #[inline]
    pub(crate) fn take_work() -> usize {
        WORK.take()
    }

    /// Puts work back that was taken and is not counted yet.
    #[inline]
    pub(crate) fn add_work(work: usize) {
        WORK.set(WORK.get().saturating_add(work));
    }
}

/// The settings for compressing messages to clients that offer compression (`Config::deflate`).
///
/// Each message is compressed by itself, so a connection stores no state for it; a publication is compressed once, not
/// for each member. Messages from clients are limited by `Config::message_bytes` both before and after inflation.
///
/// # Examples
///
/// ```
/// use realtime_core::{Config, Deflate};
///
/// let mut config = Config::default();
/// config.deflate = Some(Deflate::default());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deflate {
    /// Payloads of fewer bytes are sent uncompressed, and so are payloads that would not get smaller. Default 512: from
    /// there on, half of a typical JSON message is saved.
    pub threshold: usize,

    /// The level, 1 to 9 as in zlib, from fast to small. Default 2: for messages up to some kilobytes, higher levels
    /// save next to nothing more, and take up to twice the time.
    pub level: u8,

    /// Bytes of the messages from clients that are inflated at the same time, each counted as `Config::message_bytes`
    /// plus the 48 KiB of its stream. It applies to messages longer than 16 KiB, and one may always be inflated. Over
    /// it, clients wait for their turn, and are not closed meanwhile. Default 64 MiB: 200 messages of the default
    /// length, or 4 of 16 MiB. Without a bound, clients that send little could make the server hold a thousand times
    /// as much.
    pub inflating_bytes: usize,
}

impl Default for Deflate {
    fn default() -> Self {
        Self { threshold: 512, level: 2, inflating_bytes: 64 * 1024 * 1024 }
    }
}

/// The cost of compressing a byte, where copying one costs 1.
const DEFLATE_WEIGHT: usize = 4;

/// zlib makes no raw stream with a smaller window.
const MIN_WINDOW_BITS: u8 = 9;
const MAX_WINDOW_BITS: u8 = 15;

/// The rest of a header line.
struct Offers<'a>(&'a [u8]);

impl<'a> Offers<'a> {
    /// Returns the first acceptable offer of the line, if there is one; `None` if the line is malformed. Reads all of
    /// it.
    fn first(mut self) -> Option<Option<Offer>> {
        let mut first = None;
        loop {
            // Elements of a list may be empty (RFC 2616, section 2.1).
            while self.eat(b',') {}
            if self.0.is_empty() {
                return Some(first);
            }
            let mut offer = (self.token()? == "permessage-deflate").then(Offer::default);
            while self.eat(b';') {
                let name = self.token()?;
                let value = if self.eat(b'=') { Some(self.value()?) } else { None };
                offer = offer.and_then(|offer| offer.with(name, value.as_deref()));
            }
            if !self.0.is_empty() && self.0[0] != b',' {
                return None;
            }
            first = first.or(offer.filter(Offer::can_be_kept));
        }
    }

    fn skip_space(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    /// Consumes this byte, and the space around it, if it comes next.
    fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        let Some(rest) = self.0.strip_prefix(&[byte]) else { return false };
        self.0 = rest;
        self.skip_space();
        true
    }

    fn token(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|&byte| !is_token(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        std::str::from_utf8(token).ok().filter(|token| !token.is_empty())
    }

    /// Reads a token, plain or quoted.
    fn value(&mut self) -> Option<Cow<'a, str>> {
        let Some(rest) = self.0.strip_prefix(b"\"") else { return self.token().map(Cow::Borrowed) };
        let mut value = String::new();
        let mut bytes = rest.iter();
        loop {
            let byte = match bytes.next()? {
                b'"' => break,
                b'\\' => bytes.next()?,
                byte => byte,
            };
            // A quoted value must be a token too.
            value.push(Some(*byte).filter(|&byte| is_token(byte))?.into());
        }
        self.0 = bytes.as_slice();
        (!value.is_empty()).then_some(Cow::Owned(value))
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// One offer of permessage-deflate.
#[derive(Default)]
struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_window: Option<u8>,
    client_window: bool,
}

impl Offer {
    /// Adds a parameter; returns `None` if it is not valid here.
    fn with(mut self, name: &str, value: Option<&str>) -> Option<Self> {
        let twice = match (name, value) {
            ("server_no_context_takeover", None) => std::mem::replace(&mut self.server_no_context_takeover, true),
            ("client_no_context_takeover", None) => std::mem::replace(&mut self.client_no_context_takeover, true),
            ("server_max_window_bits", Some(bits)) => self.server_window.replace(window_bits(bits)?).is_some(),
            ("client_max_window_bits", bits) => {
                // The value does not matter: clients are always read with the largest window.
                bits.map_or(Some(0), window_bits)?;
                std::mem::replace(&mut self.client_window, true)
            }
            _ => return None,
        };
        (!twice).then_some(self)
    }

    fn can_be_kept(&self) -> bool {
        self.server_window.is_none_or(|bits| bits >= MIN_WINDOW_BITS)
    }
}

/// Parses 8 to 15, without leading zeros (RFC 7692, section 7.1.2).
fn window_bits(text: &str) -> Option<u8> {
    (8..=MAX_WINDOW_BITS).find(|bits| bits.to_string() == text)
}

/// A stream kept by the thread, not by a connection.
struct Deflater {
    window_bits: u8,
    level: u8,
    stream: Compress,
}

impl Deflater {
    fn take(window_bits: u8, level: u8) -> Self {
        let mut kept = spare::take(&DEFLATERS);
        let found = kept.iter().position(|kept| (kept.window_bits, kept.level) == (window_bits, level));
        let found = found.map(|at| kept.remove(at));
        spare::put(&DEFLATERS, kept);
        found.unwrap_or_else(|| Self {
            window_bits,
            level,
            stream: Compress::new_with_window_bits(Compression::new(level.into()), false, window_bits),
        })
    }

    /// Appends the compressed payload to `out`; returns `false` if it does not get smaller.
    fn deflate(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        out.reserve(payload.len() + TAIL.len());
        self.stream.reset();
        let deflated = self.stream.compress_vec(payload, out, FlushCompress::Sync);
        let whole = deflated.is_ok() && self.stream.total_in() == payload.len() as u64 && out.ends_with(&TAIL);
        // A full buffer may mean that there is more output to come.
        if !whole || out.len() == out.capacity() || out.len() - start >= payload.len() + TAIL.len() {
            return false;
        }
        out.truncate(out.len() - TAIL.len());
        true
    }

    fn keep(self) {
        let mut kept = spare::take(&DEFLATERS);
        kept.insert(0, self);
        kept.truncate(KEPT_DEFLATERS);
        spare::put(&DEFLATERS, kept);
    }
}

/// The end of each message, which is not sent (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Each takes up to 371 KiB. Nearly all clients accept the largest window.
const KEPT_DEFLATERS: usize = 2;

thread_local! {
    static WORK: Cell<usize> = const { Cell::new(0) };
    static DEFLATERS: Cell<Vec<Deflater>> = const { Cell::new(Vec::new()) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::{DecodeError, Kind, inflate::inflate_all};
    use flate2::{Decompress, FlushDecompress};

    const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    fn negotiate(lines: &[&str]) -> Option<(u8, String)> {
        let (agreed, response) = PerMessageDeflate::negotiate(lines.iter().map(|line| line.as_bytes()))?;
        Some((agreed.window_bits, response.to_str().unwrap().to_owned()))
    }

    fn window(bits: u8) -> PerMessageDeflate {
        PerMessageDeflate { window_bits: bits }
    }

    fn settings(threshold: usize, level: u8) -> Deflate {
        Deflate { threshold, level, ..Deflate::default() }
    }

    /// Returns the payload of a frame, which must be compressed.
    fn payload(frame: &Frame) -> Vec<u8> {
        let bytes = frame.clone().into_bytes();
        assert_eq!(bytes[0] & 0xf0, 0xc0, "RSV1 is not set");
        let header = match bytes[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        bytes[header..].to_vec()
    }

    fn compress(window_bits: u8, message: &[u8]) -> Vec<u8> {
        let frame = Frame::new(Opcode::Binary, message);
        payload(&window(window_bits).compress(&frame, &settings(0, 6)))
    }

    fn inflate(payload: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
        inflate_all(Kind::Binary, payload, limit).map(|data| data.as_bytes().to_vec())
    }

    /// Returns incompressible bytes, the same each time.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn an_offer_that_can_be_kept_is_taken() {
        for offer in [
            "permessage-deflate",
            "  permessage-deflate\t",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=8",
            "permessage-deflate; client_max_window_bits=\"15\"",
            "permessage-deflate;server_no_context_takeover;client_no_context_takeover",
            "permessage-deflate ; client_no_context_takeover ; client_max_window_bits = 12",
            ", ,permessage-deflate,",
            "x-webkit-deflate-frame, permessage-deflate; client_max_window_bits",
            "other; a; b=1; c=\"\\d\", permessage-deflate",
        ] {
            assert_eq!(negotiate(&[offer]), Some((15, PLAIN.to_owned())), "{offer}");
        }
    }

    #[test]
    fn a_window_of_the_server_is_kept() {
        for bits in 9..=15 {
            for offer in [format!("server_max_window_bits={bits}"), format!("server_max_window_bits=\"{bits}\"")] {
                let answer = format!("{PLAIN}; server_max_window_bits={bits}");
                assert_eq!(negotiate(&[&format!("permessage-deflate; {offer}")]), Some((bits, answer)), "{offer}");
            }
        }
        // zlib has no raw stream of 8 bits.
        assert_eq!(negotiate(&["permessage-deflate; server_max_window_bits=8"]), None);
    }

    #[test]
    fn an_offer_with_a_wrong_parameter_is_passed_over() {
        for parameters in [
            "server_no_context_takeover=1",
            "server_no_context_takeover=\"true\"",
            "client_no_context_takeover=0",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=010",
            "server_max_window_bits=+9",
            "server_max_window_bits=9x",
            "server_max_window_bits=256",
            "server_max_window_bits=99999999999999999999",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=08",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover; client_no_context_takeover",
            "server_max_window_bits=10; server_max_window_bits=10",
            "client_max_window_bits; client_max_window_bits=10",
            "unknown",
            "client_max_window_bits; unknown=1",
            "Server_No_Context_Takeover",
        ] {
            let offer = format!("permessage-deflate; {parameters}");
            assert_eq!(negotiate(&[&offer]), None, "{offer}");
            // The next one is looked at, in this line and in another.
            let next = format!("{offer}, permessage-deflate");
            assert_eq!(negotiate(&[&next]), Some((15, PLAIN.to_owned())), "{next}");
            assert_eq!(negotiate(&[&offer, "permessage-deflate"]), Some((15, PLAIN.to_owned())), "{next}");
        }
    }

    #[test]
    fn the_first_of_several_is_taken() {
        let windows = ["permessage-deflate; server_max_window_bits=10, permessage-deflate"];
        assert_eq!(negotiate(&windows).unwrap().0, 10);
        let lines = ["other", "permessage-deflate", "permessage-deflate; server_max_window_bits=10"];
        assert_eq!(negotiate(&lines).unwrap().0, 15);
        assert_eq!(
            negotiate(&["permessage-deflate; server_max_window_bits=8, permessage-deflate"]).unwrap().0,
            15
        );
    }

    #[test]
    fn nothing_is_taken_of_what_is_not_an_offer() {
        for line in
            ["", " ", ",", "other", "permessage-deflate2", "PerMessage-Deflate", "permessage-bzip2; level=9"]
        {
            assert_eq!(negotiate(&[line]), None, "{line}");
        }
        assert_eq!(negotiate(&[]), None);
    }

    #[test]
    fn a_line_that_is_not_well_formed_leaves_no_extension() {
        for line in [
            "permessage-deflate;",
            "permessage-deflate; ;",
            "permessage-deflate; =",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=\"\"",
            "permessage-deflate; client_max_window_bits=\"9",
            "permessage-deflate; client_max_window_bits=\"9\\",
            "permessage-deflate; client_max_window_bits=\" 9\"",
            "permessage-deflate; client_max_window_bits=\"9\"x",
            "permessage-deflate client_max_window_bits",
            "permessage-deflate=1",
            "permessage-deflate/1",
            "\"permessage-deflate\"",
            "; client_max_window_bits",
            "permess\u{e4}ge-deflate",
            "(",
        ] {
            assert_eq!(negotiate(&[line]), None, "{line}");
            assert_eq!(negotiate(&[&format!("permessage-deflate, {line}")]), None, "{line}");
            assert_eq!(negotiate(&["permessage-deflate", line]), None, "{line}");
        }
    }

    #[test]
    fn a_message_is_compressed_where_it_pays() {
        let settings = settings(100, 6);
        let text = Frame::new(Opcode::Text, &[b'a'; 100]);
        let compressed = window(15).compress(&text, &settings);
        assert!(compressed.len() < 20);
        assert_eq!(compressed.into_bytes()[0], 0xc1);
        for same in [
            Frame::new(Opcode::Text, &[b'a'; 99]),
            Frame::new(Opcode::Binary, &noise(100)),
            Frame::new(Opcode::Binary, &noise(100_000)),
            Frame::new(Opcode::Ping, &[b'a'; 125]),
            Frame::new(Opcode::Pong, &[b'a'; 125]),
            Frame::new(Opcode::Close, &[b'a'; 125]),
        ] {
            assert_eq!(window(15).compress(&same, &settings), same);
        }
        let empty = Frame::new(Opcode::Text, b"");
        assert_eq!(window(15).compress(&empty, &super::Deflate { threshold: 0, ..settings }), empty);
    }

    /// Whatever stood in the thread's streams before.
    #[test]
    fn the_same_message_gives_the_same_bytes() {
        let message = noise(300).repeat(100);
        let first = compress(15, &message);
        for bits in [9, 10, 15, 11, 12, 15] {
            assert_eq!(inflate(&compress(bits, &message), message.len()).as_deref(), Ok(&message[..]));
        }
        assert_eq!(compress(15, &message), first);
    }

    /// A client that keeps no more than it said.
    #[test]
    fn the_window_is_not_looked_beyond() {
        let message = noise(5000).repeat(10);
        for bits in MIN_WINDOW_BITS..=MAX_WINDOW_BITS {
            let frame = Frame::new(Opcode::Binary, &[&message[..], &[0; 20_000]].concat());
            let mut compressed = payload(&window(bits).compress(&frame, &settings(0, 9)));
            compressed.extend_from_slice(&TAIL);
            let mut stream = Decompress::new_with_window_bits(false, bits);
            let mut found = Vec::new();
            for byte in compressed {
                found.reserve(2000);
                stream.decompress_vec(&[byte], &mut found, FlushDecompress::None).unwrap();
            }
            assert_eq!(found.len(), message.len() + 20_000, "{bits}");
            assert!(found.starts_with(&message), "{bits}");
        }
    }

    #[test]
    fn the_examples_of_rfc_7692_are_read() {
        for payload in [
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
            // Without compression.
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00],
            // With BFINAL.
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
            // In two blocks.
            &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00],
            // A last block with nothing behind it.
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00],
        ] {
            assert_eq!(inflate(payload, 5).as_deref(), Ok(&b"Hello"[..]), "{payload:x?}");
            assert_eq!(inflate(payload, 4), Err(DecodeError::TooBig), "{payload:x?}");
        }
        let hello = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        let twice = [&hello[..], &hello, &[0]].concat();
        assert_eq!(inflate(&twice, 10).as_deref(), Ok(&b"HelloHello"[..]));
        for empty in [&[0][..], &[], &[3, 0], &[3, 0, 0], &[2, 0], &[0, 0, 0, 0xff, 0xff, 0]] {
            assert_eq!(inflate(empty, 0).as_deref(), Ok(&b""[..]), "{empty:x?}");
        }
    }

    #[test]
    fn what_is_no_deflate_data_is_refused() {
        for payload in [
            // A block type that does not exist.
            &[0x07][..],
            &[0xff; 10],
            // A stored block whose length and its complement do not agree.
            &[0x00, 0x05, 0x00, 0xfa, 0xfe, 0x48],
            // Cut off: in a block of each kind.
            &[0xf2, 0x48, 0xcd],
            &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07],
            &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65],
            &[0x04],
            &[0x00, 0x00],
            // A last block and then nonsense.
            &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0xff],
            // A distance to before the beginning.
            &[0x4a, 0x4c, 0x02, 0x62, 0x00],
        ] {
            assert_eq!(inflate(payload, 1000), Err(DecodeError::BadDeflate), "{payload:x?}");
        }
    }

    /// The stream is the thread's: what one client sent must be out of reach for the next one.
    #[test]
    fn nothing_of_the_message_before_can_be_reached() {
        let secret = noise(1000);
        let mut stream = Compress::new(Compression::new(9), false);
        let mut both = Vec::with_capacity(4000);
        stream.compress_vec(&secret, &mut both, FlushCompress::Sync).unwrap();
        let first = both.len();
        stream.compress_vec(&secret, &mut both, FlushCompress::Sync).unwrap();
        let (first, second) = both.split_at(first);
        assert!(second.len() < 100, "it refers to the first message");
        assert_eq!(inflate(&first[..first.len() - 4], 1000), Ok(secret));
        assert_eq!(inflate(&second[..second.len() - 4], 1000), Err(DecodeError::BadDeflate));
    }
}
