use crate::{error::builder_of, runtime::Actix, transport::pipe};
use actix_web::{
    HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder,
    body::{BodyStream, MessageBody},
    http::{Version, header},
    rt,
    web::Payload,
};
use bytes::Bytes;
use realtime_core::{
    Context,
    raw::{Answer, RequestHead, Route},
};

/// Values that actix middleware passes to a handler: insert a `Vars` into the request's extensions, and the handler
/// reads its values with [`Context::var`].
///
/// Values directly in actix's extensions need not be `Send`, so they are not passed on.
pub type Vars = http::Extensions;

/// Answers a request of actix-web. If it becomes a connection, that runs on this worker.
pub(crate) async fn upgrade(route: Route, request: HttpRequest, mut payload: Payload) -> HttpResponse {
    let mut upgrade = match route.answer(context(&request), &mut payload, Actix).await {
        Answer::Upgrade(upgrade) => upgrade,
        Answer::Response(response) => {
            let (head, body) = response.into_parts();
            return builder(&request, &head).body(body);
        }
        Answer::Events(response) => {
            let (head, events) = response.into_parts();
            let (mut builder, body) = (builder(&request, &head), BodyStream::new(events));
            let is_old = request.version() == Version::HTTP_10;
            return if is_old { unchunked(builder, body) } else { builder.body(body) };
        }
    };
    let (head, ()) = upgrade.response().into_parts();
    let (transport, body) = pipe(payload, upgrade.permit());
    rt::spawn(upgrade.serve(transport, Bytes::new()));
    builder(&request, &head).upgrade("websocket").body(body)
}

fn builder(request: &HttpRequest, head: &http::response::Parts) -> HttpResponseBuilder {
    let mut builder = builder_of(head);
    // actix-http closes the connection after any request with `Connection: upgrade`. The response has to say so: a
    // proxy would reuse it.
    let closes = head.headers.get_all(http::header::CONNECTION).iter().any(|value| value == "close");
    if closes || (request.head().upgrade() && head.status != http::StatusCode::SWITCHING_PROTOCOLS) {
        builder.force_close();
    }
    builder
}

/// Builds a response without chunked encoding, for HTTP/1.0. actix-http turns chunking off only for a body with a
/// length, so it is set and its header removed.
fn unchunked(mut builder: HttpResponseBuilder, body: impl MessageBody + 'static) -> HttpResponse {
    let mut response = builder.no_chunking(0).force_close().body(body);
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response
}

fn context(request: &HttpRequest) -> Context {
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    RequestHead {
        method: http::Method::from_bytes(request.method().as_str().as_bytes()).unwrap_or_default(),
        version: match request.version() {
            Version::HTTP_09 => http::Version::HTTP_09,
            Version::HTTP_10 => http::Version::HTTP_10,
            Version::HTTP_2 => http::Version::HTTP_2,
            _ => http::Version::HTTP_11,
        },
        target: request.uri().path_and_query().map_or("/", |target| target.as_str()),
        authority: request.uri().authority().map(|authority| authority.as_str()),
        headers: headers.filter(|(name, value)| match *name {
            // actix-web has already answered `Expect: 100-continue`.
            "expect" => false,
            // actix-web opens no tunnel for a list such as `websocket, h2c`, so it cannot be answered with 101.
            "upgrade" => value.trim_ascii().eq_ignore_ascii_case(b"websocket"),
            _ => true,
        }),
        peer: request.peer_addr(),
        // actix-web has no extended CONNECT.
        extended_connect: false,
        extensions: request.extensions_mut().remove::<Vars>().unwrap_or_default(),
    }
    .into()
}
