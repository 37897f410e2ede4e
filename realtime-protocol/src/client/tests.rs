use super::*;
use crate::{Appended, Data, Error, Gap, Message, Position, format::MessagePack};
use serde_json::{Value, json};
use std::time::Duration;

const FORMATS: [Format; 2] = [Format::Json, Format::MessagePack];

/// The message that says `frame`.
fn message(format: Format, frame: &Value) -> Data<'static> {
    match format {
        Format::Json => Data::Text(frame.to_string().into()),
        Format::MessagePack => {
            let mut bytes = Vec::new();
            MessagePack::write(frame, &mut bytes).unwrap();
            Data::Binary(bytes.into())
        }
    }
}

fn decode_text(format: Format, text: &str) -> Result<Incoming, String> {
    Incoming::decode(format, &Data::Text(text.into()))
}

fn decode_bytes(format: Format, bytes: &[u8]) -> Result<Incoming, String> {
    Incoming::decode(format, &Data::Binary(bytes.into()))
}

fn decode(format: Format, frame: &Value) -> Result<Incoming, String> {
    Incoming::decode(format, &message(format, frame))
}

fn payload(format: Format, value: &Value) -> Payload {
    Payload::write(format, value).unwrap()
}

#[test]
fn frames_have_the_fields_of_the_protocol() {
    for format in FORMATS {
        let one = payload(format, &json!(1));
        let encoded = |frame: Outgoing<'_>| match frame.encode(format) {
            Message::Text(text) => serde_json::from_str::<Value>(&text).unwrap(),
            Message::Binary(bytes) => Payload::MessagePack(bytes.to_vec().into()).read().unwrap(),
        };
        let timeout = Some(Duration::from_micros(5_000_999));
        let call = Outgoing::Call { id: "1", path: "a.b", input: &one, timeout, idempotency_key: Some("k\"") };
        let expected =
            json!({"type":"call","id":"1","path":"a.b","input":1,"timeoutMs":5000,"idempotencyKey":"k\""});
        assert_eq!(encoded(call), expected);
        let call = Outgoing::Call { id: "1", path: "p", input: &one, timeout: None, idempotency_key: None };
        assert_eq!(encoded(call), json!({"type":"call","id":"1","path":"p","input":1}));
        let after = Position::new("e", 7);
        let subscribe = Outgoing::Subscribe {
            id: "2",
            path: "p",
            input: &one,
            after: Some(&after),
            credit: Some(64),
            shared: true,
        };
        let expected = json!({
            "type":"subscribe","id":"2","path":"p","input":1,"after":{"epoch":"e","offset":7},"credit":64,"shared":true
        });
        assert_eq!(encoded(subscribe), expected);
        let subscribe =
            |credit| Outgoing::Subscribe { id: "2", path: "p", input: &one, after: None, credit, shared: false };
        let expected = json!({"type":"subscribe","id":"2","path":"p","input":1,"credit":0});
        assert_eq!(encoded(subscribe(Some(0))), expected);
        assert_eq!(encoded(subscribe(None)), json!({"type":"subscribe","id":"2","path":"p","input":1}));
        assert_eq!(encoded(Outgoing::Ping), json!({"type":"ping"}));
        assert_eq!(encoded(Outgoing::Credit { id: "2", more: 32 }), json!({"type":"credit","id":"2","more":32}));
        assert_eq!(encoded(Outgoing::Cancel { id: "3" }), json!({"type":"cancel","id":"3"}));
        assert_eq!(encoded(Outgoing::Unsubscribe { id: "3" }), json!({"type":"unsubscribe","id":"3"}));
        assert_eq!(encoded(Outgoing::Message { value: &one }), json!({"type":"message","value":1}));
        assert_eq!(
            encoded(Outgoing::Event { name: "n", data: &one }),
            json!({"type":"event","name":"n","data":1})
        );
        assert_eq!(
            encoded(Outgoing::Result { id: "c1", data: &one }),
            json!({"type":"result","id":"c1","data":1})
        );
        let error = Error::not_found("no");
        let expected = json!({"type":"error","id":"c1","error":{"code":"NOT_FOUND","message":"no"}});
        assert_eq!(encoded(Outgoing::Error { id: "c1", error: &error }), expected);
    }
    // The order of the fields, and the bytes.
    assert_eq!(Outgoing::Cancel { id: "3" }.encode(Format::Json), r#"{"type":"cancel","id":"3"}"#.into());
    assert_eq!(Outgoing::Ping.encode(Format::MessagePack), Message::Binary((&b"\x81\xa4type\xa4ping"[..]).into()));
}

