use std::{fmt, iter};

/// The headers of a request in one buffer, in the order received, with names in lower case.
///
/// Each is its two lengths, the name and the value: one that is looked for is found without a look at the bytes of others.
pub(super) struct Headers(Box<[u8]>);

/// A buffer of headers that grows.
#[derive(Debug, Default)]
pub(super) struct NewHeaders(Vec<u8>);

/// A length of a value that stands in four bytes behind this one.
const LONG: u16 = u16::MAX;

impl Headers {
    /// Returns names and values.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &*self.0;
        iter::from_fn(move || {
            let header;
            (header, rest) = split(rest)?;
            Some(header)
        })
    }

    /// Returns the values of a name in lower case.
    pub(super) fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.iter().filter(move |(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
    }

    /// Returns those of which the name fulfils a condition, with room for more.
    pub(super) fn only(&self, keep: impl Fn(&[u8]) -> bool) -> NewHeaders {
        let mut kept = NewHeaders(Vec::with_capacity(self.0.len()));
        self.iter().filter(|(name, _)| keep(name)).for_each(|(name, value)| kept.push(name, value));
        kept
    }
}

impl NewHeaders {
    /// Adds a header; the name becomes lower case.
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) {
        // No HTTP library takes longer ones.
        let (Ok(name_length), Ok(long)) = (u16::try_from(name.len()), u32::try_from(value.len())) else { return };
        let short = u16::try_from(value.len()).unwrap_or(LONG);
        self.0.extend(name_length.to_le_bytes());
        self.0.extend(short.to_le_bytes());
        if short == LONG {
            self.0.extend(long.to_le_bytes());
        }
        let begin = self.0.len();
        self.0.extend_from_slice(name);
        self.0[begin..].make_ascii_lowercase();
        self.0.extend_from_slice(value);
    }
}

impl From<NewHeaders> for Headers {
    fn from(new: NewHeaders) -> Self {
        Self(new.0.into())
    }
}

/// Omits values, which may be secrets.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| String::from_utf8_lossy(name))).finish()
    }
}

type Header<'a> = (&'a [u8], &'a [u8]);

fn split(bytes: &[u8]) -> Option<(Header<'_>, &[u8])> {
    let ([name_low, name_high, value_low, value_high], mut rest) = bytes.split_first_chunk::<4>()?;
    let short = u16::from_le_bytes([*value_low, *value_high]);
    let value_length = if short == LONG {
        let long;
        (long, rest) = rest.split_first_chunk::<4>()?;
        u32::from_le_bytes(*long) as usize
    } else {
        short.into()
    };
    let (name, rest) = rest.split_at_checked(u16::from_le_bytes([*name_low, *name_high]).into())?;
    let (value, rest) = rest.split_at_checked(value_length)?;
    Some(((name, value), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_whatever_is_in_them() {
        let long = vec![b'x'; usize::from(LONG)];
        let all: [(&str, &[u8]); 6] =
            [("a", b"1"), ("b", b"\n:\0\xff"), ("", b""), ("a", b""), ("c", &long), ("d", &long[1..])];
        let mut headers = NewHeaders::default();
        all.iter().for_each(|(name, value)| headers.push(name.to_ascii_uppercase().as_bytes(), value));
        let headers = Headers::from(headers);
        let found: Vec<_> =
            headers.iter().map(|(name, value)| (std::str::from_utf8(name).unwrap(), value)).collect();
        assert_eq!(found, all);
        assert_eq!(headers.of("a").collect::<Vec<_>>(), [&b"1"[..], b""]);
        assert_eq!(headers.of("e").count(), 0);
        let kept = Headers::from(headers.only(|name| name != b"a"));
        assert_eq!(kept.iter().map(|(name, _)| name).collect::<Vec<_>>(), [&b"b"[..], b"", b"c", b"d"]);
        assert_eq!(format!("{kept:?}"), r#"["b", "", "c", "d"]"#);
    }
}
