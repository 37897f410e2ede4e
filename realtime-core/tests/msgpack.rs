//! The MessagePack protocol: what is sent is read as it was, also by others, and nothing that is sent
//! does any harm. The others are rmpv and rmp-serde.

#[path = "support/packets.rs"]
mod packets;

use bytes::Bytes;
use packets::{Fields, each_outgoing, frames, meaning, seen, whole};
use proptest::{collection::vec, prelude::*, sample::select};
use realtime_core::{
    Code, Error, Message,
    protocol::{Encode, MessagePack, Outgoing, Packet, Protocol, Value},
    websocket::{Data, Kind},
};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor},
};
use serde_json::{json, value::RawValue};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    net::IpAddr,
    time::Duration,
};

/// A message as an application has it: every kind of field.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Say {
    text: String,
    #[serde(default)]
    tags: Vec<String>,
    to: Option<Box<Say>>,
    #[serde(default)]
    kind: SayKind,
    #[serde(default)]
    counts: BTreeMap<String, u8>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
enum SayKind {
    #[default]
    Plain,
    At(i64, f32),
    Image {
        url: String,
    },
    Nested(Box<SayKind>),
}

fn config() -> ProptestConfig {
    // What once failed becomes a test of its own.
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn arbitrary_bytes_harm_nothing(bytes in vec(any::<u8>(), 0..64)) {
        read_all(&bytes);
        read_all(&message(&bytes));
    }

    /// Nearly a frame: the pieces of one in any order.
    #[test]
    fn bytes_that_look_like_a_frame_harm_nothing(bytes in soup()) {
        read_all(&bytes);
        read_all(&message(&bytes));
    }

    /// A frame in which some bytes are others, or that is cut: it is refused, or it is what others
    /// read as well.
    #[test]
    fn a_spoilt_frame_is_refused_or_means_what_it_says(
        value in value(),
        at in any::<prop::sample::Index>(),
        gone in 0..3_usize,
        with in vec(any::<u8>(), 0..3),
    ) {
        let mut bytes = sent(&Outgoing::Message(&value));
        let at = at.index(bytes.len());
        let end = (at + gone).min(bytes.len());
        bytes.splice(at..end, with);
        read_all(&bytes);
        assert_read_as_by_others(&bytes);
    }

    #[test]
    fn a_cut_frame_is_refused(value in value(), at in any::<prop::sample::Index>()) {
        let bytes = sent(&Outgoing::Message(&value));
        prop_assert_eq!(refused(&bytes[..at.index(bytes.len())]), Code::PARSE_ERROR);
    }

    /// Where a value ends is found as others find it.
    #[test]
    fn the_end_of_a_value_is_where_others_find_it(value in soup(), more in vec(any::<u8>(), 0..4)) {
        assert_ends_as_for_others(&value);
        assert_ends_as_for_others(&[value, more].concat());
    }

    #[test]
    fn the_end_of_arbitrary_bytes_is_where_others_find_it(bytes in vec(any::<u8>(), 0..32)) {
        assert_ends_as_for_others(&bytes);
    }

    #[test]
    fn any_value_survives_as_a_message(value in value()) {
        let bytes = sent(&Outgoing::Message(&value));
        let frame = json!({ "type": "message", "value": value });
        prop_assert_eq!(rmp_serde::from_slice::<serde_json::Value>(&bytes).unwrap(), frame.clone());
        prop_assert_eq!(rmpv::decode::read_value(&mut &bytes[..]).unwrap(), tree(&frame));
        prop_assert_eq!(parsed::<serde_json::Value>(&bytes), Ok(value));
    }

    /// Whoever wrote it, in whatever widths.
    #[test]
    fn what_others_write_is_read(value in value()) {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, &tree(&value)).unwrap();
        prop_assert_eq!(parsed::<serde_json::Value>(&message(&bytes)), Ok(value.clone()));
        let bytes = rmp_serde::to_vec_named(&json!({ "value": value, "type": "message", "more": [{}, null] })).unwrap();
        prop_assert_eq!(parsed::<serde_json::Value>(&bytes), Ok(value));
    }

    #[test]
    fn a_number_is_read_from_any_width(number in any::<i64>()) {
        let wide = [&b"\xd3"[..], &number.to_be_bytes()].concat();
        prop_assert_eq!(parsed(&message(&wide)), Ok(number));
        prop_assert_eq!(parsed(&message(&wide)), Ok(i128::from(number)));
        prop_assert_eq!(parsed::<u64>(&message(&wide)).ok(), u64::try_from(number).ok());
        prop_assert_eq!(parsed::<i32>(&message(&wide)).ok(), i32::try_from(number).ok());
        prop_assert_eq!(parsed::<u16>(&message(&wide)).ok(), u16::try_from(number).ok());
        prop_assert_eq!(parsed::<i8>(&message(&wide)).ok(), i8::try_from(number).ok());
        prop_assert_eq!(through(&number), Ok(number));
        prop_assert_eq!(through(&(number as u64)), Ok(number as u64));
        prop_assert_eq!(through(&(number as i16)), Ok(number as i16));
        // Written as narrow as it can be: as others do.
        prop_assert_eq!(written(&number), rmp_serde::to_vec(&number).unwrap());
        prop_assert_eq!(written(&(number as u64)), rmp_serde::to_vec(&(number as u64)).unwrap());
        prop_assert_eq!(written(&(number as i16)), rmp_serde::to_vec(&(number as i16)).unwrap());
    }

    /// Whatever type of integer it is for; and no other number becomes one.
    #[test]
    fn a_whole_float_is_read_as_the_integer_that_it_is(number in whole_number(), bits in any::<u64>()) {
        let wide = float(number as f64);
        prop_assert_eq!(parsed(&message(&wide)), Ok(number));
        prop_assert_eq!(parsed(&message(&wide)), Ok(i128::from(number)));
        prop_assert_eq!(parsed(&message(&wide)), Ok(number as f64));
        prop_assert_eq!(parsed::<u64>(&message(&wide)).ok(), u64::try_from(number).ok());
        prop_assert_eq!(parsed::<u8>(&message(&wide)).ok(), u8::try_from(number).ok());
        let inside = [b"\x92", &wide[..], b"\x81", &wide[..], &wide[..]].concat();
        prop_assert_eq!(parsed(&message(&inside)), Ok((number, HashMap::from([(number, number)]))));
        let narrow = [&b"\xca"[..], &(number as f32).to_be_bytes()].concat();
        let certain = number.unsigned_abs() < 1 << 24;
        prop_assert_eq!(parsed::<i64>(&message(&narrow)).ok(), certain.then_some(number));
        if let Ok(number) = parsed::<i64>(&message(&float(f64::from_bits(bits)))) {
            prop_assert_eq!((number as f64).to_bits(), bits);
            prop_assert!(number.unsigned_abs() < 1 << 53);
        }
    }

    #[test]
    fn every_float_is_read_exactly(bits in any::<u64>()) {
        let (double, single) = (f64::from_bits(bits), f32::from_bits(bits as u32));
        prop_assert_eq!(through(&double).map(f64::to_bits), Ok(bits));
        prop_assert_eq!(through(&single).map(f32::to_bits), Ok(bits as u32));
    }

    #[test]
    fn numbers_of_128_bits_survive(number in any::<i128>()) {
        prop_assert_eq!(through(&number), Ok(number));
        prop_assert_eq!(through(&(number as u128)), Ok(number as u128));
        prop_assert_eq!(through(&(number >> 64)), Ok(number >> 64));
    }

    #[test]
    fn any_event_survives(name in "\\PC{1,16}", value in value()) {
        let data = Data::Binary(sent(&Outgoing::Event { name: &name, data: &value }).into());
        let Packet::Event { name: read, data } = MessagePack.decode(&data).unwrap() else { panic!("{data:?}") };
        prop_assert_eq!(&*read, &*name);
        prop_assert_eq!(data.parse::<serde_json::Value>().unwrap(), value);
    }

    /// Right or wrong, it is what the tree of it says, which others have written.
    #[test]
    fn a_frame_means_what_others_wrote_in_it(fields in frames()) {
        let data = Data::Binary(packed(&fields).into());
        prop_assert_eq!(seen(MessagePack.decode(&data)), meaning(&fields), "{:?}", data);
    }

    /// Also with bytes that are others, or gone: it is refused, or it is what others read as well.
    #[test]
    fn a_spoilt_frame_of_any_type_is_refused_or_means_what_it_says(
        fields in frames(),
        at in any::<prop::sample::Index>(),
        gone in 0..3_usize,
        with in vec(any::<u8>(), 0..3),
    ) {
        let mut bytes = packed(&fields);
        let at = at.index(bytes.len());
        let end = (at + gone).min(bytes.len());
        bytes.splice(at..end, with);
        read_all(&bytes);
        assert_ids_are_those_of_others(&bytes);
    }

    #[test]
    fn a_field_that_stands_twice_is_refused_in_any_frame(
        fields in frames(),
        which in any::<prop::sample::Index>(),
        before in any::<prop::sample::Index>(),
    ) {
        let known: Vec<_> = fields.iter().filter(|(name, _)| *name != "nobodys").cloned().collect();
        prop_assume!(!known.is_empty());
        let mut twice = fields.clone();
        twice.insert(before.index(fields.len()), which.get(&known).clone());
        prop_assert_eq!(refused(&packed(&twice)), Code::PARSE_ERROR);
    }

    /// Packets of both sides are read as they were sent.
    #[test]
    fn any_packet_about_a_call_is_what_others_read(
        id in string(),
        path in "[a-c]{1,3}(\\.[a-c]{1,3}){0,2}",
        value in value(),
        number in any::<u64>(),
    ) {
        each_outgoing((&id, &path, &value, number), |packet, expected| {
            let bytes = sent(packet);
            assert_eq!(rmp_serde::from_slice::<serde_json::Value>(&bytes).unwrap(), whole(&expected));
            let mut rest = &bytes[..];
            let read = rmpv::decode::read_value(&mut rest).unwrap();
            assert!(rest.is_empty() && read.as_map().unwrap().len() == expected.len());
            assert_eq!(seen(MessagePack.decode(&Data::Binary(bytes.into()))), meaning(&expected));
        });
    }

    #[test]
    fn whole_messages_survive_in_the_envelope(text in ".*", bytes in vec(any::<u8>(), 0..100)) {
        let numbers = bytes.clone();
        let bytes = Bytes::from(bytes);
        prop_assert_eq!(through(&text), Ok(text.clone()));
        prop_assert_eq!(through(&Message::Text(text.clone())), Ok(Message::Text(text)));
        prop_assert_eq!(through(&bytes), Ok(bytes.clone()));
        prop_assert_eq!(through(&Message::Binary(bytes.clone())), Ok(Message::Binary(bytes.clone())));
        // Byte strings and arrays of numbers are as good as each other to a type that takes both.
        prop_assert_eq!(parsed::<Vec<u8>>(&sent(&Outgoing::Message(&bytes))), Ok(numbers.clone()));
        prop_assert_eq!(parsed::<Bytes>(&sent(&Outgoing::Message(&numbers))), Ok(bytes));
    }

    #[test]
    fn a_typed_message_survives(text in ".*", tags in vec(".*", 0..3), at in any::<i64>(), count in any::<u8>()) {
        let say = Say {
            to: Some(Box::new(Say {
                text: String::new(),
                tags: Vec::new(),
                to: None,
                kind: SayKind::Nested(Box::new(SayKind::Image { url: text.clone() })),
                counts: BTreeMap::new(),
            })),
            counts: tags.iter().cloned().map(|tag| (tag, count)).collect(),
            kind: SayKind::At(at, 0.5),
            text,
            tags,
        };
        prop_assert_eq!(written(&say), rmp_serde::to_vec_named(&say).unwrap());
        prop_assert_eq!(&rmp_serde::from_slice::<Say>(&written(&say)).unwrap(), &say);
        let read: Result<Say, String> = through(&say);
        prop_assert_eq!(read, Ok(say));
    }
}

