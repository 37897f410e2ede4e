use super::{DecodeError, Frame, Opcode};
use crate::{
    config::{Config, Deflate},
    context::Context,
};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use http::HeaderValue;
use std::{borrow::Cow, cell::Cell};

/// The compression that was agreed on with one client: permessage-deflate (RFC 7692).
///
/// Both sides begin each message anew (`no_context_takeover`). So a connection keeps nothing
/// between messages, and one compressed frame is right for all who agreed on the same window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerMessageDeflate {
    /// The server's window: 2 to the power of this many bytes, 9 to 15.
    window_bits: u8,
}

impl PerMessageDeflate {
    /// Takes the first offer that can be kept from the values of `Sec-WebSocket-Extensions`, one for
    /// each header line; gives the header of the response too.
    ///
    /// An offer with a parameter that is unknown, stands twice, or has a value that it may not have,
    /// is passed over (RFC 7692, section 7.1), and so is a window of 8 bits, which zlib does not have.
    /// A line that is not of the form of RFC 6455, section 9.1, leaves no extension at all.
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
            let offered = Offers(line).first()?;
            chosen = chosen.or(offered);
        }
        let server_window: Option<u8> = chosen?;
        let mut response = String::from("permessage-deflate; server_no_context_takeover; client_no_context_takeover");
        if let Some(bits) = server_window {
            response.push_str(&format!("; server_max_window_bits={bits}"));
        }
        let agreed = Self { window_bits: server_window.unwrap_or(MAX_WINDOW_BITS) };
        Some((agreed, HeaderValue::try_from(response).ok()?))
    }

    /// Compresses a message. Gives the frame itself where that does not pay: for control frames,
    /// payloads below the threshold, and those that would not get smaller.
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
        let mut deflater = Deflater::take(self.window_bits, settings.level);
        let compressed =
            Frame::build::<()>(|buffer| Ok(deflater.deflate(payload, buffer).then_some(opcode))).ok().flatten();
        deflater.keep();
        compressed.map_or_else(|| frame.clone(), Frame::with_rsv1)
    }

    /// A number for those who are sent the same: 0 without compression, 1 to 7 for 15 to 9 bits.
    pub(crate) fn class(agreed: Option<Self>) -> usize {
        agreed.map_or(0, |agreed| usize::from(MAX_WINDOW_BITS + 1 - agreed.window_bits))
    }

    /// The other way round.
    pub(crate) fn of_class(class: usize) -> Option<Self> {
        let window_bits = (MAX_WINDOW_BITS + 1).checked_sub(u8::try_from(class).ok()?)?;
        (MIN_WINDOW_BITS..=MAX_WINDOW_BITS).contains(&window_bits).then_some(Self { window_bits })
    }

    /// Whether anything may be agreed on.
    pub(crate) fn is_on(config: &Config) -> bool {
        config.deflate.is_some()
    }

    /// What is agreed on with who makes this request.
    pub(crate) fn accept(config: &Config, context: &Context) -> Option<(Self, HeaderValue)> {
        let lines = context.headers().filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-extensions"));
        Self::is_on(config).then(|| Self::negotiate(lines.map(|(_, value)| value)))?
    }

    /// `compress`, with the settings of a hub.
    pub(crate) fn apply(self, config: &Config, frame: &Frame) -> Frame {
        config.deflate.as_ref().map_or_else(|| frame.clone(), |settings| self.compress(frame, settings))
    }
}

/// zlib makes no raw stream with a smaller one.
const MIN_WINDOW_BITS: u8 = 9;
const MAX_WINDOW_BITS: u8 = 15;

/// What is left of a header line.
struct Offers<'a>(&'a [u8]);

impl<'a> Offers<'a> {
    /// The first offer of the line that can be kept, as its server's window, if it names one. `None`
    /// if the line is not well-formed; all of it is read.
    fn first(mut self) -> Option<Option<Option<u8>>> {
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
            first = first.or(offer.and_then(Offer::window));
        }
    }

    fn skip_space(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    /// Takes this byte, and the space around it, if it comes next.
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

    /// A token, or one in quotes.
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
            // Also what is quoted must be a token.
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
    /// With one more parameter; `None` if it may not stand here.
    fn with(mut self, name: &str, value: Option<&str>) -> Option<Self> {
        let twice = match (name, value) {
            ("server_no_context_takeover", None) => std::mem::replace(&mut self.server_no_context_takeover, true),
            ("client_no_context_takeover", None) => std::mem::replace(&mut self.client_no_context_takeover, true),
            ("server_max_window_bits", Some(bits)) => self.server_window.replace(window_bits(bits)?).is_some(),
            ("client_max_window_bits", bits) => {
                // Whatever it says: what the client sends is read with the largest window.
                bits.map_or(Some(0), window_bits)?;
                std::mem::replace(&mut self.client_window, true)
            }
            _ => return None,
        };
        (!twice).then_some(self)
    }

    /// The server's window, if the client asks for one; `None` if it cannot be had.
    fn window(self) -> Option<Option<u8>> {
        match self.server_window {
            Some(bits) if bits < MIN_WINDOW_BITS => None,
            window => Some(window),
        }
    }
}

