//! The messages of ws-kit's recipe: an event of a channel, a request with an answer, and the two of its example server.

mod protocol;

pub use protocol::WsKit;

use crate::now;
use realtime_core::{Call, Endpoint, Error, Event, IntoMount, Mount, Procedure, Result, Topic};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

const PING: Event<Value> = Event::new("PING");
const PONG: Event<Value> = Event::new("PONG");
const ECHO: Event<Value> = Event::new("ECHO");
const CHAT_MESSAGE: Event<ChatMessage> = Event::new("CHAT_MESSAGE").with_check(not_too_long);
const GET_MESSAGES: Procedure<GetMessages, Messages> = Procedure::query("GET_MESSAGES");
const CHANNEL: Topic<()> = Topic::fixed("channel:general");

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ChatMessage {
    channel_id: String,
    text: String,
    sent_at: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GetMessages {
    channel_id: String,
    #[serde(default = "fifty")]
    limit: usize,
}

#[derive(Serialize, Deserialize)]
struct Messages {
    messages: Vec<Message>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Message {
    id: String,
    text: String,
}

/// The last messages, of one channel.
type History = Mutex<VecDeque<Message>>;

/// Mounts the chat at `/ws`. The schemas' pairs of request and answer are named here: clients do not send them.
pub fn mount() -> Mount {
    let chat = Endpoint::new(History::default())
        .on_open(|connected| async move { connected.subscribe(&CHANNEL) })
        .on(PING, |call, _| async move { call.connection()?.emit(PONG, &json!({ "timestamp": now() })) })
        .on(ECHO, |call, payload| async move { call.connection()?.emit(ECHO, &payload) })
        .on(CHAT_MESSAGE, |call, message| async move { publish(&call, message) })
        .procedure(GET_MESSAGES, |call, asked| async move { messages(&call, &asked) });
    chat.into_mount().protocol(WsKit::new().rpc("GET_MESSAGES", "MESSAGES")).at("/ws")
}

/// Publishes to all members, the sender among them, as `ctx.publish` does.
fn publish(call: &Call<History>, message: ChatMessage) -> Result {
    only_general(&message.channel_id)?;
    let mut history = call.state().lock().unwrap_or_else(PoisonError::into_inner);
    let id = format!("{}-{}", message.sent_at, history.len());
    history.truncate(KEPT - 1);
    history.push_front(Message { id, text: message.text.clone() });
    call.to(&CHANNEL).emit(CHAT_MESSAGE, &message)
}

fn messages(call: &Call<History>, asked: &GetMessages) -> Result<Messages> {
    only_general(&asked.channel_id)?;
    let history = call.state().lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Messages { messages: history.iter().take(asked.limit).rev().cloned().collect() })
}

fn only_general(channel: &str) -> Result {
    if channel == "general" { Ok(()) } else { Err(Error::not_found(format!("there is no channel {channel:?}"))) }
}

fn not_too_long(message: &ChatMessage) -> Result {
    match message.text.chars().count() {
        1..=2000 => Ok(()),
        _ => Err(Error::invalid_argument("text: 1 to 2000 characters")),
    }
}

fn fifty() -> usize {
    50
}

const KEPT: usize = 100;
