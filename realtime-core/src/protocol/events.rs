use realtime_protocol::{
    Close, Code, Data, Error, Kind,
    format::{Encode, Json, Outgoing, Packet, Protocol},
};
use serde::Serialize;
use std::time::Duration;

/// Server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>): one packet is one event. For
/// sending only.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Events {
    /// Values are JSON.
    Values,
    /// Messages are sent as they are: those of a plain endpoint.
    Whole,
    /// Each event is a frame of `realtime.v1.json`, without a name, which an application's own event could have too.
    Frames,
}

impl Protocol for Events {
    fn subprotocol(&self) -> Option<&'static str> {
        None
    }

    fn decode<'a>(&self, _: &'a Data<'_>) -> Result<Packet<'a>, Error> {
        Err(Error::new(Code::UNSUPPORTED_DATA, "server-sent events cannot carry messages to the server"))
    }

    fn encode(&self, packet: &Outgoing<'_>, out: &mut Vec<u8>) -> Result<Option<Kind>, Error> {
        if let Self::Frames = self {
            return frame(packet, out);
        }
        match packet {
            Outgoing::Opened => out.extend_from_slice(b":\n"),
            Outgoing::Message(value) => self.data(*value, out)?,
            Outgoing::Event { name, data } => {
                field("event", name, out)?;
                self.data(*data, out)?;
            }
            Outgoing::Data { data, position, event, .. } => {
                if let Some(position) = position {
                    field("id", &position.to_string(), out)?;
                }
                if let Some(event) = event {
                    field("event", event, out)?;
                }
                self.data(*data, out)?;
            }
            // Kept by the browser and not shown to the page: it comes back as `Last-Event-ID`.
            Outgoing::Subscribed { state: true, .. } => return Ok(None),
            Outgoing::Subscribed { position, .. } => field("id", &position.to_string(), out)?,
            Outgoing::Entry { data: value, position, .. } | Outgoing::Followed { value, position, .. } => {
                field("id", &position.to_string(), out)?;
                self.data(*value, out)?;
            }
            Outgoing::Complete { .. } => {
                write_end(out);
                out.extend_from_slice(b"event: complete\ndata: null\n");
            }
            Outgoing::Gap { topic, gap, .. } => {
                out.extend_from_slice(b"event: gap\n");
                json(&GapOf { topic: *topic, gap }, out)?;
            }
            Outgoing::Error { id, error } => {
                // The end of the only subscription, which would fail again.
                if id.is_some() && !error.is_retryable() {
                    write_end(out);
                }
                write_error(error, out)?;
                return Ok(Some(Kind::Text));
            }
            _ => return Ok(None),
        }
        out.push(b'\n');
        Ok(Some(Kind::Text))
    }
}

/// Appends a frame. The client can answer no call.
fn frame(packet: &Outgoing<'_>, out: &mut Vec<u8>) -> Result<Option<Kind>, Error> {
    if matches!(packet, Outgoing::Call { .. } | Outgoing::Cancel { .. }) {
        return Ok(None);
    }
    let mut json = Vec::new();
    let kind = Json.encode(packet, &mut json)?;
    if kind.is_some() {
        // A value that holds raw JSON may have several lines; joined again, they are the same JSON.
        lines(&json, out);
        out.push(b'\n');
    }
    Ok(kind)
}

/// Appends an error event.
pub(crate) fn write_error(error: &Error, out: &mut Vec<u8>) -> Result<(), Error> {
    out.extend_from_slice(ERROR);
    json(error, out)?;
    out.push(b'\n');
    Ok(())
}

/// Appends the id with which a source comes back that has reached the end: a browser reconnects after any other.
pub(crate) fn write_end(out: &mut Vec<u8>) {
    for part in ["id: ", END, "\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The last id of a stream after which nothing comes. It is no position.
pub(crate) const END: &str = "end";

/// Appends the field with the reconnection time, which may be in any event.
pub(crate) fn write_retry(after: Duration, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("retry: {}\n", after.as_millis()).as_bytes());
}

/// Appends the frame that ends a stream of frames: what a WebSocket's close frame says.
pub(crate) fn write_close(close: &Close, out: &mut Vec<u8>) -> Result<(), Error> {
    json(&CloseFrame { r#type: "close", code: close.code.get(), reason: &close.reason }, out)?;
    out.push(b'\n');
    Ok(())
}

const ERROR: &[u8] = b"event: error\n";
const DATA: &[u8] = b"data: ";

impl Events {
    fn data(self, value: &dyn Encode, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut data = Vec::new();
        match self {
            Self::Values | Self::Frames => value.encode_json(&mut data)?,
            Self::Whole => {
                if value.encode_whole(&mut data)? == Kind::Binary {
                    return Err(Error::new(Code::UNSUPPORTED_DATA, "server-sent events are text"));
                }
            }
        }
        lines(&data, out);
        Ok(())
    }
}

#[derive(Serialize)]
struct CloseFrame<'a> {
    r#type: &'static str,
    code: u16,
    reason: &'a str,
}

#[derive(Serialize)]
struct GapOf<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(flatten)]
    gap: &'a realtime_protocol::Gap,
}

fn json(value: &impl Serialize, out: &mut Vec<u8>) -> Result<(), Error> {
    out.extend_from_slice(DATA);
    serde_json::to_writer(&mut *out, value).map_err(Error::internal)?;
    out.push(b'\n');
    Ok(())
}

