use std::fmt;

/// A place in MessagePack. A copy of it looks ahead.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The beginning of a value: all of it, but for the elements of arrays and maps, which follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Head<'a> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    /// Below zero.
    Signed(i64),
    F32(f32),
    F64(f64),
    /// Not yet checked to be UTF-8.
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    /// A type that MessagePack does not know itself.
    Extension,
    Array(usize),
    Map(usize),
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Nothing follows.
    pub(super) fn end(&self) -> Result<(), Fault> {
        match self.left() {
            0 => Ok(()),
            _ => Err(Fault::Trailing { at: self.at }),
        }
    }

    /// Passes over one value and gives its bytes, in time linear in them and whatever its depth.
    pub(super) fn value(&mut self) -> Result<&'a [u8], Fault> {
        let start = self.at;
        let mut values = 1_usize;
        while values > 0 {
            let at = self.at;
            let elements = match self.head()? {
                Head::Array(count) => count,
                Head::Map(count) => 2 * count,
                _ => 0,
            };
            values = values - 1 + elements;
            // Each of them takes a byte at least.
            if values > self.left() {
                return Err(Fault::Truncated { at });
            }
        }
        Ok(&self.bytes[start..self.at])
    }

    /// Passes over the next head. No array or map has more elements than could follow.
    pub(super) fn head(&mut self) -> Result<Head<'a>, Fault> {
        let start = *self;
        self.try_head().map_err(|fault| {
            *self = start;
            fault.unwrap_or(Fault::Truncated { at: start.at })
        })
    }

    /// `None` for what ends too early.
    fn try_head(&mut self) -> Result<Head<'a>, Option<Fault>> {
        let [marker] = self.array()?;
        Ok(match marker {
            0x00..=0x7f => Head::Unsigned(marker.into()),
            0x80..=0x8f => self.map((marker & 0x0f).into())?,
            0x90..=0x9f => self.elements((marker & 0x0f).into())?,
            0xa0..=0xbf => Head::Text(self.take((marker & 0x1f).into())?),
            0xc0 => Head::Nil,
            0xc1 => return Err(Some(Fault::Reserved { at: self.at - 1 })),
            0xc2 | 0xc3 => Head::Bool(marker == 0xc3),
            0xc4 => self.length::<1>().and_then(|length| self.take(length)).map(Head::Bytes)?,
            0xc5 => self.length::<2>().and_then(|length| self.take(length)).map(Head::Bytes)?,
            0xc6 => self.length::<4>().and_then(|length| self.take(length)).map(Head::Bytes)?,
            0xc7 => self.length::<1>().and_then(|length| self.extension(length))?,
            0xc8 => self.length::<2>().and_then(|length| self.extension(length))?,
            0xc9 => self.length::<4>().and_then(|length| self.extension(length))?,
            0xca => Head::F32(f32::from_be_bytes(self.array()?)),
            0xcb => Head::F64(f64::from_be_bytes(self.array()?)),
            0xcc => Head::Unsigned(u8::from_be_bytes(self.array()?).into()),
            0xcd => Head::Unsigned(u16::from_be_bytes(self.array()?).into()),
            0xce => Head::Unsigned(u32::from_be_bytes(self.array()?).into()),
            0xcf => Head::Unsigned(u64::from_be_bytes(self.array()?)),
            0xd0 => signed(i8::from_be_bytes(self.array()?).into()),
            0xd1 => signed(i16::from_be_bytes(self.array()?).into()),
            0xd2 => signed(i32::from_be_bytes(self.array()?).into()),
            0xd3 => signed(i64::from_be_bytes(self.array()?)),
            0xd4..=0xd8 => self.extension(1 << (marker - 0xd4))?,
            0xd9 => self.length::<1>().and_then(|length| self.take(length)).map(Head::Text)?,
            0xda => self.length::<2>().and_then(|length| self.take(length)).map(Head::Text)?,
            0xdb => self.length::<4>().and_then(|length| self.take(length)).map(Head::Text)?,
            0xdc => self.length::<2>().and_then(|count| self.elements(count))?,
            0xdd => self.length::<4>().and_then(|count| self.elements(count))?,
            0xde => self.length::<2>().and_then(|count| self.map(count))?,
            0xdf => self.length::<4>().and_then(|count| self.map(count))?,
            0xe0..=0xff => signed(i8::from_be_bytes([marker]).into()),
        })
    }

    fn elements(&self, count: usize) -> Result<Head<'a>, Option<Fault>> {
        if count > self.left() {
            return Err(None);
        }
        Ok(Head::Array(count))
    }

    fn map(&self, count: usize) -> Result<Head<'a>, Option<Fault>> {
        if count > self.left() / 2 {
            return Err(None);
        }
        Ok(Head::Map(count))
    }

    fn extension(&mut self, length: usize) -> Result<Head<'a>, Option<Fault>> {
        let [_kind] = self.array()?;
        self.take(length).map(|_| Head::Extension)
    }

    fn length<const WIDTH: usize>(&mut self) -> Result<usize, Option<Fault>> {
        let bytes = self.array::<WIDTH>()?;
        Ok(bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Option<Fault>> {
        self.take(N)?.try_into().map_err(|_| None)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Option<Fault>> {
        let taken = self.bytes[self.at..].get(..length).ok_or(None)?;
        self.at += length;
        Ok(taken)
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }
}

/// A number is the same one in whatever form it was sent.
fn signed<'a>(number: i64) -> Head<'a> {
    u64::try_from(number).map_or(Head::Signed(number), Head::Unsigned)
}

/// Why bytes are no MessagePack, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    Truncated { at: usize },
    Reserved { at: usize },
    Trailing { at: usize },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { at } => write!(f, "the end came inside the value at byte {at}"),
            Self::Reserved { at } => write!(f, "0xc1 stands for nothing, at byte {at}"),
            Self::Trailing { at } => write!(f, "trailing bytes at byte {at}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(bytes: &[u8]) -> Result<usize, Fault> {
        Reader::new(bytes).value().map(<[u8]>::len)
    }

    #[test]
    fn a_value_ends_where_its_last_element_does() {
        for (bytes, length) in [
            (&b"\xc0\xc0"[..], 1),
            (b"\x7f", 1),
            (b"\xff", 1),
            (b"\xa2ab\xc0", 3),
            (b"\xd9\x02ab", 4),
            (b"\xc4\x01\xff", 3),
            (b"\xc5\0\x01\xff", 4),
            (b"\xc6\0\0\0\x01\xff", 6),
            (b"\xcb\0\0\0\0\0\0\0\0", 9),
            (b"\xd3\0\0\0\0\0\0\0\0", 9),
            (b"\xd4\x05\xc1", 3),
            (b"\xc7\x02\x05\xc1\xc1\xc0", 5),
            (b"\x92\x91\xc0\x81\xa0\x90\x01", 6),
            (b"\xdc\0\x02\x01\x02\x03", 5),
            (b"\xdf\0\0\0\x01\x01\x02", 7),
        ] {
            assert_eq!(ends(bytes), Ok(length), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_ends_too_early_is_refused() {
        for bytes in [
            &b""[..],
            b"\xa1",
            b"\x91",
            b"\x81\xc0",
            b"\xd9",
            b"\xd9\x02a",
            b"\xca\0\0\0",
            b"\xd4\x05",
            b"\xc7\x02\x05\0",
            b"\x92\x91\xc0",
            b"\x92\x91\xc0\x91",
            b"\xc6\xff\xff\xff\xff",
            b"\xdb\xff\xff\xff\xff",
            b"\xdd\xff\xff\xff\xff\xc0",
            b"\xdf\x80\0\0\0\xc0",
            b"\xc9\xff\xff\xff\xff\x01",
        ] {
            assert!(matches!(ends(bytes), Err(Fault::Truncated { .. })), "{}", bytes.escape_ascii());
        }
        assert_eq!(ends(b"\x92\xc0\xc1"), Err(Fault::Reserved { at: 2 }));
        for bytes in [&b"\x92\xc0"[..], b"\x81\xc0", b"\xdd\xff\xff\xff\xff\xc0", b"\xdf\xff\xff\xff\xff\xc0"] {
            let refused = Reader::new(bytes).head();
            assert_eq!(refused, Err(Fault::Truncated { at: 0 }), "the header alone: {}", bytes.escape_ascii());
        }
    }

    /// Headers alone cannot make it count beyond what there is.
    #[test]
    fn a_million_headers_are_refused_at_once() {
        let headers = b"\xdd\0\x0f\xff\xff".repeat(1 << 20);
        assert!(matches!(ends(&headers), Err(Fault::Truncated { .. })));
        let deep = [&b"\x91".repeat(1 << 20)[..], b"\xc0"].concat();
        assert_eq!(ends(&deep), Ok((1 << 20) + 1));
    }

    #[test]
    fn a_number_has_one_form() {
        for bytes in [&b"\x07"[..], b"\xcc\x07", b"\xcd\0\x07", b"\xd0\x07", b"\xd3\0\0\0\0\0\0\0\x07"] {
            assert_eq!(Reader::new(bytes).head(), Ok(Head::Unsigned(7)));
        }
        for bytes in [&b"\xff"[..], b"\xd0\xff", b"\xd1\xff\xff", b"\xd2\xff\xff\xff\xff"] {
            assert_eq!(Reader::new(bytes).head(), Ok(Head::Signed(-1)));
        }
    }
}
