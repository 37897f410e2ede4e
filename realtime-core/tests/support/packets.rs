//! Frames of a client as trees, right and nearly right, and what they mean to a judge that reads the
//! trees alone.

use proptest::{collection::vec, option, prelude::*, sample::select};
use realtime_core::{
    Appended, Error, Gap, Position,
    protocol::{Outgoing, Packet},
};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The fields of a frame, in the order in which they are sent. None stands twice.
pub(crate) type Fields = Vec<(&'static str, Value)>;

/// The judge's verdict on a frame: the packet as a tree, with null for what is left out; or the code
/// of the refusal, and the id where it is told with it.
pub(crate) fn meaning(fields: &[(&'static str, Value)]) -> Value {
    judge(&whole(fields)).unwrap_or_else(|code| json!({ "refused": code }))
}

/// The tree of a frame.
pub(crate) fn whole(fields: &[(&'static str, Value)]) -> Value {
    fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

/// The same of what was read.
pub(crate) fn seen(read: Result<Packet<'_>, Error>) -> Value {
    match read {
        Ok(Packet::Message(value)) => json!({ "type": "message", "value": tree(value) }),
        Ok(Packet::Event { name, data }) => json!({ "type": "event", "name": name, "data": tree(data) }),
        Ok(Packet::Ping) => json!({ "type": "ping" }),
        Ok(Packet::Call { id, path, input, timeout, key }) => {
            let timeout = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap());
            let input = tree(input);
            json!({ "type": "call", "id": id, "path": path, "input": input, "timeoutMs": timeout, "idempotencyKey": key })
        }
        Ok(Packet::Cancel { id }) => json!({ "type": "cancel", "id": id }),
        Ok(Packet::Subscribe { id, path, input, after, credit, .. }) => {
            let after = after.map(|after| json!({ "epoch": after.epoch, "offset": after.offset }));
            let input = tree(input);
            json!({ "type": "subscribe", "id": id, "path": path, "input": input, "after": after, "credit": credit })
        }
        Ok(Packet::Unsubscribe { id }) => json!({ "type": "unsubscribe", "id": id }),
        Ok(Packet::Credit { id, more }) => json!({ "type": "credit", "id": id, "more": more }),
        Ok(Packet::Reply { id, data }) => json!({ "type": "result", "id": id, "data": tree(data) }),
        Ok(Packet::Error { id, error }) => {
            let after = error.retry_after().map(|after| u64::try_from(after.as_millis()).unwrap());
            json!({ "type": "error", "id": id, "error": {
                "code": error.code().as_str(), "message": error.message(), "details": error.details(),
                "retryable": error.is_retryable(), "retryAfterMs": after,
            } })
        }
        Ok(Packet::Invalid { id, error }) => json!({ "invalid": id, "refused": error.code().as_str() }),
        Ok(packet) => panic!("{packet:?} is not of this format"),
        Err(error) => json!({ "refused": error.code().as_str() }),
    }
}

fn tree(value: realtime_core::protocol::Value<'_>) -> Value {
    value.parse().unwrap()
}

fn judge(frame: &Value) -> Result<Value, &'static str> {
    let kind = frame.get("type").and_then(Value::as_str).ok_or(PARSE_ERROR)?;
    let optional = |name: &str| frame.get(name).cloned().unwrap_or(Value::Null);
    let id = || sized(required(frame, "id")?, 64);
    Ok(match kind {
        "message" => json!({ "type": kind, "value": required(frame, "value")? }),
        "event" => {
            json!({ "type": kind, "name": sized(required(frame, "name")?, 64)?, "data": optional("data") })
        }
        "ping" => json!({ "type": kind }),
        "call" | "subscribe" => {
            let id = id()?;
            request(kind, id, frame).unwrap_or_else(|code| json!({ "invalid": id, "refused": code }))
        }
        "cancel" | "unsubscribe" => json!({ "type": kind, "id": id()? }),
        "credit" => {
            let id = id()?;
            json!({ "type": kind, "id": id, "more": integer(required(frame, "more")?, u32::MAX.into())? })
        }
        "result" => json!({ "type": kind, "id": id()?, "data": optional("data") }),
        "error" => {
            let id = id()?;
            json!({ "type": kind, "id": id, "error": error(required(frame, "error")?).ok_or(PARSE_ERROR)? })
        }
        _ => return Err(PARSE_ERROR),
    })
}

const PARSE_ERROR: &str = "PARSE_ERROR";

fn request(kind: &str, id: &str, frame: &Value) -> Result<Value, &'static str> {
    let path = path(required(frame, "path")?).ok_or(PARSE_ERROR)?;
    let input = frame.get("input").cloned().unwrap_or(Value::Null);
    if kind == "call" {
        let timeout = given(frame, "timeoutMs").map(|value| integer(value, u64::MAX)).transpose()?;
        let key = given(frame, "idempotencyKey").map(|value| sized(value, 128)).transpose()?;
        return Ok(
            json!({ "type": kind, "id": id, "path": path, "input": input, "timeoutMs": timeout, "idempotencyKey": key }),
        );
    }
    let after = given(frame, "after").map(position).transpose()?;
    let credit = given(frame, "credit").map(|value| integer(value, u32::MAX.into())).transpose()?;
    Ok(json!({ "type": kind, "id": id, "path": path, "input": input, "after": after, "credit": credit }))
}

/// Null is a field that is left out.
fn given<'a>(frame: &'a Value, name: &str) -> Option<&'a Value> {
    frame.get(name).filter(|value| !value.is_null())
}

fn required<'a>(frame: &'a Value, name: &str) -> Result<&'a Value, &'static str> {
    frame.get(name).ok_or("INVALID_ARGUMENT")
}

