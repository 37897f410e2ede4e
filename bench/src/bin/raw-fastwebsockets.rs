//! fastwebsockets on hyper. The chat is a broadcast channel, written by a task with the half that writes.

use bench::Outcome;
use bytes::Bytes;
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError,
    upgrade::{self, UpgradeFut},
};
use http_body_util::Empty;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, sync::broadcast};

fn main() -> Outcome {
    bench::run(async |listener| {
        let listener = TcpListener::from_std(listener)?;
        let (talk, _) = broadcast::channel(1024);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let talk = talk.clone();
            let service = service_fn(move |request| open(request, talk.clone()));
            let http = http1::Builder::new();
            tokio::spawn(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
        }
    })
}

type Talk = broadcast::Sender<Bytes>;

async fn open(mut request: Request<Incoming>, talk: Talk) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgrade) = upgrade::upgrade(&mut request)?;
    match request.uri().path() {
        "/chat" => tokio::spawn(chat(upgrade, talk)),
        _ => tokio::spawn(echo(upgrade)),
    };
    Ok(response)
}

async fn echo(upgrade: UpgradeFut) -> Result<(), WebSocketError> {
    let mut socket = FragmentCollector::new(upgrade.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}

async fn chat(upgrade: UpgradeFut, talk: Talk) -> Result<(), WebSocketError> {
    let (read, mut write) = upgrade.await?.split(tokio::io::split);
    let mut read = FragmentCollectorRead::new(read);
    let mut said = talk.subscribe();
    let sending = tokio::spawn(async move {
        while let Ok(text) = said.recv().await {
            let frame = Frame::text(Payload::Borrowed(&text));
            if write.write_frame(frame).await.is_err() {
                return;
            }
        }
    });
    loop {
        // Replies of the reading half, such as pongs, are left out: the load sends no pings.
        let answer = &mut async |_: Frame<'_>| Ok::<(), WebSocketError>(());
        match read.read_frame(answer).await {
            Ok(frame) if frame.opcode == OpCode::Text => {
                let _ = talk.send(Bytes::copy_from_slice(&frame.payload));
            }
            Ok(frame) if frame.opcode != OpCode::Close => {}
            _ => break,
        }
    }
    sending.abort();
    Ok(())
}
