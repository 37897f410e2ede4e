use super::{
    Registry, Reject,
    accept::formats,
    admission::{Checked, Kind},
    body::RequestBody,
    event_stream::{Content, EventStream},
    events::response,
    headers::merge,
    posted::{read_json, read_object},
    registry::Mounted,
    target::name_of,
};
use crate::{
    context::Context,
    hub::{Hub, NewClient},
    outbox::Opening,
    protocol::{Json, Packet, Protocol as _},
    seams::BoxFuture,
    session::{NewSession, Serving},
};
use bytes::Bytes;
use futures_core::Stream;
use http::{Method, Response};
use realtime_protocol::{Code, Data, Error};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// Opens a stream of frames: by GET of a session, by POST of subscriptions. Unlike events, which browsers read by
/// themselves, frames are read by a program: a refusal is a status, and all that comes later is a frame.
pub(super) async fn frames<B, E>(
    hub: &Arc<Hub>,
    context: Context,
    body: &mut RequestBody<'_, B>,
    spawn: impl FnOnce(BoxFuture<'static>),
) -> Result<Response<EventStream>, Reject>
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let mut admission = Checked::of(hub, &context, Kind::Events)?.take_place(&context)?;
    let mounted = Arc::clone(admission.mounted);
    check_format(hub, &mounted, &context)?;
    let is_session = *context.method() == Method::GET;
    if is_session && name_of(&context).is_some() {
        return Err(Reject::bad_request(
            "a stream of frames has the subscriptions that are posted: {\"subscribe\":[…]}",
        ));
    }
    let service = if is_session { Arc::clone(&mounted.service) } else { mounted.without_handler() };
    admission.serve_by(Arc::clone(&service));
    let admitted = admission.let_through(context, Some(hub.protocols.of(mounted.protocol))).await?;
    let (client, headers) = admitted.into_client(hub, hub.protocols.frames(), false);
    let subscriptions = match is_session {
        true => Vec::new(),
        false => posted(hub, &client.context, body).await.map_err(|reject| reject.behind(headers.clone()))?,
    };
    let (stream, carrier) =
        EventStream::new(Content::Frames, Vec::new(), Arc::new(Opening::opened()), client.permit.clone());
    let client = NewClient { ahead: Some(carrier.ahead()), ..client };
    let welcome = Some(Registry::of(hub).welcome(&mounted));
    let session = NewSession { client, service, welcome, subscriptions };
    spawn(Box::pin(Serving::new(session, carrier, Bytes::new())));
    let mut response = response(stream);
    merge(response.headers_mut(), headers);
    Ok(response)
}

fn check_format(hub: &Hub, mounted: &Mounted, context: &Context) -> Result<(), Reject> {
    let is_known = formats(context).any(|format| format == FORMAT);
    match Json.subprotocol().and_then(|json| hub.protocols.find(json, mounted.protocol)) {
        Some(_) if is_known => Ok(()),
        _ => Err(Reject::bad_request("none of the accepted formats of frames is supported")),
    }
}

/// Behind `realtime.`, it is the subprotocol.
const FORMAT: &str = "v1.json";

/// The body of a POST: `{"subscribe":[{"type":"subscribe","id":"1",…},…]}`.
#[derive(Deserialize)]
struct Posted<'a> {
    #[serde(borrow)]
    subscribe: Vec<&'a RawValue>,
}

/// Reads the `subscribe` frames of the body. One of which only the id can be read fails alone, as over a WebSocket.
async fn posted<B, E>(
    hub: &Hub,
    context: &Context,
    body: &mut RequestBody<'_, B>,
) -> Result<Vec<Packet<'static>>, Reject>
where
    B: Stream<Item = Result<Bytes, E>> + Unpin,
{
    let (body, _account) = read_json(hub, context, body).await?;
    let Posted { subscribe } = read_object(&body)?;
    if subscribe.is_empty() {
        return Err(Error::invalid_argument("subscribe: there is no frame in it").into());
    }
    let frames = subscribe.iter().enumerate().map(|(index, frame)| {
        let wrong = |what: &str| Error::new(Code::PARSE_ERROR, format!("subscribe[{index}]: {what}"));
        match Json.decode(&Data::Text(frame.get().into())) {
            Ok(packet @ (Packet::Subscribe { .. } | Packet::Invalid { .. })) => Ok(packet.into_owned()),
            Ok(_) => Err(wrong("a frame of another type")),
            Err(error) => Err(wrong(error.message())),
        }
    });
    Ok(frames.collect::<Result<_, Error>>()?)
}