fn sized(value: &Value, most: usize) -> Result<&str, &'static str> {
    value.as_str().filter(|text| (1..=most).contains(&text.len())).ok_or(PARSE_ERROR)
}

fn integer(value: &Value, most: u64) -> Result<u64, &'static str> {
    number(value).filter(|&number| number <= most).ok_or(PARSE_ERROR)
}

/// A float below 2⁵³ is what its digits say, where it has neither a sign nor a fraction.
fn number(value: &Value) -> Option<u64> {
    let Some(float) = value.as_f64().filter(|_| value.is_f64()) else { return value.as_u64() };
    float.to_string().parse().ok().filter(|number| *number < 1 << 53)
}

fn path(value: &Value) -> Option<String> {
    let parts: Vec<&str> = match value {
        Value::String(path) => path.split('.').collect(),
        Value::Array(parts) => parts.iter().map(Value::as_str).collect::<Option<_>>()?,
        _ => return None,
    };
    let path = parts.join(".");
    let valid = !parts.is_empty() && parts.iter().all(|part| !part.is_empty() && !part.contains('.'));
    (valid && path.len() <= 256).then_some(path)
}

fn position(value: &Value) -> Result<Value, &'static str> {
    let field = |name| value.get(name).ok_or(PARSE_ERROR);
    let offset = match field("offset")? {
        Value::String(digits) => digits_of(digits).ok_or(PARSE_ERROR)?,
        offset => integer(offset, u64::MAX)?,
    };
    Ok(json!({ "epoch": sized(field("epoch")?, 64)?, "offset": offset }))
}

fn digits_of(text: &str) -> Option<u64> {
    text.chars().all(|char| char.is_ascii_digit()).then(|| text.parse().ok())?
}

/// An offset as it travels.
fn offset_of(offset: u64) -> Value {
    if offset < 1 << 53 { offset.into() } else { offset.to_string().into() }
}

fn error(value: &Value) -> Option<Value> {
    let error = value.as_object()?;
    let code = error.get("code")?.as_str()?;
    let is_word =
        (1..=64).contains(&code.len()) && code.chars().all(|char| matches!(char, 'A'..='Z' | '0'..='9' | '_'));
    let message = given(value, "message").map_or(Some(""), Value::as_str)?;
    let retryable = given(value, "retryable").map_or(Some(false), Value::as_bool)?;
    let after = match given(value, "retryAfterMs") {
        None => None,
        Some(after) => Some(number(after)?),
    };
    let code = if is_word { code } else { "INTERNAL" };
    let details = error.get("details").filter(|details| !details.is_null());
    Some(json!({
        "code": code, "message": message, "details": details, "retryable": retryable, "retryAfterMs": after,
    }))
}