/// Writes a `data` field for each line; a carriage return ends a line too.
fn lines(data: &[u8], out: &mut Vec<u8>) {
    let mut rest = data;
    loop {
        out.extend_from_slice(DATA);
        let Some(end) = memchr::memchr2(b'\n', b'\r', rest) else { break };
        out.extend_from_slice(&rest[..end]);
        out.push(b'\n');
        let ends = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        rest = &rest[end + ends..];
    }
    out.extend_from_slice(rest);
    out.push(b'\n');
}

fn field(name: &str, value: &str, out: &mut Vec<u8>) -> Result<(), Error> {
    if value.contains(['\n', '\r', '\0']) {
        return Err(Error::internal(format!(
            "the {name} {value:?} of a server-sent event has more than one line"
        )));
    }
    for part in [name, ": ", value, "\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use realtime_protocol::{Gap, Position};

    fn encode(events: Events, packet: &Outgoing<'_>) -> String {
        let mut out = Vec::new();
        let kind = events.encode(packet, &mut out).unwrap();
        assert_eq!(kind.is_some(), !out.is_empty());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_packet_is_an_event() {
        let position = Position::new("e", 7);
        let gap = Gap::new(2, "overflow");
        let error = Error::not_found("gone");
        for (packet, expected) in [
            (Outgoing::Opened, ":\n\n"),
            (Outgoing::Message(&1), "data: 1\n\n"),
            (Outgoing::Event { name: "chat", data: &"a" }, "event: chat\ndata: \"a\"\n\n"),
            (Outgoing::Data { id: "s", data: &1, position: None, event: None }, "data: 1\n\n"),
            (
                Outgoing::Data { id: "s", data: &1, position: Some(&position), event: Some("tick") },
                "id: e:7\nevent: tick\ndata: 1\n\n",
            ),
            (
                Outgoing::Subscribed {
                    id: "s",
                    topic: "t",
                    position: &position,
                    shared: false,
                    resumed: Some(true),
                    state: false,
                },
                "id: e:7\n\n",
            ),
            (Outgoing::Entry { topic: "t", data: &1, position: &position }, "id: e:7\ndata: 1\n\n"),
            (Outgoing::Followed { topic: "t", value: &1, position: &position }, "id: e:7\ndata: 1\n\n"),
            (Outgoing::Complete { id: "s" }, "id: end\nevent: complete\ndata: null\n\n"),
            (
                Outgoing::Gap { id: Some("s"), topic: None, gap: &gap },
                "event: gap\ndata: {\"count\":2,\"cause\":\"overflow\"}\n\n",
            ),
            (
                Outgoing::Error { id: None, error: &error },
                "event: error\ndata: {\"code\":\"NOT_FOUND\",\"message\":\"gone\"}\n\n",
            ),
            (
                Outgoing::Error { id: Some("s"), error: &error },
                "id: end\nevent: error\ndata: {\"code\":\"NOT_FOUND\",\"message\":\"gone\"}\n\n",
            ),
            (
                Outgoing::Error { id: Some("s"), error: &Error::unavailable("later") },
                "event: error\ndata: {\"code\":\"UNAVAILABLE\",\"message\":\"later\",\"retryable\":true}\n\n",
            ),
            (Outgoing::Pong, ""),
        ] {
            assert_eq!(encode(Events::Values, &packet), expected);
        }
    }

    #[test]
    fn each_frame_is_an_event_without_a_name() {
        let position = Position::new("e", 7);
        let raw = serde_json::value::RawValue::from_string("[1,\n2]".into()).unwrap();
        for (packet, expected) in [
            (
                Outgoing::Event { name: "error", data: &1 },
                "data: {\"type\":\"event\",\"name\":\"error\",\"data\":1}\n\n",
            ),
            (
                Outgoing::Data { id: "s", data: &1, position: Some(&position), event: Some("tick") },
                "data: {\"type\":\"data\",\"id\":\"s\",\"data\":1,\"offset\":7,\"epoch\":\"e\"}\n\n",
            ),
            (Outgoing::Message(&raw), "data: {\"type\":\"message\",\"value\":[1,\ndata: 2]}\n\n"),
            (Outgoing::Complete { id: "s" }, "data: {\"type\":\"complete\",\"id\":\"s\"}\n\n"),
            (Outgoing::Opened, ""),
            (Outgoing::Cancel { id: "c1" }, ""),
        ] {
            assert_eq!(encode(Events::Frames, &packet), expected);
        }
    }

    #[test]
    fn text_of_several_lines_has_a_field_for_each() {
        for (text, expected) in [
            ("a\nb", "data: a\ndata: b\n\n"),
            ("a\r\nb\rc\n", "data: a\ndata: b\ndata: c\ndata: \n\n"),
            ("", "data: \n\n"),
            ("\n", "data: \ndata: \n\n"),
            ("event: x", "data: event: x\n\n"),
        ] {
            assert_eq!(encode(Events::Whole, &Outgoing::Message(&text.to_owned())), expected);
        }
    }

    #[test]
    fn a_name_of_several_lines_is_refused() {
        let packet = Outgoing::Event { name: "a\ndata: forged", data: &1 };
        assert!(Events::Values.encode(&packet, &mut Vec::new()).is_err());
        let position = Position::new("e\r", 1);
        let packet = Outgoing::Data { id: "s", data: &1, position: Some(&position), event: None };
        assert!(Events::Values.encode(&packet, &mut Vec::new()).is_err());
    }
}
