//! tokio-tungstenite on hyper. The chat is a broadcast channel, written to each client on arrival.

use bench::Outcome;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::Empty;
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
    server::conn::http1,
    service::service_fn,
    upgrade::Upgraded,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::broadcast};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::derive_accept_key,
        protocol::{Message, Role},
    },
};

fn main() -> Outcome {
    bench::run(async |listener| {
        let listener = TcpListener::from_std(listener)?;
        let (talk, _) = broadcast::channel(1024);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let talk = talk.clone();
            let service = service_fn(move |request| upgrade(request, talk.clone()));
            let http = http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
        }
    })
}

type Talk = broadcast::Sender<Message>;
type Socket = WebSocketStream<TokioIo<Upgraded>>;

async fn upgrade(mut request: Request<Incoming>, talk: Talk) -> hyper::http::Result<Response<Empty<Bytes>>> {
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        return Response::builder().status(StatusCode::UPGRADE_REQUIRED).body(Empty::new());
    };
    let accept = derive_accept_key(key.as_bytes());
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(&mut request).await else {
            return;
        };
        let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        match request.uri().path() {
            "/chat" => chat(socket, talk).await,
            _ => echo(socket).await,
        }
    });
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    let response = response.header(CONNECTION, "Upgrade").header(UPGRADE, "websocket");
    response.header(SEC_WEBSOCKET_ACCEPT, accept).body(Empty::new())
}

async fn echo(mut socket: Socket) {
    while let Some(Ok(message)) = socket.next().await {
        let data = message.is_text() || message.is_binary();
        if data && socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn chat(socket: Socket, talk: Talk) {
    let (mut sink, mut stream) = socket.split();
    let mut said = talk.subscribe();
    let sending = async {
        while let Ok(message) = said.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
    };
    let receiving = async {
        while let Some(Ok(message)) = stream.next().await {
            if message.is_text() {
                let _ = talk.send(message);
            }
        }
    };
    tokio::select! {
        () = sending => {}
        () = receiving => {}
    }
}