#[test]
fn what_is_not_one_map_is_refused() {
    for bytes in [
        &b""[..],
        b"\xc0",
        b"\xc1",
        b"\x01",
        b"\xa4ping",
        b"\x90",
        b"\x80",
        b"\x81",
        b"\x81\xa4type",
        b"\x81\xa4type\xa4pin",
        b"\x82\xa4type\xa4ping",
        b"\x81\xa4type\xa4ping\xc0",
        b"\x81\xa4type\xa4ping\x81\xa4type\xa4ping",
        b"\xde\xff\xff\xa4type\xa4ping",
        b"\xdf\xff\xff\xff\xff\xa4type\xa4ping",
        b"\x82\xa4type\xa4ping\xa4more\xc1",
        b"\x82\xa4type\xa4ping\xa4more\xdd\xff\xff\xff\xff",
        b"\x82\xa4type\xa4ping\xa4more\xc6\xff\xff\xff\xff",
        b"\x82\xa4type\xa4ping\x01\xc0",
        b"\x82\xa4type\xa4ping\xc0\xc0",
        b"\x82\xa4type\xa4ping\xc4\x01a\xc0",
        b"\x82\xa4type\xa4ping\x91\x01\xc0",
        // Arrays, as a derived struct would take them.
        b"\x91\xa4ping",
        b"\x94\xa7message\xc0\x01\xc0",
        b"{\"type\":\"ping\"}",
    ] {
        assert_eq!(refused(bytes), Code::PARSE_ERROR, "{}", bytes.escape_ascii());
    }
    for ping in [&b"\x81\xa4type\xa4ping"[..], b"\xde\0\x01\xd9\x04type\xdb\0\0\0\x04ping"] {
        assert!(matches!(MessagePack.decode(&Data::Binary(ping.into())), Ok(Packet::Ping)));
    }
}

