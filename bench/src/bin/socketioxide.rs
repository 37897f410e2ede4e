//! socketioxide on axum: the same cases with Socket.IO events. All clients are in one room.

use axum::{Router, serve::ListenerExt};
use bench::Outcome;
use socketioxide::{
    SocketIo,
    extract::{Data, SocketRef},
};
use tokio::net::TcpListener;

fn main() -> Outcome {
    bench::run(async |listener| {
        // The default of 128 packets is too small for eight messages under way with many members.
        let (layer, io) = SocketIo::builder().max_buffer_size(1024).build_layer();
        io.ns("/", open);
        let listener = TcpListener::from_std(listener)?.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        Ok(axum::serve(listener, Router::new().layer(layer)).await?)
    })
}

async fn open(socket: SocketRef) {
    socket.join("talk");
    socket.on("echo", async |socket: SocketRef, Data::<String>(text)| {
        let _ = socket.emit("echo", &text);
    });
    socket.on("chat", async |io: SocketIo, Data::<String>(text)| {
        let _ = io.to("talk").emit("chat", &text).await;
    });
}
