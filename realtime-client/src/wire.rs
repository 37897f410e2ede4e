//! Conversions between messages of the protocol and of the WebSocket.

use realtime_protocol::{Data, Message};
use tokio_tungstenite::tungstenite;

/// Returns the payload of a message, without a copy, or `None` for a control frame.
pub(crate) fn payload(message: &tungstenite::Message) -> Option<Data<'_>> {
    match message {
        tungstenite::Message::Text(text) => Some(Data::Text(text.as_str().into())),
        tungstenite::Message::Binary(bytes) => Some(Data::Binary((&**bytes).into())),
        _ => None,
    }
}

/// Converts a message for the WebSocket, without a copy.
pub(crate) fn to_websocket(message: Message) -> tungstenite::Message {
    match message {
        Message::Text(text) => tungstenite::Message::text(text),
        Message::Binary(bytes) => tungstenite::Message::binary(bytes),
    }
}