/// 8 to 15, without leading zeros (RFC 7692, section 7.1.2).
fn window_bits(text: &str) -> Option<u8> {
    (8..=MAX_WINDOW_BITS).find(|bits| bits.to_string() == text)
}

/// A stream that is kept by the thread, not by a connection.
struct Deflater {
    window_bits: u8,
    level: u8,
    stream: Compress,
}

impl Deflater {
    fn take(window_bits: u8, level: u8) -> Self {
        let mut kept = DEFLATERS.take();
        let found = kept.iter().position(|kept| (kept.window_bits, kept.level) == (window_bits, level));
        let found = found.map(|at| kept.remove(at));
        DEFLATERS.set(kept);
        found.unwrap_or_else(|| Self {
            window_bits,
            level,
            stream: Compress::new_with_window_bits(Compression::new(level.into()), false, window_bits),
        })
    }

    /// Appends the compressed payload to `out`; gives `false` if it does not get smaller.
    fn deflate(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        let start = out.len();
        out.reserve(payload.len() + TAIL.len());
        self.stream.reset();
        let deflated = self.stream.compress_vec(payload, out, FlushCompress::Sync);
        let whole = deflated.is_ok() && self.stream.total_in() == payload.len() as u64 && out.ends_with(&TAIL);
        // Without room left there may be more to come.
        if !whole || out.len() == out.capacity() || out.len() - start >= payload.len() + TAIL.len() {
            return false;
        }
        out.truncate(out.len() - TAIL.len());
        true
    }

    fn keep(self) {
        let mut kept = DEFLATERS.take();
        kept.insert(0, self);
        kept.truncate(KEPT_DEFLATERS);
        DEFLATERS.set(kept);
    }
}

/// The payload of a message, at most `limit` bytes.
pub(super) fn inflate(payload: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
    let mut stream = INFLATER.take().unwrap_or_else(|| Decompress::new(false));
    let mut buffer = INFLATED.take();
    buffer.clear();
    let inflated = inflate_into(&mut stream, payload, limit, &mut buffer);
    INFLATER.set(Some(stream));
    if buffer.capacity() > KEPT_BYTES {
        buffer.shrink_to_fit();
        return inflated.map(|()| buffer);
    }
    let inflated = inflated.map(|()| buffer.as_slice().to_vec());
    INFLATED.set(buffer);
    inflated
}

fn inflate_into(
    stream: &mut Decompress,
    payload: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    if payload.is_empty() {
        return Ok(());
    }
    stream.reset(false);
    for mut rest in [payload, &TAIL_AND_END] {
        while !rest.is_empty() {
            if out.len() == out.capacity() {
                let size = (out.len() * 2).max(FIRST_BYTES).min(limit.saturating_add(1));
                out.reserve_exact(size - out.len());
            }
            let (read, written) = (stream.total_in(), out.len());
            let status = stream.decompress_vec(rest, out, FlushDecompress::None);
            let status = status.map_err(|_| DecodeError::BadDeflate)?;
            let read = (stream.total_in() - read) as usize;
            rest = &rest[read..];
            if out.len() > limit {
                return Err(DecodeError::TooBig);
            }
            match status {
                Status::StreamEnd if rest.is_empty() => return Ok(()),
                // What follows a last block is a stream of its own.
                Status::StreamEnd => stream.reset(false),
                _ if read == 0 && out.len() == written => return Err(DecodeError::BadDeflate),
                _ => {}
            }
        }
    }
    Err(DecodeError::BadDeflate)
}

/// How each message ends, and what is not sent of it (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// And behind it a last block, which is empty: zlib finds it only if the message was complete.
const TAIL_AND_END: [u8; 6] = [0, 0, 0xff, 0xff, 3, 0];

const FIRST_BYTES: usize = 4 * 1024;

/// A larger buffer is given away or freed instead of being kept by the thread.
const KEPT_BYTES: usize = 64 * 1024;

/// They have some 300 KiB each. Nearly all clients take the largest window.
const KEPT_DEFLATERS: usize = 2;

thread_local! {
    static INFLATER: Cell<Option<Decompress>> = const { Cell::new(None) };
    static INFLATED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static DEFLATERS: Cell<Vec<Deflater>> = const { Cell::new(Vec::new()) };
}
