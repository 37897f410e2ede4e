//! The JSON protocol: what is sent is read as it was, and nothing that is sent does any harm.

#[path = "support/packets.rs"]
mod packets;

use bytes::Bytes;
use packets::{Fields, each_outgoing, frames, meaning, seen, whole};
use proptest::{collection::vec, prelude::*, sample::select};
use realtime_core::{
    Code, Error, Message,
    protocol::{Encode, Json, Outgoing, Packet, Protocol, Value},
    websocket::{Data, Kind},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use std::{collections::HashMap, time::Duration};

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
    counts: HashMap<String, u8>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
enum SayKind {
    #[default]
    Plain,
    At(i64, f32),
    Image {
        url: String,
    },
}

fn config() -> ProptestConfig {
    // What once failed becomes a test of its own.
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn arbitrary_text_harms_nothing(text in ".*") {
        read_all(&text);
    }

    /// Nearly a frame: the pieces of one in any order.
    #[test]
    fn text_that_looks_like_a_frame_harms_nothing(text in soup()) {
        read_all(&text);
    }

    #[test]
    fn a_spoilt_frame_harms_nothing(value in value(), at in any::<prop::sample::Index>(), with in ".{0,3}") {
        let text = sent(&Outgoing::Message(&value));
        let mut chars: Vec<char> = text.chars().collect();
        let at = at.index(chars.len());
        chars.splice(at..at + 1, with.chars());
        read_all(&chars.into_iter().collect::<String>());
    }

    /// The text between is the very one that the value was written as: nothing on the way reads
    /// the numbers in it.
    #[test]
    fn any_value_survives_as_a_message(value in value()) {
        let text = sent(&Outgoing::Message(&value));
        prop_assert!(!text.contains('\n'), "one line: {text}");
        let data = Data::Text(text.into());
        let Packet::Message(Value::Json(raw)) = decode(&data).unwrap() else { panic!("{data:?}") };
        prop_assert_eq!(&*raw, serde_json::to_string(&value).unwrap());
        prop_assert_eq!(Value::Json(raw).parse::<serde_json::Value>().unwrap(), value);
    }

    /// The client's digits are still there for a type that keeps them.
    #[test]
    fn a_number_is_handed_on_as_it_was_written(number in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?") {
        let data = Data::Text(message(&number).into());
        let Packet::Message(Value::Json(raw)) = decode(&data).unwrap() else { panic!("{data:?}") };
        prop_assert_eq!(raw, number);
    }

    #[test]
    fn every_float_is_read_exactly(number in any::<f64>()) {
        prop_assert_eq!(through(&number), Ok(number));
    }

    /// Whatever type of integer it is for; and no other number becomes one.
    #[test]
    fn a_whole_float_is_read_as_the_integer_that_it_is(number in whole_number(), float in any::<f64>()) {
        for written in [format!("{number}.0"), format!("{number}.00e0"), format!("{number}E+0")] {
            let frame = message(&written);
            prop_assert_eq!(parsed(&frame), Ok(number));
            prop_assert_eq!(parsed(&frame), Ok(i128::from(number)));
            prop_assert_eq!(parsed(&frame), Ok(number as f64));
            prop_assert_eq!(parsed::<u64>(&frame).ok(), u64::try_from(number).ok());
            prop_assert_eq!(parsed::<u8>(&frame).ok(), u8::try_from(number).ok());
            let inside = message(&format!("[{written},{{\"a\":{written}}},\"{written}\"]"));
            prop_assert_eq!(parsed(&inside), Ok((number, HashMap::from([("a".to_owned(), number)]), written)));
        }
        prop_assume!(float.is_finite());
        let frame = message(&serde_json::to_string(&float).unwrap());
        if let Ok(number) = parsed::<i64>(&frame) {
            prop_assert_eq!((number as f64).to_bits(), float.to_bits());
            prop_assert!(number.unsigned_abs() < 1 << 53);
        }
    }

    #[test]
    fn any_event_survives(name in "\\PC{1,16}", value in value()) {
        let data = Data::Text(sent(&Outgoing::Event { name: &name, data: &value }).into());
        let Packet::Event { name: read, data } = decode(&data).unwrap() else { panic!("{data:?}") };
        prop_assert_eq!(&*read, &*name);
        prop_assert_eq!(data.parse::<serde_json::Value>().unwrap(), value);
    }

    /// Right or wrong, it is what the tree of it says.
    #[test]
    fn a_frame_means_what_others_read_in_it(fields in frames(), escaped in any::<bool>()) {
        let text = written(&fields);
        // In a frame of `frames` the letter stands in strings only.
        let text = if escaped { text.replace('c', "\\u0063") } else { text };
        let data = Data::Text(text.into());
        prop_assert_eq!(seen(decode(&data)), meaning(&fields), "{:?}", data);
    }

    #[test]
    fn a_spoilt_frame_of_any_type_harms_nothing(
        fields in frames(),
        at in any::<prop::sample::Index>(),
        gone in 0..3_usize,
        with in ".{0,2}",
    ) {
        let mut chars: Vec<char> = written(&fields).chars().collect();
        let at = at.index(chars.len());
        let end = (at + gone).min(chars.len());
        chars.splice(at..end, with.chars());
        read_all(&chars.into_iter().collect::<String>());
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
        prop_assert_eq!(refused(&written(&twice)), Code::PARSE_ERROR);
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
            let text = sent(packet);
            let read: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(read, whole(&expected));
            assert_eq!(seen(decode(&Data::Text(text.into()))), meaning(&expected));
        });
    }

    /// Where the fields stand, and what blanks are between them, is the sender's affair.
    #[test]
    fn a_frame_may_be_written_in_any_way(
        value in value(),
        blanks in vec("[ \t\r\n]{0,2}", 8),
        fields in Just([0, 1, 2]).prop_shuffle(),
    ) {
        let written = serde_json::to_string_pretty(&value).unwrap();
        let fields = fields.map(|field| match field {
            0 => ("type", "\"mess\\u0061ge\"".to_owned()),
            1 => ("value", written.clone()),
            _ => ("more", "[{}, null]".to_owned()),
        });
        let [a, b, c] = fields.map(|(name, value)| format!("\"{name}\"{}:{}{value}", blanks[0], blanks[1]));
        let text = format!("{}{{{}{a}{},{}{b},{c}{}}}{}", blanks[2], blanks[3], blanks[4], blanks[5], blanks[6], blanks[7]);
        let data = Data::Text(text.into());
        let Packet::Message(value) = decode(&data).unwrap() else { panic!("{data:?}") };
        let Value::Json(raw) = value else { panic!("{value:?}") };
        prop_assert_eq!(raw, written);
    }

    #[test]
    fn whole_messages_survive_in_the_envelope(text in ".*", bytes in vec(any::<u8>(), 0..100)) {
        let bytes = Bytes::from(bytes);
        prop_assert_eq!(through(&text), Ok(text.clone()));
        prop_assert_eq!(through(&Message::Text(text.clone())), Ok(Message::Text(text)));
        prop_assert_eq!(through(&bytes), Ok(bytes.clone()));
        prop_assert_eq!(through(&Message::Binary(bytes.clone())), Ok(Message::Binary(bytes)));
    }

    #[test]
    fn a_typed_message_survives(text in ".*", tags in vec(".*", 0..3), at in any::<i64>(), count in any::<u8>()) {
        let say = Say {
            to: Some(Box::new(Say {
                text: String::new(),
                tags: Vec::new(),
                to: None,
                kind: SayKind::Image { url: text.clone() },
                counts: HashMap::new(),
            })),
            counts: tags.iter().cloned().map(|tag| (tag, count)).collect(),
            kind: SayKind::At(at, 0.5),
            text,
            tags,
        };
        let read: Result<Say, String> = through(&say);
        prop_assert_eq!(read, Ok(say));
    }
}