#[test]
fn an_unknown_type_is_ignored_whatever_its_fields_are() {
    for format in FORMATS {
        for frame in [
            json!({"type":"later"}),
            json!({"type":"laterType","id":7,"count":null}),
            json!({"type":"pong","id":null,"error":[],"path":{},"timeoutMs":-1,"offset":"x","cause":{"a":[]}}),
            json!({"type":7,"id":7}),
            json!({"type":null}),
        ] {
            assert!(matches!(decode(format, &frame), Ok(Incoming::Unknown)), "{frame}");
        }
    }
    let deep = format!("{{\"id\":{}{},\"type\":\"later\"}}", "[".repeat(1000), "]".repeat(1000));
    for text in [r#"{"type":"later","id":"1","id":"2"}"#, r#"{"\ud800":1,"type":"later"}"#, &deep] {
        assert!(matches!(decode_text(Format::Json, text), Ok(Incoming::Unknown)), "{text}");
    }
    let extension = b"\x82\xa4type\xa5later\xa2id\xd4\x05\0";
    assert!(matches!(decode_bytes(Format::MessagePack, extension), Ok(Incoming::Unknown)));
}

#[test]
fn fields_that_a_type_does_not_have_are_not_looked_at() {
    let others = json!({
        "id": 7, "value": 1, "name": 2, "offset": null, "epoch": 3, "error": 4, "path": 5, "input": 6,
        "timeoutMs": "x", "connection": [], "heartbeatMs": {}, "count": -1, "from": [], "to": {}, "cause": 0,
        "topic": 8, "proof": 9, "shared": 10, "resumed": 11, "wrote": 12,
        "code": 1, "message": 2, "details": 3, "retryable": 4, "retryAfterMs": null, "later": 1.5,
    });
    for format in FORMATS {
        for frame in [
            json!({"type":"welcome","connection":"c"}),
            json!({"type":"message","value":1}),
            json!({"type":"event","name":"n","data":1}),
            json!({"type":"data","id":"1","data":1}),
            json!({"type":"data","topic":"t","data":1,"offset":1,"epoch":"e"}),
            json!({"type":"subscribed","id":"1","topic":"t","offset":1,"epoch":"e"}),
            json!({"type":"complete","id":"1"}),
            json!({"type":"result","id":"1","data":1}),
            json!({"type":"progress","id":"1","data":1}),
            json!({"type":"error","id":"1","error":{"code":"A","message":"b"}}),
            json!({"type":"call","id":"1","path":"p","input":1}),
            json!({"type":"cancel","id":"1"}),
            json!({"type":"gap","id":"1","count":1}),
        ] {
            let alone = format!("{:?}", decode(format, &frame).unwrap());
            let mut crowded = others.clone();
            crowded.as_object_mut().unwrap().extend(frame.as_object().unwrap().clone());
            let crowded = format!("{:?}", decode(format, &crowded).unwrap());
            assert_eq!(alone, crowded);
            assert_ne!(alone, "Unknown");
        }
    }
}

#[test]
fn numbers_of_other_languages_are_numbers() {
    for format in FORMATS {
        let frame = decode(format, &json!({"type":"welcome","connection":"c","heartbeatMs":25000.0})).unwrap();
        assert!(matches!(frame, Incoming::Welcome { heartbeat: Some(after), .. } if after.as_secs() == 25));
        let frame = decode(format, &json!({"type":"call","id":"1","path":"p","timeoutMs":1999.75})).unwrap();
        assert!(matches!(frame, Incoming::Call { timeout: Some(after), .. } if after.as_millis() == 1999));
        let frame = decode(format, &json!({"type":"data","id":"1","offset":7.0,"epoch":"e"})).unwrap();
        assert!(matches!(frame, Incoming::Data { position: Some(ref at), .. } if *at == Position::new("e", 7)));
        let frame = decode(format, &json!({"type":"gap","id":"1","count":3.0,"from":1.0,"to":3.0})).unwrap();
        assert!(matches!(frame, Incoming::Gap { ref gap, .. } if (gap.count, gap.to) == (3, Some(3))));
        let error = json!({"code":"A","message":"b","retryAfterMs":100.5,"retryable":true});
        let frame = decode(format, &json!({"type":"error","id":"1","error":error})).unwrap();
        let Incoming::Error { error, .. } = frame else { panic!("{frame:?}") };
        assert_eq!(error.retry_after().unwrap().as_millis(), 100);
    }
    for (bytes, expected) in [(json!(4096.0), Some(4096)), (json!("4096"), None), (json!(-1), None)] {
        let welcome = json!({"type":"welcome","connection":"c","messageBytes":bytes,"schema":"5eed"});
        let frame = decode(FORMATS[0], &welcome).unwrap();
        let Incoming::Welcome { message_bytes, schema, .. } = frame else { panic!("{frame:?}") };
        assert_eq!((message_bytes, schema.as_deref()), (expected, Some("5eed")));
    }
    let text = r#"{"type":"welcome","connection":"c","heartbeatMs":2.5e4}"#;
    let frame = decode_text(Format::Json, text).unwrap();
    assert!(matches!(frame, Incoming::Welcome { heartbeat: Some(after), .. } if after.as_secs() == 25));
}

