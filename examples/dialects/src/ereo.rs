//! The chat of ereo's tutorial: a query, a mutation that is heard by subscribers, and a subscription by room.
//!
//! `@ereo/rpc` needs no protocol of its own: its frames and requests are among those of `realtime.v1.json`.

use crate::now;
use futures_util::{Stream, stream};
use realtime_core::{Call, Endpoint, Error, IntoMount, Mount, Procedure, Result, Subscription};
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::sync::broadcast::{self, error::RecvError};

const ROOMS: Procedure<(), Vec<String>> = Procedure::query("rooms.list");
const SEND: Procedure<Draft, Message> = Procedure::new("messages.send");
const EVENTS: Subscription<InRoom, RoomEvent> = Subscription::new("events");

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct InRoom {
    room_id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Draft {
    room_id: String,
    username: String,
    content: String,
}

#[derive(Clone, Serialize, Deserialize)]
struct Message {
    id: String,
    username: String,
    content: String,
    timestamp: u64,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
enum RoomEvent {
    Message { room_id: String, message: Message },
}

struct Chat {
    ids: AtomicU64,
    events: broadcast::Sender<RoomEvent>,
}

/// Mounts the chat at `/api/rpc`, for HTTP and for WebSockets.
pub fn mount() -> Mount {
    Endpoint::new(Chat { ids: AtomicU64::new(1), events: broadcast::channel(256).0 })
        .procedure(ROOMS, |_, ()| async { Ok(vec!["general".to_owned()]) })
        .procedure(SEND, |call, draft| async move { send(&call, draft) })
        .subscription(EVENTS, |call, room| async move { Ok(events(&call, room)) })
        .into_mount()
        .at("/api/rpc")
}

fn send(call: &Call<Chat>, draft: Draft) -> Result<Message> {
    let Draft { room_id, username, content } = draft;
    if content.is_empty() || content.chars().count() > 1000 {
        return Err(Error::invalid_argument("content: 1 to 1000 characters"));
    }
    let id = format!("msg_{}", call.state().ids.fetch_add(1, Relaxed));
    let message = Message { id, username, content, timestamp: now() };
    // Without subscribers nobody hears it.
    let _ = call.state().events.send(RoomEvent::Message { room_id, message: message.clone() });
    Ok(message)
}

/// The stream is dropped when the client unsubscribes or leaves: there is nothing to clean up.
fn events(call: &Call<Chat>, InRoom { room_id: wanted }: InRoom) -> impl Stream<Item = RoomEvent> + use<> {
    let events = call.state().events.subscribe();
    stream::unfold((events, wanted), |(mut events, wanted)| async move {
        loop {
            match events.recv().await {
                Ok(event) => {
                    let RoomEvent::Message { room_id, .. } = &event;
                    if *room_id == wanted {
                        return Some((event, (events, wanted)));
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    })
}