#[test]
fn what_is_not_one_object_is_refused() {
    for text in [
        "",
        " ",
        "\n",
        "\0",
        "\u{feff}",
        "null",
        "1",
        "\"ping\"",
        "[]",
        "{}",
        "{",
        "}",
        "{]",
        "{\"type\"",
        "{\"type\":",
        "{\"type\":\"ping\"",
        "{\"type\":\"ping\",}",
        "{\"type\":\"ping\"}}",
        "{\"type\":\"ping\"} x",
        "{\"type\":\"ping\"}{\"type\":\"ping\"}",
        "\u{feff}\u{feff}{\"type\":\"ping\"}",
        "{type:\"ping\"}",
        "{'type':'ping'}",
        "{\"type\":\"ping\"/**/}",
        "{\"type\":\"pi\nng\"}",
        "{\"type\":\"ping\",\"more\":\"\0\"}",
    ] {
        assert_eq!(refused(text), Code::PARSE_ERROR, "{text:?}");
    }
    for blank in ["", " ", "\n", "\r\n\t"] {
        let data = Data::Text(format!("{blank}{{\"type\":\"ping\"}}{blank}").into());
        assert!(matches!(decode(&data), Ok(Packet::Ping)), "{data:?}");
    }
    // A parser may pass over the mark of byte order (RFC 8259, section 8.1).
    assert!(matches!(decode(&Data::Text("\u{feff}{\"type\":\"ping\"}".into())), Ok(Packet::Ping)));
}