#[test]
fn the_type_is_a_known_word() {
    for kind in [
        &b"\xc0"[..],
        b"\x01",
        b"\x90",
        b"\x80",
        b"\xa0",
        b"\xa4Ping",
        b"\xa5ping\0",
        b"\xc4\x04ping",
        b"\xa1\xff",
        b"\xa7welcome",
    ] {
        let frame = [b"\x81\xa4type", kind].concat();
        assert_eq!(refused(&frame), Code::PARSE_ERROR, "{}", kind.escape_ascii());
    }
}

#[test]
fn a_name_has_1_to_64_bytes() {
    let event = |name: &[u8]| [b"\x82\xa4type\xa5event\xa4name", name].concat();
    for wrong in [&b"\xa0"[..], b"\x01", b"\xc0", b"\x90", b"\xc4\x01a", b"\xa1\xff"] {
        assert_eq!(refused(&event(wrong)), Code::PARSE_ERROR, "{}", wrong.escape_ascii());
    }
    assert_eq!(refused(b"\x81\xa4type\xa5event"), Code::INVALID_ARGUMENT, "none at all");
    for (char, most) in [("a", 64), ("\u{e9}", 32), ("\u{1f600}", 16)] {
        assert_eq!(refused(&event(&written(&char.repeat(most + 1)))), Code::PARSE_ERROR, "{char}");
        let longest = char.repeat(most);
        let data = Data::Binary(event(&written(&longest)).into());
        let Packet::Event { name, data } = MessagePack.decode(&data).unwrap() else { panic!("{data:?}") };
        assert_eq!(name, longest);
        assert_eq!(data.parse::<serde_json::Value>().unwrap(), json!(null));
    }
}

#[test]
fn a_field_that_stands_twice_is_refused() {
    for frame in [
        &b"\x83\xa4type\xa7message\xa5value\x01\xa5value\x02"[..],
        b"\x83\xa4type\xa7message\xa4type\xa4ping\xa5value\x01",
        b"\x83\xa4type\xa7message\xa5value\x01\xd9\x05value\x02",
        b"\x83\xa4type\xa5event\xa4name\xa1a\xa4name\xa1b",
        b"\x84\xa4type\xa5event\xa4name\xa1a\xa4data\xc0\xa4data\xc0",
        b"\x84\xa4type\xa4call\xa2id\xa11\xa4path\xa1a\xd9\x02id\xa11",
        b"\x83\xa4type\xa4ping\xa6credit\x01\xa6credit\x01",
    ] {
        assert_eq!(refused(frame), Code::PARSE_ERROR, "{}", frame.escape_ascii());
    }
    assert!(matches!(
        MessagePack.decode(&Data::Binary(b"\x83\xa4type\xa4ping\xa4mode\x01\xa4mode\x02"[..].into())),
        Ok(Packet::Ping)
    ));
    let twice = message(b"\x83\xa4text\xa1a\xa4text\xa1b\xa4tags\x90");
    assert!(parsed::<Say>(&twice).unwrap_err().contains("duplicate field `text`"));
    assert_eq!(parsed(&twice), Ok(json!({ "text": "b", "tags": [] })), "a map has the last");
}

/// Also inside of types that look at a value before they know what it is; and floats are left to those who want them.
#[test]
fn whole_floats_are_integers_where_an_integer_is_wanted() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    enum Tagged {
        At { x: u32, y: f32 },
    }
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Number {
        Integer(i64),
        Float(f64),
    }
    let seven = float(7.0);
    let at = [b"\x83\xa4kind\xa2at\xa1x", &seven[..], b"\xa1y", &seven[..]].concat();
    assert_eq!(parsed(&message(&at)), Ok(Tagged::At { x: 7, y: 7.0 }));
    assert_eq!(parsed(&message(&seven)), Ok(Number::Float(7.0)));
    assert_eq!(parsed(&message(b"\x07")), Ok(Number::Integer(7)));
    assert_eq!(parsed(&message(&seven)), Ok(json!(7.0)));
    for (number, told) in [
        (0.5, "0.5"),
        (-0.0, "-0.0"),
        (9_007_199_254_740_992.0, "9007199254740992.0"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "inf"),
    ] {
        let map = [b"\x82\xa1a", &seven[..], b"\xa1n", &float(number)].concat();
        let error = parsed::<HashMap<String, u64>>(&message(&map)).unwrap_err();
        assert_eq!(error, format!("INVALID_ARGUMENT: n: invalid type: floating point `{told}`, expected u64"));
    }
}

#[test]
fn text_messages_are_not_taken() {
    for text in ["", "{\"type\":\"ping\"}", "\u{1}"] {
        let error = MessagePack.decode(&Data::Text(text.into())).unwrap_err();
        assert_eq!(error.to_string(), "UNSUPPORTED_DATA: text messages are not taken here");
    }
}

#[test]
fn every_packet_is_one_map() {
    let heartbeat = Duration::from_secs(25);
    let connection = "000000000000002a-7".parse().unwrap();
    let error =
        Error::not_found("no \"such\"\nroom").with_details(json!([1])).with_retry_after(Duration::from_secs(2));
    for (packet, expected) in [
        (
            Outgoing::Welcome { connection, heartbeat, message_bytes: 4096, schema: None },
            json!({ "type": "welcome", "connection": "000000000000002a-7", "heartbeatMs": 25000, "messageBytes": 4096 }),
        ),
        (
            Outgoing::Welcome { connection, heartbeat, message_bytes: 4096, schema: Some("5eed") },
            json!({ "type": "welcome", "connection": "000000000000002a-7", "heartbeatMs": 25000, "messageBytes": 4096,
                "schema": "5eed" }),
        ),
        (Outgoing::Message(&"\0"), json!({ "type": "message", "value": "\0" })),
        (Outgoing::Event { name: "\"", data: &() }, json!({ "type": "event", "name": "\"", "data": null })),
        (
            Outgoing::Error { id: Some("\\"), error: &error },
            json!({ "type": "error", "id": "\\", "error": {
                "code": "NOT_FOUND", "message": "no \"such\"\nroom", "details": [1], "retryable": true, "retryAfterMs": 2000,
            } }),
        ),
        (
            Outgoing::Error { id: None, error: &Error::new("A", "b") },
            json!({ "type": "error", "error": { "code": "A", "message": "b" } }),
        ),
        (Outgoing::Pong, json!({ "type": "pong" })),
    ] {
        assert_eq!(rmp_serde::from_slice::<serde_json::Value>(&sent(&packet)).unwrap(), expected);
    }
}

