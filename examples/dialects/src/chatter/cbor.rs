//! CBOR as `cbor-x` writes it with `useRecords` and `pack`: objects as records, and texts that repeat as references.

use crate::unreadable;
use ciborium::Value;
use realtime_core::{Error, Result, protocol::Encode};
use std::collections::HashMap;

/// Writes a value. Integers above 2³² are floats, as in JavaScript: `cbor-x` makes a `BigInt` of others.
pub(super) fn written(value: &dyn Encode) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    value.encode_with(&mut |value| {
        let mut value = Value::serialized(value).map_err(Error::internal)?;
        numbers(&mut value);
        ciborium::into_writer(&value, &mut out).map_err(Error::internal)
    })?;
    Ok(out)
}

fn numbers(value: &mut Value) {
    match value {
        Value::Integer(integer) => {
            let number = i128::from(*integer);
            if number.unsigned_abs() > u128::from(u32::MAX) && number.unsigned_abs() <= EXACT as u128 {
                *value = Value::Float(number as f64);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(numbers),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, value)| numbers(value)),
        Value::Tag(_, inner) => numbers(inner),
        _ => {}
    }
}

/// Rewrites a value as MessagePack, without records, references and tags. The time that it takes is bounded: few bytes
/// could stand for many.
pub(super) fn to_msgpack(cbor: &[u8]) -> Result<Vec<u8>> {
    let mut unpacking =
        Unpacking { rest: cbor, records: HashMap::new(), packed: Vec::new(), budget: UNPACKED_BYTES };
    let mut out = Vec::with_capacity(cbor.len());
    unpacking.item(0, &mut out)?;
    if unpacking.rest.is_empty() { Ok(out) } else { Err(unreadable("there is more behind the value")) }
}

const DEPTH: usize = 100;
const UNPACKED_BYTES: usize = 1024 * 1024;

/// Defines a record: its number, its keys, and the values of the first.
const RECORD: u64 = 57343;
/// Begins a value with texts that are referred to by number.
const PACKED: u64 = 51;
/// Refers to such a text beyond the sixteenth; the others are simple values.
const REFERENCE: u64 = 6;

struct Unpacking<'a> {
    rest: &'a [u8],
    /// The keys of records, each as an item.
    records: HashMap<u64, Vec<Vec<u8>>>,
    packed: Vec<Vec<u8>>,
    /// The bytes that keys and references may still stand for.
    budget: usize,
}