#[test]
fn the_type_is_a_known_word() {
    for kind in
        ["null", "1", "[]", "{}", "\"\"", "\"Ping\"", "\"ping \"", "\"ping\\u0000\"", "\"\\ud800\"", "\"welcome\""]
    {
        assert_eq!(refused(&format!("{{\"type\":{kind}}}")), Code::PARSE_ERROR, "{kind}");
    }
}

#[test]
fn a_name_has_1_to_64_bytes() {
    let name = |name: &str| refused(&format!("{{\"type\":\"event\",\"name\":{name}}}"));
    for wrong in ["\"\"", "1", "null", "[]", "\"\\ud800\"", "\"\\udc00\\ud800\""] {
        assert_eq!(name(wrong), Code::PARSE_ERROR, "{wrong}");
    }
    assert_eq!(refused("{\"type\":\"event\"}"), Code::INVALID_ARGUMENT, "none at all");
    for (char, most) in [("a", 64), ("\u{e9}", 32), ("\u{1f600}", 16)] {
        assert_eq!(name(&format!("\"{}\"", char.repeat(most + 1))), Code::PARSE_ERROR, "{char}");
        let longest = char.repeat(most);
        let data = Data::Text(format!("{{\"type\":\"event\",\"name\":\"{longest}\"}}").into());
        let Packet::Event { name, data } = decode(&data).unwrap() else { panic!("{data:?}") };
        assert_eq!(name, longest);
        assert_eq!(data.parse::<serde_json::Value>().unwrap(), json!(null));
    }
}

/// Of two fields with one name it would depend on the reader which one counts.
#[test]
fn a_field_that_stands_twice_is_refused() {
    for fields in [
        r#""type":"message","value":1,"value":2"#,
        r#""type":"message","type":"ping","value":1"#,
        r#""type":"message","value":1,"v\u0061lue":2"#,
        r#""type":"event","name":"a","name":"b""#,
        r#""type":"event","name":"a","data":null,"data":null"#,
        r#""type":"call","id":"1","path":"a","input":1,"input":1"#,
        r#""type":"call","id":"1","path":"a","i\u0064":"1""#,
        r#""type":"ping","credit":1,"credit":1"#,
    ] {
        assert_eq!(refused(&format!("{{{fields}}}")), Code::PARSE_ERROR, "{fields}");
    }
    let inside = r#"{"type":"subscribe","id":"1","path":"a","after":{"epoch":"e","offset":1,"offset":2}}"#;
    assert_eq!(seen(decode(&Data::Text(inside.into()))), json!({ "invalid": "1", "refused": "PARSE_ERROR" }));
    let twice = r#"{"type":"message","value":{"text":"a","text":"b","tags":[]}}"#;
    assert!(parsed::<Say>(twice).unwrap_err().contains("duplicate field `text`"));
    assert_eq!(parsed(twice), Ok(json!({ "text": "b", "tags": [] })), "a map has the last");
}