/// Whatever nests, and wherever it stands: nothing calls itself once a level.
#[test]
fn a_million_levels_harm_nothing() {
    const LEVELS: usize = 1_000_000;
    for open in [&b"\x91"[..], b"\x81\xa1a", b"\x81\xa6Nested", b"\x81\xa2to", b"\x81\xc0", b"\x91\x81\x01"] {
        let open = open.repeat(LEVELS);
        let deep = [&open[..], b"\xc0"].concat();
        assert!(parsed::<serde_json::Value>(&message(&deep)).is_err());
        for error in [
            parsed::<String>(&message(&deep)).unwrap_err(),
            parsed::<Say>(&message(&deep)).unwrap_err(),
            parsed::<SayKind>(&message(&deep)).unwrap_err(),
        ] {
            assert!(error.starts_with("INVALID_ARGUMENT"), "{error}");
        }
        let skipped = [b"\x83\xa4more", &deep[..], &message(b"\x07")[1..]].concat();
        assert_eq!(parsed(&skipped), Ok(7), "skipped");
        assert_eq!(refused(&[b"\x81\xa4type", &deep[..]].concat()), Code::PARSE_ERROR);
        assert_eq!(refused(&[b"\x82\xa4type\xa5event\xa4name", &deep[..]].concat()), Code::PARSE_ERROR);
        assert_eq!(refused(&message(&open)), Code::PARSE_ERROR, "never closed");
        assert_eq!(refused(&open), Code::PARSE_ERROR, "never closed");
    }
    for open in [&b"\x91"[..], b"\x81\xa1a"] {
        let deep = [&open.repeat(LEVELS)[..], b"\xc0"].concat();
        assert!(parsed::<serde_json::Value>(&message(&deep)).unwrap_err().contains("recursion limit exceeded"));
    }
    let recursive = [&b"\x82\xa4text\xa0\xa2to".repeat(LEVELS)[..], b"\xc0"].concat();
    assert!(parsed::<Say>(&message(&recursive)).unwrap_err().contains("recursion limit exceeded"));
    let variants = [&b"\x81\xa6Nested".repeat(LEVELS)[..], b"\xa5Plain"].concat();
    assert!(parsed::<SayKind>(&message(&variants)).unwrap_err().contains("recursion limit exceeded"));
}

/// So in any field of a call, a subscription or an answer.
#[test]
fn levels_in_any_field_harm_nothing() {
    const LEVELS: usize = 100_000;
    for open in [&b"\x91"[..], b"\x81\xa1a", b"\x81\xa5epoch", b"\x81\xa4code", b"\x81\xc0"] {
        let deep = [&open.repeat(LEVELS)[..], b"\xc0"].concat();
        let read = |pieces: &[&[u8]]| seen(MessagePack.decode(&Data::Binary(pieces.concat().into())));
        for kind in [&b"\xa4call"[..], b"\xa9subscribe"] {
            assert_eq!(read(&[b"\x82\xa4type", kind, b"\xa2id", &deep]), json!({ "refused": "PARSE_ERROR" }));
            for path in [&b""[..], b"\x92\xa1a"] {
                let frame = read(&[b"\x83\xa4type", kind, b"\xa2id\xa11\xa4path", path, &deep]);
                assert_eq!(frame, json!({ "invalid": "1", "refused": "PARSE_ERROR" }));
            }
            let ample = [b"\x84\xa4type", kind, b"\xa2id\xa11\xa4path\xa1a\xa5input", &deep].concat();
            assert!(matches!(
                MessagePack.decode(&Data::Binary(ample.into())),
                Ok(Packet::Call { .. } | Packet::Subscribe { .. })
            ));
        }
        for after in [&b""[..], b"\x81\xa5epoch", b"\x81\xa6offset"] {
            let start = b"\x84\xa4type\xa9subscribe\xa2id\xa11\xa4path\xa1a\xa5after";
            assert_eq!(read(&[start, after, &deep]), json!({ "invalid": "1", "refused": "PARSE_ERROR" }));
        }
        for error in [&b""[..], b"\x82\xa4code\xa1A\xa7details"] {
            let start = b"\x83\xa4type\xa5error\xa2id\xa11\xa5error";
            assert_eq!(refused(&[start, error, &deep].concat()), Code::PARSE_ERROR);
        }
    }
}

/// As many as in JSON.
#[test]
fn a_type_may_be_as_deep_as_in_json() {
    for levels in [100, 126, 127, 128, 129] {
        let deep = (0..levels).fold(json!("end"), |value, _| json!([value]));
        let json = Value::Json(deep.to_string().into()).parse::<serde_json::Value>();
        assert_eq!(through(&deep).is_ok(), json.is_ok(), "{levels}");
        let variants = (0..levels).fold(SayKind::Plain, |kind, _| SayKind::Nested(Box::new(kind)));
        let json = Value::Json(serde_json::to_string(&variants).unwrap().into()).parse::<SayKind>();
        assert_eq!(through(&variants).is_ok(), json.is_ok(), "{levels}");
    }
    let deep = (0..127).fold(json!("end"), |value, _| json!([value]));
    assert_eq!(through(&deep), Ok(deep));
}

/// A type that makes room for as many elements as it is promised.
#[derive(Debug)]
struct Trusting;

impl<'de> Deserialize<'de> for Trusting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Room;
        impl<'de> Visitor<'de> for Room {
            type Value = Trusting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Trusting, A::Error> {
                assert!(seq.size_hint().unwrap_or(0) <= 64, "{:?}", seq.size_hint());
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Trusting)
            }
        }
        deserializer.deserialize_seq(Room)
    }
}

