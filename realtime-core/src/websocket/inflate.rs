use super::{Data, DecodeError, Kind};
use crate::util::spare;
use flate2::{Decompress, FlushDecompress, Status};
use std::{borrow::Cow, cell::Cell};

/// A compressed message longer than one slice, inflated slice by slice so that other connections get their turn.
#[derive(Debug)]
pub(super) struct Inflation {
    payload: Vec<u8>,
    /// Bytes of the payload and [`TAIL_AND_END`] that are inflated so far.
    at: usize,
    limit: usize,
    message: Message,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nothing is inflated yet.
    New,
    /// A stream of its own: the thread's is for messages of one slice.
    Going(Decompress),
    Whole,
}

/// The result of the first slice.
pub(super) enum Begun {
    Whole(Data<'static>),
    /// There is more; with the work done, in bytes.
    Long(Box<Inflation>, usize),
}

impl Inflation {
    /// Inflates the first slice of a message of at most `limit` bytes. Most messages are done then: they use the stream
    /// and the buffer of the thread, and allocate nothing but the message.
    pub(super) fn begin(kind: Kind, payload: Cow<'_, [u8]>, limit: usize) -> Result<Begun, DecodeError> {
        let (mut stream, mut buffer, mut at) = (take_stream(), take_buffer(), 0);
        let slice = inflate_slice(&mut stream, &payload, &mut at, limit, &mut buffer)?;
        let mut message = Message::new(kind);
        let begun = if slice.is_last {
            spare::put(&STREAM, Some(stream));
            Begun::Whole(message_of(kind, &buffer)?)
        } else {
            message.append(&buffer, limit)?;
            let state = State::Going(stream);
            Begun::Long(Box::new(Self { payload: payload.into_owned(), at, limit, message, state }), slice.work)
        };
        spare::put(&BUFFER, buffer);
        Ok(begun)
    }

    /// Inflates the next slice; returns the work done, in bytes.
    pub(super) fn go_on(&mut self) -> Result<usize, DecodeError> {
        let mut stream = match std::mem::replace(&mut self.state, State::Whole) {
            State::New => take_stream(),
            State::Going(stream) => stream,
            State::Whole => return Ok(0),
        };
        let mut buffer = take_buffer();
        self.message.move_cut_to(&mut buffer);
        let room = self.limit - self.message.len();
        let slice = inflate_slice(&mut stream, &self.payload, &mut self.at, room, &mut buffer)?;
        self.message.append(&buffer, self.limit)?;
        spare::put(&BUFFER, buffer);
        if slice.is_last {
            spare::put(&STREAM, Some(stream));
            self.payload = Vec::new();
            self.message.finish()?;
        } else {
            self.state = State::Going(stream);
        }
        Ok(slice.work)
    }

    pub(super) fn is_whole(&self) -> bool {
        matches!(self.state, State::Whole)
    }

    /// Returns the bytes of memory that hold the message, compressed and inflated.
    pub(super) fn held_bytes(&self) -> usize {
        self.payload.capacity() + self.message.len()
    }

    /// Starts over with only the compressed message, to free memory meanwhile.
    pub(super) fn rewind(&mut self) {
        if let State::Going(stream) = std::mem::replace(&mut self.state, State::New) {
            spare::put(&STREAM, Some(stream));
        }
        self.at = 0;
        self.message = Message::new(self.message.kind());
    }

    pub(super) fn into_message(self) -> Data<'static> {
        match self.message {
            Message::Text { text, .. } => Data::Text(text.into()),
            Message::Binary(bytes) => Data::Binary(bytes.into()),
        }
    }
}

/// The inflated part of a message.
#[derive(Debug)]
enum Message {
    Text {
        text: String,
        /// The first bytes of a character that continues in the next slice.
        cut: Vec<u8>,
    },
    Binary(Vec<u8>),
}

impl Message {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text { text: String::new(), cut: Vec::new() },
            Kind::Binary => Self::Binary(Vec::new()),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Text { .. } => Kind::Text,
            Self::Binary(_) => Kind::Binary,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text { text, .. } => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    fn move_cut_to(&mut self, buffer: &mut Vec<u8>) {
        if let Self::Text { cut, .. } = self {
            buffer.append(cut);
        }
    }