#[test]
fn a_string_of_a_mebibyte_passes() {
    for char in ["a", "\n", "\0", "\"", "\u{e9}", "\u{1f600}"] {
        let text = char.repeat((1 << 20) / char.len());
        assert_eq!(through(&text).as_ref(), Ok(&text), "{char:?}");
    }
    let blanks = " \n".repeat(1 << 19);
    assert_eq!(parsed(&format!("{{\"type\":\"message\",{blanks}\"value\":{blanks}1}}")), Ok(1));
}

/// Nor is what is not read at all.
#[test]
fn what_a_frame_says_wrongly_is_not_echoed_whole() {
    let long = "\u{1f600}".repeat(1 << 18);
    for frame in [
        format!("{{\"type\":\"{long}\"}}"),
        format!("{{\"type\":[\"{long}\"]}}"),
        format!("{{\"type\":\"event\",\"name\":\"{long}\"}}"),
        format!("{{\"{long}\":\"\\"),
        format!("{{\"type\":\"message\",\"value\":{long}}}"),
        format!("{{\"type\":\"call\",\"id\":\"{long}\"}}"),
        format!("{{\"type\":\"cancel\",\"id\":\"\\u0061{long}\"}}"),
        format!("{{\"type\":\"error\",\"id\":\"1\",\"error\":{{\"code\":{{}},\"{long}\":1}}}}"),
        format!("{{\"type\":\"error\",\"id\":\"1\",\"error\":{{\"retryable\":\"{long}\"}}}}"),
    ] {
        let error = decode(&Data::Text(frame.into())).unwrap_err();
        assert!(sent(&Outgoing::Error { id: None, error: &error }).len() < 600, "{error}");
    }
}

/// Nor is what is wrong in a call, which is told with its id.
#[test]
fn what_a_call_says_wrongly_is_not_echoed_whole() {
    for char in ["\u{ad}", "a", "\\\\"] {
        let long = char.repeat(1 << 18);
        for field in [
            format!("\"path\":\"{long}\""),
            format!("\"path\":[\"{long}\"]"),
            format!("\"path\":[\"a.{long}\"]"),
            format!("\"path\":[{{\"{long}\":1}}]"),
            format!("\"path\":[{}\"a\"]", "\"a\",".repeat(1 << 18)),
            format!("\"path\":\"a\",\"credit\":\"{long}\""),
            format!("\"path\":\"a\",\"after\":\"{long}\""),
            format!("\"path\":\"a\",\"after\":{{\"epoch\":\"{long}\",\"offset\":1}}"),
            format!("\"path\":\"a\",\"after\":{{\"epoch\":\"e\",\"offset\":\"{long}\"}}"),
            format!("\"path\":\"a\",\"after\":{{\"{long}\":\"e\"}}"),
        ] {
            let frame = format!("{{\"type\":\"subscribe\",\"id\":\"1\",{field}}}");
            let data = Data::Text(frame.into());
            let Packet::Invalid { id, error } = decode(&data).unwrap() else { panic!("{field:.40}") };
            assert!(sent(&Outgoing::Error { id: Some(&id), error: &error }).len() < 600, "{error}");
        }
    }
}

/// Nor is what does not fit the handler's type: an error is answered in the outbox of the one who
/// caused it, and must be smaller than what it is about.
#[test]
fn what_does_not_fit_is_not_echoed_whole() {
    let long = "\u{ad}".repeat(1 << 17);
    for (value, parse) in [
        (format!("\"{long}\""), parse_error::<u32> as fn(&str) -> Error),
        (format!("{{\"{long}\":1}}"), parse_error::<Say>),
        (format!("{{\"{long}\":\"\"}}"), parse_error::<HashMap<String, u32>>),
        (format!("\"{long}\""), parse_error::<SayKind>),
    ] {
        let error = parse(&message(&value));
        let told = sent(&Outgoing::Error { id: None, error: &error }).len();
        assert!(told < 1000, "{told} bytes for a value of {}", value.len());
    }
}

fn parse_error<T: DeserializeOwned + std::fmt::Debug + 'static>(frame: &str) -> Error {
    let data = Data::Text(frame.into());
    let Packet::Message(value) = decode(&data).unwrap() else { panic!("{frame:.100}") };
    value.parse::<T>().unwrap_err()
}

