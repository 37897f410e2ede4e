//! Whatever a client says in JSON is read or refused with an error that can be told.

#![no_main]
#![forbid(unsafe_code)]

#[path = "support/packets.rs"]
mod packets;

use libfuzzer_sys::fuzz_target;
use packets::Form;
use realtime_core::{
    Code, Error, Message,
    protocol::{Json, Outgoing, Packet, Protocol, Value},
    websocket::{Data, Kind},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// A message as an application has it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Say {
    text: String,
    #[serde(default)]
    tags: Vec<Tag>,
    to: Option<Box<Say>>,
    #[serde(default)]
    counts: BTreeMap<String, i32>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tag {
    Plain,
    At(u64, bool),
    Image { url: String },
}

fuzz_target!(|bytes: &[u8]| {
    let error = Json.decode(&Data::Binary(bytes.into())).unwrap_err();
    assert_eq!(error.code(), &Code::UNSUPPORTED_DATA);

    let data = Data::Text(String::from_utf8_lossy(bytes));
    match decode(&data) {
        Ok(packet) => FORM.check(packet),
        Err(error) => tell(&error),
    }
});

const FORM: Form = Form { read_value, resent_error, tell };

fn read_value(value: &Value<'_>) {
    let Value::Json(json) = value else { panic!("{value:?} is not of this format") };
    read_all(json);
}

/// With the value of a message found in its frame, which must not change what is read of it.
fn decode<'a>(data: &'a Data<'_>) -> Result<Packet<'a>, Error> {
    let packet = Json.decode(data)?;
    let Packet::Message(Value::JsonFrame(frame)) = packet else { return Ok(packet) };
    let quick = Value::JsonFrame(frame).parse::<serde_json::Value>().ok();
    let located = Value::JsonFrame(frame).located();
    let slow = match &located {
        Ok(Value::Json(json)) => Value::Json(json.as_ref().into()).parse().ok(),
        _ => None,
    };
    assert_eq!(quick, slow);
    located.map(Packet::Message)
}

fn read_all(json: &str) {
    // What serde_json writes for a value is the value; that it reads the same again is not so:
    // floats may lose their last bit, and its private keys mean more than themselves.
    if let Some(value) = read::<serde_json::Value>(json) {
        assert_eq!(resent(&value), serde_json::to_string(&value).unwrap());
    }
    if let Some(say) = read::<Say>(json) {
        assert_eq!(read(&resent(&say)), Some(say));
    }
    if let Some(message) = read::<Message>(json) {
        assert_eq!(read(&resent(&message)), Some(message));
    }
    read::<Option<f64>>(json);
}

fn read<T: DeserializeOwned + 'static>(json: &str) -> Option<T> {
    Value::Json(json.into())
        .parse()
        .inspect_err(|error| {
            assert_eq!(error.code(), &Code::INVALID_ARGUMENT);
            tell(error);
        })
        .ok()
}

/// The text of a value that was sent as a message and is read again.
fn resent<T: Serialize + Sync + 'static>(value: &T) -> String {
    let data = Data::Text(sent(&Outgoing::Message(value)).into());
    match decode(&data) {
        Ok(Packet::Message(Value::Json(json))) => json.into_owned(),
        other => panic!("{data:?} was read as {other:?}"),
    }
}

/// The words of an error that was sent with an id and is read again.
fn resent_error(id: &str, error: &Error) -> String {
    let data = Data::Text(sent(&Outgoing::Error { id: Some(id), error }).into());
    match decode(&data) {
        Ok(Packet::Error { id: read, error }) if read == id => error.to_string(),
        other => panic!("{data:?} was read as {other:?}"),
    }
}

/// An error is one frame that any client can read, and not much longer for what the client said.
fn tell(error: &Error) {
    let told = sent(&Outgoing::Error { id: None, error });
    assert!(told.len() < 4096, "{} bytes", told.len());
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["error"]["message"], error.message());
}

fn sent(packet: &Outgoing<'_>) -> String {
    let mut out = Vec::new();
    assert_eq!(Json.encode(packet, &mut out).unwrap(), Some(Kind::Text));
    String::from_utf8(out).unwrap()
}