    /// Appends a slice. Text is checked here, so the whole need not be checked again.
    fn append(&mut self, slice: &[u8], limit: usize) -> Result<(), DecodeError> {
        match self {
            Self::Text { text, cut } => {
                let (valid, rest) = split_text(slice)?;
                text.reserve_exact(room_for(valid.len(), text.len(), text.capacity(), limit));
                text.push_str(valid);
                cut.extend_from_slice(rest);
            }
            Self::Binary(bytes) => {
                bytes.reserve_exact(room_for(slice.len(), bytes.len(), bytes.capacity(), limit));
                bytes.extend_from_slice(slice);
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DecodeError> {
        match self {
            Self::Text { cut, .. } if !cut.is_empty() => return Err(DecodeError::BadUtf8),
            Self::Text { text, .. } => text.shrink_to_fit(),
            Self::Binary(bytes) => bytes.shrink_to_fit(),
        }
        Ok(())
    }
}

fn message_of(kind: Kind, bytes: &[u8]) -> Result<Data<'static>, DecodeError> {
    Ok(match kind {
        Kind::Text => Data::Text(String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::BadUtf8)?.into()),
        Kind::Binary => Data::Binary(bytes.to_vec().into()),
    })
}

/// Splits a slice into its whole characters and the bytes of one that is cut off.
fn split_text(slice: &[u8]) -> Result<(&str, &[u8]), DecodeError> {
    let valid = match simdutf8::compat::from_utf8(slice) {
        Ok(text) => return Ok((text, &[])),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => return Err(DecodeError::BadUtf8),
    };
    let (text, cut) = slice.split_at(valid);
    Ok((std::str::from_utf8(text).map_err(|_| DecodeError::BadUtf8)?, cut))
}

/// Returns the room to reserve for `more` bytes: twice the capacity if it is too small, within the limit.
fn room_for(more: usize, len: usize, capacity: usize, limit: usize) -> usize {
    if len + more <= capacity { 0 } else { capacity.saturating_mul(2).min(limit).max(len + more) - len }
}

/// One slice.
struct Slice {
    work: usize,
    is_last: bool,
}

/// Appends the next part of a payload to `out`, up to its capacity; fails if `out` would exceed `room` bytes.
fn inflate_slice(
    stream: &mut Decompress,
    payload: &[u8],
    at: &mut usize,
    room: usize,
    out: &mut Vec<u8>,
) -> Result<Slice, DecodeError> {
    let (first, before) = (*at, out.len());
    let mut is_last = payload.is_empty();
    while !is_last && out.len() < out.capacity() && *at - first < SLICE_INPUT {
        let rest = rest(payload, *at);
        let rest = &rest[..rest.len().min(SLICE_INPUT - (*at - first))];
        let (read, written) = (stream.total_in(), out.len());
        let status = stream.decompress_vec(rest, out, FlushDecompress::None);
        if out.len() > room {
            return Err(DecodeError::TooBig);
        }
        let status = status.map_err(|_| DecodeError::BadDeflate)?;
        let read = (stream.total_in() - read) as usize;
        *at += read;
        match status {
            Status::StreamEnd if *at == payload.len() || *at == payload.len() + TAIL_AND_END.len() => {
                is_last = true;
            }
            // Data behind a last block is a new stream.
            Status::StreamEnd => stream.reset(false),
            _ if read == 0 && out.len() == written => return Err(DecodeError::BadDeflate),
            _ => {}
        }
    }
    Ok(Slice { work: out.len() - before + INPUT_WEIGHT * (*at - first), is_last })
}

/// Returns the rest of the payload from `at`, or its first part.
fn rest(payload: &[u8], at: usize) -> &[u8] {
    if at < payload.len() { &payload[at..] } else { &TAIL_AND_END[at - payload.len()..] }
}

/// Takes a fresh stream: the thread's, unless it is in use.
fn take_stream() -> Decompress {
    let Some(mut stream) = spare::take(&STREAM) else { return Decompress::new(false) };
    stream.reset(false);
    stream
}

/// Takes an empty buffer with room for a slice.
fn take_buffer() -> Vec<u8> {
    let mut buffer = spare::take(&BUFFER);
    buffer.clear();
    buffer.reserve_exact(SLICE);
    buffer
}

/// The end of each message, which is not sent (RFC 7692, section 7.2.1), and an empty last block, which zlib finds only
/// if the message was complete.
const TAIL_AND_END: [u8; 6] = [0, 0, 0xff, 0xff, 3, 0];

/// Bytes inflated at once: a quarter of a connection's turn.
const SLICE: usize = 16 * 1024;

/// Input read for one slice at most: blocks that inflate to nothing take time too.
const SLICE_INPUT: usize = 4 * 1024;

/// The cost of a byte of input where a byte of output costs 1: that of the slowest input.
const INPUT_WEIGHT: usize = 4;

thread_local! {
    static STREAM: Cell<Option<Decompress>> = const { Cell::new(None) };
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A message with all its slices.
#[cfg(test)]
pub(super) fn inflate_all(kind: Kind, payload: &[u8], limit: usize) -> Result<Data<'static>, DecodeError> {
    let mut inflation = match Inflation::begin(kind, payload.into(), limit)? {
        Begun::Whole(data) => return Ok(data),
        Begun::Long(inflation, _) => inflation,
    };
    while !inflation.is_whole() {
        inflation.go_on()?;
    }
    Ok(inflation.into_message())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compress, Compression, FlushCompress};
    use proptest::{collection::vec, prelude::*, sample::select};