/// Where serde derives the reading of a struct, its fields may stand in an array as well.
#[test]
fn an_array_is_no_frame() {
    for text in
        [r#"["ping",null]"#, r#"["ping",null,null,null]"#, r#"["message",null,1,null]"#, r#"["event","a"]"#]
    {
        assert_eq!(refused(text), Code::PARSE_ERROR, "{text}");
    }
}

/// Whatever nests, and wherever it stands: nothing calls itself once a level.
#[test]
fn a_million_levels_harm_nothing() {
    const LEVELS: usize = 1_000_000;
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"to\":", "}]")] {
        let (open, close) = (open.repeat(LEVELS), close.repeat(LEVELS));
        let deep = format!("{open}null{close}");
        assert!(parsed::<serde_json::Value>(&message(&deep)).unwrap_err().contains("recursion limit"));
        assert!(parsed::<String>(&message(&deep)).unwrap_err().starts_with("INVALID_ARGUMENT"));
        assert!(parsed::<Say>(&message(&deep)).unwrap_err().starts_with("INVALID_ARGUMENT"));
        assert_eq!(parsed(&format!("{{\"more\":{deep},{}", &message("7")[1..])), Ok(7), "skipped");
        assert_eq!(refused(&format!("{{\"type\":{deep}}}")), Code::PARSE_ERROR);
        assert_eq!(refused(&format!("{{\"type\":\"event\",\"name\":{deep}}}")), Code::PARSE_ERROR);
        assert_eq!(refused(&message(&open)), Code::PARSE_ERROR, "never closed");
        assert_eq!(refused(&open), Code::PARSE_ERROR, "never closed");
    }
    let recursive = format!("{}null{}", "{\"text\":\"\",\"to\":".repeat(LEVELS), "}".repeat(LEVELS));
    assert!(parsed::<Say>(&message(&recursive)).unwrap_err().contains("recursion limit"));
}

/// So in any field of a call, a subscription or an answer.
#[test]
fn levels_in_any_field_harm_nothing() {
    const LEVELS: usize = 100_000;
    for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("{\"epoch\":", "}"), ("{\"code\":", "}")] {
        let deep = format!("{}null{}", open.repeat(LEVELS), close.repeat(LEVELS));
        for kind in ["call", "subscribe"] {
            let call = |rest: &str| seen(decode(&Data::Text(format!("{{\"type\":\"{kind}\",{rest}}}").into())));
            assert_eq!(call(&format!("\"id\":{deep}")), json!({ "refused": "PARSE_ERROR" }));
            for path in [deep.clone(), format!("[\"a\",{deep}]")] {
                let frame = call(&format!("\"id\":\"1\",\"path\":{path}"));
                assert_eq!(frame, json!({ "invalid": "1", "refused": "PARSE_ERROR" }));
            }
            let ample = format!("{{\"type\":\"{kind}\",\"id\":\"1\",\"path\":\"a\",\"input\":{deep}}}");
            assert!(matches!(
                decode(&Data::Text(ample.into())),
                Ok(Packet::Call { .. } | Packet::Subscribe { .. })
            ));
        }
        for after in [deep.clone(), format!("{{\"epoch\":{deep}}}"), format!("{{\"offset\":{deep}}}")] {
            let frame = format!("{{\"type\":\"subscribe\",\"id\":\"1\",\"path\":\"a\",\"after\":{after}}}");
            let read = seen(decode(&Data::Text(frame.into())));
            assert_eq!(read, json!({ "invalid": "1", "refused": "PARSE_ERROR" }));
        }
        for error in [deep.clone(), format!("{{\"code\":\"A\",\"details\":{deep}}}")] {
            let frame = format!("{{\"type\":\"error\",\"id\":\"1\",\"error\":{error}}}");
            assert_eq!(refused(&frame), Code::PARSE_ERROR);
        }
    }
}

#[test]
fn a_hundred_levels_pass() {
    let deep = (0..100).fold(json!("end"), |value, _| json!([value]));
    assert_eq!(through(&deep), Ok(deep));
}

