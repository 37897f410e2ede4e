//! Whatever a client says in MessagePack is read or refused with an error that can be told, and ends
//! where rmp-serde finds its end.

#![no_main]
#![forbid(unsafe_code)]

#[path = "support/packets.rs"]
mod packets;

use libfuzzer_sys::fuzz_target;
use packets::Form;
use realtime_core::{
    Code, Error, Message,
    protocol::{MessagePack, Outgoing, Packet, Protocol, Value},
    websocket::{Data, Kind},
};
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use std::{collections::BTreeMap, io::Cursor};

/// A message as an application has it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Say {
    text: String,
    #[serde(default)]
    tags: Vec<Tag>,
    to: Option<Box<Say>>,
    #[serde(default)]
    counts: BTreeMap<i32, i128>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tag {
    Plain,
    At(u64, bool),
    Image { url: String },
    Nested(Box<Tag>),
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let error = MessagePack.decode(&Data::Text(text.into())).unwrap_err();
        assert_eq!(error.code(), &Code::UNSUPPORTED_DATA);
    }

    let data = Data::Binary(bytes.into());
    match MessagePack.decode(&data) {
        Ok(packet) => FORM.check(packet),
        Err(error) => tell(&error),
    }

    // The bytes as a value, which they may be or not.
    read_all(bytes);
    let frame = [b"\x82\xa4type\xa7message\xa5value", bytes].concat();
    let is_value = matches!(MessagePack.decode(&Data::Binary(frame.into())), Ok(Packet::Message(_)));
    // Below rmp-serde's own limit of depth, which no shorter input reaches.
    if bytes.len() < 1000 {
        assert_eq!(is_value, end(bytes) == Some(bytes.len()));
    }
});

const FORM: Form = Form { read_value, resent_error, tell };

fn read_value(value: &Value<'_>) {
    let Value::MessagePack(bytes) = value else { panic!("{value:?} is not of this format") };
    assert_eq!(end(bytes), Some(bytes.len()));
    read_all(bytes);
}

/// Where rmp-serde finds the end of a value.
fn end(bytes: &[u8]) -> Option<usize> {
    let mut deserializer = rmp_serde::Deserializer::new(Cursor::new(bytes));
    match IgnoredAny::deserialize(&mut deserializer) {
        Ok(_) => Some(deserializer.position() as usize),
        Err(rmp_serde::decode::Error::DepthLimitExceeded) => Some(bytes.len()),
        Err(_) => None,
    }
}

fn read_all(bytes: &[u8]) {
    if let Some(value) = read::<serde_json::Value>(bytes) {
        assert_eq!(read(&resent(&value)), Some(value));
    }
    if let Some(say) = read::<Say>(bytes) {
        assert_eq!(read(&resent(&say)), Some(say));
    }
    if let Some(message) = read::<Message>(bytes) {
        assert_eq!(read(&resent(&message)), Some(message));
    }
    if let Some(number) = read::<f64>(bytes) {
        assert_eq!(read::<f64>(&resent(&number)).map(f64::to_bits), Some(number.to_bits()));
    }
}

fn read<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Option<T> {
    Value::MessagePack(bytes.into())
        .parse()
        .inspect_err(|error| {
            assert_eq!(error.code(), &Code::INVALID_ARGUMENT);
            tell(error);
        })
        .ok()
}

/// The bytes of a value that was sent as a message and is read again.
fn resent<T: Serialize + Sync + 'static>(value: &T) -> Vec<u8> {
    let data = Data::Binary(sent(&Outgoing::Message(value)).into());
    match MessagePack.decode(&data) {
        Ok(Packet::Message(Value::MessagePack(bytes))) => bytes.into_owned(),
        other => panic!("{data:?} was read as {other:?}"),
    }
}

/// The words of an error that was sent with an id and is read again.
fn resent_error(id: &str, error: &Error) -> String {
    let data = Data::Binary(sent(&Outgoing::Error { id: Some(id), error }).into());
    match MessagePack.decode(&data) {
        Ok(Packet::Error { id: read, error }) if read == id => error.to_string(),
        other => panic!("{data:?} was read as {other:?}"),
    }
}

/// An error is one frame that any client can read, and not much longer for what the client said.
fn tell(error: &Error) {
    let told = sent(&Outgoing::Error { id: None, error });
    assert!(told.len() < 4096, "{} bytes", told.len());
    let told: serde_json::Value = rmp_serde::from_slice(&told).unwrap();
    assert_eq!(told["error"]["message"], error.message());
}

fn sent(packet: &Outgoing<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(MessagePack.encode(packet, &mut out).unwrap(), Some(Kind::Binary));
    out
}