impl Unpacking<'_> {
    fn item(&mut self, depth: usize, out: &mut Vec<u8>) -> Result {
        if depth > DEPTH {
            return Err(unreadable("the value is too deep"));
        }
        let (major, info, argument) = self.head()?;
        match (major, info) {
            (0, _) => write_unsigned(argument, out),
            (1, _) => write_signed(!i64::try_from(argument).map_err(unreadable)?, out),
            (2 | 3, _) => write_bytes(if major == 2 { BIN } else { STR }, self.take(argument)?, out),
            (4 | 5, _) => {
                write_head(if major == 4 { ARRAY } else { MAP }, argument, out);
                let items = if major == 5 { argument.saturating_mul(2) } else { argument };
                (0..items).try_for_each(|_| self.item(depth + 1, out))?;
            }
            (6, _) => self.tagged(argument, depth, out)?,
            (_, ..16) => self.refer(argument, out)?,
            (_, 20) => out.push(FALSE),
            (_, 21) => out.push(TRUE),
            (_, 22 | 23) => out.push(NIL),
            (_, 26) => write_number(f64::from(f32::from_bits(argument as u32)), out),
            (_, 27) => write_number(f64::from_bits(argument), out),
            _ => return Err(unreadable("an unknown kind of item")),
        }
        Ok(())
    }

    fn tagged(&mut self, tag: u64, depth: usize, out: &mut Vec<u8>) -> Result {
        match tag {
            RECORD => {
                let values = self.array()?.checked_sub(2).ok_or_else(|| unreadable("a record without keys"))?;
                let (_, _, number) = self.head()?;
                let keys = self.items(depth)?;
                self.records.insert(number, keys);
                self.record(number, values, depth, out)
            }
            number if self.records.contains_key(&number) => {
                let values = self.array()?;
                self.record(number, values, depth, out)
            }
            PACKED => {
                self.array()?;
                self.packed = self.items(depth)?;
                if self.array()? + self.array()? > 0 {
                    return Err(unreadable("packed prefixes and suffixes are not supported"));
                }
                self.item(depth + 1, out)
            }
            REFERENCE => match self.head()? {
                (0, _, number) => self.refer(number.saturating_mul(2).saturating_add(16), out),
                (_, _, number) => self.refer(number.saturating_mul(2).saturating_add(17), out),
            },
            // The content says enough: of a date, its seconds.
            _ => self.item(depth + 1, out),
        }
    }

    fn record(&mut self, number: u64, values: u64, depth: usize, out: &mut Vec<u8>) -> Result {
        let keys = self.records.get(&number).map(Vec::as_slice).unwrap_or_default();
        self.budget = spend(self.budget, keys.iter().map(Vec::len).sum())?;
        let keys = keys.to_vec();
        if values != keys.len() as u64 {
            return Err(unreadable("a record has other values than keys"));
        }
        write_head(MAP, values, out);
        keys.iter().try_for_each(|key| {
            out.extend_from_slice(key);
            self.item(depth + 1, out)
        })
    }

    fn refer(&mut self, number: u64, out: &mut Vec<u8>) -> Result {
        let text = usize::try_from(number).ok().and_then(|number| self.packed.get(number));
        let text = text.ok_or_else(|| unreadable("a reference to nothing"))?;
        self.budget = spend(self.budget, text.len())?;
        out.extend_from_slice(text);
        Ok(())
    }

    /// Reads an array, each item by itself.
    fn items(&mut self, depth: usize) -> Result<Vec<Vec<u8>>> {
        let count = self.array()?;
        let item = |_| {
            let mut item = Vec::new();
            self.item(depth + 1, &mut item)?;
            Ok(item)
        };
        (0..count).map(item).collect()
    }

    fn array(&mut self) -> Result<u64> {
        match self.head()? {
            (4, _, count) => Ok(count),
            _ => Err(unreadable("an array is missing")),
        }
    }

    /// Reads the head of an item: its major type, the bits behind it, and the argument.
    fn head(&mut self) -> Result<(u8, u8, u64)> {
        let first = self.take(1)?[0];
        let info = first & 0x1f;
        let argument = match info {
            ..24 => u64::from(info),
            24..28 => self.take(1 << (info - 24))?.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
            _ => return Err(unreadable("a length is missing")),
        };
        Ok((first >> 5, info, argument))
    }

    fn take(&mut self, count: u64) -> Result<&[u8]> {
        let split = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let (taken, rest) = split.ok_or_else(|| unreadable("the value is cut off"))?;
        self.rest = rest;
        Ok(taken)
    }
}

/// 2⁵³: up to it a float has every integer.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn spend(budget: usize, bytes: usize) -> Result<usize> {
    budget.checked_sub(bytes).ok_or_else(|| unreadable("the value is too long"))
}

pub(super) const NIL: u8 = 0xc0;
const FALSE: u8 = 0xc2;
const TRUE: u8 = 0xc3;
pub(super) const BIN: u8 = 0xc6;
const FLOAT: u8 = 0xcb;
const UNSIGNED: u8 = 0xcf;
const SIGNED: u8 = 0xd3;
const STR: u8 = 0xdb;
const ARRAY: u8 = 0xdd;
const MAP: u8 = 0xdf;

/// JavaScript's integers above 2³² come as floats; a reader of integers takes none.
fn write_number(number: f64, out: &mut Vec<u8>) {
    if number.fract() == 0.0 && number.abs() <= EXACT {
        return write_signed(number as i64, out);
    }
    out.push(FLOAT);
    out.extend_from_slice(&number.to_bits().to_be_bytes());
}