/// With `raw_value` on, serde_json takes the string behind its private key for JSON text of its own:
/// the value is another than was sent, and its depth is counted anew.
#[test]
fn no_key_means_more_than_itself() {
    for key in ["$serde_json::private::RawValue", "$serde_json::private::Number"] {
        let value = json!({ key: "[true]" });
        let message = serde_json::to_string(&json!({ "type": "message", "value": value })).unwrap();
        assert!(parsed::<serde_json::Value>(&message).is_err(), "{key}");
    }
    // Eleven kilobytes of it would exhaust the stack.
    let mut nested = "1".to_owned();
    for _ in 0..11 {
        let key = json!({ "$serde_json::private::RawValue": nested });
        nested = format!("{}{key}{}", "[".repeat(126), "]".repeat(126));
    }
    assert!(parsed::<serde_json::Value>(&message(&nested)).is_err());
}

#[test]
fn a_nul_is_a_character_like_any() {
    assert_eq!(parsed(&message(r#""a\u0000b""#)), Ok("a\0b".to_owned()));
    assert!(parsed::<String>(&message("\"a\0b\"")).unwrap_err().starts_with("PARSE_ERROR"), "unescaped");
    assert_eq!(parsed(&message(r#"{"\u0000":"\u0000"}"#)), Ok(json!({ "\0": "\0" })));
    let data = Data::Text(r#"{"type":"event","name":"\u0000"}"#.into());
    assert!(matches!(decode(&data), Ok(Packet::Event { name, .. }) if name == "\0"));
}

/// Half a pair is no character: it is refused where a string is read, and skipped elsewhere.
#[test]
fn lone_surrogates_are_refused() {
    for half in
        [r"\ud800", r"\udbff", r"\udc00", r"\udfff", r"\udc00\ud800", r"\ud800\ud800", r"\ud83dx", r"\ud83d\n"]
    {
        let frame = message(&format!("\"{half}\""));
        assert!(parsed::<String>(&frame).unwrap_err().starts_with("INVALID_ARGUMENT"), "{half}");
        assert!(parsed::<Message>(&frame).unwrap_err().starts_with("INVALID_ARGUMENT"), "{half}");
        assert!(parsed::<serde_json::Value>(&frame).unwrap_err().starts_with("INVALID_ARGUMENT"), "{half}");
        let key = message(&format!("{{\"{half}\":1}}"));
        assert!(parsed::<serde_json::Value>(&key).unwrap_err().starts_with("INVALID_ARGUMENT"), "{half}");
        assert_eq!(parsed(&format!("{{\"more\":\"{half}\",{}", &message("7")[1..])), Ok(7), "{half}");
        let error = decode(&Data::Text(format!("{{\"type\":\"call\",\"id\":\"{half}\"}}").into())).unwrap_err();
        assert_eq!(error.to_string(), "PARSE_ERROR: the field \"id\" holds half of a surrogate pair");
        let call = Data::Text(format!("{{\"type\":\"call\",\"id\":\"1\",\"path\":\"{half}\"}}").into());
        let Ok(Packet::Invalid { error, .. }) = decode(&call) else { panic!("{half}") };
        assert_eq!(error.to_string(), "PARSE_ERROR: the field \"path\" holds half of a surrogate pair");
    }
    assert_eq!(parsed(&message(r#""\ud83d\ude00""#)), Ok("\u{1f600}".to_owned()));
}

#[test]
fn numbers_are_taken_as_json_has_them() {
    for wrong in ["01", "+1", ".5", "1.", "1e", "-", "0x1", "NaN", "Infinity", "1_000", "--1"] {
        assert_eq!(refused(&message(wrong)), Code::PARSE_ERROR, "{wrong}");
    }
    assert_eq!(parsed(&message("18446744073709551615")), Ok(u64::MAX));
    assert_eq!(parsed(&message("-9223372036854775808")), Ok(i64::MIN));
    assert!(parsed::<u64>(&message("18446744073709551616")).is_err());
    assert!(parsed::<u8>(&message("256")).is_err());
    for huge in ["1e400".to_owned(), "9".repeat(1 << 20)] {
        assert!(parsed::<f64>(&message(&huge)).unwrap_err().contains("number out of range"));
    }
    assert_eq!(parsed(&message(&format!("1e-{}", "9".repeat(1 << 20)))), Ok(0.0));
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
    assert_eq!(parsed(&message(r#"{"kind":"at","x":7.0,"y":7.0}"#)), Ok(Tagged::At { x: 7, y: 7.0 }));
    assert_eq!(parsed(&message("7.0")), Ok(Number::Float(7.0)));
    assert_eq!(parsed(&message("7")), Ok(Number::Integer(7)));
    assert_eq!(parsed(&message("[7.0,-0.0]")), Ok(json!([7.0, -0.0])));
    assert_eq!(parsed(&message(r#"{"7":1.0}"#)), Ok(HashMap::from([(7_u8, 1_u8)])));
    assert_eq!(parsed(&message(r#""7.0""#)), Ok("7.0".to_owned()));
    for float in ["0.5", "-0.0", "9007199254740992.0", "1e19", "-1e-7"] {
        let map = format!("{{\"a\":7.0,\"n\":{float}}}");
        let error = parsed::<HashMap<String, u64>>(&message(&map)).unwrap_err();
        assert!(error.starts_with("INVALID_ARGUMENT: n: invalid type: floating point"), "{error}");
        assert!(error.contains("expected u64 at line 1 column "), "{error}");
    }
    // The place is that in what was sent.
    let error = parsed::<Vec<u8>>(&message("[7.0,\"x\"]")).unwrap_err();
    assert!(error.ends_with("at line 1 column 8"), "{error}");
}

#[test]
fn binary_messages_are_not_taken() {
    for bytes in [&b""[..], b"{\"type\":\"ping\"}", b"\xff"] {
        let error = decode(&Data::Binary(bytes.into())).unwrap_err();
        assert_eq!(error.code(), &Code::UNSUPPORTED_DATA);
    }
}

#[test]
fn every_packet_is_one_object() {
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
        (Outgoing::Pong, json!({ "type": "pong" })),
    ] {
        assert_eq!(serde_json::from_str::<serde_json::Value>(&sent(&packet)).unwrap(), expected);
    }
}

/// The frame that has these fields, in their order.
fn written(fields: &Fields) -> String {
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

/// The frame of a message whose value is this text.
fn message(value: &str) -> String {
    format!("{{\"type\":\"message\",\"value\":{value}}}")
}

fn refused(frame: &str) -> Code {
    let error = decode(&Data::Text(frame.into())).unwrap_err();
    assert_can_be_told(&error);
    error.code().clone()
}

/// Reads a client's text as every kind of value, and tells the client of each failure.
fn read_all(text: &str) {
    let data = Data::Text(text.into());
    match decode(&data) {
        Ok(
            Packet::Message(value)
            | Packet::Event { data: value, .. }
            | Packet::Call { input: value, .. }
            | Packet::Subscribe { input: value, .. }
            | Packet::Reply { data: value, .. },
        ) => {
            read_as::<serde_json::Value>(&value);
            read_as::<Say>(&value);
            read_as::<String>(&value);
            read_as::<Message>(&value);
            read_as::<Bytes>(&value);
            read_as::<u32>(&value);
            read_as::<()>(&value);
            read_as::<Option<HashMap<u8, f64>>>(&value);
        }
        Ok(Packet::Invalid { error, .. }) | Err(error) => assert_can_be_told(&error),
        Ok(_) => {}
    }
}

/// As [`Json`] does, with the value of a message found in its frame.
fn decode<'a>(data: &'a Data<'_>) -> Result<Packet<'a>, Error> {
    let packet = Json.decode(data)?;
    let Packet::Message(Value::JsonFrame(frame)) = packet else { return Ok(packet) };
    let quick = Value::JsonFrame(frame).parse::<serde_json::Value>();
    let located = Value::JsonFrame(frame).located();
    match (quick, &located) {
        (quick, Ok(Value::Json(json))) => {
            let slow = Value::Json(json.as_ref().into()).parse::<serde_json::Value>();
            assert_eq!(quick.map_err(|error| error.to_string()), slow.map_err(|error| error.to_string()));
        }
        (quick, located) => {
            let located = located.as_ref().expect_err("a value of JSON").to_string();
            assert_eq!(quick.expect_err("what is no frame has no value").to_string(), located);
        }
    }
    located.map(Packet::Message)
}

fn read_as<T: DeserializeOwned + 'static>(value: &Value<'_>) {
    let Value::Json(json) = value else { panic!("{value:?}") };
    if let Err(error) = Value::Json(json.as_ref().into()).parse::<T>() {
        assert_eq!(error.code(), &Code::INVALID_ARGUMENT);
        assert_can_be_told(&error);
    }
}

/// An error is one frame, which says what it says.
fn assert_can_be_told(error: &Error) {
    let told: serde_json::Value = serde_json::from_str(&sent(&Outgoing::Error { id: None, error })).unwrap();
    assert_eq!(told["type"], "error");
    assert_eq!(told["error"]["code"], error.code().as_str());
    assert_eq!(told["error"]["message"], error.message());
}

/// Returns the text of a packet as it goes over the wire.
fn sent(packet: &Outgoing<'_>) -> String {
    let mut out = Vec::new();
    assert_eq!(Json.encode(packet, &mut out).unwrap(), Some(Kind::Text));
    String::from_utf8(out).unwrap()
}

/// Sends a value and reads it again.
fn through<T: Encode + DeserializeOwned + 'static>(value: &T) -> Result<T, String> {
    parsed(&sent(&Outgoing::Message(value)))
}

/// Reads the value of a message.
fn parsed<T: DeserializeOwned + 'static>(frame: &str) -> Result<T, String> {
    let data = Data::Text(frame.into());
    match decode(&data) {
        Ok(Packet::Message(value)) => value.parse().map_err(|error| error.to_string()),
        Ok(packet) => panic!("{packet:?} is not a message"),
        Err(error) => Err(error.to_string()),
    }
}

/// Any value, also one that few would send.
fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<u64>().prop_map(serde_json::Value::from),
        // A float of more digits may be off by its last bit: see `every_float_is_read_exactly`.
        (any::<i32>(), 0..9_i32).prop_map(|(digits, scale)| (f64::from(digits) / 10_f64.powi(scale)).into()),
        string().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(6, 40, 6, |value| {
        prop_oneof![
            vec(value.clone(), 0..6).prop_map(serde_json::Value::from),
            vec((string(), value), 0..6).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

/// One that a float holds for certain.
fn whole_number() -> impl Strategy<Value = i64> {
    const LAST: i64 = (1 << 53) - 1;
    prop_oneof![-LAST..=LAST, -300..300_i64, select(&[-LAST, 0, 255, LAST][..])]
}

fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => ".{0,12}",
        2 => vec(any::<char>(), 0..8).prop_map(|chars| chars.into_iter().collect()),
        1 => select(&["", "\0", "\n", "\r\n", "\u{2028}", "\"", "\\u0000", "\u{feff}", "type", "value"][..])
            .prop_map(str::to_owned),
    ]
}

fn soup() -> impl Strategy<Value = String> {
    let piece = select(
        &[
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "\\",
            " ",
            "\n",
            "\0",
            "null",
            "true",
            "1",
            "-",
            "1e9",
            "e",
            ".",
            "\\u",
            "\\ud800",
            "\\udc00",
            "\\u0000",
            "{\"type\":\"message\",\"value\":",
            "{\"type\":\"event\",\"name\":\"a\",\"data\":",
            "\"type\":\"ping\"",
            "\"type\":",
            "\"name\":",
            "\"value\":",
            "\"text\":",
            "\"to\":{",
            "{\"type\":\"call\",\"id\":\"1\",\"path\":",
            "{\"type\":\"subscribe\",\"id\":\"1\",\"path\":\"a\",",
            "{\"type\":\"error\",\"id\":\"1\",\"error\":",
            "\"id\":",
            "\"path\":[",
            "\"after\":{\"epoch\":\"e\",\"offset\":",
            "\"credit\":",
            "\"timeoutMs\":",
            "\"idempotencyKey\":",
            "\"a\"",
            "\u{e9}",
            "\u{1f600}",
        ][..],
    );
    vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}
