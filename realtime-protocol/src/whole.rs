//! Whole floats as integers: many languages have one type of number, and write `5000` as `5000.0` or as a float of
//! MessagePack.

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, Unexpected, Visitor},
};
use std::{borrow::Cow, fmt, io::Write};

/// `Number.MAX_SAFE_INTEGER`: up to it, a number of JavaScript's is exact.
pub(crate) const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// The integer that a float is. None beyond ±(2⁵³ − 1), where a float may stand for its neighbours as well, and none for
/// -0.0, which no integer is.
pub(crate) fn whole(float: f64) -> Option<i64> {
    let is_negative_zero = float == 0.0 && float.is_sign_negative();
    let is_whole = float.fract() == 0.0 && float.abs() <= MAX_SAFE_INTEGER as f64;
    (is_whole && !is_negative_zero).then_some(float as i64)
}

/// The same of 32 bits, whose integers are certain up to 2²⁴ − 1.
pub(crate) fn whole_f32(float: f32) -> Option<i64> {
    whole(float.into()).filter(|number| number.unsigned_abs() < 1 << f32::MANTISSA_DIGITS)
}

/// The integer that a number of JSON is, where it is written as a float.
pub(crate) fn whole_of_json(number: &str) -> Option<i64> {
    // Rust's floats have forms that JSON does not have.
    if !is_float(number.as_bytes()) || serde_json::from_str::<IgnoredAny>(number).is_err() {
        return None;
    }
    number.parse().ok().and_then(whole)
}

/// JSON in which whole floats are written as integers. All else stays as it is, and in its place where it fits: errors
/// tell the column.
pub(crate) fn without_whole_floats(json: &str) -> Cow<'_, str> {
    let mut written = Vec::new();
    let mut rest = json;
    while let Some((start, len)) = next_float(rest) {
        let (before, float, after) = (&rest[..start], &rest[start..start + len], &rest[start + len..]);
        written.extend_from_slice(before.as_bytes());
        match whole_of_json(float) {
            Some(integer) => write!(written, "{integer:<len$}").unwrap_or_default(),
            None => written.extend_from_slice(float.as_bytes()),
        }
        rest = after;
    }
    if written.is_empty() {
        return json.into();
    }
    written.extend_from_slice(rest.as_bytes());
    String::from_utf8(written).map_or(json.into(), Cow::Owned)
}

/// Where the next number begins that has a point or an exponent, outside of strings, and its length.
fn next_float(json: &str) -> Option<(usize, usize)> {
    let bytes = json.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at += string_len(&bytes[at..]),
            b'-' | b'0'..=b'9' => {
                let len = bytes[at..].iter().take_while(|byte| is_of_number(**byte)).count();
                if is_float(&bytes[at..at + len]) {
                    return Some((at, len));
                }
                at += len;
            }
            _ => at += 1,
        }
    }
    None
}

fn is_float(number: &[u8]) -> bool {
    number.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')
}

/// Bytes of a string with its quotes; all that is there of one that does not end.
fn string_len(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if bytes[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

/// An integer that is read from a whole float as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole(pub(crate) u64);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(ReadWhole)
    }
}

struct ReadWhole;

impl Visitor<'_> for ReadWhole {
    type Value = Whole;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an integer from 0 to {}", u64::MAX)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Whole, E> {
        Ok(Whole(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Whole, E> {
        let unsigned = number.try_into().map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))?;
        Ok(Whole(unsigned))
    }

    fn visit_f32<E: de::Error>(self, float: f32) -> Result<Whole, E> {
        let number = whole_f32(float).and_then(|number| number.try_into().ok());
        number.map(Whole).ok_or_else(|| E::invalid_value(Unexpected::Float(float.into()), &self))
    }

    fn visit_f64<E: de::Error>(self, float: f64) -> Result<Whole, E> {
        let number = whole(float).and_then(|number| number.try_into().ok());
        number.map(Whole).ok_or_else(|| E::invalid_value(Unexpected::Float(float), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The first float that is 2⁵³: 2⁵³ + 1 is it as well.
    const UNCERTAIN: i64 = 1 << 53;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_integer_that_a_float_holds_for_certain_survives(number in 1 - UNCERTAIN..UNCERTAIN) {
            prop_assert_eq!(whole(number as f64), Some(number));
            for json in [format!("{number}.0"), format!("{number}e0"), format!("{number}.00E+00")] {
                prop_assert_eq!(whole_of_json(&json), Some(number), "{}", json);
            }
        }

        #[test]
        fn no_float_becomes_another_number(bits in any::<u64>()) {
            let (double, single) = (f64::from_bits(bits), f32::from_bits(bits as u32));
            if let Some(number) = whole(double) {
                prop_assert_eq!((number as f64).to_bits(), bits);
            }
            if let Some(number) = whole_f32(single) {
                prop_assert_eq!((number as f32).to_bits(), bits as u32);
            }
        }

        /// Read as floats, the numbers are what they were, and the text is JSON exactly where it was.
        #[test]
        fn json_without_whole_floats_is_the_same(json in "[\\[\\],:{}\"\\\\ a\u{e9}]{0,3}([-+.eE0-9]{1,6}[\\[\\], \"\\\\x]{0,2}){0,6}") {
            let floats = |json: &str| serde_json::from_str::<Vec<f64>>(json).ok();
            let rewritten = without_whole_floats(&json);
            prop_assert_eq!(floats(&rewritten), floats(&json), "{}", rewritten);
            let is_json = |json: &str| serde_json::from_str::<IgnoredAny>(json).is_ok();
            prop_assert_eq!(is_json(&rewritten), is_json(&json), "{}", rewritten);
        }
    }

    #[test]
    fn what_no_integer_is_stays_a_float() {
        let beyond = UNCERTAIN as f64;
        for float in [0.5, -0.0, 1e-300, beyond, -beyond, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(whole(float), None, "{float:?}");
        }
        assert_eq!(whole_f32(16_777_215.0), Some(16_777_215));
        for float in [16_777_216.0, -16_777_216.0, 0.5, -0.0, f32::NAN, f32::INFINITY] {
            assert_eq!(whole_f32(float), None, "{float:?}");
        }
        for json in [
            "7",
            "-0.0",
            "-0e3",
            "7.5",
            "5e-1",
            "1e400",
            "9007199254740992.0",
            "1.",
            ".5e1",
            "+7.0",
            "07.0",
            "7.0 ",
            "NaN",
            "7e",
            "0x1e1",
            "",
        ] {
            assert_eq!(whole_of_json(json), None, "{json}");
        }
    }

    #[test]
    fn whole_floats_of_json_are_written_as_integers() {
        for (json, expected) in [
            (r#"{"a":7.0,"b":[5e3,-1.50,"7.0",0.0]}"#, r#"{"a":7  ,"b":[5000,-1.50,"7.0",0  ]}"#),
            (r#"["\"7.0",7.0,"\\",8.0,"\u00229.0"]"#, r#"["\"7.0",7  ,"\\",8  ,"\u00229.0"]"#),
            ("-3.0", "-3  "),
            ("9e15", "9000000000000000"),
            ("50e-1", "5    "),
            ("\"7.0", "\"7.0"),
            ("\"é\\", "\"é\\"),
            ("[1,-2,0.5]", "[1,-2,0.5]"),
        ] {
            assert_eq!(without_whole_floats(json), expected);
        }
        assert!(matches!(without_whole_floats("[1,\"7.0\"]"), Cow::Borrowed(_)));
    }
}