/// An offset that the server writes as text, since JavaScript would round it, is read; and is written so to resume.
#[test]
fn an_offset_may_be_text() {
    for format in FORMATS {
        for (offset, text) in [(7, "7"), (u64::MAX, "18446744073709551615")] {
            let frame = decode(format, &json!({"type":"data","id":"1","offset":text,"epoch":"e"})).unwrap();
            assert!(
                matches!(frame, Incoming::Data { position: Some(at), .. } if at == Position::new("e", offset))
            );
            let frame = decode(format, &json!({"type":"gap","id":"1","count":1,"from":text,"to":text})).unwrap();
            assert!(
                matches!(frame, Incoming::Gap { gap, .. } if gap == Gap::new(1, "").with_range(offset, offset))
            );
        }
        let frame = decode(format, &json!({"type":"data","id":"1","offset":"+7","epoch":"e"})).unwrap();
        assert!(matches!(frame, Incoming::Data { position: None, .. }));
    }
    let position = Position::new("e", u64::MAX);
    assert_eq!(serde_json::to_value(position).unwrap(), json!({"epoch":"e","offset":"18446744073709551615"}));
}

#[test]
fn optional_fields_that_cannot_be_read_are_left_out() {
    for format in FORMATS {
        let frame = decode(format, &json!({"type":"welcome","connection":7,"heartbeatMs":"soon"})).unwrap();
        assert!(
            matches!(frame, Incoming::Welcome { heartbeat: None, ref connection, .. } if connection.is_empty())
        );
        let frame = decode(format, &json!({"type":"data","id":"1","offset":-1,"epoch":"e"})).unwrap();
        assert!(matches!(frame, Incoming::Data { position: None, .. }));
        let frame = decode(format, &json!({"type":"gap","id":"1","count":null,"from":1,"cause":7})).unwrap();
        assert!(matches!(frame, Incoming::Gap { ref gap, .. } if gap.count == 0 && gap.from.is_none()));
        let frame = decode(format, &json!({"type":"gap","id":7})).unwrap();
        assert!(matches!(frame, Incoming::Unknown));
    }
}