/// Nor do values that did not come in a frame.
#[test]
fn a_length_is_no_promise() {
    for bytes in [
        &b"\xdd\xff\xff\xff\xff"[..],
        b"\xdc\xff\xff\xc0",
        b"\x91\xdd\xff\xff\xff\xff\xc0",
        b"\xdf\xff\xff\xff\xff",
        b"\xde\xff\xff\xc0\xc0",
        b"\xc6\xff\xff\xff\xff\0",
        b"\xc9\xff\xff\xff\xff\x01\0",
        b"\xdb\xff\xff\xff\xffa",
    ] {
        fails::<Trusting>(bytes);
        fails::<Vec<u64>>(bytes);
        fails::<HashMap<u64, u64>>(bytes);
        fails::<BTreeMap<String, Vec<u8>>>(bytes);
        fails::<serde_json::Value>(bytes);
        fails::<Bytes>(bytes);
        fails::<String>(bytes);
        fails::<Message>(bytes);
    }
    let long = [&b"\xdd\0\x10\0\0"[..], &[0; 1 << 20]].concat();
    assert!(Value::MessagePack(long.into()).parse::<Trusting>().is_ok());
}

#[test]
fn nothing_may_follow_a_value() {
    for bytes in [&b"\x01\x02"[..], b"\xc0\xc1", b"\x90\0", b""] {
        fails::<serde_json::Value>(bytes);
        fails::<Option<u8>>(bytes);
        fails::<IgnoredAny>(bytes);
    }
}

fn fails<T: DeserializeOwned + fmt::Debug + 'static>(bytes: &[u8]) {
    let error = Value::MessagePack(bytes.into()).parse::<T>().unwrap_err();
    assert_eq!(error.code(), &Code::INVALID_ARGUMENT);
}

#[test]
fn errors_name_the_field() {
    for (value, what) in [
        (json!({ "text": 7 }), "text: invalid type: integer `7`, expected a string"),
        (json!({}), "missing field `text`"),
        (
            json!({ "text": "a", "to": { "text": "b", "tags": ["c", null] } }),
            "to.tags[1]: invalid type: unit value, expected a string",
        ),
        (json!({ "text": "a", "counts": { "b": 256 } }), "counts.b: invalid value: integer `256`, expected u8"),
        (
            json!({ "text": "a", "kind": { "At": [1, 2, 3] } }),
            "kind.At: invalid length 3, expected fewer elements",
        ),
        (json!({ "text": "a", "kind": { "Image": {} } }), "kind.Image: missing field `url`"),
        (json!({ "text": "a", "kind": "Image" }), "invalid type: unit variant, expected struct variant"),
        (json!({ "text": "a", "kind": {} }), "kind: invalid value: map, expected a map with a single key"),
        (json!({ "text": "a", "more": 1 }), "unknown field `more`"),
    ] {
        let error = parse_error::<Say>(&sent(&Outgoing::Message(&value)));
        assert_eq!(error.code(), &Code::INVALID_ARGUMENT);
        assert!(error.message().contains(what), "{error}");
    }
    // What JSON cannot say.
    for (value, what) in [
        (&b"\x81\xa4text\xa1\xff"[..], "text: a string that is not UTF-8"),
        (b"\x81\xa4text\xd4\x05\0", "text: invalid type: an extension type, expected a string"),
        (b"\x81\x00\xa1a", "must be a string"),
        (b"\x81\xa4text\xa1a\x01", "trailing bytes at byte 8"),
        (b"\x81\xa4text\xa2a", "text: the end came inside the value at byte 6"),
        (b"\x81\xa4text\xc1", "text: 0xc1 stands for nothing, at byte 6"),
    ] {
        let error = Value::MessagePack(value.into()).parse::<Say>().unwrap_err();
        assert!(error.message().contains(what), "{error}");
    }
}

/// One type, one shape: what differs is bytes alone.
#[test]
fn a_type_has_the_shape_that_it_has_in_json() {
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Unit;
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct New(u8);
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Pair(u8, String);
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    #[serde(tag = "type", rename_all = "snake_case")]
    enum Tagged {
        First { a: u32 },
        Second,
    }
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    #[serde(untagged)]
    enum Untagged {
        Number(f64),
        Text(String),
        Many(Vec<Untagged>),
    }
    #[derive(Serialize, Deserialize, Debug, PartialEq)]
    struct Flat {
        #[serde(skip_serializing_if = "Option::is_none")]
        a: Option<u8>,
        #[serde(flatten)]
        rest: BTreeMap<String, serde_json::Value>,
    }

    shaped(&Unit);
    shaped(&());
    shaped(&New(7));
    shaped(&Pair(7, "a".into()));
    shaped(&(1, "a".to_owned(), [1.5; 3], 'é', true));
    shaped(&vec![Tagged::First { a: 1 }, Tagged::Second]);
    shaped(&vec![SayKind::Plain, SayKind::At(-1, 0.5), SayKind::Image { url: "u".into() }]);
    shaped(&Untagged::Many(vec![Untagged::Number(0.5), Untagged::Text("a".into())]));
    shaped(&Flat { a: None, rest: [("b".into(), json!([1]))].into() });
    shaped(&Flat { a: Some(1), rest: BTreeMap::new() });
    shaped(&BTreeMap::from([(u64::MAX, 1), (7, 2)]));
    shaped(&BTreeMap::from([(i64::MIN, 1), (7, 2)]));
    shaped(&BTreeMap::from([(true, 1), (false, 2)]));
    shaped(&BTreeMap::from([('a', Some(1)), ('é', None)]));
    shaped(&BTreeMap::from([(i128::MAX, 1), (i128::MIN, 1), (0, 1)]));
    shaped(&"127.0.0.1".parse::<IpAddr>().unwrap());
    shaped(&Duration::from_millis(1500));
    shaped(&(u64::MAX, i64::MIN, u8::MAX, i8::MIN));
    shaped(&"x".repeat(70_000));
    shaped(&(0..70_000).collect::<Vec<u32>>());
    for len in [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
        shaped(&"x".repeat(len));
        shaped(&(0..len as u64).collect::<Vec<_>>());
        shaped(&(0..len as u64).map(|key| (key, ())).collect::<BTreeMap<_, _>>());
        let bytes = Bytes::from(vec![7; len]);
        assert_eq!(through(&bytes), Ok(bytes));
    }

    let raw: Box<RawValue> = serde_json::from_str(r#"{"a":[1,"b"]}"#).unwrap();
    assert_eq!(parsed(&sent(&Outgoing::Message(&raw))), Ok(json!({ "a": [1, "b"] })));
    let read = parsed::<Box<RawValue>>(&sent(&Outgoing::Message(&json!({ "a": [1, "b"] })))).unwrap();
    assert_eq!(read.get(), raw.get());
}

#[track_caller]
fn shaped<T: Serialize + DeserializeOwned + PartialEq + fmt::Debug + Sync + 'static>(value: &T) {
    let frame = sent(&Outgoing::Message(value));
    let json = serde_json::to_value(value).unwrap();
    assert_eq!(parsed::<serde_json::Value>(&frame), Ok(json.clone()));
    assert_eq!(rmp_serde::from_slice::<serde_json::Value>(&frame).unwrap()["value"], json);
    assert_eq!(parsed::<T>(&frame).as_ref(), Ok(value));
    assert_eq!(parsed::<T>(&sent(&Outgoing::Message(&json))).as_ref(), Ok(value), "written by another");
}