    const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

    fn deflate(message: &[u8], level: u32) -> Vec<u8> {
        let mut payload = Vec::with_capacity(message.len() * 2 + 1000);
        Compress::new(Compression::new(level), false)
            .compress_vec(message, &mut payload, FlushCompress::Sync)
            .unwrap();
        payload.truncate(payload.len() - TAIL.len());
        payload
    }

    fn begin(kind: Kind, payload: &[u8], limit: usize) -> Box<Inflation> {
        match Inflation::begin(kind, payload.into(), limit) {
            Ok(Begun::Long(inflation, _)) => inflation,
            _ => panic!("it is done in one slice"),
        }
    }

    /// The same in one call, with room for all of it.
    fn inflate_at_once(kind: Kind, payload: &[u8], limit: usize) -> Result<Vec<u8>, DecodeError> {
        let mut out = Vec::with_capacity(1 << 21);
        let mut rest = &[payload, &TAIL_AND_END].concat()[..];
        let mut stream = Decompress::new(false);
        while !payload.is_empty() {
            let before = stream.total_in();
            let status = stream.decompress_vec(rest, &mut out, FlushDecompress::None);
            assert!(out.len() < out.capacity());
            if out.len() > limit {
                return Err(DecodeError::TooBig);
            }
            rest = &rest[(stream.total_in() - before) as usize..];
            match status {
                Ok(Status::StreamEnd) if [0, TAIL_AND_END.len()].contains(&rest.len()) => break,
                Ok(Status::StreamEnd) => stream.reset(false),
                _ => return Err(DecodeError::BadDeflate),
            }
        }
        match kind {
            Kind::Text if std::str::from_utf8(&out).is_err() => Err(DecodeError::BadUtf8),
            _ => Ok(out),
        }
    }

