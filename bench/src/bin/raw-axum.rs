//! axum's own WebSockets. The chat is axum's example: a broadcast channel, and a task for each direction.

use axum::{
    Router,
    extract::{
        State, WebSocketUpgrade,
        ws::{Message, Utf8Bytes, WebSocket},
    },
    response::Response,
    routing::get,
    serve::ListenerExt,
};
use bench::Outcome;
use futures_util::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::broadcast};

fn main() -> Outcome {
    bench::run(async |listener| {
        let (talk, _) = broadcast::channel(1024);
        let app = Router::new().route("/echo", get(open_echo)).route("/typed", get(open_typed));
        let app = app.route("/chat", get(open_chat)).with_state(talk);
        let listener = TcpListener::from_std(listener)?.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        Ok(axum::serve(listener, app).await?)
    })
}

type Talk = broadcast::Sender<Utf8Bytes>;

async fn open_echo(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(echo)
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let data = matches!(message, Message::Text(_) | Message::Binary(_));
        if data && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn open_typed(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(typed)
}

/// An envelope like ours, written by hand: parsed from JSON, and serialised again.
async fn typed(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        let Message::Text(text) = message else {
            continue;
        };
        let Ok(packet) = serde_json::from_str::<Packet>(&text) else {
            return;
        };
        let Ok(text) = serde_json::to_string(&packet) else {
            return;
        };
        if socket.send(Message::Text(text.into())).await.is_err() {
            return;
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "lowercase")]
enum Packet {
    Message { text: String },
}

async fn open_chat(upgrade: WebSocketUpgrade, State(talk): State<Talk>) -> Response {
    upgrade.on_upgrade(|socket| chat(socket, talk))
}

async fn chat(socket: WebSocket, talk: Talk) {
    let (mut sink, mut stream) = socket.split();
    let mut said = talk.subscribe();
    let mut sending = tokio::spawn(async move {
        while let Ok(text) = said.recv().await {
            if sink.send(Message::Text(text)).await.is_err() {
                return;
            }
        }
    });
    let mut receiving = tokio::spawn(async move {
        while let Some(Ok(Message::Text(text))) = stream.next().await {
            let _ = talk.send(text);
        }
    });
    tokio::select! {
        _ = &mut sending => receiving.abort(),
        _ = &mut receiving => sending.abort(),
    }
}