/// Frames of any type, most of them right; and fields that are another frame's, or nobody's.
pub(crate) fn frames() -> impl Strategy<Value = Fields> {
    const KINDS: &[&str] = &[
        "message",
        "event",
        "ping",
        "call",
        "call",
        "call",
        "cancel",
        "subscribe",
        "subscribe",
        "subscribe",
        "unsubscribe",
        "credit",
        "result",
        "error",
        "welcome",
    ];
    let kind = prop_oneof![60 => select(KINDS).prop_map(Value::from), 1 => odd()];
    let offset = || prop_oneof![4 => any::<u64>().prop_map(Value::from), 1 => odd()];
    let epoch = || prop_oneof![4 => text(1..65), 1 => text(0..66), 1 => odd()];
    let digits = any::<u64>().prop_map(|offset| Value::from(offset.to_string()));
    let of_after = prop_oneof![4 => offset(), 4 => digits, 1 => "[+0-9 ]{0,21}".prop_map(Value::from)];
    let after = (option::weighted(0.95, epoch()), option::weighted(0.95, of_after), option::of(odd()))
        .prop_map(|(epoch, offset, more)| object([("epoch", epoch), ("offset", offset), ("more", more)]));
    let code = prop_oneof![6 => "[A-Z0-9_]{1,8}".prop_map(Value::from), 1 => text(0..70), 1 => odd()];
    let error = (
        option::weighted(0.9, code),
        option::of(prop_oneof![6 => text(0..9), 1 => odd()]),
        option::of(odd()),
        option::of(prop_oneof![6 => any::<bool>().prop_map(Value::from), 1 => odd()]),
        option::of(offset()),
    );
    let error = error.prop_map(|(code, message, details, retryable, after)| {
        object([
            ("code", code),
            ("message", message),
            ("details", details),
            ("retryable", retryable),
            ("retryAfterMs", after),
        ])
    });
    let path = prop_oneof![
        8 => "[a-c]{1,3}(\\.[a-c]{1,3}){0,2}".prop_map(Value::from),
        3 => vec("[a-c]{1,3}", 1..4).prop_map(Value::from),
        1 => vec("[ab.]{0,3}", 0..3).prop_map(Value::from),
        1 => vec(select(&["a", "b", "a.b"][..]), 1..3).prop_map(Value::from),
        1 => vec(odd(), 0..3).prop_map(Value::from),
        1 => "[a.]{0,4}".prop_map(Value::from),
        1 => "[a\u{e9}]{127,256}".prop_map(Value::from),
        1 => odd(),
    ];
    const EDGES: &[u64] = &[0, u32::MAX as u64, 1 << 32, u64::MAX];
    let number = || {
        prop_oneof![
            4 => any::<u32>().prop_map(Value::from),
            1 => select(EDGES).prop_map(Value::from),
            1 => odd(),
        ]
    };
    let fields = (
        (often(kind), often(name()), often(path), option::of(odd()), option::of(odd()), option::of(odd())),
        (
            often(name()),
            sometimes(offset()),
            sometimes(prop_oneof![6 => text(1..129), 1 => text(0..131), 1 => odd()]),
        ),
        (sometimes(after.boxed().prop_union(odd().boxed())), sometimes(number()), often(number()), often(error)),
        option::of(odd()),
    );
    let fields = fields.prop_map(|((kind, id, path, input, data, value), (name, timeout, key), rest, nobodys)| {
        let (after, credit, more, error) = rest;
        let fields = [
            ("type", kind),
            ("id", id),
            ("path", path),
            ("input", input),
            ("data", data),
            ("value", value),
            ("name", name),
            ("timeoutMs", timeout),
            ("idempotencyKey", key),
            ("after", after),
            ("credit", credit),
            ("more", more),
            ("error", error),
            ("nobodys", nobodys),
        ];
        fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect::<Vec<_>>()
    });
    fields.prop_shuffle()
}

