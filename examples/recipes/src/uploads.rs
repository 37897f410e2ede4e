use axum::{
    Router,
    body::Body,
    extract::{Path, State},
    http::StatusCode,
    routing::put,
};
use futures_util::StreamExt as _;
use realtime_core::{Endpoint, Event, Realtime, Topic};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    pub name: String,
    pub bytes: usize,
    pub done: bool,
}

pub const UPLOADED: Event<Progress> = Event::new("uploaded");
const UPLOADS: Topic<()> = Topic::fixed("uploads");

/// A file at most.
const MAX_BYTES: usize = 64 * 1024 * 1024;

pub fn realtime() -> Realtime {
    let api = Endpoint::new(()).on_open(|client| async move { client.subscribe(&UPLOADS) });
    Realtime::builder().endpoint("api", api).build()
}

/// The bytes go by a route of the application, beside the socket: a WebSocket would have to cut them into messages.
pub fn app(realtime: &Realtime) -> Router {
    let routes = Router::new().route("/files/{name}", put(upload)).with_state(realtime.clone());
    routes.merge(adapter_axum::routes(realtime))
}

async fn upload(State(realtime): State<Realtime>, Path(name): Path<String>, body: Body) -> StatusCode {
    let tell = |bytes, done| {
        let progress = Progress { name: name.clone(), bytes, done };
        // All who are connected are told; that none is, is no failure of the upload.
        drop(realtime.to(&UPLOADS).emit(UPLOADED, &progress));
    };
    let (mut bytes, mut told) = (0, 0);
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else { return StatusCode::BAD_REQUEST };
        bytes += chunk.len(); // and store the chunk
        if bytes > MAX_BYTES {
            return StatusCode::PAYLOAD_TOO_LARGE;
        }
        if bytes - told >= 1024 * 1024 {
            told = bytes;
            tell(bytes, false);
        }
    }
    tell(bytes, true);
    StatusCode::NO_CONTENT
}

#[cfg(test)]
mod tests {
    use super::*;
    use adapter_testing::{TestServer, block_on};
    use axum::http::Request;
    use futures_util::stream;
    use std::convert::Infallible;
    use tower_service::Service;

    fn put(chunks: usize) -> Request<Body> {
        let chunk = || Ok::<_, Infallible>(vec![0_u8; 1024 * 1024]);
        let body = Body::from_stream(stream::iter((0..chunks).map(move |_| chunk())));
        Request::put("/files/cat.png").body(body).unwrap()
    }

    #[test]
    fn pages_see_an_upload_grow() {
        block_on(async {
            let server = TestServer::new(realtime());
            let mut page = server.open("api").await.unwrap();
            let stored = app(server.realtime()).call(put(2)).await.unwrap();
            assert_eq!(stored.status(), 204);
            for (bytes, done) in [(1, false), (2, false), (2, true)] {
                let progress = Progress { name: "cat.png".into(), bytes: bytes * 1024 * 1024, done };
                assert_eq!(page.expect_event(UPLOADED).await, progress);
            }
        });
    }

    #[test]
    fn what_is_too_large_is_refused_on_the_way() {
        block_on(async {
            let server = TestServer::new(realtime());
            let refused = app(server.realtime()).call(put(1000)).await.unwrap();
            assert_eq!(refused.status(), 413);
        });
    }
}
