use super::{
    Answer, Reject,
    admission::{Checked, Kind},
    event_stream::{Content, EventStream, come_back_after},
    headers::merge,
    target::{input_of_query, name_of, of_query},
};
use crate::{
    context::Context,
    hub::{Hub, NewClient},
    outbox::Opening,
    protocol::{END, Events, write_error, write_retry},
    seams::BoxFuture,
    session::{NewSession, Serving},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode, header};
use realtime_protocol::{
    Error, Gap, Position,
    format::{Outgoing, Packet, Protocol as _},
    internal::check_path,
};
use std::{borrow::Cow, future::poll_fn, sync::Arc};

/// Opens an event stream: of one subscription, or of the handler's messages. `spawn` runs its session as a task.
pub(super) async fn events(
    hub: &Arc<Hub>,
    context: Context,
    spawn: impl FnOnce(BoxFuture<'static>),
) -> Result<Answer, Reject> {
    let checked = Checked::of(hub, &context, Kind::Events)?;
    if last_event_id(&context).as_deref() == Some(END) {
        return Ok(Answer::Response(nothing_more()));
    }
    let mut admission = checked.take_place(&context)?;
    let mounted = Arc::clone(admission.mounted);
    let content = if name_of(&context).is_some() { Content::Subscription } else { Content::Messages };
    let (format, service, subscriptions, preface) = match name_of(&context).map(Cow::into_owned) {
        None => (hub.protocols.events(mounted.protocol), Arc::clone(&mounted.service), Vec::new(), Vec::new()),
        Some(path) => {
            let (first, preface) = subscribe(&context, path)?;
            let service = mounted.without_handler();
            admission.serve_by(Arc::clone(&service));
            (hub.protocols.events(None), service, vec![first], preface)
        }
    };
    let admitted = admission.let_through(context, Some(hub.protocols.of(mounted.protocol))).await?;
    let (client, headers) = admitted.into_client(hub, format, false);
    let opening = Arc::<Opening>::default();
    let (stream, carrier) = EventStream::new(content, preface, Arc::clone(&opening), client.permit.clone());
    let client = NewClient { opening: Some(Arc::clone(&opening)), ahead: Some(carrier.ahead()), ..client };
    let session = NewSession { client, service, welcome: None, subscriptions };
    spawn(Box::pin(Serving::new(session, carrier, Bytes::new())));
    let opened = hub.before(hub.config.handshake_timeout, poll_fn(|cx| opening.poll(cx))).await;
    match opened.unwrap_or_else(|| Err(Error::unavailable("the stream took too long to open"))) {
        Ok(()) => {
            let mut response = response(stream);
            merge(response.headers_mut(), headers);
            Ok(Answer::Events(response))
        }
        Err(error) => Err(Reject::from(error).behind(headers)),
    }
}

/// Answers a source that comes back behind the end: only a status without a body stops a page's `EventSource` without an
/// error in its console.
fn nothing_more() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Turns a temporary refusal into a stream that says why and when to reconnect, and ends: any status other than 200
/// ends a page's `EventSource` for good.
pub(super) fn come_back(reject: Reject) -> Response<EventStream> {
    let (headers, error) = reject.into_parts();
    let mut notice = Vec::new();
    write_retry(come_back_after(error.retry_after()), &mut notice);
    // If the error does not serialise, the retry time is sent alone.
    let _ = write_error(&error, &mut notice);
    let mut response = response(EventStream::whole(BytesMut::from(&*notice)));
    merge(response.headers_mut(), headers);
    response
}

pub(super) fn response(stream: EventStream) -> Response<EventStream> {
    let mut response = Response::new(stream);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // nginx and similar proxies would buffer events.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// Returns the first packet of a subscription's session, and the bytes sent to its client first.
fn subscribe(context: &Context, path: String) -> Result<(Packet<'static>, Vec<u8>), Error> {
    check_path(&path)?;
    let mut preface = Vec::new();
    let after = match last_event_id(context).map(|id| id.parse::<Position>()) {
        None => None,
        Some(Ok(position)) => Some(position),
        // A page would send the same id forever: the stream starts anew, and says so.
        Some(Err(error)) => {
            tracing::debug!(path, %error, "a stream begins anew: its Last-Event-ID cannot be read");
            let gap = Gap::new(0, UNREADABLE);
            Events::Values.encode(&Outgoing::Gap { id: None, topic: None, gap: &gap }, &mut preface)?;
            None
        }
    };
    let input = input_of_query(context, Some(LAST_EVENT_ID));
    let after = after.map(Box::new);
    let first =
        Packet::Subscribe { id: STREAM.into(), path: path.into(), input, after, credit: None, shared: false };
    Ok((first, preface))
}

/// Returns the id of the last event the client has seen, if it sent one.
fn last_event_id(context: &Context) -> Option<Cow<'_, str>> {
    let header = context.header_lines("last-event-id").next();
    let id = match header {
        Some(id) => String::from_utf8_lossy(id),
        None => of_query(context, LAST_EVENT_ID)?.into(),
    };
    (!id.is_empty()).then_some(id)
}

/// The query parameter for sources that cannot set headers, such as libraries for older browsers.
const LAST_EVENT_ID: &str = "lastEventId";

/// The cause of a gap whose start is unknown.
const UNREADABLE: &str = "unreadable_position";

/// The id of the only subscription on an event stream; never sent.
const STREAM: &str = "events";