#[test]
fn as_much_of_an_error_is_read_as_there_is() {
    for format in FORMATS {
        for (error, code, message) in [
            (json!({"code":"A_B","message":"m"}), "A_B", "m"),
            (json!({"code":"A_B"}), "A_B", ""),
            (json!({"code":7,"message":["m"],"retryable":"yes","retryAfterMs":"x"}), "INTERNAL", ""),
            (json!({"message":"m"}), "INTERNAL", "m"),
            (json!("no object"), "PARSE_ERROR", "the server's error cannot be read"),
            (json!(null), "PARSE_ERROR", "the server's error cannot be read"),
        ] {
            let frame = decode(format, &json!({"type":"error","id":"1","error":error})).unwrap();
            let Incoming::Error { id: Some(id), error } = frame else { panic!("{frame:?}") };
            assert_eq!((&*id, error.code().as_str(), error.message()), ("1", code, message));
        }
        let frame = decode(format, &json!({"type":"error","id":7})).unwrap();
        assert!(matches!(frame, Incoming::Error { id: None, .. }));
    }
    assert_eq!(error_in(br#"{"ok":false,"error":{"code":"A","message":"b"}}"#).unwrap().to_string(), "A: b");
    assert!(error_in(br#"{"ok":false}"#).is_none());
    assert!(error_in(b"<html>").is_none());
}

#[test]
fn a_frame_that_says_nothing_is_told_with_its_type() {
    for format in FORMATS {
        for (frame, wrong) in [
            (json!({"type":"result"}), "an unreadable frame of type \"result\": it has no `id`"),
            (json!({"type":"result","id":1}), "an unreadable frame of type \"result\": its `id` is no string"),
            (json!({"type":"call","id":"1"}), "an unreadable frame of type \"call\": it has no `path`"),
            (
                json!({"type":"call","id":"1","path":[7]}),
                "an unreadable frame of type \"call\": its `path` is neither a string nor its parts",
            ),
            (json!({"id":"1"}), "no frame: it has no `type`"),
        ] {
            assert_eq!(decode(format, &frame).unwrap_err(), wrong);
        }
        assert!(decode(format, &json!([])).unwrap_err().starts_with("no frame: "));
    }
    let text = |text: &str| decode_text(Format::Json, text).unwrap_err();
    assert_eq!(
        text(r#"{"type":"result","id":"1","id":"2"}"#),
        "an unreadable frame of type \"result\": it has `id` twice"
    );
    assert!(text("[").starts_with("no frame: "));
    assert!(decode_bytes(Format::Json, b"{}").is_err());
    assert!(decode_text(Format::MessagePack, "{}").is_err());
}

#[test]
fn a_path_is_dotted_or_in_parts() {
    for format in FORMATS {
        for path in [json!("a.b"), json!(["a", "b"])] {
            let frame = decode(format, &json!({"type":"call","id":"1","path":path})).unwrap();
            assert!(matches!(frame, Incoming::Call { path, .. } if path == "a.b"));
        }
    }
}

#[test]
fn what_is_left_out_is_null() {
    for format in FORMATS {
        let frame = decode(format, &json!({"type":"result","id":"1"})).unwrap();
        let Incoming::Result { data, .. } = frame else { panic!("{frame:?}") };
        assert_eq!(data.read::<Option<u8>>().unwrap(), None);
    }
}

#[test]
fn a_gap_is_that_of_a_subscription_or_of_a_topic() {
    for format in FORMATS {
        for (fields, expected) in [
            (json!({"id":"1"}), (Some("1"), None)),
            (json!({"topic":"t"}), (None, Some("t"))),
            (json!({"id":"1","topic":"t"}), (Some("1"), Some("t"))),
        ] {
            let mut frame = json!({"type":"gap","count":2,"cause":"c"});
            frame.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let frame = decode(format, &frame).unwrap();
            let Incoming::Gap { id, topic, gap } = frame else { panic!("{frame:?}") };
            assert_eq!(((id.as_deref(), topic.as_deref()), gap), (expected, Gap::new(2, "c")));
        }
        assert!(matches!(decode(format, &json!({"type":"gap","count":2})), Ok(Incoming::Unknown)));
    }
}

#[test]
fn the_frames_of_feeds_are_read() {
    let at = Position::new("e", 1 << 60);
    let proven = Position::new("e", 7).with_proof("p1");
    for format in FORMATS {
        let frame =
            json!({"type":"subscribed","id":"1","topic":"t","offset":(1_u64 << 60).to_string(),"epoch":"e"});
        let Ok(Incoming::Subscribed { id, topic, position, shared, resumed, state }) = decode(format, &frame)
        else {
            panic!("{frame}");
        };
        assert_eq!((&*id, &*topic, position, shared, resumed, state), ("1", "t", at.clone(), false, None, false));
        let mut frame = json!({"type":"subscribed","id":"1","topic":"t","offset":7,"epoch":"e","proof":"p1"});
        frame["shared"] = json!(true);
        frame["resumed"] = json!(false);
        frame["state"] = json!(true);
        let Ok(Incoming::Subscribed { position, shared, resumed, state, .. }) = decode(format, &frame) else {
            panic!("{frame}");
        };
        assert_eq!((position, shared, resumed, state), (proven.clone(), true, Some(false), true));
        let frame = json!({"type":"data","topic":"t","data":[1],"offset":7,"epoch":"e","proof":"p1"});
        let Ok(Incoming::Entry { topic, data, position }) = decode(format, &frame) else { panic!("{frame}") };
        assert_eq!((&*topic, data.read::<Value>().unwrap(), position), ("t", json!([1]), proven.clone()));
        let frame = json!({"type":"message","value":1,"topic":"t","offset":7,"epoch":"e","proof":"p1"});
        let Ok(Incoming::Message { place: Some(place), .. }) = decode(format, &frame) else { panic!("{frame}") };
        let appended = Appended { topic: "t".into(), position: proven.clone() };
        assert_eq!(place, appended);
        let wrote = json!([{"topic":"t","offset":7,"epoch":"e","proof":"p1"}]);
        let frame = json!({"type":"result","id":"1","data":1,"wrote":wrote});
        let Ok(Incoming::Result { wrote, .. }) = decode(format, &frame) else { panic!("{frame}") };
        assert_eq!(wrote, [appended]);
        for without in [json!({"type":"subscribed","id":"1","topic":"t"}), json!({"type":"data","topic":"t"})] {
            assert!(decode(format, &without).is_err(), "{without}");
        }
    }
}