/// Whose length is not known before its end, or not as it was said.
#[test]
fn a_length_that_is_not_known_is_counted() {
    struct Counted(usize, Option<usize>);
    impl Serialize for Counted {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::{SerializeMap, SerializeSeq};
            struct Inner<'a>(&'a Counted);
            impl Serialize for Inner<'_> {
                fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let mut map = serializer.serialize_map(self.0.1)?;
                    (0..self.0.0).try_for_each(|at| map.serialize_entry(&at, &at))?;
                    map.end()
                }
            }
            let mut seq = serializer.serialize_seq(self.1)?;
            (0..self.0).try_for_each(|at| seq.serialize_element(&at))?;
            seq.serialize_element(&Inner(self))?;
            seq.end()
        }
    }
    for count in [0, 14, 15, 16, 300, 70_000] {
        for said in [None, Some(0), Some(1), Some(16), Some(100_000)] {
            let value = Counted(count, said);
            let read = parsed::<serde_json::Value>(&sent(&Outgoing::Message(&value)));
            assert_eq!(read, Ok(serde_json::to_value(&value).unwrap()), "{count} {said:?}");
        }
    }
}

#[test]
fn a_key_is_text_or_a_number() {
    let unfit: [&dyn Encode; 5] = [
        &BTreeMap::from([((), 1)]),
        &BTreeMap::from([(Some(vec![1]), 1)]),
        &BTreeMap::from([((1, 2), 1)]),
        &BTreeMap::from([(None::<u8>, 1)]),
        &BTreeMap::from([(Bytes::from_static(b"a"), 1)]),
    ];
    for value in unfit {
        assert_eq!(value.encode_msgpack(&mut Vec::new()).unwrap_err().code(), &Code::INTERNAL);
    }
    // Others may write numbers as they are.
    assert_eq!(parsed(&message(b"\x82\x01\x02\xa13\x04")), Ok(BTreeMap::from([(1_u8, 2), (3, 4)])));
    assert!(parsed::<BTreeMap<u8, u8>>(&message(b"\x81\xa3256\x01")).is_err());
    assert!(parsed::<BTreeMap<u8, u8>>(&message(b"\x81\xa0\x01")).is_err());
}

/// Behind serde_json's private keys a tree would read JSON, with a depth of its own.
#[test]
fn no_key_means_more_than_itself() {
    for key in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
        for value in [json!({ key: "[true]" }), json!([{ "a": { key: "[true]" } }])] {
            let error = parsed::<serde_json::Value>(&sent(&Outgoing::Message(&value))).unwrap_err();
            assert!(error.contains("a key may not begin with \"$serde_json::private::\""), "{error}");
        }
        assert_eq!(through(&json!([key])), Ok(json!([key])), "no key");
    }
}

#[test]
fn extensions_are_skipped_and_not_read() {
    for extension in [&b"\xd4\x05\xc1"[..], b"\xd8\xff0123456789abcdef", b"\xc7\x03\x05abc", b"\xd6\xff\0\0\0\0"] {
        let frame = [b"\x83\xa4more", extension, &message(b"\x07")[1..]].concat();
        assert_eq!(parsed(&frame), Ok(7));
        assert!(parsed::<serde_json::Value>(&message(extension)).unwrap_err().contains("an extension type"));
        assert!(parsed::<IgnoredAny>(&message(extension)).is_ok());
    }
}

/// From one width to the next, and back.
#[test]
fn a_number_is_written_as_narrow_as_it_can_be() {
    let edges = (0..64).flat_map(|bits| [(1_u64 << bits) - 1, 1 << bits, (1 << bits) + 1]).chain([u64::MAX]);
    for number in edges {
        assert_eq!(written(&number), rmp_serde::to_vec(&number).unwrap(), "{number}");
        assert_eq!(through(&number), Ok(number));
        let negative = (number as i64).wrapping_neg();
        assert_eq!(written(&negative), rmp_serde::to_vec(&negative).unwrap(), "{negative}");
        assert_eq!(through(&negative), Ok(negative));
    }
    assert_eq!(written(&i64::MIN), b"\xd3\x80\0\0\0\0\0\0\0");
    assert_eq!(written(&u64::MAX), b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff");
}

/// JSON has none of these and writes null.
#[test]
fn numbers_that_are_none_are_values() {
    assert_eq!(through(&f64::INFINITY), Ok(f64::INFINITY));
    assert_eq!(through(&f32::NEG_INFINITY), Ok(f32::NEG_INFINITY));
    assert!(through(&f64::NAN).unwrap().is_nan());
    assert_eq!(through(&-0.0_f64).map(f64::to_bits), Ok((-0.0_f64).to_bits()));
    assert_eq!(parsed(&sent(&Outgoing::Message(&f64::NAN))), Ok(json!(null)), "a tree of JSON has none");
}

#[test]
fn a_string_of_a_mebibyte_passes() {
    for char in ["a", "\n", "\0", "\u{e9}", "\u{1f600}"] {
        let text = char.repeat((1 << 20) / char.len());
        assert_eq!(through(&text).as_ref(), Ok(&text), "{char:?}");
    }
}

/// An error is answered in the outbox of the one who caused it, and must be smaller than what it is
/// about.
#[test]
fn what_is_wrong_is_not_echoed_whole() {
    let long = "\u{ad}".repeat(1 << 17);
    let text = written(&long);
    for frame in [
        [b"\x81\xa4type", &text[..]].concat(),
        [b"\x82\xa4type\xa5event\xa4name", &text[..]].concat(),
        [b"\x81", &text[..], b"\xc1"].concat(),
        [b"\x82\xa4type\xa6cancel\xa2id", &text[..]].concat(),
        [b"\x83\xa4type\xa5error\xa2id\xa11\xa5error\x82\xa4code\x80", &text[..], b"\x01"].concat(),
        [b"\x83\xa4type\xa5error\xa2id\xa11\xa5error\x81\xa9retryable", &text[..]].concat(),
    ] {
        let error = MessagePack.decode(&Data::Binary(frame.into())).unwrap_err();
        assert!(sent(&Outgoing::Error { id: None, error: &error }).len() < 600, "{error}");
    }
    for field in [
        [b"\xa4path", &text[..]].concat(),
        [b"\xa4path\x91", &text[..]].concat(),
        [b"\xa4path\x91\x81", &text[..], b"\x01"].concat(),
        [b"\xa4path\x91", &written(&format!(".{long}"))[..]].concat(),
        [&b"\xa4path\xdd\0\x04\0\0"[..], &b"\xa1a".repeat(1 << 18)].concat(),
        [b"\xa4path\xa1a\xa6credit", &text[..]].concat(),
        [b"\xa4path\xa1a\xa5after", &text[..]].concat(),
        [b"\xa4path\xa1a\xa5after\x81", &text[..], b"\x01"].concat(),
        [b"\xa4path\xa1a\xa5after\x82\xa6offset\x01\xa5epoch", &text[..]].concat(),
        [b"\xa4path\xa1a\xa5after\x81\xa6offset", &text[..]].concat(),
    ] {
        let fields = if field.starts_with(b"\xa4path\xa1a") { b"\x84" } else { b"\x83" };
        let data = Data::Binary([&fields[..], b"\xa4type\xa9subscribe\xa2id\xa11", &field].concat().into());
        let Packet::Invalid { id, error } = MessagePack.decode(&data).unwrap() else { panic!("{field:.40?}") };
        assert!(sent(&Outgoing::Error { id: Some(&id), error: &error }).len() < 600, "{error}");
    }
    for (value, parse) in [
        (text.clone(), parse_error::<u32> as fn(&[u8]) -> Error),
        ([b"\x81", &text[..], b"\x01"].concat(), parse_error::<Say>),
        ([b"\x81", &text[..], b"\xa0"].concat(), parse_error::<HashMap<String, u32>>),
        (text.clone(), parse_error::<SayKind>),
    ] {
        let error = parse(&message(&value));
        let told = sent(&Outgoing::Error { id: None, error: &error }).len();
        assert!(told < 1000, "{told} bytes for a value of {}", value.len());
    }
}

/// The examples of `docs/protocol.md` are what is spoken.
#[test]
fn the_example_of_the_documentation_is_right() {
    let document = include_str!("../../docs/protocol.md");
    let (_, example) = document.split_once("This message, in ").unwrap();
    let (length, example) = example.split_once(" bytes, is `").unwrap();
    let (json, example) = example.split_once("`:\n\n```\n").unwrap();
    let (hex, _) = example.split_once("\n```").unwrap();
    let bytes: Vec<u8> = hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    assert_eq!(bytes.len(), length.parse::<usize>().unwrap());
    let json = serde_json::from_str::<serde_json::Value>(json).unwrap();
    assert_eq!(rmp_serde::from_slice::<serde_json::Value>(&bytes).unwrap(), json);
    assert_eq!(parsed(&bytes).as_ref(), Ok(&json["value"]));
    assert_eq!(sent(&Outgoing::Message(&json["value"].clone())), bytes);
}

/// The frame that has these fields, in their order, as rmpv writes it.
fn packed(fields: &Fields) -> Vec<u8> {
    let fields = fields.iter().map(|(name, value)| ((*name).into(), tree(value))).collect();
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &rmpv::Value::Map(fields)).unwrap();
    bytes
}

