use super::{
    Reject,
    admission::{Admitted, Checked, Kind},
    headers::merge,
    nothing_named, of_query,
    upgrade::choose_protocol,
};
use crate::{context::Context, hub::Hub};
use bytes::Bytes;
use http::{Response, StatusCode, header};
use std::sync::Arc;

/// Answers whether a WebSocket would be let in, by the checks of an upgrade except the handshake's own, and by the
/// middleware. A page asks it after a handshake that failed, about which it is told nothing else.
///
/// Takes no place, opens no session and calls nothing. If the request has the name of a call, it must exist.
pub(super) async fn probe(hub: &Arc<Hub>, context: Context) -> Result<Response<Bytes>, Reject> {
    let checked = Checked::of(hub, &context, Kind::Probe)?;
    choose_protocol(hub, checked.mounted, &context)?;
    let mounted = checked.mounted;
    let admission = checked.look_for_place(&context)?;
    let name = of_query(&context, "path").filter(|_| mounted.has_names());
    // Beside a name the query is the input of a call, and not that of a session.
    let Admitted { headers, .. } = admission.let_through(context, name.is_none()).await?;
    if let Some(name) = name
        && mounted.service.router.find(&name).is_none()
    {
        return Err(Reject::from(nothing_named(&name)).behind(headers));
    }
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    merge(response.headers_mut(), headers);
    Ok(response)
}

/// Returns the response of a refusal, without the body that a response to HEAD cannot have.
pub(super) fn refusal(reject: Reject) -> Response<Bytes> {
    let mut response = reject.into_response().map(|_| Bytes::new());
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}