    /// Lengths around the ends of slices; texts whose characters they cut.
    fn message() -> impl Strategy<Value = Vec<u8>> {
        let len = prop_oneof![0..4 * SLICE, (1..4_usize, 0..9_usize).prop_map(|(n, more)| n * SLICE + more - 4)];
        let of = |unit: Vec<u8>, len: usize| unit.into_iter().cycle().take(len).collect::<Vec<u8>>();
        let text = ("a{0,3}", select(&["a", "\u{e9}", "\u{20ac}", "\u{1f40e}"][..]), len.clone());
        let text = text.prop_map(move |(first, unit, len)| {
            let mut text = first;
            (0..len / unit.len()).for_each(|_| text.push_str(unit));
            text.into_bytes()
        });
        let bytes = (vec(any::<u8>(), 1..3000), len.clone()).prop_map(move |(unit, len)| of(unit, len));
        let noise = (any::<u32>(), len).prop_map(|(mut state, len)| {
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            };
            (0..len).map(|_| next()).collect()
        });
        prop_oneof![text, bytes, noise]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn slices_give_what_one_call_gives(
            messages in vec(message(), 1..3),
            level in 0..10_u32,
            spoilt in proptest::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>())),
            cut in 0..20_usize,
            limit in select(&[1000, SLICE - 1, SLICE, SLICE + 1, 3 * SLICE, 1 << 20][..]),
        ) {
            // Several streams, each with a last block but the last of them.
            let mut payload = Vec::new();
            for (index, message) in messages.iter().enumerate() {
                if index > 0 {
                    payload.extend_from_slice(&TAIL_AND_END);
                }
                payload.extend(deflate(message, level));
            }
            if let Some((at, byte)) = spoilt {
                let at = at.index(payload.len());
                payload[at] = byte;
                payload.truncate(payload.len().saturating_sub(cut).max(1));
            }
            for kind in [Kind::Text, Kind::Binary] {
                let found = inflate_all(kind, &payload, limit).map(|data| data.as_bytes().to_vec());
                let expected = inflate_at_once(kind, &payload, limit);
                if found == Err(DecodeError::BadUtf8) {
                    // Told before what is wrong behind it.
                    prop_assert!(expected.is_err());
                } else {
                    prop_assert!(found == expected, "{:?}, {:?}", found.err(), expected.err());
                }
            }
        }
    }

    #[test]
    fn a_bomb_takes_no_more_than_the_limit() {
        let bomb = deflate(&vec![0; 64 << 20], 9);
        assert!(bomb.len() < (64 << 20) / 1000);
        for kind in [Kind::Text, Kind::Binary] {
            for limit in [0, 1, 1000, 15_000] {
                assert_eq!(inflate_all(kind, &bomb, limit), Err(DecodeError::TooBig));
            }
            for limit in [20_000, 100_000, 1 << 20, (1 << 20) + 1] {
                let mut inflation = begin(kind, &bomb, limit);
                let error = loop {
                    let room = match &inflation.message {
                        Message::Text { text, .. } => text.capacity(),
                        Message::Binary(bytes) => bytes.capacity(),
                    };
                    assert!(room <= limit, "{room} bytes of {limit}");
                    match inflation.go_on() {
                        Ok(work) => assert!(work > 0),
                        Err(error) => break error,
                    }
                };
                assert_eq!(error, DecodeError::TooBig);
            }
        }
    }

    /// Of what inflates to much, to as much, and to nothing.
    #[test]
    fn a_slice_is_bounded() {
        let noise = deflate(&(0..1_u32 << 18).map(|at| (at.wrapping_mul(at) >> 7) as u8).collect::<Vec<u8>>(), 0);
        for payload in [
            deflate(&vec![0; 1 << 20], 9),
            noise,
            [3, 0].repeat(1 << 15),
            [[0, 0, 0, 0xff, 0xff].repeat(1 << 15), vec![0]].concat(),
        ] {
            let mut inflation = begin(Kind::Binary, &payload, 1 << 20);
            while !inflation.is_whole() {
                let (at, len) = (inflation.at, inflation.message.len());
                let work = inflation.go_on().unwrap();
                assert!(inflation.at - at <= SLICE_INPUT && inflation.message.len() - len <= SLICE);
                assert!(work <= SLICE + INPUT_WEIGHT * SLICE_INPUT);
            }
        }
    }

    #[test]
    fn bad_text_fails_in_its_slice() {
        let mut message = vec![b'a'; 1 << 20];
        message[3 * SLICE + 10] = 0xff;
        let mut inflation = begin(Kind::Text, &deflate(&message, 9), 1 << 20);
        assert!((0..2).all(|_| inflation.go_on().is_ok()));
        assert_eq!(inflation.go_on(), Err(DecodeError::BadUtf8));
    }

    #[test]
    fn one_that_begins_again_holds_only_its_payload() {
        let message = "\u{20ac}".repeat(1 << 18);
        let mut inflation = begin(Kind::Text, &deflate(message.as_bytes(), 6), 1 << 20);
        inflation.go_on().unwrap();
        inflation.rewind();
        assert!(matches!(inflation.state, State::New) && inflation.message.len() == 0);
        while !inflation.is_whole() {
            inflation.go_on().unwrap();
        }
        assert_eq!(inflation.into_message(), Data::Text(message.into()));
    }
}