/// A float of 64 bits.
fn float(number: f64) -> Vec<u8> {
    [&b"\xcb"[..], &number.to_be_bytes()].concat()
}

/// One that such a float holds for certain.
fn whole_number() -> impl Strategy<Value = i64> {
    const LAST: i64 = (1 << 53) - 1;
    prop_oneof![-LAST..=LAST, -300..300_i64, select(&[-LAST, 0, 255, (1 << 24) - 1, 1 << 24, LAST][..])]
}

/// The frame of a message whose value is these bytes.
fn message(value: &[u8]) -> Vec<u8> {
    [b"\x82\xa4type\xa7message\xa5value", value].concat()
}

fn refused(frame: &[u8]) -> Code {
    let error = MessagePack.decode(&Data::Binary(frame.into())).unwrap_err();
    assert_can_be_told(&error);
    error.code().clone()
}

/// Reads a client's bytes as every kind of value, and tells the client of each failure.
fn read_all(bytes: &[u8]) {
    let data = Data::Binary(bytes.into());
    match MessagePack.decode(&data) {
        Ok(
            Packet::Message(value)
            | Packet::Event { data: value, .. }
            | Packet::Call { input: value, .. }
            | Packet::Subscribe { input: value, .. }
            | Packet::Reply { data: value, .. },
        ) => read_values(&value),
        Ok(Packet::Invalid { error, .. }) | Err(error) => assert_can_be_told(&error),
        Ok(_) => {}
    }
    // Also where they are no value.
    read_values(&Value::MessagePack(bytes.into()));
}

fn read_values(value: &Value<'_>) {
    read_as::<serde_json::Value>(value);
    read_as::<Say>(value);
    read_as::<SayKind>(value);
    read_as::<String>(value);
    read_as::<Message>(value);
    read_as::<Bytes>(value);
    read_as::<u32>(value);
    read_as::<i128>(value);
    read_as::<()>(value);
    read_as::<(u8, Option<char>)>(value);
    read_as::<Box<RawValue>>(value);
    read_as::<Option<HashMap<u8, f64>>>(value);
}

fn read_as<T: DeserializeOwned + 'static>(value: &Value<'_>) {
    let Value::MessagePack(bytes) = value else { panic!("{value:?}") };
    if let Err(error) = Value::MessagePack(bytes.as_ref().into()).parse::<T>() {
        assert_eq!(error.code(), &Code::INVALID_ARGUMENT);
        assert_can_be_told(&error);
    }
}

/// An error is one frame, which says what it says.
fn assert_can_be_told(error: &Error) {
    let told: serde_json::Value = rmp_serde::from_slice(&sent(&Outgoing::Error { id: None, error })).unwrap();
    assert_eq!(told["type"], "error");
    assert_eq!(told["error"]["code"], error.code().as_str());
    assert_eq!(told["error"]["message"], error.message());
}

/// Bytes are the value of a frame exactly where rmp-serde finds one value and nothing behind it.
fn assert_ends_as_for_others(bytes: &[u8]) {
    let mut others = rmp_serde::Deserializer::new(std::io::Cursor::new(bytes));
    let end = IgnoredAny::deserialize(&mut others).ok().map(|_| others.position() as usize);
    let data = Data::Binary(message(bytes).into());
    match MessagePack.decode(&data) {
        Ok(Packet::Message(Value::MessagePack(raw))) => {
            assert_eq!((end, &*raw), (Some(bytes.len()), bytes), "{}", bytes.escape_ascii());
        }
        Ok(packet) => panic!("{packet:?}"),
        Err(_) => assert_ne!(end, Some(bytes.len()), "{}", bytes.escape_ascii()),
    }
}

