use realtime_protocol::{Error, Result};
use std::{fmt, str::FromStr};

/// The proof of a log's history up to a record: 52 bits, written as 13 hexadecimal digits.
///
/// Each append has a random tag, and its proof is made of that and the proof before it. So a proof names one append and,
/// by the chain, all before it: another history has the same proof at the same offset once in 2⁵².
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Proof(u64);

impl Proof {
    /// The proof of a log to which nothing was ever appended.
    pub const NONE: Self = Self(0);

    /// Creates a proof of a number, of which the lower 52 bits count.
    pub const fn new(bits: u64) -> Self {
        Self(bits & MASK)
    }

    /// Returns the number.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Returns the proof of an append with this random tag behind a record with this proof: the first 52 bits of the
    /// SHA-1 of both in hexadecimal, 13 and 16 digits. A broker may compute it elsewhere, in a script for example.
    pub fn after(self, tag: u64) -> Self {
        let digest = realtime_protocol::internal::sha1(format!("{self}{tag:016x}").as_bytes());
        let first: [u8; 8] = std::array::from_fn(|at| digest[at]);
        Self(u64::from_be_bytes(first) >> 12)
    }
}

const MASK: u64 = (1 << 52) - 1;

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:013x}", self.0)
    }
}

impl FromStr for Proof {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let valid = text.len() == 13 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let bits = valid.then(|| u64::from_str_radix(text, 16).ok()).flatten();
        bits.map(Self).ok_or_else(|| Error::invalid_argument("not a proof: expected 13 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same as `string.sub(redis.sha1hex(base .. tag), 1, 13)` in a script.
    #[test]
    fn a_proof_is_the_beginning_of_a_hash_of_base_and_tag() {
        // printf 00000000000000000000000000001 | sha1sum
        assert_eq!(Proof::NONE.after(1).to_string(), "e3f7281725819");
    }

    #[test]
    fn a_proof_is_read_as_it_is_written() {
        let proof = Proof::new(u64::MAX);
        assert_eq!(proof.to_string(), "fffffffffffff");
        assert_eq!(proof.to_string().parse::<Proof>().unwrap(), proof);
        for text in ["", "0", "FFFFFFFFFFFFF", "00000000000000", "000000000000g", "+000000000000"] {
            assert!(text.parse::<Proof>().is_err(), "{text}");
        }
    }
}