fn write_unsigned(number: u64, out: &mut Vec<u8>) {
    out.push(UNSIGNED);
    out.extend_from_slice(&number.to_be_bytes());
}

fn write_signed(number: i64, out: &mut Vec<u8>) {
    out.push(SIGNED);
    out.extend_from_slice(&number.to_be_bytes());
}

/// Writes a text, or bytes.
pub(super) fn write_bytes(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    write_head(kind, bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// A count that is cut here is of more items than the value has, which reading them shows.
fn write_head(kind: u8, count: u64, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&(count as u32).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use realtime_core::protocol;
    use serde::Deserialize;
    use serde_json::{Value as Json, json};

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    fn read<T: for<'de> Deserialize<'de> + 'static>(hex: &str) -> Result<T> {
        protocol::Value::MessagePack(to_msgpack(&bytes(hex))?.into()).parse()
    }

    /// The bytes are those of cbor-x 1.6.
    #[test]
    fn records_and_references_are_resolved() {
        let twice = "82d9dfff8419e0008261616162016178d9e00082026178";
        assert_eq!(read::<Json>(twice).unwrap(), json!([{ "a": 1, "b": "x" }, { "a": 2, "b": "x" }]));
        let hello = "d83384816568656c6c6f8080d9dfff8419e00082647361696465616761696ee0e0";
        assert_eq!(read::<Json>(hello).unwrap(), json!({ "said": "hello", "again": "hello" }));
        let words: Vec<_> = (0..19).map(|word| format!("word{word}")).collect();
        let packed: String = words.iter().flat_map(|word| bytes_of_text(word)).collect();
        let references = "e0e1e2e3e4e5e6e7e8e9eaebecedeeefc600c620c601";
        let read = read::<Vec<String>>(&format!("d8338493{packed}80809826{references}{references}")).unwrap();
        assert_eq!(read, [&words[..], &words].concat());
    }

    fn bytes_of_text(text: &str) -> impl Iterator<Item = String> {
        let head = std::iter::once(0x60 | text.len() as u8);
        head.chain(text.bytes()).map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn large_integers_are_floats_in_javascript() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Numbers {
            at: u64,
            half: f64,
            neg: i8,
            big: i64,
            none: Option<u8>,
            yes: bool,
        }
        let numbers = "d9dfff8819e000866261746468616c66636e65676362696764\
                       6e6f6e6563796573fb4278bcfe56800000fb3ff800000000000026fbc270000000000000f7f5";
        let expected =
            Numbers { at: 1_700_000_000_000, half: 1.5, neg: -7, big: -(1 << 40), none: None, yes: true };
        assert_eq!(read::<Numbers>(numbers).unwrap(), expected);
        assert_eq!(read::<f64>("05").unwrap(), 5.0);
        for (number, cbor) in [(300_i64, "19012c"), (1 << 40, "fa53800000"), (-(1 << 40), "fad3800000")] {
            assert_eq!(written(&number).unwrap(), bytes(cbor));
        }
    }

    #[test]
    fn no_bytes_make_it_fail_but_by_an_error() {
        let deep = "81".repeat(100_000);
        for cbor in [
            "",
            "5f",
            "ff",
            "1c",
            "3bffffffffffffffff",
            "83 01",
            "9bffffffffffffffff",
            "c6",
            "c63bffffffffffffffff",
            "d833",
            "d9dfff81",
            &deep,
        ] {
            assert!(to_msgpack(&bytes(&cbor.replace(' ', ""))).is_err(), "{cbor}");
        }
        let mut random = 1_u32;
        for length in 0..2000 {
            let next = |_| {
                random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (random >> 24) as u8
            };
            let cbor: Vec<u8> = (0..length % 64).map(next).collect();
            let _ = to_msgpack(&cbor);
        }
    }
}
