use crate::unreadable;
use realtime_core::{
    CloseCode, Error, Result,
    protocol::{Encode, Outgoing, Packet, Protocol, Value},
    websocket::{Data, Kind},
};
use serde_json::{Value as Json, json};

/// The frames of eclipsa's `realtime()`: messages and errors, with values in eclipsa's serialization.
#[derive(Clone, Copy, Debug)]
pub struct Eclipsa;

impl Protocol for Eclipsa {
    fn subprotocol(&self) -> Option<&'static str> {
        None
    }

    fn decode<'a>(&self, data: &'a Data<'_>) -> Result<Packet<'a>, Error> {
        let mut frame: Json = serde_json::from_slice(data.as_bytes()).map_err(unreadable)?;
        if frame["type"] != "message" {
            return Err(unreadable("Malformed realtime frame."));
        }
        Ok(Packet::Message(read(frame["value"].take())?))
    }

    fn encode(&self, packet: &Outgoing<'_>, out: &mut Vec<u8>) -> Result<Option<Kind>, Error> {
        let frame = match packet {
            Outgoing::Message(value) => json!({ "type": "message", "value": written(*value)? }),
            Outgoing::Error { error, .. } => json!({ "type": "error", "error": tagged(json!(error)) }),
            _ => return Ok(None),
        };
        serde_json::to_writer(out, &frame).map_err(Error::internal)?;
        Ok(Some(Kind::Text))
    }

    fn input(&self, query: &str) -> Result<Value<'static>, Error> {
        let input = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "input");
        let Some((_, json)) = input else { return Ok(Value::Json("null".into())) };
        read(serde_json::from_str(&json).map_err(unreadable)?)
    }

    fn close<'a>(&self, _: &'a Error) -> (CloseCode, &'a str) {
        (CloseCode::INTERNAL, "Realtime handler failed")
    }
}

fn read(value: Json) -> Result<Value<'static>> {
    Ok(Value::Json(untagged(value)?.unwrap_or_default().to_string().into()))
}

/// Returns a value as JSON, `None` for `undefined`.
fn untagged(value: Json) -> Result<Option<Json>> {
    let malformed = || unreadable("Malformed serialized object.");
    let list = |items: Vec<Json>| {
        let items = items.into_iter().map(|item| Ok(untagged(item)?.unwrap_or_default()));
        Ok(Some(Json::Array(items.collect::<Result<_>>()?)))
    };
    let mut object = match value {
        Json::Array(items) => return list(items),
        Json::Object(object) => object,
        other => return Ok(Some(other)),
    };
    let tag = object.remove("__eclipsa_type");
    let entries = object.remove("entries").unwrap_or_default();
    match (tag.as_ref().and_then(Json::as_str), entries) {
        (Some("undefined"), Json::Null) => Ok(None),
        (Some("set"), Json::Array(items)) => list(items),
        (Some("object" | "map"), entries) => {
            let entries: Vec<(String, Json)> = serde_json::from_value(entries).map_err(|_| malformed())?;
            let fields = entries.into_iter().map(|(key, value)| Ok(untagged(value)?.map(|value| (key, value))));
            Ok(Some(Json::Object(fields.filter_map(Result::transpose).collect::<Result<_>>()?)))
        }
        _ => Err(malformed()),
    }
}

fn tagged(value: Json) -> Json {
    match value {
        Json::Array(items) => items.into_iter().map(tagged).collect(),
        Json::Object(object) => {
            let entries = object.into_iter().map(|(key, value)| json!([key, tagged(value)]));
            json!({ "__eclipsa_type": "object", "entries": entries.collect::<Vec<_>>() })
        }
        other => other,
    }
}

fn written(value: &dyn Encode) -> Result<Json> {
    let mut written = Json::Null;
    value.encode_with(&mut |value| {
        written = tagged(serde_json::to_value(value).map_err(Error::internal)?);
        Ok(())
    })?;
    Ok(written)
}