/// Asserts that what is read here as a message is read by rmpv as a map with the same value.
fn assert_read_as_by_others(bytes: &[u8]) {
    let data = Data::Binary(bytes.into());
    let Ok(Packet::Message(Value::MessagePack(raw))) = MessagePack.decode(&data) else { return };
    let mut rest = bytes;
    let frame = rmpv::decode::read_value(&mut rest).unwrap();
    assert!(rest.is_empty());
    let value = rmpv::decode::read_value(&mut &*raw).unwrap();
    // NaN is unlike itself: its text is not.
    assert_eq!(format!("{:?}", field(&frame, "value")), format!("{:?}", Some(&value)));
    assert_eq!(field(&frame, "type"), Some(&"message".into()));
    if let Ok(read) = Value::MessagePack(raw).parse::<serde_json::Value>() {
        let others: serde_json::Value = rmp_serde::from_slice(bytes).unwrap();
        assert_eq!(read, others["value"]);
    }
}

/// The id of a call or subscription is the one that rmpv reads in it, and so is what it is given.
fn assert_ids_are_those_of_others(bytes: &[u8]) {
    let data = Data::Binary(bytes.into());
    let (id, input) = match MessagePack.decode(&data) {
        Ok(Packet::Call { id, input, .. } | Packet::Subscribe { id, input, .. }) => (id, Some(input)),
        Ok(Packet::Invalid { id, .. } | Packet::Cancel { id } | Packet::Credit { id, .. }) => (id, None),
        _ => return,
    };
    let mut rest = bytes;
    let frame = rmpv::decode::read_value(&mut rest).unwrap();
    assert!(rest.is_empty());
    assert_eq!(field(&frame, "id").and_then(rmpv::Value::as_str), Some(&*id));
    let Some(Value::MessagePack(raw)) = input else { return };
    let value = rmpv::decode::read_value(&mut &*raw).unwrap();
    let others = field(&frame, "input").unwrap_or(&rmpv::Value::Nil);
    // NaN is unlike itself: its text is not.
    assert_eq!(format!("{value:?}"), format!("{others:?}"));
}

fn field<'a>(map: &'a rmpv::Value, name: &str) -> Option<&'a rmpv::Value> {
    map.as_map()?.iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

/// The same value, as rmpv has it.
fn tree(value: &serde_json::Value) -> rmpv::Value {
    match value {
        serde_json::Value::Null => rmpv::Value::Nil,
        serde_json::Value::Bool(yes) => (*yes).into(),
        serde_json::Value::Number(number) => number
            .as_u64()
            .map(rmpv::Value::from)
            .or_else(|| number.as_i64().map(rmpv::Value::from))
            .unwrap_or_else(|| number.as_f64().unwrap().into()),
        serde_json::Value::String(text) => text.as_str().into(),
        serde_json::Value::Array(elements) => elements.iter().map(tree).collect::<Vec<_>>().into(),
        serde_json::Value::Object(fields) => {
            rmpv::Value::Map(fields.iter().map(|(key, value)| (key.as_str().into(), tree(value))).collect())
        }
    }
}

/// Returns the bytes of a packet as they go over the wire.
fn sent(packet: &Outgoing<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(MessagePack.encode(packet, &mut out).unwrap(), Some(Kind::Binary));
    out
}

/// A value alone.
fn written<T: Encode>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    value.encode_msgpack(&mut out).unwrap();
    out
}

/// Sends a value and reads it again.
fn through<T: Encode + DeserializeOwned + 'static>(value: &T) -> Result<T, String> {
    parsed(&sent(&Outgoing::Message(value)))
}

/// Reads the value of a message.
fn parsed<T: DeserializeOwned + 'static>(frame: &[u8]) -> Result<T, String> {
    let data = Data::Binary(frame.into());
    match MessagePack.decode(&data) {
        Ok(Packet::Message(value)) => value.parse().map_err(|error| error.to_string()),
        Ok(packet) => panic!("{packet:?} is not a message"),
        Err(error) => Err(error.to_string()),
    }
}

fn parse_error<T: DeserializeOwned + fmt::Debug + 'static>(frame: &[u8]) -> Error {
    let data = Data::Binary(frame.into());
    let Packet::Message(value) = MessagePack.decode(&data).unwrap() else { panic!("{data:?}") };
    value.parse::<T>().unwrap_err()
}

/// Any value of JSON, also one that few would send.
fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
        (-300..300_i64).prop_map(serde_json::Value::from),
        any::<f64>().prop_map(serde_json::Value::from),
        string().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(6, 40, 6, |value| {
        prop_oneof![
            vec(value.clone(), 0..20).prop_map(serde_json::Value::from),
            vec((string(), value), 0..20).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => ".{0,12}",
        2 => vec(any::<char>(), 0..40).prop_map(|chars| chars.into_iter().collect()),
        1 => select(&["", "\0", "\u{feff}", "type", "value", "7", "true"][..]).prop_map(str::to_owned),
    ]
}

fn soup() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&[u8]] = &[
        b"\xc0",
        b"\xc1",
        b"\xc2",
        b"\x01",
        b"\xff",
        b"\x80",
        b"\x81",
        b"\x82",
        b"\x90",
        b"\x91",
        b"\x93",
        b"\xa0",
        b"\xa1a",
        b"\xa2\xff",
        b"\xc4\x01",
        b"\xc5\0\x02",
        b"\xc7\x02\x05",
        b"\xca\x7f\xc0\0\0",
        b"\xcb\0\0",
        b"\xcc\x80",
        b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xd0\x80",
        b"\xd3\x80\0\0\0\0\0\0\0",
        b"\xd4\x05\x01",
        b"\xd8\x01",
        b"\xd9\x01a",
        b"\xda\0\x03",
        b"\xdb\0\0\0\x01b",
        b"\xdc\0\x02",
        b"\xdd\0\0\0\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xde\0\x01",
        b"\xdf\0\0\0\x02",
        b"\x82\xa4type\xa7message\xa5value",
        b"\x83\xa4type\xa5event\xa4name\xa1a\xa4data",
        b"\xa4type\xa4ping",
        b"\x84\xa4type\xa4call\xa2id\xa11\xa4path\xa1a\xa5input",
        b"\x84\xa4type\xa9subscribe\xa2id\xa11\xa4path\xa1a\xa5after",
        b"\x83\xa4type\xa5error\xa2id\xa11\xa5error",
        b"\x82\xa5epoch\xa1e\xa6offset",
        b"\xa4path",
        b"\xa2id",
        b"\xa4text",
        b"\xa2to\x82",
        b"\xa4kind\x81\xa6Nested",
    ];
    vec(select(PIECES), 0..16).prop_map(|pieces| pieces.concat())
}