/// Boxed, as the stack of a test has no room for all the trees at once.
fn often(field: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<Value>> {
    option::weighted(0.97, field).boxed()
}

fn sometimes(field: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<Value>> {
    option::weighted(0.5, field).boxed()
}

fn name() -> impl Strategy<Value = Value> {
    prop_oneof![30 => text(1..65), 1 => text(0..67), 1 => odd()]
}

/// Text of so many bytes, or nearly.
fn text(bytes: std::ops::Range<usize>) -> BoxedStrategy<Value> {
    let last = bytes.end - 1;
    let edge = prop_oneof![3 => bytes, 1 => Just(last)];
    prop_oneof![
        edge.prop_map(|bytes| "a".repeat(bytes).into()),
        "[a-z0-9 \"\\\\/\u{e9}\u{1f600}]{1,8}".prop_map(Value::from),
    ]
    .boxed()
}

/// Any kind of value; none of them has the letter "c" but in a string.
fn odd() -> BoxedStrategy<Value> {
    prop_oneof![
        Just(Value::Null),
        Just(true.into()),
        any::<i8>().prop_map(Value::from),
        select(&[0.0, -0.0, 1.0, -1.0, -0.5, 5e3, 9_007_199_254_740_991.0, 9_007_199_254_740_992.0, 1e20][..])
            .prop_map(Value::from),
        text(0..9),
        Just(json!([])),
        Just(json!({})),
        Just(json!(["a", 7])),
        Just(json!({ "epoch": { "a": [null] }, "code": [] })),
    ]
    .boxed()
}

fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect::<Map<_, _>>().into()
}

/// The fields of a position.
fn at(position: &Position) -> Fields {
    let mut fields = vec![("offset", offset_of(position.offset)), ("epoch", json!(position.epoch))];
    fields.extend(position.proof.as_ref().map(|proof| ("proof", json!(proof))));
    fields
}

/// One of each packet that is about a call or a subscription, with the fields that it must have.
pub(crate) fn each_outgoing(
    (id, path, value, number): (&str, &str, &Value, u64),
    mut check: impl FnMut(&Outgoing<'_>, Fields),
) {
    let position = Position::new(path, number);
    let proven = position.clone().with_proof("p7");
    let wrote = [Appended { topic: path.to_owned(), position: position.clone() }];
    let (gap, timeout) = (Gap::new(number, path), Duration::from_millis(number));
    let between = gap.clone().with_range(number, 7);
    let error = Error::new("A_1", path.to_owned()).with_details(value.clone()).with_retry_after(timeout);
    for (packet, expected) in [
        (
            Outgoing::Data { id, data: value, position: None, event: Some(path) },
            vec![("type", json!("data")), ("id", json!(id)), ("data", value.clone())],
        ),
        (
            Outgoing::Data { id, data: value, position: Some(&position), event: None },
            vec![
                ("type", json!("data")),
                ("id", json!(id)),
                ("data", value.clone()),
                ("offset", offset_of(number)),
                ("epoch", json!(path)),
            ],
        ),
        (Outgoing::Complete { id }, vec![("type", json!("complete")), ("id", json!(id))]),
        (
            Outgoing::Subscribed {
                id,
                topic: path,
                position: &position,
                shared: false,
                resumed: None,
                state: false,
            },
            [vec![("type", json!("subscribed")), ("id", json!(id)), ("topic", json!(path))], at(&position)]
                .concat(),
        ),
        (
            Outgoing::Subscribed {
                id,
                topic: path,
                position: &proven,
                shared: true,
                resumed: Some(false),
                state: true,
            },
            [
                vec![("type", json!("subscribed")), ("id", json!(id)), ("topic", json!(path))],
                at(&proven),
                vec![("shared", json!(true)), ("resumed", json!(false)), ("state", json!(true))],
            ]
            .concat(),
        ),
        (
            Outgoing::Entry { topic: path, data: value, position: &proven },
            [vec![("type", json!("data")), ("topic", json!(path)), ("data", value.clone())], at(&proven)].concat(),
        ),
        (
            Outgoing::Followed { topic: path, value, position: &position },
            [vec![("type", json!("message")), ("value", value.clone()), ("topic", json!(path))], at(&position)]
                .concat(),
        ),
        (
            Outgoing::Reply { id, data: value, wrote: &[] },
            vec![("type", json!("result")), ("id", json!(id)), ("data", value.clone())],
        ),
        (
            Outgoing::Reply { id, data: value, wrote: &wrote },
            vec![
                ("type", json!("result")),
                ("id", json!(id)),
                ("data", value.clone()),
                ("wrote", json!([whole(&[vec![("topic", json!(path))], at(&position)].concat())])),
            ],
        ),
        (
            Outgoing::Progress { id, data: value },
            vec![("type", json!("progress")), ("id", json!(id)), ("data", value.clone())],
        ),
        (
            Outgoing::Call { id, path, input: value, timeout },
            vec![
                ("type", json!("call")),
                ("id", json!(id)),
                ("path", json!(path)),
                ("input", value.clone()),
                ("timeoutMs", json!(number)),
            ],
        ),
        (Outgoing::Cancel { id }, vec![("type", json!("cancel")), ("id", json!(id))]),
        (
            Outgoing::Gap { id: Some(id), topic: None, gap: &between },
            vec![
                ("type", json!("gap")),
                ("id", json!(id)),
                ("count", json!(number)),
                ("from", offset_of(number)),
                ("to", json!(7)),
                ("cause", json!(path)),
            ],
        ),
        (
            Outgoing::Gap { id: None, topic: Some(id), gap: &gap },
            vec![("type", json!("gap")), ("topic", json!(id)), ("count", json!(number)), ("cause", json!(path))],
        ),
        (
            Outgoing::Error { id: Some(id), error: &error },
            vec![
                ("type", json!("error")),
                ("id", json!(id)),
                (
                    "error",
                    json!({
                        "code": "A_1", "message": path, "details": value, "retryable": true, "retryAfterMs": number,
                    }),
                ),
            ],
        ),
    ] {
        check(&packet, expected);
    }
}
