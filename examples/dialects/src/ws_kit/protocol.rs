use crate::{now, unreadable};
use realtime_core::{
    Error, Result,
    protocol::{Encode, Outgoing, Packet, Protocol, Value},
    websocket::{Data, Kind},
};
use serde::Deserialize;
use serde_json::{Value as Json, json, value::RawValue};
use std::{collections::HashMap, time::Duration};

/// The envelope of ws-kit, `{type, meta, payload}`, in text.
///
/// A request does not look different from an event, and its answer has a type of its own, so both types are
/// [named](Self::rpc). The id of a call is the correlation id and the type, so that the answer can be named too.
#[derive(Clone, Debug, Default)]
pub struct WsKit {
    replies: HashMap<&'static str, &'static str>,
}

impl WsKit {
    /// Creates the protocol without requests.
    pub fn new() -> Self {
        Self::default()
    }

    /// Names the type of a request and that of its answer, as `rpc()` does.
    #[must_use = "the protocol with the request is returned"]
    pub fn rpc(mut self, request: &'static str, reply: &'static str) -> Self {
        self.replies.insert(request, reply);
        self
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    meta: Meta,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Meta {
    correlation_id: Option<String>,
    timeout_ms: Option<u64>,
}

impl Protocol for WsKit {
    fn subprotocol(&self) -> Option<&'static str> {
        None
    }

    fn decode<'a>(&self, data: &'a Data<'_>) -> Result<Packet<'a>, Error> {
        let Envelope { kind, meta, payload } = serde_json::from_slice(data.as_bytes()).map_err(unreadable)?;
        let payload = Value::Json(payload.map_or("null", RawValue::get).into());
        Ok(match meta.correlation_id {
            _ if kind == "__heartbeat" => Packet::Ping,
            Some(id) if self.replies.contains_key(&*kind) => Packet::Call {
                id: format!("{id}\n{kind}").into(),
                path: kind.into(),
                input: payload,
                timeout: meta.timeout_ms.map(Duration::from_millis),
                key: None,
            },
            _ => Packet::Event { name: kind.into(), data: payload },
        })
    }

    fn encode(&self, packet: &Outgoing<'_>, out: &mut Vec<u8>) -> Result<Option<Kind>, Error> {
        let frame = match packet {
            Outgoing::Event { name, data } => message(name, json!({ "timestamp": now() }), payload(*data)?),
            Outgoing::Reply { id, data, .. } => {
                let (correlation, kind) = split(id);
                let reply = self.replies.get(kind).copied().unwrap_or_default();
                message(reply, answer(correlation), payload(*data)?)
            }
            Outgoing::Progress { id, data } => message("$ws:rpc-progress", answer(split(id).0), payload(*data)?),
            Outgoing::Error { id: Some(id), error } => message("RPC_ERROR", answer(split(id).0), failure(error)),
            Outgoing::Error { id: None, error } => message("ERROR", json!({}), failure(error)),
            Outgoing::Pong => json!({ "type": "__heartbeat_ack", "meta": { "ts": now() } }),
            _ => return Ok(None),
        };
        serde_json::to_writer(out, &frame).map_err(Error::internal)?;
        Ok(Some(Kind::Text))
    }
}

fn split(id: &str) -> (&str, &str) {
    id.rsplit_once('\n').unwrap_or((id, ""))
}

fn message(kind: &str, meta: Json, payload: Json) -> Json {
    json!({ "type": kind, "meta": meta, "payload": payload })
}

fn answer(correlation: &str) -> Json {
    json!({ "correlationId": correlation, "timestamp": now() })
}

fn failure(error: &Error) -> Json {
    let mut failure = json!(error);
    failure["retryable"] = error.is_retryable().into();
    failure
}

fn payload(value: &dyn Encode) -> Result<Json> {
    let mut payload = Json::Null;
    value.encode_with(&mut |value| {
        payload = serde_json::to_value(value).map_err(Error::internal)?;
        Ok(())
    })?;
    Ok(payload)
}
