use crate::{runtime::Actix, transport::pipe};
use actix_web::{
    HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder,
    body::BodyStream,
    http::{StatusCode, Version},
    rt,
    web::Payload,
};
use bytes::Bytes;
use realtime_core::{
    Context, Realtime,
    raw::{Answer, RequestHead},
};

/// What actix middleware wants a handler to know: put one into the request's extensions, and the
/// handler finds its values by [`Context::var`].
///
/// actix's own extensions may hold values that cannot cross threads, so only these are taken over.
pub type Vars = http::Extensions;

/// Answers one request of actix-web's, and runs its connection on this worker if it becomes one.
pub(crate) async fn upgrade(realtime: &Realtime, request: &HttpRequest, mut payload: Payload) -> HttpResponse {
    let mut upgrade = match realtime.answer(context(request), &mut payload, Actix).await {
        Answer::Upgrade(upgrade) => upgrade,
        Answer::Response(response) => {
            let (head, body) = response.into_parts();
            return builder(&head).body(body);
        }
        Answer::Events(response) => {
            let (head, events) = response.into_parts();
            return builder(&head).body(BodyStream::new(events));
        }
    };
    let (head, ()) = upgrade.response().into_parts();
    let (transport, body) = pipe(payload, upgrade.permit());
    rt::spawn(upgrade.serve(transport, Bytes::new()));
    builder(&head).upgrade("websocket").body(body)
}

/// actix-web speaks in the types of another version of the `http` crate.
fn builder(head: &http::response::Parts) -> HttpResponseBuilder {
    let status = StatusCode::from_u16(head.status.as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut builder = HttpResponse::build(status);
    for (name, value) in &head.headers {
        builder.append_header((name.as_str(), value.as_bytes()));
    }
    builder
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
        // actix-web has answered an `Expect: 100-continue` already.
        headers: headers.filter(|(name, _)| *name != "expect"),
        peer: request.peer_addr(),
        // actix-web has no extended CONNECT.
        extended_connect: false,
        extensions: request.extensions_mut().remove::<Vars>().unwrap_or_default(),
    }
    .into()
}
