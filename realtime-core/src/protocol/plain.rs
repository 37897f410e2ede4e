use realtime_protocol::{
    Data, Error, Kind,
    format::{Outgoing, Packet, Protocol},
};

/// A protocol without an envelope: one WebSocket message is one value. For clients with their own message format.
///
/// Values are JSON text, or the message itself if the handler's type is `String`, `Bytes` or
/// [`Message`](crate::Message). There is no frame for errors: an error closes the connection with its close code and
/// message.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Protocol for Plain {
    fn subprotocol(&self) -> Option<&'static str> {
        None
    }

    fn decode<'a>(&self, _data: &'a Data<'_>) -> Result<Packet<'a>, Error> {
        Ok(Packet::Whole)
    }

    fn encode(&self, packet: &Outgoing<'_>, out: &mut Vec<u8>) -> Result<Option<Kind>, Error> {
        match packet {
            Outgoing::Message(value) | Outgoing::Event { data: value, .. } => value.encode_whole(out).map(Some),
            Outgoing::Followed { value, .. } => value.encode_whole(out).map(Some),
            _ => Ok(None),
        }
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn borrow<'a>(&self, packet: &Outgoing<'a>) -> Option<(Kind, &'a [u8])> {
        match packet {
            Outgoing::Message(value) | Outgoing::Event { data: value, .. } => value.as_whole(),
            Outgoing::Followed { value, .. } => value.as_whole(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use realtime_protocol::{Gap, Position};
    use std::time::Duration;

    #[test]
    fn what_needs_an_envelope_is_not_sent() {
        let (id, data, gap) = ("1", &7_u32, &Gap::new(1, "overflow"));
        for packet in [
            Outgoing::Data { id, data, position: None, event: Some("a") },
            Outgoing::Complete { id },
            Outgoing::Reply { id, data, wrote: &[] },
            Outgoing::Subscribed {
                id,
                topic: "a",
                position: &Position::new("e", 1),
                shared: true,
                resumed: None,
                state: false,
            },
            Outgoing::Entry { topic: "a", data, position: &Position::new("e", 1) },
            Outgoing::Progress { id, data },
            Outgoing::Call { id, path: "a", input: data, timeout: Duration::from_secs(1) },
            Outgoing::Cancel { id },
            Outgoing::Gap { id: Some(id), topic: None, gap },
            Outgoing::Error { id: Some(id), error: &Error::not_found("a") },
            Outgoing::Pong,
        ] {
            let mut out = Vec::new();
            assert_eq!(Plain.encode(&packet, &mut out).unwrap(), None, "{packet:?}");
            assert!(out.is_empty() && Plain.borrow(&packet).is_none(), "{packet:?}");
        }
    }
}
